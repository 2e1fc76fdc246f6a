//! Talking to the server that runs in this home, over its admin plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::domain::peer::PeerAddress;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::network::Addresses;
use crate::http::admin::token::AdminToken;
use crate::http::admin::typed::TYPED_BY;
use crate::http::admin::view::run::RunView;
use crate::http::admin::{FeedAnswer, StatusAnswer, SyncAnswer};
use crate::store::{Home, Store};
use crate::transport::Dial;
use crate::transport::client::{AnswerBody, ClientLimits, HttpClient};
use crate::transport::direct::DirectDial;
use crate::transport::unix::SocketDial;

/// Longest answer.
const MAX_ANSWER_BYTES: usize = 8 << 20;
/// How long a round of syncing may take while somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(1800);
/// How long it may take to tell the server what it would find out soon.
const BRIEFLY: Duration = Duration::from_secs(2);

/// The admin plane of the server that runs in this home.
#[derive(Debug)]
pub struct AdminClient {
    client: HttpClient,
    address: PeerAddress,
    token: AdminToken,
}

/// What the server does not do.
#[derive(Debug, thiserror::Error)]
#[error("the server that runs in this home refuses: {title}")]
pub struct Refusal {
    /// For programs.
    pub code: String,
    /// A sentence for people.
    pub title: String,
    /// What of it.
    pub detail: Option<String>,
}

/// Of `GET /admin/v1/instance`.
#[derive(Deserialize)]
struct Version {
    version: String,
}

impl AdminClient {
    /// `None` if no server runs.
    ///
    /// # Errors
    /// If one runs that cannot be talked to.
    pub fn of_running(store: &Store) -> anyhow::Result<Option<Self>> {
        Self::of_home(&store.home)
    }

    /// The same, of a home that may not open.
    ///
    /// # Errors
    /// As for [`of_running`](Self::of_running).
    pub fn of_home(home: &Home) -> anyhow::Result<Option<Self>> {
        let Some(server) = home.running_server() else { return Ok(None) };
        let Some(address) = server.admin_address else { return Ok(None) };
        let address: SocketAddr =
            address.parse().context("the running server left no usable address in lock/server.json")?;
        let token = AdminToken::load(home)?;
        // Both lead to the same server: a socket that somebody took away is no reason not to reach it.
        let dial: Arc<dyn Dial> = match server.admin_socket.as_deref().and_then(SocketDial::through) {
            Some(socket) => Arc::new(socket),
            None => Arc::new(DirectDial::new(true)),
        };
        let client = HttpClient::new(dial, ClientLimits::default());
        Ok(Some(Self { client, address: PeerAddress::Direct(address), token }))
    }

    /// What the server knows.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn status(&self) -> anyhow::Result<StatusAnswer> {
        self.call("GET", "/admin/v1/status", Duration::ZERO).await
    }

    /// Its addresses in full.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn addresses(&self) -> anyhow::Result<Addresses> {
        self.call("GET", "/admin/v1/addresses", Duration::ZERO).await
    }

    /// Wakes the worker, and waits until it has asked everybody.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn sync(&self) -> anyhow::Result<SyncAnswer> {
        self.call("POST", "/admin/v1/sync?wait=true", PATIENCE).await
    }

    /// Tells it that this process has added to the feed: waiting peers hear of it at once. It would notice by itself within
    /// two seconds, so that nothing is lost if this fails.
    pub async fn feed_changed(store: &Store) {
        let telling = async {
            match Self::of_running(store)? {
                Some(server) => {
                    server.call::<FeedAnswer>("POST", "/admin/v1/feed-changed", Duration::ZERO).await.map(drop)
                }
                None => Ok(()),
            }
        };
        let told = tokio::time::timeout(BRIEFLY, telling).await.context("the server takes its time");
        if let Err(error) = told.and_then(|told| told) {
            tracing::debug!(%error, "the running server was not told of the new snapshot");
        }
    }

    /// The version of its program.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn version(&self) -> anyhow::Result<String> {
        let instance: Version = self.call("GET", "/admin/v1/instance", Duration::ZERO).await?;
        Ok(instance.version)
    }

    /// How it stands with a run.
    ///
    /// # Errors
    /// [`Refusal`] if there is none of this number, or the server does not answer.
    pub async fn run(&self, id: i64) -> anyhow::Result<RunView> {
        self.call("GET", &format!("/admin/v1/runs/{id}"), Duration::ZERO).await
    }

    /// Stops a run: it ends in order, soon.
    ///
    /// # Errors
    /// [`Refusal`] if it does not go on, or the server does not answer.
    pub async fn cancel(&self, id: i64) -> anyhow::Result<RunView> {
        self.call("POST", &format!("/admin/v1/runs/{id}/cancel"), Duration::ZERO).await
    }

    /// What a run says as it goes on.
    ///
    /// # Errors
    /// If there is no such run, or the server does not answer.
    pub async fn events(&self, id: i64) -> anyhow::Result<AnswerBody> {
        let request = self.request("GET", &format!("/admin/v1/runs/{id}/events"));
        let request = request.body(Bytes::new()).context("the request cannot be built")?;
        let answer = self.client.stream(&self.address, request, Duration::ZERO).await;
        let answer = answer.context("the server that runs in this home does not answer")?;
        anyhow::ensure!(answer.status().is_success(), "the server that runs in this home refuses to tell of run {id}");
        Ok(answer.into_body())
    }

    /// Looks at something.
    ///
    /// # Errors
    /// [`Refusal`], or the server does not answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        self.call("GET", path, Duration::ZERO).await
    }

    /// Removes something; `typed_by` says who typed the command.
    ///
    /// # Errors
    /// [`Refusal`], or the server does not answer.
    pub async fn delete<T: DeserializeOwned>(&self, path: &str, typed_by: Option<&str>) -> anyhow::Result<T> {
        let mut request = self.request("DELETE", path);
        if let Some(typed_by) = typed_by {
            request = request.header(TYPED_BY, typed_by);
        }
        self.send(request.body(Bytes::new()), Duration::ZERO).await
    }

    /// Sends JSON; `typed_by` says who typed the command.
    ///
    /// # Errors
    /// [`Refusal`], or the server does not answer.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        typed_by: Option<&str>,
    ) -> anyhow::Result<T> {
        self.send_json("POST", path, body, typed_by).await
    }

    /// The same, for what is put into a place.
    ///
    /// # Errors
    /// [`Refusal`], or the server does not answer.
    pub async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &serde_json::Value,
        typed_by: Option<&str>,
    ) -> anyhow::Result<T> {
        self.send_json("PUT", path, body, typed_by).await
    }

    async fn send_json<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
        typed_by: Option<&str>,
    ) -> anyhow::Result<T> {
        let mut request = self.request(method, path).header(CONTENT_TYPE, "application/json");
        if let Some(typed_by) = typed_by {
            request = request.header(TYPED_BY, typed_by);
        }
        self.send(request.body(Bytes::from(body.to_string())), Duration::ZERO).await
    }

    async fn call<T: DeserializeOwned>(&self, method: &str, path: &str, patience: Duration) -> anyhow::Result<T> {
        self.send(self.request(method, path).body(Bytes::new()), patience).await
    }

    fn request(&self, method: &str, path: &str) -> http::request::Builder {
        Request::builder().method(method).uri(path).header(AUTHORIZATION, self.token.header().as_str())
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: http::Result<Request<Bytes>>,
        patience: Duration,
    ) -> anyhow::Result<T> {
        let request = request.context("the request cannot be built")?;
        let answer = self.client.send(&self.address, request, MAX_ANSWER_BYTES, patience).await;
        let answer = answer.context("the server that runs in this home does not answer")?;
        if !answer.status().is_success() {
            let problem: Option<ProblemDocument> = serde_json::from_slice(answer.body()).ok();
            let refusal = match problem {
                Some(problem) => Refusal { code: problem.code, title: problem.title, detail: problem.detail },
                None => Refusal { code: String::new(), title: answer.status().to_string(), detail: None },
            };
            return Err(refusal.into());
        }
        // Nothing is said where there is nothing to say.
        let body: &[u8] = if answer.body().is_empty() { b"null" } else { answer.body() };
        serde_json::from_slice(body).context("the server that runs in this home is of another version")
    }
}
