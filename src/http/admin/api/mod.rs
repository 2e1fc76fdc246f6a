//! `/admin/v1`: what can be seen and done, as resources. One file a resource; all of them in `openapi/bulbil-admin.json`.
//!
//! A handler says in its first argument what it needs ([`May`](super::access::May)), takes its input by [`At`], [`Params`] and [`Body`],
//! whose rejections are problem documents, calls one function, and renders.

mod body; // JSON that comes in, with its bounds
mod etag; // whether settings were changed meanwhile
mod events; // a run, as it goes on
pub(super) mod idempotency; // a POST that is repeated is done once
mod input; // what stands in the path and in the query
mod page; // lists, a page at a time
mod refusals; // what every route may answer instead
mod runs; // backups, restores and other work

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::AdminPlane;

pub(super) fn routes() -> OpenApiRouter<AdminPlane> {
    OpenApiRouter::new()
        .routes(routes!(runs::get_runs, runs::post_run))
        .routes(routes!(runs::get_run))
        .routes(routes!(runs::get_log))
        .routes(routes!(runs::post_cancel))
        .routes(routes!(runs::post_restore))
        .routes(routes!(runs::post_export))
        .routes(routes!(events::get_events))
}
