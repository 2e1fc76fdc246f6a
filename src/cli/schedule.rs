//! `bulbil schedule`: what the server does by itself for a collection.

use anyhow::ensure;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::schedule::{Scheduled, Upkeep, Work};
use crate::store::Store;
use crate::store::index::Collection;
use crate::worker::schedule::{next, zone};

use super::args::{Off, Rpo, ScheduleArgs};
use super::context::Context;
use super::output::{Outcome, age};

/// Says or shows what is scheduled.
pub async fn run(args: ScheduleArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let now = context.clock.now();
    let mut collections = match &args.collection {
        Some(name) => vec![select::collection(&store, name).await?],
        None => store.index.collections().await?,
    };
    if args.collection.is_some() {
        change(&args, &mut collections[0], &store, now, context).await?;
    }
    let out = &context.output;
    let mut documents = Vec::new();
    for collection in &collections {
        show(&store, collection, context).await?;
        documents.push(document(&store, collection, now).await?);
    }
    if collections.iter().any(|collection| !collection.upkeep.scheduled.is_empty()) && store.running_server().is_none()
    {
        out.remark("no server runs in this home: nothing is done by itself before 'bulbil serve' does");
    }
    out.document("schedule", documents, &[]);
    Ok(Outcome::Done)
}

/// Shows what is scheduled for a collection.
pub(super) async fn show(store: &Store, collection: &Collection, context: &Context) -> anyhow::Result<()> {
    let (out, now) = (&context.output, context.clock.now());
    let lines = lines(store, collection, now).await?;
    match lines.is_empty() {
        true => out.line(format!("{}: nothing is scheduled", collection.name)),
        false => out.line(format!("{}:", collection.name)),
    }
    lines.iter().for_each(|line| out.line(format!("  {line}")));
    if let Some(contradiction) = collection.upkeep.contradiction(now) {
        out.warning(format!("{}: {contradiction}", collection.name));
    }
    Ok(())
}

async fn change(
    args: &ScheduleArgs,
    collection: &mut Collection,
    store: &Store,
    now: Timestamp,
    context: &Context,
) -> anyhow::Result<()> {
    let planned = [
        (Work::Backup, &args.backup),
        (Work::Verify, &args.verify),
        (Work::VerifyData, &args.verify_data),
        (Work::Check, &args.check),
        (Work::Prune, &args.prune),
        (Work::Drill, &args.drill),
        (Work::Copy, &args.copy),
    ];
    let is_planned = planned.iter().any(|(_, pattern)| pattern.is_some());
    ensure!(
        is_planned || (args.time_zone.is_none() && args.jitter.is_none()),
        "--time-zone and --jitter belong to what is scheduled with them: give --backup, --verify, --verify-data, --check, --prune or --drill, too"
    );
    let backed_up_here = collection.settings.is_some();
    ensure!(
        backed_up_here || args.backup.is_none(),
        "collection {:?} is backed up by another instance: its schedule is made there",
        collection.name
    );
    ensure!(
        backed_up_here || args.check.is_none(),
        "collection {:?} has no folders here that could be checked: --drill checks what is in the newest snapshot",
        collection.name
    );
    zone(args.time_zone.as_deref())?;
    let mut upkeep: Upkeep = collection.upkeep.clone();
    for off in &args.off {
        upkeep.scheduled.retain(|one| matches!(off, Off::One(work) if *work != one.work));
    }
    for (work, pattern) in planned {
        let Some(pattern) = pattern else { continue };
        let jitter_s = args.jitter.map_or(0, |jitter| u32::try_from(jitter.as_secs()).unwrap_or(u32::MAX));
        let zone = args.time_zone.clone();
        let new = Scheduled { work, pattern: pattern.clone(), zone, jitter_s, since: now };
        // What is said again changes nothing: a time that was missed is not forgotten.
        if upkeep.scheduled.iter().any(|one| Scheduled { since: now, ..one.clone() } == new) {
            continue;
        }
        upkeep.scheduled.retain(|one| one.work != work);
        upkeep.scheduled.push(new);
    }
    upkeep.scheduled.sort_by_key(|one| one.work);
    match args.rpo {
        Some(Rpo::None) => upkeep.rpo_hours = None,
        Some(Rpo::Hours(hours)) => upkeep.rpo_hours = Some(hours),
        None => {}
    }
    context.note(collection.name.clone());
    if upkeep != collection.upkeep {
        let planned = upkeep.scheduled.iter().map(|one| format!("{} {}", one.work, one.pattern));
        planned.chain(upkeep.rpo_hours.map(|hours| format!("rpo {hours} h"))).for_each(|text| context.note(text));
        store.index.set_upkeep(&collection.id, &upkeep).await?;
        context.output.remark(format!("changed collection {}", collection.name));
        collection.upkeep = upkeep;
    }
    Ok(())
}

/// When the next backup is due, and what came of the last one; nothing if none is scheduled.
pub(super) async fn in_words(store: &Store, collection: &Collection, now: Timestamp) -> anyhow::Result<Option<String>> {
    let Some(backup) = collection.upkeep.scheduled.iter().find(|one| one.work == Work::Backup) else { return Ok(None) };
    let due = match next(store, collection, backup, now).await? {
        Some(at) if at <= now => "now".to_owned(),
        Some(at) => format!("at {at:.0}"),
        None => "never".to_owned(),
    };
    let last = store.index.runs(Some(&collection.id), Some(Work::Backup.into()), 1).await?.pop();
    let came = last.map(|run| match run.ended {
        None => "; one goes on".to_owned(),
        Some(ended) => {
            format!("; the last one: {} {}", ended.result.word(), age(now.duration_since(ended.at).as_secs()))
        }
    });
    Ok(Some(format!("next backup {due}{}", came.unwrap_or_default())))
}

async fn lines(store: &Store, collection: &Collection, now: Timestamp) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for one in &collection.upkeep.scheduled {
        let zone = one.zone.as_deref().unwrap_or("time of this machine");
        let jitter = match one.jitter_s {
            0 => String::new(),
            seconds => format!(", up to {} min later", seconds.div_ceil(60)),
        };
        let next = match next(store, collection, one, now).await? {
            Some(at) if at <= now => "now".to_owned(),
            Some(at) => format!("at {at:.0}"),
            None => "never: the time zone is not known here".to_owned(),
        };
        lines.push(format!("{:12} {} ({zone}){jitter}; next {next}", one.work.word(), one.pattern));
    }
    if let Some(hours) = collection.upkeep.rpo_hours {
        let good = match store.index.last_good(&collection.id, now).await? {
            Some((_, at)) => format!("it is from {}", age(now.duration_since(at).as_secs())),
            None => "there is none".to_owned(),
        };
        lines.push(format!("{:12} the newest verified snapshot is to be no older than {hours} h; {good}", "rpo"));
    }
    Ok(lines)
}

async fn document(store: &Store, collection: &Collection, now: Timestamp) -> anyhow::Result<Value> {
    let mut scheduled = Vec::new();
    for one in &collection.upkeep.scheduled {
        scheduled.push(json!({
            "work": one.work, "cron": one.pattern, "time_zone": one.zone, "jitter_s": one.jitter_s, "since": one.since,
            "next_at": next(store, collection, one, now).await?,
        }));
    }
    let good = store.index.last_good(&collection.id, now).await?;
    Ok(json!({
        "collection": collection.name, "id": collection.id, "scheduled": scheduled, "rpo_hours": collection.upkeep.rpo_hours,
        "last_verified": good.map(|(id, at)| json!({ "id": id, "created_at": at })),
        "contradiction": collection.upkeep.contradiction(now),
    }))
}
