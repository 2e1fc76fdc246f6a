//! `bulbil prune`: what goes, why the rest stays, and the space that it frees.

use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::backup::create::moment;
use crate::backup::prune::{CollectionPlan, PrunePlan, Pruned, plan};
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::retention::{Policy, Reason};
use crate::store::Store;
use crate::store::index::{Cause, Collection, Retention};
use crate::worker::runs::Recorder;

use super::admin::AdminClient;
use super::args::PruneArgs;
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::retention::refuse_empty;

/// Plans, shows, and does it.
pub async fn run(args: PruneArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let otherwise = args.keep.policy();
    refuse_empty(otherwise.as_ref())?;
    let collections = collections(&store, &args.collections).await?;
    let now = context.clock.now();
    let plan = plan(&store, &collections, otherwise.as_ref(), now).await?;
    for collection in &plan.collections {
        show(collection, args.dry_run || args.explain, context);
    }
    let grace = args.grace;
    let pruned = match args.dry_run {
        true => {
            let freed = bytes(plan.freed.bytes);
            context.output.line(match plan.removed().count() as u64 {
                0 => "nothing would be removed".to_owned(),
                n => format!("{} would be removed, which frees {freed}", count(n, "snapshot")),
            });
            None
        }
        false => {
            let (progress, cancel) = (context.progress(), context.cancellation());
            let grace = SignedDuration::try_from(grace).unwrap_or(SignedDuration::MAX);
            // What a kill interrupts stands in the audit log, too.
            let going = going(&plan);
            if !going.is_empty() {
                super::audit::begun("prune", going.clone(), context).await;
            }
            going.into_iter().for_each(|text| context.note(text));
            let pruned = match Server::running(&store, only_here(&args, &collections), context).await? {
                // It plans by itself: what was made since this plan was shown is not in it, and stays here as there.
                Some(server) => {
                    let pruned = server.run(&order(&args, otherwise.as_ref()), &progress).await?;
                    pruned.context("the server that runs in this home says nothing of what it removed")?
                }
                None => {
                    let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
                    let pruned = recorder.prune_by(&collections, &plan, grace, progress.clone()).await?;
                    if pruned.snapshots > 0 {
                        AdminClient::feed_changed(&store).await;
                    }
                    pruned
                }
            };
            progress.finish();
            say(&pruned, args.grace, context);
            Some(pruned)
        }
    };
    context.output.document("prune", document(&plan, pruned.as_ref()), &[]);
    Ok(match pruned {
        Some(pruned) if pruned.swept.postponed && pruned.waiting.chunks > 0 && grace.is_zero() => {
            Outcome::NotEverything
        }
        _ => Outcome::Done,
    })
}

/// What the server does not prune at once: some collections of several, and nothing at all.
fn only_here(args: &PruneArgs, collections: &[Collection]) -> Option<&'static str> {
    match args.collections.len() {
        2.. => Some("naming several collections"),
        _ if collections.is_empty() => Some("a home without collections"),
        _ => None,
    }
}

/// What the server is asked for.
fn order(args: &PruneArgs, otherwise: Option<&Policy>) -> Value {
    let policy = otherwise.map(|policy| {
        let tags: Vec<String> = policy.tags.iter().map(ToString::to_string).collect();
        json!({
            "last": policy.keep_last, "hourly": policy.hourly, "daily": policy.daily, "weekly": policy.weekly,
            "monthly": policy.monthly, "yearly": policy.yearly, "within_hours": policy.within_hours, "tags": tags.join(","),
        })
    });
    // A part of a second counts as one: nothing goes earlier than was said.
    let grace = args.grace.as_secs() + u64::from(args.grace.subsec_nanos() > 0);
    json!({ "kind": "prune", "collection": args.collections.first(), "grace_seconds": grace, "policy": policy })
}

/// What goes, by collection: `notes@1, 2, 5`.
fn going(plan: &PrunePlan) -> Vec<String> {
    let of = |collection: &CollectionPlan| {
        let gone = collection.snapshots.iter().filter(|snapshot| snapshot.goes());
        let numbers: Vec<String> = gone.map(|snapshot| snapshot.sequence.to_string()).collect();
        (!numbers.is_empty()).then(|| format!("{}@{}", collection.name, numbers.join(", ")))
    };
    plan.collections.iter().filter_map(of).collect()
}

/// The collections that are named, or all.
pub(super) async fn collections(store: &Store, names: &[String]) -> anyhow::Result<Vec<Collection>> {
    if names.is_empty() {
        return Ok(store.index.collections().await?);
    }
    let mut collections = Vec::new();
    for name in names {
        collections.push(select::collection(store, name).await?);
    }
    Ok(collections)
}

fn show(plan: &CollectionPlan, all: bool, context: &Context) {
    let out = &context.output;
    let kept = Retention { policy: plan.policy.clone(), zone: plan.zone.clone() };
    let gone = plan.snapshots.iter().filter(|snapshot| snapshot.goes()).count() as u64;
    out.line(format!(
        "{}: {}; {} of {} go",
        plan.name,
        kept.in_words(),
        gone,
        count(plan.snapshots.len() as u64, "snapshot")
    ));
    // What stays because everything does says nothing.
    if plan.policy.is_none() {
        return;
    }
    for snapshot in plan.snapshots.iter().filter(|snapshot| all || snapshot.goes()) {
        let what = if snapshot.goes() { "remove" } else { "keep  " };
        let reasons: Vec<String> = snapshot.stays.iter().map(Reason::to_string).collect();
        let why = if snapshot.goes() && snapshot.partial { "partial".to_owned() } else { reasons.join(", ") };
        let name = format!("{}@{}", plan.name, snapshot.sequence);
        let made = moment(snapshot.created_at);
        out.line(format!("  {what}  {name}  {made}  {why}").trim_end());
    }
}

fn say(pruned: &Pruned, grace: Duration, context: &Context) {
    let out = &context.output;
    let swept = &pruned.swept;
    out.line(format!(
        "removed {}; freed {} ({})",
        count(pruned.snapshots, "snapshot"),
        bytes(swept.removed.bytes),
        count(swept.removed.chunks, "chunk")
    ));
    if swept.postponed {
        out.remark(
            "something is being stored or read here at this moment: what is due is removed by the next 'bulbil prune'",
        );
    } else if pruned.waiting.chunks > 0 {
        out.line(format!(
            "{} ({}) are needed by nobody any more: a 'bulbil prune' removes them once that is so for {}",
            bytes(pruned.waiting.bytes),
            count(pruned.waiting.chunks, "chunk"),
            in_hours(grace)
        ));
    }
}

fn in_hours(grace: Duration) -> String {
    match grace.as_secs() {
        secs if secs >= 3600 && secs % 3600 == 0 => count(secs / 3600, "hour"),
        secs => count(secs, "second"),
    }
}

fn document(plan: &PrunePlan, pruned: Option<&Pruned>) -> serde_json::Value {
    let collection = |plan: &CollectionPlan| {
        let snapshots: Vec<_> = plan
            .snapshots
            .iter()
            .map(|snapshot| {
                json!({
                    "id": snapshot.id, "sequence": snapshot.sequence, "created_at": snapshot.created_at, "partial": snapshot.partial,
                    "tags": snapshot.tags, "goes": snapshot.goes(), "stays": snapshot.stays,
                })
            })
            .collect();
        json!({ "collection": plan.name, "id": plan.id, "policy": plan.policy, "time_zone": plan.zone, "snapshots": snapshots })
    };
    let done = pruned.map(|pruned| {
        json!({
            "snapshots": pruned.snapshots, "freed": pruned.swept.removed, "postponed": pruned.swept.postponed, "waiting": pruned.waiting,
        })
    });
    json!({
        "collections": plan.collections.iter().map(collection).collect::<Vec<_>>(), "would_free": plan.freed, "done": done,
    })
}
