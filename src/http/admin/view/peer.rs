//! Peers, as a resource: by the names that they have here, never by their addresses.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::peer::{Role, Scope, Trust};
use crate::http::admin::{AdminPlane, FollowStatus};
use crate::replicate::trust::{granted_in_words, mirrored_in_words, rights_in_words, words};
use crate::store::IndexError;
use crate::store::index::Peer;

/// A peer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PeerView {
    /// What it is called here.
    pub name: String,
    /// Which instance it is.
    pub instance: String,
    /// Eight words that its admin sees, too.
    pub fingerprint: String,
    /// `pending`, `trusted` or `revoked`.
    pub state: String,
    /// What it may have here.
    pub rights: Option<RightsView>,
    /// The same in words.
    pub rights_in_words: Option<String>,
    /// What it lets us have, in words.
    pub granted_in_words: Option<String>,
    /// Whether its address is known: without one it calls us, and we do not call it.
    pub has_address: bool,
    /// Whether it is pulled from.
    pub follow: bool,
    /// Of what we keep the chunks, in words.
    pub mirrored_in_words: String,
    /// Since when it is known.
    #[schema(value_type = String, format = DateTime)]
    pub added_at: Timestamp,
    /// When it was last reached, or reached us.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_contact_at: Option<Timestamp>,
    /// What went wrong the last time.
    pub last_error: Option<String>,
    /// How long it takes to connect to it, in milliseconds, averaged.
    pub connect_ms: Option<u64>,
    /// How long it takes to answer, in milliseconds, averaged.
    pub latency_ms: Option<u64>,
    /// Bytes in a second, lately, while something was fetched from it.
    pub bytes_per_second: Option<u64>,
    /// What the sync worker is at with it.
    pub following: Option<FollowStatus>,
}

/// What a peer may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RightsView {
    /// The names of collections; nothing for all, and those added later.
    pub collections: Option<Vec<String>>,
    /// `reader`, or `mirror`: it keeps without reading.
    #[schema(value_type = String)]
    pub role: Role,
    /// Whether it may serve them to its own peers.
    pub onward: bool,
    /// Only snapshots from this moment on.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub from_at: Option<Timestamp>,
    /// Bytes a second at most, all its streams together.
    pub rate_bytes: Option<u64>,
    /// Bytes a month at most.
    pub quota_bytes: Option<u64>,
    /// When chunks are sent, UTC, e.g. `22:00-06:00`.
    pub hours: Option<String>,
}

impl AdminPlane {
    /// All peers, by name.
    pub(crate) async fn peers(&self) -> Result<Vec<PeerView>, IndexError> {
        let mut views = Vec::new();
        for peer in self.store().index.peers().await? {
            views.push(self.peer_view(peer).await?);
        }
        Ok(views)
    }

    /// One peer.
    pub(crate) async fn peer_view(&self, peer: Peer) -> Result<PeerView, IndexError> {
        let store = self.store();
        let rights = if let Trust::Trusted(rights) = &peer.trust { Some(rights) } else { None };
        let names = match rights.map(|rights| &rights.scope) {
            None | Some(Scope::All) => None,
            Some(Scope::Only(ids) | Scope::Guest { granted: ids, .. }) => {
                let known = store.index.collections().await?;
                let name = |id| known.iter().find(|c| c.id == id).map_or_else(|| id.short(), |c| c.name.clone());
                Some(ids.iter().copied().map(name).collect())
            }
        };
        let in_words = match rights {
            Some(rights) => Some(rights_in_words(store, rights).await?),
            None => None,
        };
        let line = peer.address.as_ref().map(|address| self.following().quality(address)).unwrap_or_default();
        let ms = |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let instance = peer.id.to_string();
        Ok(PeerView {
            fingerprint: words(&peer.id),
            state: peer.trust.word().to_owned(),
            rights: rights.map(|rights| RightsView {
                collections: names,
                role: rights.role,
                onward: rights.onward,
                from_at: rights.from,
                rate_bytes: rights.limits.rate,
                quota_bytes: rights.limits.quota,
                hours: rights.limits.hours.map(|hours| hours.to_string()),
            }),
            rights_in_words: in_words,
            granted_in_words: peer.granted.as_ref().map(granted_in_words),
            has_address: peer.address.is_some(),
            follow: peer.follow,
            mirrored_in_words: mirrored_in_words(store, &peer).await?,
            added_at: peer.added_at,
            last_contact_at: peer.last_contact_at,
            last_error: peer.last_error,
            connect_ms: line.connect.map(ms),
            latency_ms: line.latency.map(ms),
            bytes_per_second: line.bytes_per_second,
            following: self.following().status().into_iter().find(|one| one.instance == instance),
            name: peer.name,
            instance,
        })
    }
}
