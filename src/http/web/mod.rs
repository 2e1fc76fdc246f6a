//! Pages for people: rendered here, whole without JavaScript, and nothing on them comes from elsewhere.
//!
//! A page is a function from what `admin::view` gathered to markup; a handler takes a [`Viewer`] (who looks), gathers, and puts what the
//! function made into a [`Page`]. Rules: no inline style or script, no SVG, no web fonts (the content policy and Tor Browser's "Safest"
//! level allow none of them); what changes something is a form with the viewer's token; a colour never stands alone for what it means.

mod alerts; // GET /alerts
pub(super) mod assets; // GET /assets/…
mod audit; // GET /audit
mod browse; // GET /snapshots/{id}/files
mod changes; // GET /snapshots/{id}/changes
mod chart; // pictures of figures, as PNG
mod charts; // GET /charts/…
mod collection; // GET /collections/{name}
pub mod error; // what went wrong, as a page
mod forms; // fields, with what is wrong beside them
mod keys; // GET /keys
pub mod layout; // what stands around every page
pub mod login; // /login, /confirm, /setup
mod new_collection; // /collections/new
mod overview; // GET /
pub mod parts; // what pages are made of
mod report; // what came of a run, in words
mod restore; // /snapshots/{id}/restore
mod run; // /runs/{id}
mod runs; // GET /runs
mod snapshot; // /snapshots/{id}
mod start; // POST /collections/{name}/runs
#[cfg(test)]
mod tests;
mod viewer; // who looks

use axum::Router;
use axum::routing::{get, post};

pub use error::Amiss;
pub use layout::{Here, Page};
pub use viewer::Viewer;

use super::admin::AdminPlane;

/// All pages. What they need of who asks, their handlers say.
pub(super) fn routes() -> Router<AdminPlane> {
    Router::new()
        .route("/", get(overview::page))
        .route("/collections/{name}", get(collection::page))
        .route("/collections/new", get(new_collection::page).post(new_collection::post))
        .route("/collections/{name}/runs", post(start::post))
        .route("/runs", get(runs::page))
        .route("/runs/{id}", get(run::page))
        .route("/runs/{id}/cancel", post(run::cancel))
        .route("/snapshots/{id}", get(snapshot::page).post(snapshot::change))
        .route("/snapshots/{id}/delete", get(snapshot::ask_delete).post(snapshot::delete))
        .route("/snapshots/{id}/changes", get(changes::page))
        .route("/snapshots/{id}/files", get(browse::page))
        .route("/snapshots/{id}/content", get(browse::content))
        .route("/snapshots/{id}/restore", get(restore::page).post(restore::look))
        .route("/snapshots/{id}/restore/now", post(restore::now))
        .route("/alerts", get(alerts::page))
        .route("/keys", get(keys::page))
        .route("/audit", get(audit::page))
        .route("/charts/growth.png", get(charts::growth))
        .route("/charts/{collection}/growth.png", get(charts::growth_of))
        .route("/charts/{collection}/timeline.png", get(charts::timeline))
        .route(&format!("{}{{name}}", assets::PREFIX), get(assets::asset))
}
