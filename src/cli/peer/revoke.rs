//! `bulbil peer revoke`: shutting an instance out, and saying what it has (R6).

use serde_json::json;

use crate::clock::Clock;
use crate::domain::peer::{Role, Trust};
use crate::replicate::serve::effective;
use crate::replicate::succession::withdraw;
use crate::store::Store;
use crate::store::index::{Peer, Snapshot};

use super::super::context::Context;
use super::super::output::{Outcome, bytes, count};

/// Revokes; takes effect on the peer's next request, and ends its open streams.
pub async fn revoke(peer: Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let visible = visible(&peer, store).await?;
    let collections = store.index.collections().await?;
    store.index.save_peer(&Peer { trust: Trust::Revoked, follow: false, ..peer.clone() }).await?;
    let withdrawn = withdraw(store, &peer.id, context.clock.now()).await?;
    let out = &context.output;
    out.line(format!(
        "peer {} is revoked: its next request is refused, and what it is fetching now is cut off",
        peer.name
    ));
    if withdrawn > 0 {
        out.line("It was an heir, and may not take over any more: peers hear of it with their next sync.");
    }
    let mut lists = Vec::new();
    match &peer.trust {
        Trust::Trusted(rights) if !visible.is_empty() => {
            let can = match rights.role {
                Role::Reader => "It could read them",
                Role::Mirror => "It could keep them, without a key to read them",
            };
            out.line(format!(
                "It was able to fetch these since {:.0}. {can}; that cannot be taken back:",
                peer.added_at
            ));
            for collection in &collections {
                let of: Vec<&Snapshot> = visible.iter().filter(|s| s.collection == collection.id).collect();
                let (Some(first), Some(last)) = (of.first(), of.last()) else { continue };
                let size: u64 = of.iter().map(|s| s.chunk_bytes).max().unwrap_or(0);
                out.line(format!(
                    "  {}: {}, made from {:.0} to {:.0}, the largest {}",
                    collection.name,
                    count(of.len() as u64, "snapshot"),
                    first.created_at,
                    last.created_at,
                    bytes(size)
                ));
                lists.push(json!({
                    "collection": collection.name, "id": collection.id,
                    "snapshots": of.iter().map(|s| json!({
                        "id": s.id, "sequence": s.sequence, "created_at": s.created_at, "chunk_bytes": s.chunk_bytes,
                    })).collect::<Vec<_>>(),
                }));
            }
            out.line("Snapshots that are made from now on have keys of their own that it never gets; it can still open the chunks it had.");
        }
        _ => out.line("It was not able to fetch anything from here."),
    }
    let document = json!({ "name": peer.name, "instance": peer.id, "since": peer.added_at, "had": lists });
    out.document("peer revoke", document, &[]);
    Ok(Outcome::Done)
}

/// The snapshots that the peer may see until now, by collection, oldest first.
async fn visible(peer: &Peer, store: &Store) -> anyhow::Result<Vec<Snapshot>> {
    let Trust::Trusted(granted) = &peer.trust else { return Ok(Vec::new()) };
    let (collections, peers) = (store.index.collections().await?, store.index.peers().await?);
    let rights = effective(granted, &peer.id, &store.keys.instance(), &collections, &peers);
    let mut snapshots = store.index.snapshots(None).await?;
    snapshots.retain(|s| rights.may_see(&s.collection, s.created_at) && s.complete);
    Ok(snapshots)
}
