//! `/admin/v1/targets`: places that copies go to.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::body::Body;
use super::input::At;
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused};
use crate::backup::select;
use crate::domain::audit::Who;
use crate::domain::target::{BucketKey, Location};
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, May, MayNow, Read};
use crate::http::admin::typed;
use crate::http::admin::view::target::{TargetView, target, targets};
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::portable::target::{CopyError, Depth};
use crate::store::StoreError;
use crate::worker::copies::{GRACE, SAMPLE, pairs, sample};
use crate::worker::jobs::Order;
use crate::worker::targets::{NewTarget, TargetsError, add, find, remove};

/// A place that copies shall go to. The same name and place again replaces credentials and collections.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddTarget {
    /// 1 to 64 letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// A folder of this machine that is there and empty, as an absolute path; or `s3://bucket/prefix`.
    pub location: String,
    /// Where the object store answers, as `https://s3.example.org`; that of AWS if nothing is said.
    pub endpoint: Option<String>,
    /// The region of the bucket; `us-east-1` if nothing is said.
    pub region: Option<String>,
    /// What lets us into the bucket. It is kept sealed, and shown by nothing.
    pub credentials: Option<Credentials>,
    /// The names of the collections that are copied there; all, if there are none.
    #[serde(default)]
    pub collections: Vec<String>,
}

/// What lets us into a bucket.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Credentials {
    /// The id of the key.
    #[schema(min_length = 1)]
    pub access_key_id: String,
    /// The secret to it.
    #[schema(min_length = 1)]
    pub secret_access_key: String,
    /// For a key that holds for some hours only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

impl From<Credentials> for BucketKey {
    fn from(credentials: Credentials) -> Self {
        let Credentials { access_key_id, secret_access_key, session_token } = credentials;
        Self { id: access_key_id, secret: secret_access_key, token: session_token }
    }
}

impl From<BucketKey> for Credentials {
    fn from(key: BucketKey) -> Self {
        Self { access_key_id: key.id.clone(), secret_access_key: key.secret.clone(), session_token: key.token.clone() }
    }
}

/// How much of what is in a target is read back after a copy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReadBack {
    /// Names and lengths are looked at.
    None,
    /// A few of a hundred chunks, others each time.
    #[default]
    Sample,
    /// Every byte.
    All,
}

/// What of a new target is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetField {
    /// Its name.
    Name,
    /// Where it is.
    Location,
    /// What lets us in.
    Key,
    /// What is copied there.
    Collections,
}

/// Why a target is not added.
#[derive(Debug)]
pub struct AddTargetError {
    /// What is to be typed anew, if it is that.
    pub field: Option<TargetField>,
    /// The reason.
    pub problem: Problem,
}

impl From<TargetsError> for AddTargetError {
    fn from(error: TargetsError) -> Self {
        let field = match &error {
            TargetsError::Name(_) | TargetsError::NameTaken(_) | TargetsError::NameOfCollection(_) => {
                Some(TargetField::Name)
            }
            TargetsError::NoKey | TargetsError::OddKey | TargetsError::KeyForFolder => Some(TargetField::Key),
            TargetsError::Select(_) => Some(TargetField::Collections),
            TargetsError::Store(_) | TargetsError::Index(_) => None,
            _ => Some(TargetField::Location),
        };
        Self { field, problem: error.into() }
    }
}

impl From<Problem> for AddTargetError {
    fn from(problem: Problem) -> Self {
        Self { field: None, problem }
    }
}

impl From<TargetsError> for Problem {
    fn from(error: TargetsError) -> Self {
        match error {
            TargetsError::NoneYet | TargetsError::NoSuch { .. } => Self::no_such(error.to_string()),
            TargetsError::NameTaken(_) | TargetsError::NameOfCollection(_) => {
                Self::conflict("name-taken", error.to_string())
            }
            TargetsError::PlaceTaken(_) => Self::conflict("place-taken", error.to_string()),
            TargetsError::Select(error) => error.into(),
            TargetsError::Store(error) => error.into(),
            TargetsError::Index(error) | TargetsError::Begin(CopyError::Index(error)) => error.into(),
            _ => Self::invalid(with_causes(&error)),
        }
    }
}

/// Lists targets, with what is known of each copy
#[utoipa::path(
    get,
    path = "/admin/v1/targets",
    responses((status = 200, description = "All of them, by name; never what lets us in", body = Page<TargetView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_targets(
    _: May<Read>,
    State(plane): State<AdminPlane>,
) -> Result<Json<Page<TargetView>>, Problem> {
    Ok(Json(Page::whole(plane.targets().await?)))
}

/// Names a place that copies go to, and begins it
#[utoipa::path(
    post,
    path = "/admin/v1/targets",
    params(("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")),
    request_body = AddTarget,
    responses(
        (status = 201, description = "It is named; nothing is copied yet", body = TargetView, headers(("location" = String, description = "The target"))),
        (status = 200, description = "It was named before: credentials and collections are those that were sent", body = TargetView, headers(("location" = String, description = "The target"))),
        (status = 404, description = "There is no such collection", body = crate::domain::wire::messages::ProblemDocument),
        Refused, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_target(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    Body(new): Body<AddTarget>,
) -> Result<Response, Problem> {
    let by = typed::asker(&caller, &headers);
    let (view, is_new) = plane.add_target(new, by).await.map_err(|error| error.problem)?;
    let location = HeaderValue::try_from(format!("/admin/v1/targets/{}", view.name));
    let location = location.expect("a plain name has only letters, digits, '-', '_' and '.'");
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::LOCATION, location)], Json(view)).into_response())
}

/// One target
#[utoipa::path(
    get,
    path = "/admin/v1/targets/{name}",
    params(("name" = String, Path, description = "Its name")),
    responses((status = 200, description = "The target", body = TargetView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_target(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<TargetView>, Problem> {
    Ok(Json(plane.target_view(&name).await?))
}

/// Forgets a target; what is there stays
#[utoipa::path(
    delete,
    path = "/admin/v1/targets/{name}",
    params(
        ("name" = String, Path, description = "Its name"),
        ("bulbil-typed-by" = Option<String>, Header, description = "With the owner's token: who typed the command that asks, as for runs")
    ),
    responses((status = 204, description = "Nothing is copied there any more"), Refused, Missing),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_target(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    headers: HeaderMap,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    plane.forget_target(&name, typed::asker(&caller, &headers)).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl AdminPlane {
    /// All targets.
    pub(crate) async fn targets(&self) -> Result<Vec<TargetView>, StoreError> {
        targets(self.store()).await
    }

    /// A target as it is.
    pub(crate) async fn target_view(&self, name: &str) -> Result<TargetView, Problem> {
        find(self.store(), name)?;
        target(self.store(), name).await?.ok_or_else(Problem::not_found)
    }

    /// Names a target; and whether it is a new one.
    pub(crate) async fn add_target(&self, new: AddTarget, by: Who) -> Result<(TargetView, bool), AddTargetError> {
        // Two at once, by whatever way, do not take one place under two names.
        let _one_at_a_time = self.changing.lock().await;
        let (endpoint, region) = (new.endpoint.as_deref(), new.region.as_deref());
        let location = Location::parse(new.location.trim(), endpoint, region).map_err(TargetsError::from)?;
        if matches!(location, Location::Folder(_)) && (endpoint.is_some() || region.is_some()) {
            return Err(TargetsError::KeyForFolder.into());
        }
        let key = new.credentials.map(BucketKey::from);
        if key.as_ref().is_some_and(|key| key.id.is_empty() || key.secret.is_empty()) {
            return Err(TargetsError::NoKey.into());
        }
        let new = NewTarget { name: new.name, location, collections: new.collections, key };
        let (target, is_new) = add(self.store(), new, self.now()).await?;
        self.record_of(by, "target add", vec![target.name.clone()]).await?;
        Ok((self.target_view(&target.name).await?, is_new))
    }

    /// Forgets a target.
    pub(crate) async fn forget_target(&self, name: &str, by: Who) -> Result<(), Problem> {
        let target = remove(self.store(), name).await?;
        self.record_of(by, "target remove", vec![target.name.clone()]).await
    }

    /// What is to be copied where.
    pub(super) async fn copy_order(
        &self,
        collection: Option<&str>,
        target: Option<&str>,
        verify: ReadBack,
    ) -> Result<Order, Problem> {
        let store = self.store();
        let collections = match collection {
            Some(name) => vec![select::collection(store, name).await?],
            None => store.index.collections().await?,
        };
        let targets = match target {
            Some(name) => vec![find(store, name)?],
            None => Vec::new(),
        };
        if store.targets()?.is_empty() {
            return Err(Problem::conflict("no-target", TargetsError::NoneYet.to_string()));
        }
        pairs(store, &targets, &collections).map_err(|error| Problem::conflict("no-target", error.to_string()))?;
        let depth = match verify {
            ReadBack::None => Depth::Structure,
            ReadBack::Sample => sample(SAMPLE),
            ReadBack::All => Depth::Data,
        };
        Ok(Order::Copy { collections, targets, depth })
    }

    /// How a target is to be looked at.
    pub(super) fn verify_target_order(
        &self,
        target: &str,
        data: bool,
        percent: Option<u8>,
        repair: bool,
    ) -> Result<Order, Problem> {
        let depth = match (data, percent) {
            (true, Some(_)) => {
                return Err(Problem::invalid("data reads everything: leave sample_percent out, or data"));
            }
            (true, None) => Depth::Data,
            (false, Some(percent @ 1..=100)) => sample(percent),
            (false, Some(_)) => return Err(Problem::invalid("sample_percent is a number from 1 to 100")),
            (false, None) => Depth::Structure,
        };
        Ok(Order::VerifyTarget { target: Box::new(find(self.store(), target)?), depth, repair })
    }

    /// What is to be removed from a target.
    pub(super) fn prune_target_order(&self, target: &str, dry_run: bool, at_once: bool) -> Result<Order, Problem> {
        let grace = if at_once { SignedDuration::ZERO } else { GRACE };
        Ok(Order::PruneTarget { target: Box::new(find(self.store(), target)?), grace, dry_run })
    }
}
