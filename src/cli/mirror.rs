//! `bulbil mirror`: which collections of a peer are kept following.

use std::collections::BTreeSet;

use anyhow::ensure;
use serde_json::json;

use crate::backup::select;
use crate::domain::peer::{Scope, Trust};
use crate::replicate::trust::mirrored_in_words;
use crate::store::index::Peer;

use super::args::MirrorArgs;
use super::context::Context;
use super::output::Outcome;
use super::remote::peer;

/// Changes or shows what is mirrored from a peer.
pub async fn run(args: MirrorArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let known = peer(&store, &args.peer).await?;
    let wanted = match (args.off, args.all, args.collections.is_empty()) {
        (true, _, _) => Some(Peer { follow: false, ..known.clone() }),
        (_, true, _) => Some(Peer { follow: true, mirror: Scope::All, ..known.clone() }),
        (_, _, false) => {
            let mut ids = BTreeSet::new();
            for name in &args.collections {
                ids.insert(select::collection(&store, name).await?.id);
            }
            Some(Peer { follow: true, mirror: Scope::Only(ids), ..known.clone() })
        }
        (_, _, true) => None,
    };
    if let Some(wanted) = &wanted {
        let can_follow = matches!(wanted.trust, Trust::Trusted(_)) && wanted.address.is_some();
        ensure!(
            !wanted.follow || can_follow,
            "peer {} cannot be pulled from: it is {}, and its address is {}known",
            wanted.name,
            wanted.trust.word(),
            if wanted.address.is_some() { "" } else { "not " }
        );
        store.index.save_peer(wanted).await?;
    }
    let shown = wanted.unwrap_or(known);
    let out = &context.output;
    out.line(format!("mirrored from {}: {}", shown.name, mirrored_in_words(&store, &shown).await?));
    let document = json!({ "name": shown.name, "instance": shown.id, "follow": shown.follow, "mirror": shown.mirror });
    out.document("mirror", document, &[]);
    Ok(Outcome::Done)
}
