//! The admin plane: for the owner of this machine, on loopback and, if wanted, on an onion service of its own, behind bearer
//! tokens, and a login for browsers.
//!
//! A browser on this machine can be made to send requests here by any page that it shows: therefore tokens, which such a
//! page does not know, and therefore requests for another name than loopback's are refused (a name that was made to point
//! at 127.0.0.1 is still another name).

pub mod access; // who asks, and what they may
mod api; // /admin/v1: resources
pub mod change; // what is done while the server does not run
mod follow; // the sync worker
pub(in crate::http) mod guard; // for which name a request was meant
mod health; // GET /healthz, GET /readyz
mod metrics; // GET /metrics
pub mod network; // how peers come in
mod status; // GET /admin/v1/status
mod statusz; // GET /statusz
mod sync; // POST /admin/v1/sync, POST /admin/v1/feed-changed
pub mod token; // the bearer token
pub mod typed; // who typed the command that asks
pub mod view; // what resources look like, for REST and for pages

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use tracing::Instrument;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use api::Credentials;
pub(in crate::http) use api::{
    AddCollection, AddField, ChangeSnapshot, ChannelField, ImportRefused, KeepSecret, OverwriteRule, Promote,
    SecretField, SetAlerts, StartExport, StartImport, StartRecovery, StartRestore, StartRun,
};
pub use follow::{FollowStatus, Following};
pub use status::{CollectionStatus, PeerStatus, StatusAnswer};
pub use sync::{FeedAnswer, SyncAnswer};

use super::openapi::with_problems;
use super::problem::Problem;
use super::traced::traced;
use super::traffic::{Plane, Traffic};
use super::web;
use super::web::Pictures;
use crate::clock::Clock;
use crate::domain::peer::PeerAddress;
use crate::store::Store;
use crate::worker::alarm::{Alerting, Ways};
use crate::worker::jobs::Jobs;
use crate::worker::watch::Bounds;
use access::Gate;
use api::idempotency::Answered;
use change::Restarts;
use network::NetworkView;
use token::AdminToken;
use view::configuration::FactView;

pub(in crate::http) use api::{
    AddPeer, AddTarget, ChangeCollection, ChangePeer, ImportOnion, ImportedView, InviteView, MakeInvite, NewRotation,
    PolicyView, PreviewView, ReadBack, ReplaceableKey, RightsBody, Service, SetRetention, SetSchedule, SetUpkeep,
    SettingsView, TargetField, TrustPeer, UpkeepView,
};

/// What the admin plane needs. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AdminPlane {
    store: Store,
    clock: Arc<dyn Clock>,
    gate: Gate,
    worker: Following,
    network: Arc<dyn NetworkView>,
    jobs: Jobs,
    answered: Answered,
    /// Held while settings are compared with `If-Match` and changed.
    changing: Arc<tokio::sync::Mutex<()>>,
    /// How many files may be downloaded at once.
    downloads: Arc<tokio::sync::Semaphore>,
    started_at: Timestamp,
    /// Whether addresses that are reached without Tor may be noted.
    direct_allowed: bool,
    /// What goes through both planes.
    traffic: Traffic,
    /// What stands in the configuration, to be shown: a name and a value each.
    configuration: Arc<[FactView]>,
    /// Who is told what is wrong, and what counts as wrong.
    alerting: Alerting,
    /// Held while it is tried whether that gets through.
    testing: Arc<tokio::sync::Mutex<()>>,
    /// Pictures that are shown once.
    pictures: Pictures,
    /// Who hears that the server is to start again with something changed; nobody, if it cannot.
    restarts: Option<Restarts>,
    /// The name that it answers to over Tor; on loopback there is none.
    onion: Option<String>,
}

impl AdminPlane {
    /// Shows this repository and this worker to who has the token.
    pub fn new(
        store: Store,
        clock: Arc<dyn Clock>,
        token: AdminToken,
        worker: Following,
        network: Arc<dyn NetworkView>,
        jobs: Jobs,
    ) -> Self {
        let started_at = clock.now();
        let gate = Gate::new(store.clone(), Arc::clone(&clock), token);
        let alerting = Alerting::without_file(store.clone());
        Self {
            store,
            clock,
            gate,
            worker,
            network,
            jobs,
            answered: Answered::default(),
            changing: Arc::default(),
            downloads: Arc::new(tokio::sync::Semaphore::new(api::DOWNLOADS)),
            started_at,
            direct_allowed: false,
            traffic: Traffic::default(),
            configuration: Arc::default(),
            alerting,
            testing: Arc::default(),
            pictures: Pictures::default(),
            restarts: None,
            onion: None,
        }
    }
}

impl AdminPlane {
    /// Addresses that are reached without Tor may be noted as those of peers.
    pub fn with_direct(self, direct_allowed: bool) -> Self {
        Self { direct_allowed, ..self }
    }

    /// What is in force of the configuration, without secrets and addresses.
    pub fn with_configuration(self, configuration: Vec<FactView>) -> Self {
        Self { configuration: configuration.into(), ..self }
    }

    /// The server starts again by itself when something is to be changed for which it has to rest.
    pub fn with_restarts(self, restarts: Option<Restarts>) -> Self {
        Self { restarts, ..self }
    }

    /// Who is told what is wrong, and what counts as wrong.
    pub fn with_alerting(self, alerting: Alerting) -> Self {
        Self { alerting, ..self }
    }

    /// What is in force of the configuration, and of what was said beside it since.
    pub(in crate::http) fn configuration(&self) -> Vec<FactView> {
        let mut facts = self.configuration.to_vec();
        if let Ok(settings) = self.alert_settings() {
            settings.overlay(&mut facts);
        }
        facts
    }

    /// Who is told what is wrong.
    pub(in crate::http) fn ways(&self) -> Ways {
        self.alerting.now().ways
    }

    /// Pictures that hold a secret, and are kept for a moment.
    pub(in crate::http) fn pictures(&self) -> &Pictures {
        &self.pictures
    }

    /// How peers come in.
    pub(in crate::http) fn network(&self) -> &dyn NetworkView {
        &*self.network
    }

    /// Since when the server runs.
    pub(in crate::http) fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// What the sync worker is at.
    pub(in crate::http) fn following(&self) -> &Following {
        &self.worker
    }

    /// What goes through both planes: whoever serves the other one counts there, too.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// The repository.
    pub(in crate::http) fn store(&self) -> &Store {
        &self.store
    }

    /// What time it is.
    pub(in crate::http) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What counts as wrong here.
    pub(in crate::http) fn bounds(&self) -> Bounds {
        self.alerting.now().bounds
    }

    /// The same plane for an onion service of its own: it answers to that name alone, and shows to nobody who has not shown who
    /// they are but where to log in.
    pub fn over_tor(self, address: &PeerAddress) -> Self {
        Self { onion: Some(address.authority()), gate: self.gate.over_tor(), ..self }
    }

    /// Who is let in.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Bulbil admin plane",
        version = "1",
        description = "For the owner of the machine: on loopback, and on an onion service of its own if that is switched on. Tokens are made by 'bulbil token create'; that of the owner stands in keys/admin-token of the home."
    ),
    modifiers(&Bearer)
)]
struct Document;

struct Bearer;

impl utoipa::Modify for Bearer {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        document.components.get_or_insert_default().add_security_scheme("token", bearer);
    }
}

fn open_routes() -> OpenApiRouter<AdminPlane> {
    OpenApiRouter::with_openapi(Document::openapi()).routes(routes!(health::get_healthz))
}

fn guarded_routes() -> OpenApiRouter<AdminPlane> {
    OpenApiRouter::new()
        .routes(routes!(health::get_readyz))
        .routes(routes!(metrics::get_metrics))
        .routes(routes!(statusz::get_statusz))
        .routes(routes!(status::get_status))
        .routes(routes!(status::get_addresses))
        .routes(routes!(sync::post_sync))
        .routes(routes!(sync::post_feed_changed))
        .merge(api::routes())
}

/// The description of the admin plane, from the very routes that are served.
pub fn openapi_admin() -> utoipa::openapi::OpenApi {
    with_problems(open_routes().merge(guarded_routes()).into_openapi())
}

/// The admin plane, to be served on a loopback listener, or an onion service, of its own (R9).
pub fn admin_router(plane: AdminPlane) -> Router {
    assembled(plane, access::routes().merge(web::routes()))
}

/// The routes of the description and these pages, behind who may.
fn assembled(plane: AdminPlane, pages: Router<AdminPlane>) -> Router {
    let (router, _) = open_routes().merge(guarded_routes()).split_for_parts();
    let traffic = plane.traffic.clone();
    let router = router
        .merge(pages)
        .fallback(web::error::nowhere)
        .method_not_allowed_fallback(web::error::no_such_method)
        .layer(DefaultBodyLimit::max(api::MAX_BODY_BYTES))
        .layer(from_fn_with_state(plane.clone(), api::idempotency::once))
        .layer(from_fn_with_state(plane.clone(), to_its_end))
        .layer(from_fn_with_state(plane.clone(), access::identify))
        .layer(from_fn_with_state(plane.clone(), guard::host))
        .layer(from_fn(web::error::in_a_page))
        .with_state(plane);
    traced(router, Plane::Admin, traffic)
}

/// What may change something is done to its end, on record and remembered, also if whoever asked has hung up.
async fn to_its_end(State(plane): State<AdminPlane>, request: Request, next: Next) -> Response {
    if access::is_safe(request.method()) {
        return next.run(request).await;
    }
    let work = next.run(request).instrument(tracing::Span::current());
    let done = plane.jobs.tasks().spawn(work).await;
    done.unwrap_or_else(|error| Problem::internal(&error).into_response())
}

#[cfg(test)]
pub(in crate::http) mod tests;
