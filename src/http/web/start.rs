//! `POST /collections/{name}/runs`: begins something with a collection, or with one of its snapshots.

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

use super::{Amiss, collection, snapshot};
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::http::admin::access::local::see_other;
use crate::http::admin::access::{Posted, Session};
use crate::http::admin::{AdminPlane, ReadBack, StartRun};
use crate::http::problem::Problem;
use crate::worker::jobs::Order;

/// What is to be done.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    kind: String,
    /// Which snapshot is to be tried.
    snapshot: Option<String>,
}

/// Begins what was asked for, if it was in order; its number.
pub(super) async fn begun(
    plane: &AdminPlane,
    session: &Session,
    order: Result<Order, Problem>,
) -> Result<i64, Problem> {
    plane.start(order?, session.caller().who()).await
}

/// Begins it, and leads to its page. What does not begin is said on the page that the form was on.
pub(super) async fn post(
    State(plane): State<AdminPlane>,
    Path(name): Path<String>,
    posted: Posted<Start>,
) -> Result<Response, Amiss> {
    let Start { kind, snapshot } = posted.form;
    let begun = async {
        let order = plane.order(order(&kind, name.clone(), snapshot.clone())?).await?;
        plane.start(order, posted.session.caller().who()).await
    };
    match begun.await {
        Ok(id) => Ok(see_other(&format!("/runs/{id}"))),
        Err(problem) if problem.status() == StatusCode::CONFLICT => {
            let (viewer, why) = (posted.session.into(), Some(problem.reason()));
            let page = match &snapshot {
                Some(id) => snapshot::shown(&plane, &viewer, id, why, None).await?,
                None => collection::shown(&plane, &viewer, &name, None, why).await?,
            };
            Ok((StatusCode::CONFLICT, page).into_response())
        }
        Err(problem) => Err(problem.into()),
    }
}

fn order(kind: &str, collection: String, snapshot: Option<String>) -> Result<StartRun, Problem> {
    if kind == RunKind::Usage.word() {
        return Ok(StartRun::Usage { collection });
    }
    let work: Work =
        kind.parse().map_err(|_| Problem::invalid(format!("{kind:?} is nothing that can be begun here")))?;
    Ok(match work {
        Work::Backup => StartRun::Backup { collection, accept_shrink: false },
        Work::Verify => StartRun::Verify { collection: Some(collection) },
        Work::VerifyData => StartRun::VerifyData { collection: Some(collection) },
        Work::Check => StartRun::Check { collection },
        Work::Drill => StartRun::Drill { collection, snapshot },
        Work::Prune => StartRun::Prune { collection: Some(collection), grace_seconds: None, policy: None },
        Work::Copy => StartRun::Copy { collection: Some(collection), target: None, verify: ReadBack::Sample },
    })
}
