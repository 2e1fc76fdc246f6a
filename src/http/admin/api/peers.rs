//! `/admin/v1/peers`: other instances, what they may have here, and what they have got.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::Body;
use super::etag::{tagged_by, unchanged};
use super::input::At;
use super::page::Page;
use super::refusals::{BadBody, Missing, Refused, Stale};
use super::rights::RightsBody;
use crate::backup::select;
use crate::domain::peer::is_plain_name;
use crate::domain::peer::{PeerAddress, Scope, Trust};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::admin::AdminPlane;
use crate::http::admin::access::{Admin, Caller, May, MayNow, Operate, Read};
use crate::http::admin::view::exposure::ExposureView;
use crate::http::admin::view::peer::PeerView;
use crate::http::problem::Problem;
use crate::monitor::with_causes;
use crate::replicate::exposure::exposure;
use crate::replicate::trust::{self, TrustError};
use crate::store::index::Peer;

/// An instance that is to be noted as pending.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPeer {
    /// Its address: `http://….onion`, or a plain address on this machine or, where `bulbil.toml` allows it, in the network.
    pub url: String,
    /// What it is to be called here; what it calls itself, if nothing is said.
    pub name: Option<String>,
}

/// A peer that is to be let in.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustPeer {
    /// The eight words that its admin read out. They are needed until it is trusted.
    pub fingerprint: Option<String>,
    /// What it may have here.
    pub rights: RightsBody,
    /// Whether it is pulled from; if its address is known, if nothing is said.
    pub follow: Option<bool>,
}

/// Whether a peer is pulled from.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePeer {
    /// Whether it is pulled from.
    pub follow: Option<bool>,
    /// Of which collections we keep the chunks: their names, or `all`.
    pub mirror: Option<Vec<String>>,
}

/// Lists peers
#[utoipa::path(
    get,
    path = "/admin/v1/peers",
    responses((status = 200, description = "All of them, by name", body = Page<PeerView>), Refused),
    security(("token" = ["read"]))
)]
pub(super) async fn get_peers(_: May<Read>, State(plane): State<AdminPlane>) -> Result<Json<Page<PeerView>>, Problem> {
    Ok(Json(Page::whole(plane.peers().await?)))
}

/// Notes an instance as pending, and makes this one known there
#[utoipa::path(
    post,
    path = "/admin/v1/peers",
    request_body = AddPeer,
    responses(
        (status = 201, description = "It is pending: compare the words, then trust it", body = PeerView),
        (status = 502, description = "It does not answer, or not as an instance does", body = ProblemDocument),
        Refused, BadBody
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_peer(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    Body(add): Body<AddPeer>,
) -> Result<(StatusCode, Json<PeerView>), Problem> {
    Ok((StatusCode::CREATED, Json(plane.add_peer(add, &caller).await?)))
}

/// One peer
#[utoipa::path(
    get,
    path = "/admin/v1/peers/{name}",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 200, description = "The peer", body = PeerView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_peer(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<PeerView>, Problem> {
    let peer = plane.peer(&name).await?;
    Ok(Json(plane.peer_view(peer).await?))
}

/// Follows a peer, or no longer
#[utoipa::path(
    patch,
    path = "/admin/v1/peers/{name}",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    request_body = ChangePeer,
    responses((status = 200, description = "The peer now", body = PeerView), Refused, Missing, BadBody),
    security(("token" = ["admin"]))
)]
pub(super) async fn patch_peer(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    Body(change): Body<ChangePeer>,
) -> Result<Json<PeerView>, Problem> {
    Ok(Json(plane.change_peer(&name, change, &caller).await?))
}

/// What is kept of a peer: whether it is followed, and of which collections the chunks are fetched.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Whether it is pulled from.
    pub follow: bool,
    /// The names of the collections, or `all`.
    pub collections: Vec<String>,
}

/// What is kept of a peer
#[utoipa::path(
    get,
    path = "/admin/v1/peers/{name}/mirror",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 200, description = "It, with an `ETag`", body = Mirror), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_mirror(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Response, Problem> {
    Ok(super::etag::tagged(&plane.mirror(&plane.peer(&name).await?).await?))
}

/// Follows a peer, or no longer; and says of which collections the chunks are kept here
#[utoipa::path(
    put,
    path = "/admin/v1/peers/{name}/mirror",
    params(
        ("name" = String, Path, description = "Its name, or the beginning of its id"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of what is to be changed")
    ),
    request_body = Mirror,
    responses((status = 200, description = "It, as it is now, with an `ETag`", body = Mirror), Refused, Missing, BadBody, Stale),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_mirror(
    May { caller, .. }: May<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    headers: HeaderMap,
    Body(wanted): Body<Mirror>,
) -> Result<Response, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    unchanged(&headers, &plane.mirror(&plane.peer(&name).await?).await?)?;
    let change = ChangePeer { follow: Some(wanted.follow), mirror: Some(wanted.collections) };
    plane.change_peer(&name, change, &caller).await?;
    Ok(super::etag::tagged(&plane.mirror(&plane.peer(&name).await?).await?))
}

/// What a peer may have here
#[utoipa::path(
    get,
    path = "/admin/v1/peers/{name}/trust",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 200, description = "The peer, with an `ETag` over its state and rights", body = PeerView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_trust(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Response, Problem> {
    let view = plane.peer_view(plane.peer(&name).await?).await?;
    Ok(tagged_by(&view, &(&view.state, &view.rights)))
}

/// Lets a peer in, or changes what it may have
#[utoipa::path(
    put,
    path = "/admin/v1/peers/{name}/trust",
    params(
        ("name" = String, Path, description = "Its name, or the beginning of its id"),
        ("if-match" = Option<String>, Header, description = "The `ETag` of what is to be changed")
    ),
    request_body = TrustPeer,
    responses((status = 200, description = "The peer now", body = PeerView), Refused, Missing, BadBody, Stale),
    security(("token" = ["admin"]))
)]
pub(super) async fn put_trust(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
    headers: HeaderMap,
    Body(trust): Body<TrustPeer>,
) -> Result<Json<PeerView>, Problem> {
    let _one_at_a_time = plane.changing.lock().await;
    let known = plane.peer_view(plane.peer(&name).await?).await?;
    unchanged(&headers, &(&known.state, &known.rights))?;
    Ok(Json(plane.trust_peer(&name, trust, &caller).await?))
}

/// Shuts a peer out, and says what it has: that cannot be taken back
#[utoipa::path(
    post,
    path = "/admin/v1/peers/{name}/revoke",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 200, description = "Its next request is refused; this is what it has", body = ExposureView), Refused, Missing, BadBody),
    security(("token" = ["admin"]))
)]
pub(super) async fn post_revoke(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<ExposureView>, Problem> {
    Ok(Json(plane.revoke_peer(&name, &caller).await?))
}

/// What a peer has got from here
#[utoipa::path(
    get,
    path = "/admin/v1/peers/{name}/exposure",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 200, description = "It", body = ExposureView), Refused, Missing),
    security(("token" = ["read"]))
)]
pub(super) async fn get_exposure(
    _: May<Read>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<ExposureView>, Problem> {
    let peer = plane.peer(&name).await?;
    Ok(Json(ExposureView::of(&peer.name, exposure(plane.store(), &peer).await?)))
}

/// What came of asking a peer for its key.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, Deserialize, ToSchema)]
pub struct RefreshedView {
    /// Whether it has another one now.
    pub changed: bool,
    /// The version that was known here.
    pub before_version: u64,
    /// The version that it has.
    pub after_version: u64,
}

/// Asks a peer for the key that it has now; envelopes are made for that one from then on
#[utoipa::path(
    post,
    path = "/admin/v1/peers/{name}/refresh-key",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses(
        (status = 200, description = "What came of it", body = RefreshedView),
        (status = 502, description = "It does not answer, or not as an instance does", body = ProblemDocument),
        Refused, Missing, BadBody
    ),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_refresh_key(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<RefreshedView>, Problem> {
    Ok(Json(plane.refresh_key(&name, &caller).await?))
}

/// Reads a peer's list from its beginning with the next sync
#[utoipa::path(
    post,
    path = "/admin/v1/peers/{name}/reset-sync",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 200, description = "The peer; what is here stays here", body = PeerView), Refused, Missing, BadBody),
    security(("token" = ["operate"]))
)]
pub(super) async fn post_reset(
    May { caller, .. }: May<Operate>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<Json<PeerView>, Problem> {
    Ok(Json(plane.reset_peer(&name, &caller).await?))
}

/// Forgets a peer; what was pulled from it stays
#[utoipa::path(
    delete,
    path = "/admin/v1/peers/{name}",
    params(("name" = String, Path, description = "Its name, or the beginning of its id")),
    responses((status = 204, description = "It is forgotten. One that was revoked could be let in again"), Refused, Missing),
    security(("token" = ["admin"]))
)]
pub(super) async fn delete_peer(
    MayNow { caller, .. }: MayNow<Admin>,
    State(plane): State<AdminPlane>,
    At(name): At<String>,
) -> Result<StatusCode, Problem> {
    plane.remove_peer(&name, &caller).await?;
    Ok(StatusCode::NO_CONTENT)
}

impl From<TrustError> for Problem {
    fn from(error: TrustError) -> Self {
        match &error {
            TrustError::Call(_) => Self::peer_failed(with_causes(&error)),
            TrustError::Index(cause) => Self::internal(cause),
            TrustError::Identity(_) | TrustError::Succession(_) => Self::internal(&error),
            TrustError::OlderKey { .. }
            | TrustError::OtherKey
            | TrustError::NotTrusted { .. }
            | TrustError::NoAddress(_) => Self::conflict("not-as-things-are", error.to_string()),
            TrustError::OtherWords { .. } | TrustError::NotCompared { .. } | TrustError::Ourselves => {
                Self::invalid(error.to_string())
            }
        }
    }
}

impl AdminPlane {
    /// The peer with this name, or whose id begins so.
    pub(crate) async fn peer(&self, name: &str) -> Result<Peer, Problem> {
        let ambiguous = |error| match error {
            crate::store::IndexError::Ambiguous { .. } => Problem::no_such("that is the beginning of several ids"),
            error => Problem::from(error),
        };
        let found = self.store().index.peer_named(name).await.map_err(ambiguous)?;
        found.ok_or_else(|| Problem::no_such(format!("there is no peer {name:?} here")))
    }

    /// Refuses an address that is reached without Tor, unless the owner said that this is wanted.
    pub(super) fn may_dial(&self, address: &PeerAddress) -> Result<(), Problem> {
        if address.is_clearnet() && !self.direct_allowed {
            return Err(Problem::invalid(
                "that address is reached without Tor: set dangerously_direct = true in [peer] of bulbil.toml if that is wanted",
            ));
        }
        Ok(())
    }

    /// Notes an instance as pending.
    pub(crate) async fn add_peer(&self, add: AddPeer, by: &Caller) -> Result<PeerView, Problem> {
        let url: PeerAddress = add.url.parse().map_err(|error| Problem::invalid(format!("{error}")))?;
        self.may_dial(&url)?;
        if let Some(name) = add.name.as_ref().filter(|name| !is_plain_name(name)) {
            return Err(Problem::invalid(format!(
                "{name:?} is no name for a peer: use letters, digits and -_., 64 at most"
            )));
        }
        let peer = trust::note(self.store(), self.jobs.caller(), url, add.name, self.now()).await?;
        self.record(by, "peer add", vec![format!("{} {}", peer.name, peer.id.short())]).await?;
        Ok(self.peer_view(peer).await?)
    }

    /// Follows a peer, or no longer.
    pub(crate) async fn change_peer(&self, name: &str, change: ChangePeer, by: &Caller) -> Result<PeerView, Problem> {
        let peer = self.peer(name).await?;
        let mirror = match &change.mirror {
            None => peer.mirror.clone(),
            Some(names) if names.iter().any(|name| name == "all") => Scope::All,
            Some(names) => {
                let mut ids = std::collections::BTreeSet::new();
                for name in names {
                    ids.insert(select::collection(self.store(), name).await?.id);
                }
                Scope::Only(ids)
            }
        };
        let follow = change.follow.unwrap_or(peer.follow);
        let changed = trust::follow(self.store(), peer, follow, mirror).await?;
        self.record(by, "mirror", vec![changed.name.clone()]).await?;
        Ok(self.peer_view(changed).await?)
    }

    /// What is kept of it.
    async fn mirror(&self, peer: &Peer) -> Result<Mirror, Problem> {
        let collections = match &peer.mirror {
            Scope::All => vec!["all".to_owned()],
            scope => {
                let all = self.store().index.collections().await?.into_iter();
                all.filter(|one| scope.includes(&one.id)).map(|one| one.name).collect()
            }
        };
        Ok(Mirror { follow: peer.follow, collections })
    }

    /// Lets a peer in, or changes what it may have.
    pub(crate) async fn trust_peer(&self, name: &str, wanted: TrustPeer, by: &Caller) -> Result<PeerView, Problem> {
        let peer = self.peer(name).await?;
        match (&wanted.fingerprint, &peer.trust) {
            (Some(typed), _) => trust::compare(typed, &peer)?,
            (None, Trust::Trusted(_)) => {}
            (None, _) => {
                let shown = trust::words(&peer.id);
                return Err(TrustError::NotCompared { name: peer.name, shown }.into());
            }
        }
        let rights = wanted.rights.resolve(self.store()).await?;
        let follow = wanted.follow.unwrap_or(peer.address.is_some());
        let trusted = trust::trust(self.store(), peer, rights, follow).await?;
        let view = self.peer_view(trusted).await?;
        let may = view.rights_in_words.clone().unwrap_or_default();
        self.record(by, "peer trust", vec![format!("{}: {may}", view.name)]).await?;
        Ok(view)
    }

    /// Shuts a peer out; what it has.
    pub(crate) async fn revoke_peer(&self, name: &str, by: &Caller) -> Result<ExposureView, Problem> {
        let peer = self.peer(name).await?;
        let revoked = trust::revoke(self.store(), &peer, self.now()).await?;
        self.record(by, "peer revoke", vec![format!("{} {}", peer.name, peer.id.short())]).await?;
        Ok(ExposureView::of(&peer.name, revoked.exposure))
    }

    /// Asks it for the key that it has now.
    pub(crate) async fn refresh_key(&self, name: &str, by: &Caller) -> Result<RefreshedView, Problem> {
        let peer = self.peer(name).await?;
        let refreshed = trust::refresh_key(self.store(), self.jobs.caller(), &peer).await?;
        let changed = refreshed.is_new();
        if changed {
            self.record(by, "peer refresh-key", vec![peer.name]).await?;
        }
        Ok(RefreshedView { changed, before_version: refreshed.before.1, after_version: refreshed.after.1 })
    }

    /// Has its list read from its beginning with the next sync.
    pub(crate) async fn reset_peer(&self, name: &str, by: &Caller) -> Result<PeerView, Problem> {
        let peer = self.peer(name).await?;
        self.store().index.reset_cursor(&peer.id).await?;
        self.record(by, "peer reset-sync", vec![peer.name.clone()]).await?;
        Ok(self.peer_view(peer).await?)
    }

    /// Forgets a peer.
    pub(crate) async fn remove_peer(&self, name: &str, by: &Caller) -> Result<(), Problem> {
        let peer = self.peer(name).await?;
        self.store().index.remove_peer(&peer.id).await?;
        self.record(by, "peer remove", vec![peer.name]).await
    }
}
