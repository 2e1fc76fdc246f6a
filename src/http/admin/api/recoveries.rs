//! `/admin/v1/recoveries`: the live folders of a collection, brought back.

use std::path::PathBuf;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::refusals::{BadBody, Missing, Refused};
use super::runs::started;
use crate::backup::recover::{RecoverError, RecoverOptions, can_begin};
use crate::backup::select;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, MayNow};
use crate::http::admin::view::run::RunView;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::worker::jobs::Order;

/// A recovery. Commands that stop and start the application are not run from here: stop it yourself, or use `bulbil recover`.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartRecovery {
    /// Of which collection: one whose folders are on this machine.
    pub collection: String,
    /// From which snapshot: `latest`, a number, a tag, or an id. If none is named: the newest that is complete, sound and not flagged.
    pub snapshot: Option<String>,
    /// Only these files and folders.
    #[serde(default)]
    pub paths: Vec<String>,
    /// Go on although the application seems to run, or the snapshot that was asked for has faults.
    #[serde(default)]
    pub force: bool,
    /// Sessions do not come back: what the preset names as such becomes an empty file.
    #[serde(default)]
    pub drop_sessions: bool,
    /// Only say which snapshot would be taken, and what it would replace.
    #[serde(default)]
    pub dry_run: bool,
}

/// Brings the live folders of a collection back from a snapshot; what is there now is kept beside
#[utoipa::path(
    post,
    path = "/admin/v1/recoveries",
    request_body = StartRecovery,
    responses(
        (status = 202, description = "It goes on: `Location` says where to look. It fails and changes nothing while the application runs", body = RunView, headers(("location" = String, description = "The run"))),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_recovery(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    Body(start): Body<StartRecovery>,
) -> Result<Response, Problem> {
    let order = plane.recovery_order(start).await?;
    started(&plane, order, caller.who()).await
}

impl From<RecoverError> for Problem {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::NotHere(_) => Self::conflict("not-here", error.to_string()),
            RecoverError::Store(error) => error.into(),
            RecoverError::Index(error) => error.into(),
            RecoverError::BadPath(_) | RecoverError::NoSessions(_) => Self::invalid(error.to_string()),
            error => Self::conflict("not-recoverable", with_causes(&error)),
        }
    }
}

impl AdminPlane {
    /// A recovery, with names resolved.
    pub(crate) async fn recovery_order(&self, start: StartRecovery) -> Result<Order, Problem> {
        let collection = select::collection(self.store(), &start.collection).await?;
        let snapshot = match &start.snapshot {
            Some(which) => Some(select::snapshot_of(self.store(), &collection, which).await?.id),
            None => None,
        };
        if start.paths.iter().any(|path| path.contains('\0')) {
            return Err(Problem::invalid("a path has no NUL in it"));
        }
        let options = RecoverOptions {
            snapshot,
            paths: start.paths.into_iter().map(PathBuf::from).collect(),
            force: start.force,
            drop_sessions: start.drop_sessions,
            dry_run: start.dry_run,
            ..RecoverOptions::plain()
        };
        can_begin(self.store(), &collection, &options, &*Arc::clone(&self.clock)).await?;
        Ok(Order::Recover { collection: Box::new(collection), options: Box::new(options) })
    }
}
