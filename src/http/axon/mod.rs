//! What Axon instances may ask, under the paths of a real one: on the listeners of the peer plane, beside its native routes.
//!
//! Paths, statuses and bodies are those that a real instance gives to its peers, because its pullers look at them. The final slash
//! belongs to each path. What a guest may not have looks exactly like what does not exist (R12); the Host is not looked at.

mod answer; // bodies as a real instance writes them
mod content; // GET /api/bitsync/…
mod federation; // GET /api/sync/, /api/identity/public_key/, /api/federation/export_config/
mod guard; // who may come in
mod sending; // bodies on their way, as long as the guest is welcome

#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use tokio_util::task::TaskTracker;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use guard::TrustedAxon;

use super::peer::PeerLimits;
use super::places::Places;
use crate::axon::serve::AxonServe;
use crate::clock::Clock;

/// So many answers to what is new does one guest get at once. A real instance asks for one.
const SYNCS_PER_PEER: usize = 2;

/// What these routes need. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AxonPlane {
    serve: AxonServe,
    clock: Arc<dyn Clock>,
    places: Places<String>,
    /// The same for answers to what is new, which cost most.
    syncs: Places<String>,
    /// Watches over open answers.
    watches: TaskTracker,
}

impl AxonPlane {
    /// Serves what `serve` lets be seen.
    pub fn new(serve: AxonServe, clock: Arc<dyn Clock>, limits: PeerLimits) -> Self {
        Self {
            serve,
            clock,
            places: Places::new(limits.requests_per_peer),
            syncs: Places::new(SYNCS_PER_PEER),
            watches: TaskTracker::new(),
        }
    }

    /// Waits until what was given on answers that have ended is recorded.
    pub async fn settled(&self) {
        self.watches.close();
        self.watches.wait().await;
    }
}

/// The routes, with their description.
pub(super) fn routes() -> OpenApiRouter<AxonPlane> {
    OpenApiRouter::new()
        .routes(routes!(federation::get_public_key))
        .routes(routes!(federation::get_sync))
        .routes(routes!(federation::get_config))
        .routes(routes!(content::get_has_content))
        .routes(routes!(content::get_chunk))
}

/// The routes, to be merged into the peer plane.
pub fn axon_router(plane: AxonPlane) -> Router {
    let (router, _) = routes().split_for_parts();
    router.route_layer(from_fn_with_state(plane.clone(), guard::guard)).with_state(plane)
}
