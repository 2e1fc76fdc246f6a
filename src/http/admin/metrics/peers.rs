//! Figures of each peer: by its name here, never by its address.

use super::catalog::*;
use super::seconds;
use super::text::Page;
use crate::domain::peer::Trust;
use crate::http::admin::AdminPlane;
use crate::store::IndexError;

pub(super) async fn gather(page: &mut Page, plane: &AdminPlane) -> Result<(), IndexError> {
    let index = &plane.store.index;
    let (peers, following) = (index.peers().await?, plane.worker.status());
    for state in ["pending", "trusted", "revoked"] {
        page.add(PEERS, &[("state", state)], peers.iter().filter(|peer| peer.trust.word() == state).count());
    }
    let collections = index.collections().await?;
    for peer in peers.iter().filter(|peer| matches!(peer.trust, Trust::Trusted(_))) {
        let labels = [("peer", peer.name.as_str())];
        page.add(PEER_FOLLOWED, &labels, u8::from(peer.follow));
        if let Some(at) = peer.last_contact_at {
            page.add(PEER_CONTACT, &labels, seconds(at));
        }
        if let Some(visits) = following.iter().find(|visits| visits.name == peer.name) {
            page.add(PEER_FAILURES, &labels, visits.failures);
        }
        let (mut snapshots, mut bytes) = (0, 0);
        for collection in collections.iter().filter(|collection| collection.origin == peer.id) {
            let known = index.snapshots(Some(&collection.id)).await?;
            snapshots += known.iter().filter(|snapshot| !snapshot.complete).count();
            bytes += index.count_missing(Some(&collection.id)).await?.1;
        }
        page.add(PEER_MISSING_SNAPSHOTS, &labels, snapshots);
        page.add(PEER_MISSING_BYTES, &labels, bytes);
        let line = peer.address.as_ref().map(|address| plane.worker.quality(address)).unwrap_or_default();
        if let Some(latency) = line.latency {
            page.add(PEER_LATENCY, &labels, latency.as_secs_f64());
        }
        if let Some(rate) = line.bytes_per_second {
            page.add(PEER_RATE, &labels, rate);
        }
    }
    Ok(())
}
