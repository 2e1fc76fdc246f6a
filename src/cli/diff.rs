//! `bulbil diff`

use std::collections::BTreeMap;

use serde_json::json;

use crate::backup::open::OpenSnapshot;
use crate::backup::{select, view};

use super::args::DiffArgs;
use super::context::Context;
use super::output::{Outcome, count};

/// Shows what differs between two snapshots.
pub async fn run(args: DiffArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let before = select::snapshot(&store, &args.before).await?;
    let after = select::snapshot(&store, &args.after).await?;
    anyhow::ensure!(
        before.collection == after.collection,
        "{} and {} are of different collections: their trees have nothing in common",
        args.before,
        args.after
    );
    let (before, after) = (OpenSnapshot::open(&store, &before.id)?, OpenSnapshot::open(&store, &after.id)?);
    let mut documents = Vec::new();
    let mut counts: BTreeMap<char, u64> = BTreeMap::new();
    view::diff(before.tree(&*store.chunks), after.tree(&*store.chunks), |difference, entry| {
        *counts.entry(difference.letter()).or_default() += 1;
        if context.output.json {
            documents.push(
                json!({ "change": format!("{difference:?}").to_lowercase(), "entry": super::ls::document(entry) }),
            );
        } else {
            context.output.line(format!("{}  {}", difference.letter(), entry.path));
        }
    })?;
    let of = |letter: char| counts.get(&letter).copied().unwrap_or(0);
    context.output.remark(format!(
        "{}: {} new, {} gone, {} changed, {} with other attributes",
        count(counts.values().sum(), "difference"),
        of('+'),
        of('-'),
        of('M'),
        of('U')
    ));
    context.output.document("diff", documents, &[]);
    Ok(Outcome::Done)
}
