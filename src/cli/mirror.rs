//! `bulbil mirror`: which collections of a peer are kept following.

use std::collections::BTreeSet;

use serde_json::json;

use crate::backup::select;
use crate::domain::peer::Scope;
use crate::replicate::trust::{self, mirrored_in_words};

use super::args::MirrorArgs;
use super::context::Context;
use super::output::Outcome;
use super::remote::peer;

/// Changes or shows what is mirrored from a peer.
pub async fn run(args: MirrorArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let known = peer(&store, &args.peer).await?;
    let wanted = match (args.off, args.all, args.collections.is_empty()) {
        (true, _, _) => Some((false, known.mirror.clone())),
        (_, true, _) => Some((true, Scope::All)),
        (_, _, false) => {
            let mut ids = BTreeSet::new();
            for name in &args.collections {
                ids.insert(select::collection(&store, name).await?.id);
            }
            Some((true, Scope::Only(ids)))
        }
        (_, _, true) => None,
    };
    let shown = match wanted {
        Some((follow, mirror)) => trust::follow(&store, known, follow, mirror).await?,
        None => known,
    };
    let out = &context.output;
    out.line(format!("mirrored from {}: {}", shown.name, mirrored_in_words(&store, &shown).await?));
    let document = json!({ "name": shown.name, "instance": shown.id, "follow": shown.follow, "mirror": shown.mirror });
    out.document("mirror", document, &[]);
    Ok(Outcome::Done)
}
