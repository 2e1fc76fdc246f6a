//! The peer plane, `/peer/v1`: what peers may ask. Pull only.
//!
//! One guard stands before every route (the identity document and pairing aside): it checks signature, trust, body and nonce,
//! and signs the answer. A handler cannot be reached without a [`TrustedPeer`], reads its input, calls one
//! function of `replicate`, and renders. What a peer may not have looks exactly like what does not exist (R12).

mod changes; // GET /changes
mod chunks; // GET, HEAD /chunks/{id}, POST /chunks
mod config; // GET /config
mod envelopes; // POST /envelopes
mod extract; // checked input
mod guard; // who may come in
mod have; // POST /have
mod identity; // GET, POST /identity
mod pair; // POST /pair
mod proof; // POST /challenge, POST /proof
mod range; // Range headers
mod reconcile; // POST /reconcile, POST /manifests
mod sending; // chunks on their way, as long as the peer is welcome
mod succession; // POST /succession

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio_util::task::TaskTracker;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use guard::TrustedPeer;

use super::openapi::with_problems;
use super::places::Places;
use super::problem::Problem;
use crate::clock::Clock;
use crate::domain::id::InstanceId;
use crate::replicate::pair::Pairing;
use crate::replicate::serve::Serve;

/// What one peer may cost.
#[derive(Debug, Clone, Copy)]
pub struct PeerLimits {
    /// Requests and streams of one peer at once.
    pub requests_per_peer: usize,
    /// Time for the body of a request.
    pub body: Duration,
}

impl Default for PeerLimits {
    fn default() -> Self {
        Self { requests_per_peer: 32, body: Duration::from_secs(30) }
    }
}

/// What the peer plane needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PeerPlane {
    serve: Serve,
    pairing: Arc<Pairing>,
    clock: Arc<dyn Clock>,
    limits: PeerLimits,
    places: Places<InstanceId>,
    /// Watches over open streams.
    watches: TaskTracker,
}

impl PeerPlane {
    /// Serves what `serve` lets be seen.
    pub fn new(serve: Serve, clock: Arc<dyn Clock>, limits: PeerLimits) -> Self {
        let pairing = Arc::new(Pairing::new(serve.clone()));
        let places = Places::new(limits.requests_per_peer);
        Self { serve, pairing, clock, limits, places, watches: TaskTracker::new() }
    }

    /// Waits until what was given on streams that have ended is recorded.
    pub async fn settled(&self) {
        self.watches.close();
        self.watches.wait().await;
    }
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Bulbil peer protocol",
    version = "1",
    description = "How instances pull from each other. Requests are signed (RFC 9421), answers that are no stream too."
))]
struct Document;

fn routes() -> OpenApiRouter<PeerPlane> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(identity::get_identity, identity::post_identity))
        .routes(routes!(changes::get_changes))
        .routes(routes!(envelopes::post_envelopes))
        .routes(routes!(chunks::post_chunks))
        .routes(routes!(chunks::get_chunk, chunks::head_chunk))
        .routes(routes!(have::post_have))
        .routes(routes!(reconcile::post_reconcile))
        .routes(routes!(reconcile::post_manifests))
        .routes(routes!(succession::post_succession))
        .routes(routes!(proof::post_challenge))
        .routes(routes!(proof::post_proof))
        .routes(routes!(config::get_config))
        .routes(routes!(pair::post_pair))
}

/// The description of the peer plane, from the very routes that are served; those for Axon instances are only with
/// `serve --axon`.
pub fn openapi_peer() -> utoipa::openapi::OpenApi {
    let mut document = routes().into_openapi();
    document.merge(super::axon::routes().into_openapi());
    with_problems(document)
}

/// The peer plane, to be served on a listener of its own (R9).
pub fn peer_router(plane: PeerPlane) -> Router {
    let (router, _) = routes().split_for_parts();
    router
        .fallback(async || Problem::not_found())
        .method_not_allowed_fallback(async || Problem::not_found())
        .layer(from_fn_with_state(plane.clone(), guard::guard))
        .with_state(plane)
}
