//! `GET /admin/v1/status`: what the running server knows.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::access::{Admin, May, MayNow, Read};
use super::network::{Addresses, NetworkStatus};
use super::{AdminPlane, FollowStatus};
use crate::domain::wire::messages::ProblemDocument;
use crate::http::problem::Problem;
use crate::replicate::prove::{self, KeptCopy};
use crate::store::index::axon::AxonPeer;
use crate::worker::standby;

/// What the running server knows.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StatusAnswer {
    /// The program's version.
    pub version: String,
    /// Which instance.
    pub instance: String,
    /// What it is called.
    pub name: String,
    /// Since when the server runs.
    #[schema(value_type = String)]
    pub started_at: Timestamp,
    /// How peers come in, and whether they can.
    pub network: NetworkStatus,
    /// The collections.
    pub collections: Vec<CollectionStatus>,
    /// The peers.
    pub peers: Vec<PeerStatus>,
    /// The Axon BBSes among the peers.
    #[serde(default)]
    pub axon_peers: Vec<AxonPeerStatus>,
    /// How it stands with each followed peer.
    pub following: Vec<FollowStatus>,
    /// Collections of others that are kept laid out in a folder.
    #[serde(default)]
    pub standbys: Vec<StandbyStatus>,
    /// How it stands with reading again what is stored.
    #[serde(default)]
    pub scrub: ScrubStatus,
    /// Why chunks or manifests cannot be read or stored now: their disk is not there.
    #[serde(default)]
    pub storage_problem: Option<String>,
}

/// How it stands with reading again what is stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScrubStatus {
    /// Chunks and lists of chunks that are here.
    pub objects: u64,
    /// Of those, objects that were read since they were stored.
    pub read: u64,
    /// Everything was read since then; nothing while something was never read.
    #[schema(value_type = Option<String>)]
    pub all_read_since: Option<Timestamp>,
    /// Chunks and lists of chunks that are lost and were not brought back yet.
    pub lost: u64,
    /// When something was last found that was not what it was.
    #[schema(value_type = Option<String>)]
    pub last_finding_at: Option<Timestamp>,
}

/// A collection.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CollectionStatus {
    /// What it is called here.
    pub name: String,
    /// Which one.
    pub id: String,
    /// Snapshots that are known.
    pub snapshots: u64,
    /// When the newest whole one was made.
    #[schema(value_type = Option<String>)]
    pub newest_at: Option<Timestamp>,
    /// Chunks that are not here yet.
    pub missing_chunks: u64,
    /// Their bytes.
    pub missing_bytes: u64,
    /// Copies elsewhere that were proved lately; nothing for a collection that is not led from here.
    #[serde(default)]
    pub proved_copies: Option<u64>,
    /// The last proof of each trusted peer that gave one, right or wrong.
    #[serde(default)]
    pub copies: Vec<CopyStatus>,
}

/// A copy at a peer, as its last proof shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CopyStatus {
    /// What the peer is called here.
    pub peer: String,
    /// Which one.
    pub instance: String,
    /// Whether the proof is right and not older than three days.
    pub proved: bool,
    /// When it was given.
    #[schema(value_type = String)]
    pub proved_at: Timestamp,
    /// Of which snapshot.
    pub snapshot: String,
    /// Its number.
    pub sequence: u64,
    /// How many whole snapshots are newer.
    pub behind: u64,
    /// Chunks that were drawn and could be compared.
    pub sampled: u32,
    /// Of those, how many were right.
    pub right: u32,
}

impl CopyStatus {
    pub(super) fn of(copy: KeptCopy, now: Timestamp) -> Self {
        Self {
            proved: copy.is_proved(now),
            peer: copy.name,
            instance: copy.last.proof.peer.to_string(),
            proved_at: copy.last.proof.proved_at,
            snapshot: copy.last.proof.snapshot.to_string(),
            sequence: copy.last.sequence,
            behind: copy.last.behind,
            sampled: copy.last.proof.sampled,
            right: copy.last.proof.right,
        }
    }
}

/// A collection that is kept laid out in a folder.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StandbyStatus {
    /// What it is called here.
    pub collection: String,
    /// The folder.
    pub into: String,
    /// The snapshot that is laid out.
    pub snapshot: Option<String>,
    /// Its number.
    pub sequence: Option<u64>,
    /// When it was laid out.
    #[schema(value_type = Option<String>)]
    pub laid_out_at: Option<Timestamp>,
    /// The number of the newest snapshot that could be laid out.
    pub newest_sequence: Option<u64>,
    /// Why the newest one is not laid out.
    pub error: Option<String>,
    /// What was wrong with the hook the last time.
    pub hook_error: Option<String>,
}

impl StandbyStatus {
    fn of(standby: standby::StandbyStatus) -> Self {
        let laid_out = standby.laid_out.as_ref();
        Self {
            collection: standby.name,
            into: standby.settings.into.display().to_string(),
            snapshot: laid_out.map(|laid_out| laid_out.snapshot.to_string()),
            sequence: laid_out.map(|laid_out| laid_out.sequence),
            laid_out_at: laid_out.map(|laid_out| laid_out.laid_out_at),
            newest_sequence: standby.newest.map(|newest| newest.sequence),
            error: standby.error,
            hook_error: standby.hook_error,
        }
    }
}

/// A peer.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PeerStatus {
    /// What it is called here.
    pub name: String,
    /// Which one.
    pub instance: String,
    /// `pending`, `trusted` or `revoked`.
    pub state: String,
    /// Whether it is pulled from.
    pub follow: bool,
    /// When it was last reached.
    #[schema(value_type = Option<String>)]
    pub last_contact_at: Option<Timestamp>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// How long it takes to connect to it, in milliseconds, averaged.
    pub connect_ms: Option<u64>,
    /// How long it takes to answer, in milliseconds, averaged.
    pub latency_ms: Option<u64>,
    /// Bytes in a second, lately, while something was fetched from it.
    pub bytes_per_second: Option<u64>,
}

/// An Axon BBS.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AxonPeerStatus {
    /// What it is called here.
    pub name: String,
    /// `pending`, `trusted` or `revoked`.
    pub state: String,
    /// Whether it is pulled from.
    pub follow: bool,
    /// When it answered last.
    #[schema(value_type = Option<String>)]
    pub last_contact_at: Option<Timestamp>,
    /// What went wrong since.
    pub last_error: Option<String>,
}

impl From<AxonPeer> for AxonPeerStatus {
    fn from(peer: AxonPeer) -> Self {
        Self {
            state: peer.trust.word().to_owned(),
            name: peer.name,
            follow: peer.follow,
            last_contact_at: peer.last_contact_at,
            last_error: peer.last_error,
        }
    }
}

/// What is here, and what the worker is at
#[utoipa::path(
    get,
    path = "/admin/v1/status",
    responses(
        (status = 200, description = "The state", body = StatusAnswer),
        (status = 401, description = "No token, or a wrong one", body = ProblemDocument),
        (status = 403, description = "The token is not good for this", body = ProblemDocument)
    ),
    security(("token" = ["read"]))
)]
pub(super) async fn get_status(_: May<Read>, State(plane): State<AdminPlane>) -> Result<Json<StatusAnswer>, Problem> {
    let internal = |error: crate::store::IndexError| Problem::internal(&error);
    let index = &plane.store.index;
    let now = plane.clock.now();
    let mut collections = Vec::new();
    for collection in index.collections().await.map_err(internal)? {
        let snapshots = index.snapshots(Some(&collection.id)).await.map_err(internal)?;
        let newest = snapshots.iter().filter(|s| s.complete && !s.partial).map(|s| s.created_at).max();
        let (missing_chunks, missing_bytes) = index.count_missing(Some(&collection.id)).await.map_err(internal)?;
        let led_here = plane.store.keys.is_ours(&collection.origin);
        let copies =
            if led_here { prove::copies(&plane.store, &collection.id).await.map_err(internal)? } else { vec![] };
        let copies: Vec<CopyStatus> = copies.into_iter().map(|copy| CopyStatus::of(copy, now)).collect();
        collections.push(CollectionStatus {
            proved_copies: led_here.then(|| copies.iter().filter(|copy| copy.proved).count() as u64),
            copies,
            name: collection.name,
            id: collection.id.to_string(),
            snapshots: snapshots.len() as u64,
            newest_at: newest,
            missing_chunks,
            missing_bytes,
        });
    }
    let peer = |peer: crate::store::index::Peer| {
        let line = peer.address.as_ref().map(|address| plane.worker.quality(address)).unwrap_or_default();
        let ms = |duration: std::time::Duration| duration.as_millis() as u64;
        PeerStatus {
            name: peer.name,
            instance: peer.id.to_string(),
            state: peer.trust.word().to_owned(),
            follow: peer.follow,
            last_contact_at: peer.last_contact_at,
            last_error: peer.last_error,
            connect_ms: line.connect.map(ms),
            latency_ms: line.latency.map(ms),
            bytes_per_second: line.bytes_per_second,
        }
    };
    let peers = index.peers().await.map_err(internal)?.into_iter().map(peer).collect();
    let standbys = standby::status(&plane.store).await.map_err(internal)?;
    let scrub = index.scrub_state(now, 1).await.map_err(internal)?;
    Ok(Json(StatusAnswer {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: plane.store.keys.instance().to_string(),
        name: plane.store.keys.name.clone(),
        started_at: plane.started_at,
        network: plane.network.network(),
        collections,
        peers,
        axon_peers: index.axon_peers().await.map_err(internal)?.into_iter().map(AxonPeerStatus::from).collect(),
        following: plane.worker.status(),
        standbys: standbys.into_iter().map(StandbyStatus::of).collect(),
        scrub: ScrubStatus {
            objects: scrub.objects,
            read: scrub.read,
            all_read_since: scrub.all_read_since,
            lost: scrub.lost,
            last_finding_at: scrub.findings.first().map(|finding| finding.found_at),
        },
        storage_problem: plane.store.check_folders().err().map(|away| away.to_string()),
    }))
}

/// The addresses of this instance in full: for who may know them
#[utoipa::path(
    get,
    path = "/admin/v1/addresses",
    responses(
        (status = 200, description = "Where peers and the admin come in", body = Addresses),
        (status = 401, description = "No token, or a wrong one", body = ProblemDocument),
        (status = 403, description = "The token is not good for this", body = ProblemDocument)
    ),
    security(("token" = ["admin"]))
)]
pub(super) async fn get_addresses(_: MayNow<Admin>, State(plane): State<AdminPlane>) -> Json<Addresses> {
    Json(plane.network.addresses())
}
