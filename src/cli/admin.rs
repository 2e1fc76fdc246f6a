//! Talking to the server that runs in this home, over its admin plane.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::Request;
use http::header::AUTHORIZATION;
use serde::de::DeserializeOwned;

use crate::domain::peer::PeerAddress;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::network::Addresses;
use crate::http::admin::token::AdminToken;
use crate::http::admin::{FeedAnswer, StatusAnswer, SyncAnswer};
use crate::store::Store;
use crate::transport::client::{ClientLimits, HttpClient};
use crate::transport::direct::DirectDial;

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

impl AdminClient {
    /// `None` if no server runs.
    ///
    /// # Errors
    /// If one runs that cannot be talked to.
    pub fn of_running(store: &Store) -> anyhow::Result<Option<Self>> {
        let Some(address) = store.running_server().and_then(|server| server.admin_address) else { return Ok(None) };
        let address: SocketAddr =
            address.parse().context("the running server left no usable address in lock/server.json")?;
        let token = AdminToken::load(&store.home)?;
        // Loopback: the server listens nowhere else.
        let client = HttpClient::new(Arc::new(DirectDial::new(true)), ClientLimits::default());
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

    async fn call<T: DeserializeOwned>(&self, method: &str, path: &str, patience: Duration) -> anyhow::Result<T> {
        let request = Request::builder().method(method).uri(path).header(AUTHORIZATION, self.token.header().as_str());
        let request = request.body(Bytes::new()).context("the request cannot be built")?;
        let answer = self.client.send(&self.address, request, MAX_ANSWER_BYTES, patience).await;
        let answer = answer.context("the server that runs in this home does not answer")?;
        if !answer.status().is_success() {
            let problem: Option<ProblemDocument> = serde_json::from_slice(answer.body()).ok();
            let title = problem.map_or_else(|| answer.status().to_string(), |problem| problem.title);
            bail!("the server that runs in this home refuses: {title}");
        }
        serde_json::from_slice(answer.body()).context("the server that runs in this home is of another version")
    }
}
