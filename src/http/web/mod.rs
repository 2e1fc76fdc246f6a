//! Pages for people: rendered here, whole without JavaScript, and nothing on them comes from elsewhere.
//!
//! A page is a function from what `admin::view` gathered to markup; a handler takes a [`Viewer`] (who looks), gathers, and puts what the
//! function made into a [`Page`]. Rules: no inline style or script, no SVG, no web fonts (the content policy and Tor Browser's "Safest"
//! level allow none of them); what changes something is a form with the viewer's token; a colour never stands alone for what it means.

mod alert_settings; // /alerts/settings
mod alerts; // GET /alerts
pub(super) mod assets; // GET /assets/…
mod audit; // GET /audit
mod browse; // GET /snapshots/{id}/files
mod changes; // GET /snapshots/{id}/changes
mod care; // POST /care
mod carried; // /portable
mod chart; // pictures of figures, as PNG
mod charts; // GET /charts/…
mod channels; // /alerts/channels/…
mod collection; // GET /collections/{name}
mod cron; // when something is done, in words
pub mod error; // what went wrong, as a page
mod forms; // fields, with what is wrong beside them
mod heir; // who may take over, as a form
mod inspection; // GET /snapshots/{id}/inspection
mod invite; // /invites/new
mod join; // /new/clone
mod keys; // GET /keys
pub mod layout; // what stands around every page
pub mod login; // /login, /confirm, /setup
mod new_collection; // /new/collection
mod new_secret; // /collections/{name}/secrets/new
mod new_target; // /new/target
mod onion; // /keys/onion
mod overview; // GET /
pub mod paper; // the recovery sheet, for printing
pub mod parts; // what pages are made of
mod peer; // /peers/{name}
mod peers; // /peers, /new/peer
mod pictures; // those that hold a secret
mod promote; // /collections/{name}/promote
mod recover; // /collections/{name}/recover
mod report; // what came of a run, in words
mod restore; // /snapshots/{id}/restore
mod retention; // /collections/{name}/retention
mod rights; // what somebody may have, as a form
mod rotate; // /keys/rotate
mod run; // /runs/{id}
mod runs; // GET /runs
mod schedule; // /collections/{name}/schedule
mod schedules; // GET /schedules
mod secret; // one secret: shown, removed
mod secrets; // /collections/{name}/secrets
mod settings; // /settings
mod setup; // /collections/{name}/settings
mod sheet; // /keys/sheet
mod snapshot; // /snapshots/{id}
mod standby; // POST /collections/{name}/standby
mod start; // POST /collections/{name}/runs
mod target; // /targets/{name}
mod targets; // /targets
mod tokens; // /settings/tokens
mod typed; // what was typed, and what is wrong with it
mod usage; // what takes the space
mod viewer; // who looks
#[cfg(test)]
mod tests;

use axum::Router;
use axum::routing::{get, post};

pub use error::Amiss;
pub use layout::{Here, Page};
pub use pictures::Pictures;
pub use viewer::Viewer;

use super::admin::AdminPlane;

/// All pages. What they need of who asks, their handlers say.
pub(super) fn routes() -> Router<AdminPlane> {
    Router::new()
        .route("/", get(overview::page))
        .route("/collections/{name}", get(collection::page))
        .route("/new/collection", get(new_collection::page).post(new_collection::post))
        .route("/collections/{name}/runs", post(start::post))
        .route("/collections/{name}/recover", get(recover::page).post(recover::look))
        .route("/collections/{name}/recover/now", post(recover::now))
        .route("/collections/{name}/promote", get(promote::page).post(promote::post))
        .route("/collections/{name}/standby", post(standby::post))
        .route("/runs", get(runs::page))
        .route("/runs/{id}", get(run::page))
        .route("/runs/{id}/cancel", post(run::cancel))
        .route("/snapshots/{id}", get(snapshot::page).post(snapshot::change))
        .route("/snapshots/{id}/delete", get(snapshot::ask_delete).post(snapshot::delete))
        .route("/snapshots/{id}/inspection", get(inspection::page))
        .route("/snapshots/{id}/changes", get(changes::page))
        .route("/snapshots/{id}/files", get(browse::page))
        .route("/snapshots/{id}/content", get(browse::content))
        .route("/snapshots/{id}/restore", get(restore::page).post(restore::look))
        .route("/snapshots/{id}/restore/now", post(restore::now))
        .route("/alerts", get(alerts::page))
        .route("/alerts/test", post(alerts::test))
        .route("/alerts/settings", get(alert_settings::page).post(alert_settings::save))
        .route("/alerts/channels/new", get(channels::page).post(channels::post))
        .route("/alerts/channels/{name}/test", post(alerts::test_one))
        .route("/alerts/channels/{name}/remove", get(channels::ask_remove).post(channels::remove))
        .route("/keys", get(keys::page))
        .route("/keys/sheet", get(sheet::page).post(sheet::print))
        .route("/keys/onion", get(onion::page).post(onion::import))
        .route("/keys/rotate", get(rotate::page).post(rotate::replace))
        .route("/keys/onion/{service}/export", post(onion::download))
        .route("/audit", get(audit::page))
        .route("/peers", get(peers::page))
        .route("/new/clone", get(join::page).post(join::post))
        .route("/new/peer", get(peers::new).post(peers::add))
        .route("/peers/{name}", get(peer::page))
        .route("/peers/{name}/trust", post(peer::trust))
        .route("/peers/{name}/follow", post(peer::follow))
        .route("/peers/{name}/refresh-key", post(peer::refresh_key))
        .route("/peers/{name}/heir", post(peer::heir))
        .route("/peers/{name}/reset", post(peer::reset))
        .route("/peers/{name}/revoke", get(peer::ask_revoke).post(peer::revoke))
        .route("/peers/{name}/forget", post(peer::forget))
        .route("/invites/new", get(invite::page).post(invite::make))
        .route("/invites/pictures/{name}", get(pictures::picture))
        .route("/targets", get(targets::page))
        .route("/new/target", get(new_target::page).post(new_target::post))
        .route("/copies", post(targets::copy_all))
        .route("/targets/{name}", get(target::page))
        .route("/targets/{name}/runs", post(target::start))
        .route("/targets/{name}/forget", get(target::ask_forget).post(target::forget))
        .route("/portable", get(carried::page))
        .route("/portable/export", post(carried::export))
        .route("/portable/import", post(carried::import))
        .route("/schedules", get(schedules::page))
        .route("/care", post(care::post))
        .route("/collections/{name}/schedule", get(schedule::page).post(schedule::save))
        .route("/collections/{name}/retention", get(retention::page).post(retention::save))
        .route("/collections/{name}/secrets", get(secrets::page))
        .route("/collections/{name}/secrets/new", get(new_secret::page).post(new_secret::post))
        .route("/collections/{name}/secrets/elsewhere", post(secrets::elsewhere))
        .route("/collections/{name}/secrets/show", post(secret::show))
        .route("/collections/{name}/secrets/download", post(secret::download))
        .route("/collections/{name}/secrets/remove", get(secret::ask_remove).post(secret::remove))
        .route("/collections/{name}/settings", get(setup::page).post(setup::save))
        .route("/settings", get(settings::page))
        .route("/settings/addresses", get(settings::addresses))
        .route("/settings/tokens/new", get(tokens::page).post(tokens::make))
        .route("/settings/tokens/revoke", post(tokens::revoke))
        .route("/charts/growth.png", get(charts::growth))
        .route("/charts/{collection}/growth.png", get(charts::growth_of))
        .route("/charts/{collection}/timeline.png", get(charts::timeline))
        .route(&format!("{}{{name}}", assets::PREFIX), get(assets::asset))
}
