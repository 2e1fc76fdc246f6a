//! Calling a peer: signed requests, checked answers.
//!
//! Every request is signed afresh for the one instance it is meant for (R10), and every answer but a stream of chunks is
//! checked to be that instance's, to that very request: who stands between can neither change nor replay it. Chunks need no
//! signature: their names say what they must be, and whoever stores them compares (R13). Nothing is retried here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::domain::crypto::sign::PublicKey;
use crate::domain::feed::{Change, Cursor, Page};
use crate::domain::id::{ChunkId, InstanceId, ManifestId};
use crate::domain::identity::{Identity, IdentityError, SignedIdentity};
use crate::domain::peer::PeerAddress;
use crate::domain::reconcile::{Salt, SaltedId};
use crate::domain::succession::SignedStatement;
use crate::domain::wire::frame::{Event, FrameDecoder, FrameError};
use crate::domain::wire::messages::{
    BASE_PATH, ChallengeAnswer, ChallengeRequest, ChunksRequest, ConfigAnswer, EnvelopeAnswer, EnvelopesAnswer,
    EnvelopesRequest, HaveAnswer, IdentityMessage, MAX_ANSWER_BYTES, ManifestsAnswer, ManifestsRequest, PairAnswer,
    PairInvite, PairRequest, ProblemDocument, ProofAnswer, ProofRequest, ReconcileAnswer, ReconcileRequest,
    StatementsMessage,
};
use crate::domain::wire::signature::{
    ANSWERED_NONCE, AnswerHeaders, CONTENT_DIGEST, Nonce, RequestParts, SIGNATURE, SIGNATURE_INPUT, SignatureFault,
    sign_request, verify_answer,
};
use crate::store::Keys;
use crate::transport::client::{AnswerBody, ClientError, HttpClient};

/// Longest text of a peer's problem that is shown.
const MAX_PROBLEM_TEXT: usize = 300;

/// Why a call came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No answer, or no whole one.
    #[error(transparent)]
    Transport(#[from] ClientError),
    /// The peer says no: it does not know us, has revoked us, or does not like the invite.
    #[error("the peer refuses: {title} ({code})")]
    Refused {
        /// The problem's code.
        code: String,
        /// The problem's title.
        title: String,
    },
    /// The clocks are too far apart.
    #[error("the peer refuses because the clocks differ: this machine's is {} seconds {} the peer's. Set both to the right time", seconds.abs(), if *seconds < 0 { "behind" } else { "ahead of" })]
    ClockSkew {
        /// Ours less theirs.
        seconds: i64,
    },
    /// The peer has more to do than it can: later.
    #[error("the peer says that it is too early: {title}{}", again_in(*retry_after))]
    Busy {
        /// After what time to ask again, if it says so.
        retry_after: Option<Duration>,
        /// The problem's title.
        title: String,
    },
    /// The peer does not have what was asked for, or does not let us have it.
    #[error("the peer does not have it, or does not let this instance have it")]
    NotFound,
    /// The peer failed.
    #[error("the peer failed: {title} ({status})")]
    PeerFailed {
        /// The status code.
        status: u16,
        /// The problem's title.
        title: String,
    },
    /// Somebody else answered, or somebody changed the answer.
    #[error("the answer is not the peer's: somebody else answers at this address, or changed it on its way")]
    NotThePeer(#[from] SignatureFault),
    /// The identity document is not good.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The answer is the peer's, and makes no sense.
    #[error("the peer's answer cannot be read: it may be of a later version")]
    Malformed(#[source] Option<serde_json::Error>),
    /// The stream of chunks is not whole.
    #[error(transparent)]
    Frames(#[from] FrameError),
}

/// For the end of a sentence.
fn again_in(wait: Option<Duration>) -> String {
    match wait.map(|wait| wait.as_secs()) {
        None => String::new(),
        Some(seconds @ 0..120) => format!("; again in {seconds} s"),
        Some(seconds @ 120..172_800) => format!("; again in {} h {} min", seconds / 3600, seconds % 3600 / 60),
        Some(seconds) => format!("; again in {} days", seconds / 86_400),
    }
}

/// Whom to call: where it is, and the key with which it signs.
#[derive(Debug, Clone)]
pub struct Callee {
    /// Where.
    pub address: PeerAddress,
    /// Its key; the hash is its id.
    pub key: PublicKey,
}

impl Callee {
    /// Which instance it is.
    pub fn instance(&self) -> InstanceId {
        self.key.instance()
    }
}

/// Calls peers as this instance. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerCaller {
    client: HttpClient,
    keys: Arc<Keys>,
    clock: Arc<dyn Clock>,
}

/// A request that was sent.
struct Sent {
    nonce: Nonce,
    request: Request<Bytes>,
}

impl PeerCaller {
    /// Calls with these keys over this client.
    pub fn new(client: HttpClient, keys: Arc<Keys>, clock: Arc<dyn Clock>) -> Self {
        Self { client, keys, clock }
    }

    /// Who calls.
    pub fn instance(&self) -> InstanceId {
        self.keys.instance()
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The client, for its counters.
    pub fn client(&self) -> &HttpClient {
        &self.client
    }

    /// `GET /identity`: who answers at an address. Not signed: pass whom you expect, if you know.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn identity(
        &self,
        address: &PeerAddress,
        expected: Option<&InstanceId>,
    ) -> Result<(SignedIdentity, Identity), CallError> {
        let request = Request::get(format!("{BASE_PATH}/identity")).body(Bytes::new()).expect(PLAIN);
        let answer = self.client.send(address, request, MAX_ANSWER_BYTES, Duration::ZERO).await?;
        self.problem(&answer)?;
        let signed: SignedIdentity = parse(answer.body())?;
        let identity = signed.verify(expected)?;
        Ok((signed, identity))
    }

    /// `POST /identity`: shows our identity document, after our keys have changed.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn show_identity(&self, callee: &Callee) -> Result<(), CallError> {
        let body = encode(&IdentityMessage { identity: self.keys.identity_document() });
        let answer: IdentityMessage = self.call(callee, "POST", "/identity", body, Duration::ZERO).await?;
        answer.identity.verify(Some(&callee.instance())).map(drop).map_err(CallError::Identity)
    }

    /// How our keys stand: it changes whenever one of them does. `None` if they are the first ones.
    pub fn generation(&self) -> Option<String> {
        let (version, renewals) = (self.keys.key_version, self.keys.renewals.len());
        (version > 1 || renewals > 0).then(|| format!("{version}.{renewals}"))
    }

    /// `GET /changes`: the next page of the feed. `wait`: how long the peer may wait for something to tell.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn changes(
        &self,
        callee: &Callee,
        cursor: Option<Cursor>,
        limit: usize,
        wait: Duration,
    ) -> Result<Page, CallError> {
        let cursor = cursor.map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let path = format!("/changes?limit={limit}&wait={}{cursor}", wait.as_secs());
        self.call(callee, "GET", &path, Bytes::new(), wait).await
    }

    /// `POST /envelopes`: envelopes for our current key, one answer for each id in the same order.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn envelopes(&self, callee: &Callee, ids: &[ManifestId]) -> Result<Vec<EnvelopeAnswer>, CallError> {
        let body = encode(&EnvelopesRequest { manifests: ids.to_vec() });
        let answer: EnvelopesAnswer = self.call(callee, "POST", "/envelopes", body, Duration::ZERO).await?;
        let fits = answer.envelopes.iter().map(|envelope| &envelope.id).eq(ids);
        if fits { Ok(answer.envelopes) } else { Err(CallError::Malformed(None)) }
    }

    /// `POST /have`: which of these chunks and segments the peer would send.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn have(&self, callee: &Callee, ids: &[ChunkId]) -> Result<Vec<bool>, CallError> {
        let body = encode(&ChunksRequest { ids: ids.to_vec() });
        let answer: HaveAnswer = self.call(callee, "POST", "/have", body, Duration::ZERO).await?;
        answer.unpack(ids.len()).ok_or(CallError::Malformed(None))
    }

    /// `POST /reconcile`: one message of a set reconciliation.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn reconcile(&self, callee: &Callee, salt: Salt, message: &[u8]) -> Result<ReconcileAnswer, CallError> {
        let body = ReconcileRequest { salt, message: message.to_vec() }.encode().into();
        let answer = self.exchange(callee, "POST", "/reconcile", body, Duration::ZERO).await?;
        ReconcileAnswer::parse(&answer).ok_or(CallError::Malformed(None))
    }

    /// `POST /manifests`: manifests that a reconciliation told of. Compare each with its name, and look which ones came.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn manifests(&self, callee: &Callee, salt: Salt, ids: &[SaltedId]) -> Result<Vec<Change>, CallError> {
        let body = encode(&ManifestsRequest { salt, ids: ids.to_vec() });
        let answer: ManifestsAnswer = self.call(callee, "POST", "/manifests", body, Duration::ZERO).await?;
        Ok(answer.changes)
    }

    /// `POST /succession`: tells what we know of who leads which collection, and hears what the peer knows.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn succession(
        &self,
        callee: &Callee,
        statements: Vec<SignedStatement>,
    ) -> Result<Vec<SignedStatement>, CallError> {
        let body = encode(&StatementsMessage { statements });
        let answer: StatementsMessage = self.call(callee, "POST", "/succession", body, Duration::ZERO).await?;
        Ok(answer.statements)
    }

    /// `POST /challenge`: what is to be proved of snapshots that we have.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NotFound`] from a peer of a version that asks for no proofs.
    pub async fn challenge(&self, callee: &Callee, claims: &[ManifestId]) -> Result<ChallengeAnswer, CallError> {
        let body = encode(&ChallengeRequest { claims: claims.to_vec() });
        self.call(callee, "POST", "/challenge", body, Duration::ZERO).await
    }

    /// `POST /proof`: proves it. The peer reads all of it, too, before it answers: that may take it `patience` more.
    ///
    /// # Errors
    /// [`CallError`]; [`CallError::NotFound`] if the challenge is too old.
    pub async fn prove(&self, callee: &Callee, proof: &ProofRequest, patience: Duration) -> Result<(), CallError> {
        let answer: ProofAnswer = self.call(callee, "POST", "/proof", encode(proof), patience).await?;
        let ProofAnswer {} = answer;
        Ok(())
    }

    /// `GET /config`: what may be known of the peer's configuration.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn config(&self, callee: &Callee) -> Result<ConfigAnswer, CallError> {
        self.call(callee, "GET", "/config", Bytes::new(), Duration::ZERO).await
    }

    /// `POST /chunks`: a stream of chunks or segments. Compare each one with its name.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn chunks(&self, callee: &Callee, ids: &[ChunkId]) -> Result<ChunkStream, CallError> {
        let body = encode(&ChunksRequest { ids: ids.to_vec() });
        let Sent { nonce, request } = self.sign(&callee.address, &callee.instance(), "POST", "/chunks", body);
        let answer = self.client.stream(&callee.address, request, Duration::ZERO).await?;
        let (head, mut body) = answer.into_parts();
        if head.status.is_success() {
            let decoder = FrameDecoder::new(ids.len());
            return Ok(ChunkStream { body, decoder, piece: Bytes::new() });
        }
        let mut text = Vec::new();
        while let Some(piece) = body.next().await? {
            text.extend_from_slice(&piece[..piece.len().min(MAX_PROBLEM_BYTES - text.len())]);
            if text.len() == MAX_PROBLEM_BYTES {
                break;
            }
        }
        let answer = Response::from_parts(head, Bytes::from(text));
        check_signature(&answer, &callee.key, &nonce)?;
        self.problem(&answer)?;
        Err(CallError::Malformed(None))
    }

    /// `GET /chunks/{id}` from the `from`-th byte on: the rest of a chunk of which a part came. `None` if the peer does not
    /// have it, or would send all of it. Compare the whole with its name.
    ///
    /// # Errors
    /// [`CallError::Transport`].
    pub async fn rest_of_chunk(
        &self,
        callee: &Callee,
        id: &ChunkId,
        from: usize,
    ) -> Result<Option<AnswerBody>, CallError> {
        let path = format!("/chunks/{id}");
        let Sent { mut request, .. } = self.sign(&callee.address, &callee.instance(), "GET", &path, Bytes::new());
        let range = format!("bytes={from}-").try_into().expect(PLAIN);
        request.headers_mut().insert(http::header::RANGE, range);
        let (head, body) = self.client.stream(&callee.address, request, Duration::ZERO).await?.into_parts();
        let begins = format!("bytes {from}-");
        let is_rest =
            one_header(&head.headers, http::header::CONTENT_RANGE.as_str()).is_some_and(|r| r.starts_with(&begins));
        Ok((head.status.as_u16() == 206 && is_rest).then_some(body))
    }

    /// `POST /pair`: asks to be let in. The answer is the expected instance's.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn pair(
        &self,
        address: &PeerAddress,
        host: &InstanceId,
        invite: Option<PairInvite>,
    ) -> Result<(PairAnswer, Identity), CallError> {
        let body = encode(&PairRequest { invite, identity: self.keys.identity_document() });
        let Sent { nonce, request } = self.sign(address, host, "POST", "/pair", body);
        let answer = self.client.send(address, request, MAX_ANSWER_BYTES, Duration::ZERO).await?;
        // Its key is not known yet: a refusal cannot be checked, and does no harm.
        self.problem(&answer)?;
        let paired: PairAnswer = parse(answer.body())?;
        let identity = paired.identity.verify(Some(host))?;
        check_signature(&answer, &identity.identity_key, &nonce)?;
        Ok((paired, identity))
    }

    async fn call<T: DeserializeOwned>(
        &self,
        callee: &Callee,
        method: &str,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<T, CallError> {
        parse(&self.exchange(callee, method, path, body, patience).await?)
    }

    /// The body of the peer's answer, if it is the peer's and no problem.
    async fn exchange(
        &self,
        callee: &Callee,
        method: &str,
        path: &str,
        body: Bytes,
        patience: Duration,
    ) -> Result<Bytes, CallError> {
        let Sent { nonce, request } = self.sign(&callee.address, &callee.instance(), method, path, body);
        let answer = self.client.send(&callee.address, request, MAX_ANSWER_BYTES, patience).await?;
        check_signature(&answer, &callee.key, &nonce)?;
        self.problem(&answer)?;
        Ok(answer.into_body())
    }

    fn sign(&self, address: &PeerAddress, to: &InstanceId, method: &str, path: &str, body: Bytes) -> Sent {
        let mut nonce = Nonce::default();
        rand_core::Rng::fill_bytes(&mut crate::store::entropy(), &mut nonce);
        let uri = format!("{BASE_PATH}{path}");
        let (path, query) = uri.split_once('?').map_or((uri.as_str(), None), |(path, query)| (path, Some(query)));
        let authority = address.authority();
        let parts = RequestParts { method, authority: &authority, path, query, addressee: to };
        let signed = sign_request(&parts, &body, &self.keys.identity, self.clock.now(), &nonce);
        let mut request = Request::builder().method(method).uri(&uri);
        if !body.is_empty() {
            let json = body.first() == Some(&b'{');
            let kind = if json { "application/json" } else { "application/octet-stream" };
            request = request.header(http::header::CONTENT_TYPE, kind);
        }
        for (name, value) in signed.iter() {
            request = request.header(name, value);
        }
        Sent { nonce, request: request.body(body).expect(PLAIN) }
    }

    /// Turns an answer that is a problem into an error.
    fn problem(&self, answer: &Response<Bytes>) -> Result<(), CallError> {
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        let problem: Option<ProblemDocument> = serde_json::from_slice(answer.body()).ok();
        let plain =
            |text: &str| -> String { text.chars().filter(|c| !c.is_control()).take(MAX_PROBLEM_TEXT).collect() };
        let title = problem.as_ref().map(|problem| plain(&problem.title)).unwrap_or_default();
        let code = problem.as_ref().map(|problem| plain(&problem.code)).unwrap_or_default();
        let theirs = problem.as_ref().and_then(|problem| problem.now).filter(|_| code == "clock-skew");
        let retry_after = problem.as_ref().and_then(|problem| problem.retry_after_seconds);
        let retry_after = retry_after.map(|seconds| Duration::from_secs(seconds.into()));
        Err(match (status.as_u16(), theirs) {
            (_, Some(theirs)) => CallError::ClockSkew { seconds: self.clock.now().as_second() - theirs.as_second() },
            (404, _) => CallError::NotFound,
            (429 | 503, _) => CallError::Busy { retry_after, title },
            (status @ (..=399 | 500..), _) => CallError::PeerFailed { status, title },
            _ => CallError::Refused { code, title },
        })
    }
}

const PLAIN: &str = "paths and headers are made of plain characters";
/// Longest problem document that is read.
const MAX_PROBLEM_BYTES: usize = 16 << 10;

fn encode(body: &impl Serialize) -> Bytes {
    serde_json::to_vec(body).expect("a body has no maps with odd keys").into()
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, CallError> {
    serde_json::from_slice(body).map_err(|error| CallError::Malformed(Some(error)))
}

fn check_signature(answer: &Response<Bytes>, key: &PublicKey, nonce: &Nonce) -> Result<(), CallError> {
    let headers = answer.headers();
    let one = |name: &str| one_header(headers, name).ok_or(SignatureFault::Malformed);
    let headers = AnswerHeaders {
        content_digest: one(CONTENT_DIGEST)?,
        nonce: one(ANSWERED_NONCE)?,
        signature_input: one(SIGNATURE_INPUT)?,
        signature: one(SIGNATURE)?,
    };
    verify_answer(&headers, answer.status().as_u16(), answer.body(), key, nonce)?;
    Ok(())
}

/// The value of a header that is there once.
fn one_header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    if values.next().is_some() { None } else { first.to_str().ok() }
}

/// Chunks as they come in. Dropped before its end, the connection is closed.
#[derive(Debug)]
pub struct ChunkStream {
    body: AnswerBody,
    decoder: FrameDecoder,
    piece: Bytes,
}

/// What comes in a stream of chunks.
#[derive(Debug)]
pub enum Read {
    /// So many bytes, of whatever it is.
    Bytes(usize),
    /// So many bytes of a chunk are here, which is not whole yet.
    Part(ChunkId, usize),
    /// A chunk (not yet compared with its name), or a missing one.
    Event(Event),
    /// The end: the stream is known to be whole.
    End,
}

impl ChunkStream {
    /// What comes next. May be dropped and called again.
    ///
    /// # Errors
    /// [`CallError::Transport`], [`CallError::Frames`].
    pub async fn read(&mut self) -> Result<Read, CallError> {
        loop {
            let has_more = !self.piece.is_empty();
            let mut rest = &self.piece[..];
            let event = self.decoder.next(&mut rest)?;
            self.piece = self.piece.slice(self.piece.len() - rest.len()..);
            match event {
                Some(Event::End) => {}
                Some(event) => return Ok(Read::Event(event)),
                None if has_more && let Some((id, bytes)) = self.decoder.part() => return Ok(Read::Part(id, bytes)),
                None => match self.body.next().await? {
                    Some(piece) => {
                        self.piece = piece;
                        return Ok(Read::Bytes(self.piece.len()));
                    }
                    None => return Ok(self.decoder.finish().map(|()| Read::End)?),
                },
            }
        }
    }

    /// The next chunk (not yet compared with its name) or missing one; `None` after the end, when the stream is known to be
    /// whole. May be dropped and called again.
    ///
    /// # Errors
    /// [`CallError::Transport`], [`CallError::Frames`].
    pub async fn next(&mut self) -> Result<Option<Event>, CallError> {
        loop {
            match self.read().await? {
                Read::Bytes(_) | Read::Part(..) => {}
                Read::Event(event) => return Ok(Some(event)),
                Read::End => return Ok(None),
            }
        }
    }

    /// Of a stream that broke off: the chunk that had begun, and the bytes of it that came.
    pub fn into_part(self) -> Option<(ChunkId, Vec<u8>)> {
        self.decoder.into_part()
    }
}
