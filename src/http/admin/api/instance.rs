//! `/admin/v1/instance`, `/alerts` and `/audit`: who this is, what is wrong, who did what.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::input::Params;
use super::page::{Page, limit, number};
use super::refusals::Refused;
use crate::domain::audit::{Ending, Event, Who};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Caller, May, Read};
use crate::http::admin::view::alert::{AlertView, alerts};
use crate::http::admin::view::audit::{AuditView, audit};
use crate::http::problem::Problem;
use crate::replicate::trust::words;

/// Who this is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InstanceView {
    /// Its id.
    pub id: String,
    /// What it calls itself.
    pub name: String,
    /// Eight words by which another admin recognises it.
    pub fingerprint: String,
    /// The version of the program.
    pub version: String,
    /// Since when it runs.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
}

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// So many at once, 1 to 500; 50 if nothing is said.
    #[param(minimum = 1, maximum = 500)]
    limit: Option<u32>,
    /// Where a page before this one said that the next one begins.
    cursor: Option<String>,
}

/// Who this is
#[utoipa::path(
    get,
    path = "/admin/v1/instance",
    responses((status = 200, description = "The instance", body = InstanceView), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_instance(_: May<Read>, State(plane): State<AdminPlane>) -> Json<InstanceView> {
    let keys = &plane.store().keys;
    Json(InstanceView {
        id: keys.instance().to_string(),
        name: keys.name.clone(),
        fingerprint: words(&keys.instance()),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: plane.started_at,
    })
}

/// What is wrong now
#[utoipa::path(
    get,
    path = "/admin/v1/alerts",
    responses((status = 200, description = "All of it, with what to do", body = Page<AlertView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_alerts(
    _: May<Read>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<AlertView>>, Problem> {
    Ok(Json(Page::whole(alerts(plane.store(), plane.bounds(), plane.now()).await?)))
}

/// Who did what, the newest first
#[utoipa::path(
    get,
    path = "/admin/v1/audit",
    params(AuditQuery),
    responses((status = 200, description = "Entries of the audit log", body = Page<AuditView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_audit(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    Params(query): Params<AuditQuery>,
) -> Result<Json<Page<AuditView>>, Problem> {
    let limit = limit(query.limit)?;
    let malformed = |_| Problem::malformed("the cursor is none of this list");
    let before = number(query.cursor.as_deref())?.map(u64::try_from).transpose().map_err(malformed)?;
    let (items, next) = audit(plane.store(), before, limit as usize).await?;
    Ok(Json(Page { items, next_cursor: next.map(|next| next.to_string()) }))
}

impl AdminPlane {
    /// Puts on record that somebody changed something here.
    pub(crate) async fn record(&self, by: &Caller, what: &str, subjects: Vec<String>) -> Result<(), Problem> {
        self.record_of(by.who(), what, subjects).await
    }

    /// The same, of what a command may stand behind: that is on record itself.
    pub(crate) async fn record_of(&self, who: Who, what: &str, subjects: Vec<String>) -> Result<(), Problem> {
        if let Who::User { .. } = who {
            return Ok(());
        }
        let event = Event { who, what: what.to_owned(), subjects, ending: Ending::Done, why: None };
        Ok(self.store().record(&event, self.now()).await?)
    }
}
