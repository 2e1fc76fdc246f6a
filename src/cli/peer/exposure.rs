//! `bulbil peer exposure`: what an instance has got from here (R6).

use serde_json::json;

use crate::replicate::exposure::{ExposedSnapshot, Exposure, exposure};
use crate::store::Store;
use crate::store::index::Peer;

use super::super::context::Context;
use super::super::output::{Outcome, Output, bytes, count, number};

/// Shows it.
pub async fn show(peer: Peer, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    let has = exposure(store, &peer).await?;
    context.output.line(format!("peer {}, {}, known since {:.0}", peer.name, peer.trust.word(), peer.added_at));
    print(&has, &context.output);
    let document = json!({ "name": peer.name, "instance": peer.id, "since": peer.added_at, "exposure": has });
    context.output.document("peer exposure", document, &[]);
    Ok(Outcome::Done)
}

/// What a peer has, in words.
pub fn print(has: &Exposure, out: &Output) {
    if has.collections.is_empty() && has.chunks == 0 {
        out.line("No key and no chunk was given to it.");
    } else {
        out.line("It was given this, and that cannot be taken back:");
    }
    for collection in &has.collections {
        out.line(format!("  {}", collection.name));
        for snapshot in &collection.snapshots {
            out.line(format!("    {}", line(snapshot)));
        }
    }
    if has.chunks > 0 {
        out.line(format!("  in all {}, {}", count(has.chunks, "chunk"), bytes(has.bytes)));
    }
    if has.may_know_more {
        out.line(format!(
            "This is recorded since {:.0}. Everything that its rights let it see before that counts as known to it.",
            has.recorded_since
        ));
    }
    if has.remake_bytes > 0 {
        let reach = match has.out_of_reach_bytes {
            0 => "nothing of it would be out of its reach".to_owned(),
            left => format!("only the {} that it has not fetched would be out of its reach", bytes(left)),
        };
        out.line(format!(
            "To encrypt these snapshots anew, {} would have to be read and stored again; {reach}.",
            bytes(has.remake_bytes)
        ));
    }
    out.remark("A chunk counts as soon as a part of it was sent, so it may have less. What was sent in the last second before the server was killed may be missing.");
}

/// One snapshot in one line.
fn line(snapshot: &ExposedSnapshot) -> String {
    let key = match (snapshot.key_given_at, snapshot.key_may_be_known) {
        (Some(at), _) => format!("key given {at:.0}"),
        (None, true) => "key counts as known".to_owned(),
        (None, false) => "no key".to_owned(),
    };
    let chunks = if snapshot.deleted {
        "deleted here".to_owned()
    } else {
        let (given, of) = (number(snapshot.given_chunks), number(snapshot.chunks));
        format!("{given} of {of} chunks, {}", bytes(snapshot.given_bytes))
    };
    let when = match (snapshot.first_given_at, snapshot.last_given_at) {
        (Some(first), Some(last)) if first == last => format!(", {first:.0}"),
        (Some(first), Some(last)) => format!(", {first:.0} to {last:.0}"),
        _ => String::new(),
    };
    format!("#{}, made {:.0}: {key}; {chunks}{when}", snapshot.sequence, snapshot.created_at)
}
