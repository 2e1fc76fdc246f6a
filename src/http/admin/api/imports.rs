//! `/admin/v1/imports`: snapshots are taken from a portable backup.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::SecretBody;
use super::refusals::{BadBody, Missing, Refused};
use super::runs::{absolute, started};
use crate::domain::crypto::recovery::{RecoveryError, RecoveryKey};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, MayNow};
use crate::http::admin::view::run::RunView;
use crate::http::hidden::Hidden;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::portable::At;
use crate::portable::import::ImportOptions;
use crate::worker::jobs::Order;
use crate::worker::targets;

/// An import. What is here already stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StartImport {
    /// From which folder of this machine: an absolute path, of a portable backup or of a folder with several.
    pub folder: Option<String>,
    /// Or from which target, by its name.
    pub target: Option<String>,
    /// Which collections, by name or by the beginning of their id; all, if none are named.
    #[serde(default)]
    pub collections: Vec<String>,
    /// Manifests and keys only.
    #[serde(default)]
    pub skip_chunks: bool,
    /// The recovery key of the instance that made the snapshots, if they are to be opened with it. It is kept nowhere.
    #[schema(value_type = Option<String>)]
    pub recovery_key: Option<Hidden>,
}

/// Takes snapshots from a portable backup on this machine, or from a target
#[utoipa::path(
    post,
    path = "/admin/v1/imports",
    request_body = StartImport,
    responses(
        (status = 202, description = "It goes on: `Location` says where to look", body = RunView, headers(("location" = String, description = "The run"))),
        Refused, Missing, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_import(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    SecretBody(start): SecretBody<StartImport>,
) -> Result<Response, Problem> {
    let order = plane.import_order(&start)?;
    started(&plane, order, caller.who()).await
}

/// Why nothing is imported.
#[derive(Debug)]
pub enum ImportRefused {
    /// The recovery key is none.
    Key(RecoveryError),
    /// Anything else.
    Other(Problem),
}

impl From<Problem> for ImportRefused {
    fn from(problem: Problem) -> Self {
        Self::Other(problem)
    }
}

impl From<ImportRefused> for Problem {
    fn from(refused: ImportRefused) -> Self {
        match refused {
            ImportRefused::Key(error) => Self::invalid(format!("recovery_key: {error}")),
            ImportRefused::Other(problem) => problem,
        }
    }
}

impl AdminPlane {
    /// An import, with names resolved.
    pub(crate) fn import_order(&self, start: &StartImport) -> Result<Order, ImportRefused> {
        let at = match (&start.folder, &start.target) {
            (Some(folder), None) => At::Folder(absolute(folder, "folder")?),
            (None, Some(name)) => {
                let target = targets::find(self.store(), name).map_err(Problem::from)?;
                At::of(&target).map_err(|error| Problem::conflict("not-reachable", with_causes(&error)))?
            }
            _ => return Err(Problem::invalid("name a folder, or a target").into()),
        };
        let recovery = start.recovery_key.as_deref().map(RecoveryKey::parse).transpose();
        let recovery = recovery.map_err(ImportRefused::Key)?.map(Arc::new);
        let options =
            ImportOptions { collections: start.collections.clone(), skip_chunks: start.skip_chunks, recovery };
        Ok(Order::Import { at: Box::new(at), options })
    }
}
