//! `bulbil retention`: what is kept of a collection.

use serde_json::{Value, json};

use crate::backup::prune::zone;
use crate::backup::select;
use crate::domain::retention::Policy;
use crate::store::Store;
use crate::store::index::{Collection, Retention};

use super::args::RetentionArgs;
use super::context::Context;
use super::output::Outcome;

/// Says or shows what is kept.
pub async fn run(args: RetentionArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let policy = args.keep.policy();
    anyhow::ensure!(!args.all || policy.is_none(), "--keep-all keeps everything: leave the other --keep options out");
    anyhow::ensure!(!args.usual || policy.is_none(), "--default is a policy of its own: leave the --keep options out");
    refuse_empty(policy.as_ref())?;
    let collections = match &args.collection {
        Some(name) => vec![select::collection(&store, name).await?],
        None => {
            anyhow::ensure!(policy.is_none(), "say of which collection this is kept: 'bulbil retention NAME --keep-…'");
            store.index.collections().await?
        }
    };
    let mut documents = Vec::new();
    for collection in collections {
        let collection = change(&store, collection, &args, policy.as_ref()).await?;
        let kept = collection.kept(&store.keys.instance());
        if args.changes() {
            context.note(format!("{}: {}", collection.name, kept.in_words()));
        }
        context.output.line(format!("{}: {}", collection.name, kept.in_words()));
        documents.push(document(&collection, &kept));
    }
    context.output.document("retention", documents, &[]);
    Ok(Outcome::Done)
}

async fn change(
    store: &Store,
    collection: Collection,
    args: &RetentionArgs,
    policy: Option<&Policy>,
) -> anyhow::Result<Collection> {
    let known = collection.kept(&store.keys.instance());
    let zone_name = args.time_zone.clone().unwrap_or_else(|| known.zone.clone());
    zone(&zone_name)?;
    let retention = match (args.usual, args.all, policy) {
        (true, ..) => None,
        (_, true, _) => Some(Retention { policy: None, zone: zone_name }),
        (.., Some(policy)) => Some(Retention { policy: Some(policy.clone()), zone: zone_name }),
        _ if args.time_zone.is_some() => Some(Retention { zone: zone_name, ..known }),
        _ => return Ok(collection),
    };
    store.index.set_retention(&collection.id, retention.as_ref()).await?;
    Ok(Collection { retention, ..collection })
}

/// A policy that keeps nothing by itself is a slip.
pub(super) fn refuse_empty(policy: Option<&Policy>) -> anyhow::Result<()> {
    anyhow::ensure!(
        !policy.is_some_and(Policy::is_empty),
        "this policy would keep nothing but the newest snapshot: give at least one --keep option that is not 0"
    );
    Ok(())
}

fn document(collection: &Collection, kept: &Retention) -> Value {
    json!({
        "collection": collection.name, "id": collection.id, "policy": kept.policy, "time_zone": kept.zone,
        "is_default": collection.retention.is_none(),
    })
}
