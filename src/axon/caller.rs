//! Asking an Axon instance: signed GETs, bounded answers, and sentences that say what is wrong over there.
//!
//! Each request has a time and a signature of its own: an instance that remembers signatures takes each once. A real one answers
//! every unknown path with its web page and status 200, so only the content type says that an answer is one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, DATE};
use http::{HeaderMap, Request, Response};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use super::instance::AxonInstance;
use crate::clock::Clock;
use crate::domain::axon::address::AxonAddress;
use crate::domain::axon::json::{ParseError, ShapeError, Value};
use crate::domain::axon::key::{KeyError, PublicKey};
use crate::domain::axon::moment;
use crate::domain::axon::signature::{Headers, MAX_SKEW, PUBKEY, SIGNATURE, TIMESTAMP};
use crate::domain::chunk::MAX_STORED;
use crate::domain::id::ContentHash;
use crate::transport::client::{ClientError, HttpClient};

/// Longest list of manifests, in bytes: some 50,000 items.
const MAX_SYNC_BYTES: usize = 128 << 20;
/// Longest configuration, in bytes.
const MAX_CONFIG_BYTES: usize = 32 << 20;
/// Longest answer of the key endpoint, in bytes.
const MAX_KEY_BYTES: usize = 64 << 10;
/// A real instance makes an envelope for each item that is new to us before it answers, 50 ms each.
const SYNC_PATIENCE: Duration = Duration::from_secs(240);
/// A large configuration takes its time, too.
const CONFIG_PATIENCE: Duration = Duration::from_secs(60);

const SYNC: &str = "/api/sync/";
const CONFIG: &str = "/api/federation/export_config/";
const PUBLIC_KEY: &str = "/api/identity/public_key/";

/// Why there is no answer that is of use.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer at all.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// 401, and the clocks agree.
    #[error(
        "it does not let this instance in: the key of this instance is not entered there, or not marked as a trusted peer. Give its admin what 'bulbil axon key' prints, to be entered under Trusted Instances with the box 'is trusted peer' ticked"
    )]
    NotLetIn,
    /// 401, and nothing says what its clock shows.
    #[error(
        "it does not let this instance in. Either the key of this instance is not entered there as a trusted peer (give its admin what 'bulbil axon key' prints), or the clocks of both machines are over five minutes apart (compare what 'date -u' prints on both)"
    )]
    NotLetInOrClock,
    /// 401, since the clocks differ.
    #[error(
        "it does not let this instance in, since the clocks are over five minutes apart: its clock shows {theirs:.0}, this one {ours:.0}. Set the wrong one right"
    )]
    Clock {
        /// What its answer says.
        theirs: Timestamp,
        /// What it is here.
        ours: Timestamp,
    },
    /// 400 for the name in the address.
    #[error(
        "it does not know the name by which it was called (400): its setting ONION_ADDRESS must be the name in the address that is noted here"
    )]
    Host,
    /// 500: with the list of what is new, one item that it cannot open is enough.
    #[error(
        "it failed over there (500 for {what}): its own log says why. One item that it cannot open is enough for that, or two trusted rows with the key of this instance"
    )]
    Failed {
        /// What was asked for.
        what: &'static str,
    },
    /// Some other status.
    #[error("it answers {status} for {what}")]
    Status {
        /// The status.
        status: u16,
        /// What was asked for.
        what: &'static str,
    },
    /// A web page, where an answer was expected.
    #[error(
        "it answers with something else than {what}: is an Axon BBS at this address, and at this path? Compare it with the address in a browser"
    )]
    NotAnAnswer {
        /// What was asked for.
        what: &'static str,
    },
    /// Not JSON.
    #[error("what it sent for {what} is no JSON; the answer may have been cut off")]
    Json {
        /// What was asked for.
        what: &'static str,
        /// What is wrong.
        #[source]
        cause: ParseError,
    },
    /// JSON of another shape.
    #[error("what it sent for {what} is not in the form of Axon BBS")]
    Shape {
        /// What was asked for.
        what: &'static str,
        /// What is wrong.
        #[source]
        cause: ShapeError,
    },
    /// Its key is none.
    #[error("the key that it shows is no RSA key that can be used")]
    Key(#[from] KeyError),
    /// A thread died.
    #[error("a part of the work died unexpectedly. This is a bug in bulbil")]
    Died,
}

/// What an instance tells of what is new.
#[derive(Debug)]
pub struct News {
    /// Manifests, as they came; nothing of them is checked yet.
    pub manifests: Vec<Value>,
    /// Actions, as they came.
    pub actions: Value,
    /// The moment at which it began to look, if it says one.
    pub server_timestamp: Option<Timestamp>,
}

/// Calls Axon instances as this instance. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AxonCaller {
    client: HttpClient,
    instance: Arc<AxonInstance>,
    clock: Arc<dyn Clock>,
}

impl AxonCaller {
    /// Calls over `client`, and signs as `instance`.
    pub fn new(client: HttpClient, instance: Arc<AxonInstance>, clock: Arc<dyn Clock>) -> Self {
        Self { client, instance, clock }
    }

    /// As whom it calls.
    pub fn instance(&self) -> &Arc<AxonInstance> {
        &self.instance
    }

    /// The connections.
    pub fn client(&self) -> &HttpClient {
        &self.client
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The key that an instance shows to everybody; nothing proves that it is its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn public_key(&self, address: &AxonAddress) -> Result<PublicKey, CallError> {
        let request = get(address, PUBLIC_KEY, None);
        let answer = self.client.send(&address.peer, request, MAX_KEY_BYTES, Duration::ZERO).await?;
        let body = self.check(answer, "its public key", "application/json")?;
        #[derive(Deserialize)]
        struct Shown {
            public_key: String,
        }
        let shown: Shown =
            serde_json::from_slice(&body).map_err(|_| CallError::NotAnAnswer { what: "its public key" })?;
        Ok(PublicKey::parse(&shown.public_key)?)
    }

    /// What changed after a moment.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::Failed`] if it holds an item that it cannot open.
    pub async fn sync(&self, address: &AxonAddress, since: Timestamp) -> Result<News, CallError> {
        const WHAT: &str = "the list of what is new";
        let since = moment::format(since).replace('+', "%2B");
        let body = self.ask(address, &format!("{SYNC}?since={since}"), WHAT, MAX_SYNC_BYTES, SYNC_PATIENCE).await?;
        let read = move || {
            let shape = |cause| CallError::Shape { what: WHAT, cause };
            let parsed = Value::parse(&body).map_err(|cause| CallError::Json { what: WHAT, cause })?;
            let mut answer = parsed.into_object().map_err(shape)?;
            let manifests = answer.remove("manifests").ok_or(shape(ShapeError::Missing("manifests")))?;
            let server_timestamp = match answer.get("server_timestamp") {
                Some(Value::Text(text)) => text.as_str().and_then(moment::parse),
                _ => None,
            };
            Ok(News {
                manifests: manifests.into_list().map_err(shape)?,
                actions: answer.remove("federated_actions").unwrap_or_else(|| Value::List(Vec::new())),
                server_timestamp,
            })
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| CallError::Died)?
    }

    /// The exported configuration, as it came.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn export_config(&self, address: &AxonAddress) -> Result<Bytes, CallError> {
        self.ask(address, CONFIG, "its configuration", MAX_CONFIG_BYTES, CONFIG_PATIENCE).await
    }

    /// One chunk, not compared with anything; `None` if it is not there.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn chunk(
        &self,
        address: &AxonAddress,
        content_hash: &ContentHash,
        index: usize,
    ) -> Result<Option<Bytes>, CallError> {
        const WHAT: &str = "a chunk";
        let path = format!("/api/bitsync/chunk/{content_hash}/{index}/");
        let request = get(address, &path, Some(self.sign().await?));
        let answer = self.client.send(&address.peer, request, MAX_STORED, Duration::ZERO).await?;
        if answer.status().as_u16() == 404 {
            return Ok(None);
        }
        self.check(answer, WHAT, "application/octet-stream").map(Some)
    }

    async fn ask(
        &self,
        address: &AxonAddress,
        path: &str,
        what: &'static str,
        max_bytes: usize,
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        let request = get(address, path, Some(self.sign().await?));
        let answer = self.client.send(&address.peer, request, max_bytes, patience).await?;
        self.check(answer, what, "application/json")
    }

    /// Signs for now, on a thread for work that blocks (R4).
    async fn sign(&self) -> Result<Headers, CallError> {
        let (instance, now) = (Arc::clone(&self.instance), self.clock.now());
        let sign = move || Headers::sign(&instance.private, now);
        tokio::task::spawn_blocking(sign).await.map_err(|_| CallError::Died)
    }

    fn check(&self, answer: Response<Bytes>, what: &'static str, expected: &str) -> Result<Bytes, CallError> {
        let (head, body) = answer.into_parts();
        match head.status.as_u16() {
            200 if is_of_type(&head.headers, expected) => Ok(body),
            200 => Err(CallError::NotAnAnswer { what }),
            401 => Err(self.not_let_in(&head.headers)),
            400 if !is_of_type(&head.headers, "application/json") => Err(CallError::Host),
            500 => Err(CallError::Failed { what }),
            status => Err(CallError::Status { status, what }),
        }
    }

    /// All that is wrong with a signature is answered alike; the time in the answer tells one from the other.
    fn not_let_in(&self, headers: &HeaderMap) -> CallError {
        let date = headers.get(DATE).and_then(|date| date.to_str().ok());
        let theirs = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()).map(|zoned| zoned.timestamp());
        let ours = self.clock.now();
        match theirs {
            // A second for the way.
            Some(theirs) if theirs.duration_since(ours).abs() > MAX_SKEW - SignedDuration::from_secs(1) => {
                CallError::Clock { theirs, ours }
            }
            Some(_) => CallError::NotLetIn,
            None => CallError::NotLetInOrClock,
        }
    }
}

fn get(address: &AxonAddress, path: &str, signed: Option<Headers>) -> Request<Bytes> {
    let mut request = Request::get(address.path(path)).header(ACCEPT, "*/*");
    if let Some(signed) = signed {
        request = request
            .header(TIMESTAMP, signed.timestamp)
            .header(PUBKEY, signed.pubkey)
            .header(SIGNATURE, signed.signature);
    }
    request.body(Bytes::new()).expect("paths and headers are plain characters")
}

fn is_of_type(headers: &HeaderMap, expected: &str) -> bool {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    found.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(expected)
}
