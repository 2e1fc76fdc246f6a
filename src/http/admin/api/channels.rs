//! `/admin/v1/alerts/channels` and `/admin/v1/alerts/test`: how an admin is told, and whether that gets through.

use axum::Json;
use axum::extract::State;
use tokio_util::sync::CancellationToken;

use super::page::Page;
use super::refusals::Refused;
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Caller, May, Operate, Read};
use crate::http::admin::view::channel::{ChannelTestView, ChannelView, channels};
use crate::http::problem::Problem;

/// How an admin is told what is wrong
#[utoipa::path(
    get,
    path = "/admin/v1/alerts/channels",
    responses((status = 200, description = "All ways, with whether they are configured; no address", body = Page<ChannelView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_channels(_: May<Read>, State(plane): State<AdminPlane>) -> Json<Page<ChannelView>> {
    Json(Page::whole(channels(plane.ways())))
}

/// Sends a test by every way that is configured, and says what became of it; that takes up to two minutes
#[utoipa::path(
    post,
    path = "/admin/v1/alerts/test",
    responses(
        (status = 200, description = "What became of it, way by way", body = Page<ChannelTestView>),
        (status = 409, description = "No way is configured, or another test goes on; or the same idempotency key is in use at this moment", body = ProblemDocument),
        (status = 422, description = "The idempotency key was used for another request", body = ProblemDocument),
        (status = 413, description = "The body is too long", body = ProblemDocument),
        Refused
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_test(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<ChannelTestView>>, Problem> {
    Ok(Json(Page::whole(plane.test_alerts(&caller).await?)))
}

impl AdminPlane {
    /// Sends a test by every way.
    pub(crate) async fn test_alerts(&self, by: &Caller) -> Result<Vec<ChannelTestView>, Problem> {
        if self.ways().known().is_empty() {
            let why = "nobody is told of anything: name a webhook, a mailbox or a command in [alerts] of bulbil.toml, and start the server again";
            return Err(Problem::conflict("no-channel", why));
        }
        let busy = || Problem::conflict("busy", "another test goes on: wait until it has ended");
        let _one_at_a_time = self.testing.try_lock().map_err(|_| busy())?;
        let instance = self.store().keys.name.clone();
        let told = self.ways().test(&instance, self.now(), &CancellationToken::new()).await;
        let told: Vec<ChannelTestView> = told.into_iter().map(ChannelTestView::from).collect();
        let subject = |one: &ChannelTestView| format!("{}: {}", one.name, if one.taken { "taken" } else { "failed" });
        self.record(by, "alert test", told.iter().map(subject).collect()).await?;
        Ok(told)
    }
}
