//! `bulbil peer revoke`: shutting an instance out, and saying what it has (R6).

use serde_json::json;

use crate::clock::Clock;
use crate::replicate::exposure::ExposedCollection;
use crate::replicate::trust::{self, Revoked};
use crate::store::Store;
use crate::store::index::Peer;

use super::super::context::Context;
use super::super::output::Outcome;
use super::exposure::print;

/// Revokes; takes effect on the peer's next request, and ends its open streams.
pub async fn revoke(peer: Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let Revoked { withdrawn, exposure: has } = trust::revoke(store, &peer, context.clock.now()).await?;
    let out = &context.output;
    out.line(format!(
        "peer {} is revoked: its next request is refused, and what it is fetching now is cut off within 5 seconds",
        peer.name
    ));
    if withdrawn > 0 {
        out.line("It was an heir, and may not take over any more: peers hear of it with their next sync.");
    }
    print(&has, out);
    out.line("Snapshots that are made from now on have keys of their own that it never gets; it can still open the chunks it had.");
    let had = |collection: &ExposedCollection| {
        json!({
            "collection": collection.name, "id": collection.id,
            "snapshots": collection.snapshots.iter().map(|s| json!({
                "id": s.id, "sequence": s.sequence, "created_at": s.created_at, "chunk_bytes": s.chunk_bytes,
            })).collect::<Vec<_>>(),
        })
    };
    let had: Vec<_> = has.collections.iter().map(had).collect();
    let document =
        json!({ "name": peer.name, "instance": peer.id, "since": peer.added_at, "had": had, "exposure": has });
    out.document("peer revoke", document, &[]);
    Ok(Outcome::Done)
}
