//! `/admin/v1/alerts/settings`: what counts as wrong.

use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::etag::{tagged, unchanged};
use super::refusals::{BadBody, Refused, Stale};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, May, Read};
use crate::http::admin::view::channel::AlertSettingsView;
use crate::http::problem::Problem;
use crate::store::StoreError;

/// What shall count as wrong. What is left out, or `null`, is as it is by itself. What stands in `bulbil.toml` can only be said as it
/// stands there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SetAlerts {
    /// Hours after which a followed peer that was not heard of is told.
    #[schema(minimum = 1, maximum = 87600)]
    pub silent_peer_hours: Option<u32>,
    /// Percent of the disks that are to stay free; 0: nobody is told.
    #[schema(maximum = 50)]
    pub free_percent: Option<u8>,
    /// Minutes between two calls of a `ping`, while nothing is wrong.
    #[schema(minimum = 1, maximum = 1440)]
    pub ping_minutes: Option<u32>,
}

/// What of that is wrong.
#[derive(Debug)]
pub struct SetAlertsError {
    /// Which number; none if it is not one of them.
    pub field: Option<&'static str>,
    /// The reason.
    pub problem: Problem,
}

impl From<Problem> for SetAlertsError {
    fn from(problem: Problem) -> Self {
        Self { field: None, problem }
    }
}

impl From<StoreError> for SetAlertsError {
    fn from(error: StoreError) -> Self {
        Problem::from(error).into()
    }
}

/// What counts as wrong, and who said so
#[utoipa::path(
    get,
    path = "/admin/v1/alerts/settings",
    responses((status = 200, description = "It, with an `ETag`", body = AlertSettingsView), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_alert_settings(_: May<Read>, State(plane): State<AdminPlane>) -> Result<Response, Problem> {
    Ok(tagged(&plane.alert_settings()?))
}

/// Says what counts as wrong; it holds at once
#[utoipa::path(
    put,
    path = "/admin/v1/alerts/settings",
    params(("if-match" = Option<String>, Header, description = "The `ETag` of what is to be changed")),
    request_body = SetAlerts,
    responses((status = 200, description = "It now, with an `ETag`", body = AlertSettingsView), Refused, BadBody, Stale),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_alert_settings(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    Body(set): Body<SetAlerts>,
) -> Result<Response, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    unchanged(&headers, &plane.alert_settings()?)?;
    let view = plane.set_alerts(set, &caller).await.map_err(|error| error.problem)?;
    Ok(tagged(&view))
}

impl AdminPlane {
    /// What counts as wrong, and who said so.
    pub(crate) fn alert_settings(&self) -> Result<AlertSettingsView, Problem> {
        Ok(AlertSettingsView::of(self.alerting.config(), &self.alerting.said()?))
    }

    /// Says what counts as wrong.
    pub(crate) async fn set_alerts(&self, set: SetAlerts, by: &Caller) -> Result<AlertSettingsView, SetAlertsError> {
        let at = |field: &'static str, problem: Problem| SetAlertsError { field: Some(field), problem };
        let range = |field, is_right: bool, words: &str| match is_right {
            true => Ok(()),
            false => Err(at(field, Problem::invalid(format!("{field} is a number from {words}")))),
        };
        range("silent_peer_hours", set.silent_peer_hours.is_none_or(|n| (1..=87_600).contains(&n)), "1 to 87600")?;
        range("free_percent", set.free_percent.is_none_or(|n| n <= 50), "0 to 50")?;
        range("ping_minutes", set.ping_minutes.is_none_or(|n| (1..=1440).contains(&n)), "1 to 1440")?;
        let file = self.alerting.config();
        let wanted = SetAlerts {
            silent_peer_hours: beside("silent_peer_hours", set.silent_peer_hours, file.silent_peer_hours)?,
            free_percent: beside("free_percent", set.free_percent, file.free_percent)?,
            ping_minutes: beside("ping_minutes", set.ping_minutes, file.ping_minutes)?,
        };
        let is_changed = self.store().change_alert_settings(|said| {
            let before = (said.silent_peer_hours, said.free_percent, said.ping_minutes);
            let after = (wanted.silent_peer_hours, wanted.free_percent, wanted.ping_minutes);
            (said.silent_peer_hours, said.free_percent, said.ping_minutes) = after;
            Ok::<_, StoreError>(before != after)
        })?;
        if is_changed {
            let words = |name: &str, value: Option<u32>| {
                value.map_or_else(|| format!("{name} by itself"), |value| format!("{name} {value}"))
            };
            let subjects = vec![
                words("silent_peer_hours", wanted.silent_peer_hours),
                words("free_percent", wanted.free_percent.map(u32::from)),
                words("ping_minutes", wanted.ping_minutes),
            ];
            self.record(by, "alert settings", subjects).await?;
        }
        Ok(self.alert_settings()?)
    }
}

/// What is kept beside the file: nothing of what stands there.
///
/// # Errors
/// If something else stands there.
fn beside<T: Copy + PartialEq + std::fmt::Display>(
    field: &'static str,
    set: Option<T>,
    file: Option<T>,
) -> Result<Option<T>, SetAlertsError> {
    match (set, file) {
        (Some(set), Some(file)) if set != file => {
            let why = format!(
                "{field} = {file} stands in [alerts] of bulbil.toml: change it there, and start the server again"
            );
            Err(SetAlertsError { field: Some(field), problem: Problem::conflict("in-file", why) })
        }
        (_, Some(_)) => Ok(None),
        (set, None) => Ok(set),
    }
}
