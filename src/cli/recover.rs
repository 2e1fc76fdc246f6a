//! `bulbil recover`: an application's live folders, brought back from a snapshot.
//!
//! The command does it by itself though a server runs: it writes with the rights of whoever typed it, who need not be the server's user,
//! runs the commands that were given in their environment, and does not count the shell in which it was typed as somebody who uses the
//! data. The two do not fight: both do it through [`Recorder::recover`], which puts it on record, and both take the lock of backups.

use std::sync::Arc;

use serde_json::json;

use crate::backup::create::moment;
use crate::backup::recover::{Candidate, Ending, RecoverError, RecoverOptions, Report, recover};
use crate::backup::select;
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::monitor::{Monitor, Problem};
use crate::store::index::Cause;
use crate::worker::runs::{Recorder, Recovery, RunError};

use super::args::RecoverArgs;
use super::context::Context;
use super::output::{Outcome, age, bytes, number};
use super::rules::read_secrets;

/// Brings a collection back.
pub async fn run(args: RecoverArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let collection = select::collection(&store, &args.collection).await?;
    let snapshot = match &args.snapshot {
        Some(which) => Some(select::snapshot_of(&store, &collection, which).await?.id),
        None => None,
    };
    // A wrong file is told before anything is stopped.
    let secrets = args.secrets.clone();
    secrets.as_deref().map(read_secrets).transpose()?;
    let options = RecoverOptions {
        snapshot,
        paths: args.path,
        force: args.force,
        dry_run: args.dry_run,
        stop: args.stop,
        start: args.start,
        wait: args.wait,
        drop_sessions: args.drop_sessions,
        health: args.health,
        secrets: Arc::new(move || secrets.as_deref().and_then(|file| read_secrets(file).ok()).unwrap_or_default()),
    };
    let (progress, cancel) = (context.progress(), context.cancellation());
    let monitor: Arc<dyn Monitor> = progress.clone();
    let recovery = match options.dry_run {
        // What only looks is not put on record.
        true => {
            let (report, done) = recover(&store, &collection, &options, &*context.clock, monitor, &cancel).await;
            Recovery { report, written: Vec::new(), done: done.map_err(RunError::from) }
        }
        false => {
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            recorder.recover(&collection, &options, monitor).await?
        }
    };
    progress.finish();
    let Recovery { report, written, done } = recovery;
    if let Some(chosen) = report.chosen.as_ref().filter(|_| !options.dry_run) {
        context.note(format!("{}@{} {}", collection.name, chosen.sequence, chosen.snapshot.short()));
    }
    let choosing =
        matches!(done, Err(RunError::Recover(RecoverError::NoCandidate { .. } | RecoverError::NotSound { .. })));
    say(&report, options.dry_run || choosing, context);
    if let Some(path) = written.first() {
        context.output.remark(format!("report: {}", path.display()));
    }
    done?;
    let mut problems = progress.problems();
    let subject = collection.name.clone();
    problems.extend(report.problems().into_iter().map(|message| Problem { subject: subject.clone(), message }));
    context.output.document(
        "recover",
        json!({ "report": report, "written": written.iter().map(path_text).collect::<Vec<_>>() }),
        &problems,
    );
    Ok(context.output.outcome(&problems))
}

fn say(report: &Report, with_candidates: bool, context: &Context) {
    let out = &context.output;
    if with_candidates && !report.candidates.is_empty() {
        let rows: Vec<[String; 6]> = report.candidates.iter().map(|one| row(one, report, context)).collect();
        out.table(&["snapshot", "made", "age", "files", "size", "known"].map(str::to_owned), &rows);
    }
    for one in report.candidates.iter().filter(|one| report.chosen.as_ref().is_some_and(|c| one.sequence > c.sequence))
    {
        if let Some(why) = &one.passed_over {
            out.line(format!("passed over {}@{}: {why}", report.collection, one.sequence));
        }
    }
    if let Some(chosen) = &report.chosen {
        out.line(format!("{}@{} {}: {}", report.collection, chosen.sequence, chosen.snapshot.short(), chosen.why));
    }
    let verb = match report.ending {
        Ending::Planned => "would be replaced",
        Ending::Recovered | Ending::Finished => "in place",
        Ending::Unchanged => "",
    };
    if report.ending != Ending::Unchanged {
        report.replaced.iter().for_each(|path| out.line(format!("{verb}: {}", path.display())));
        report.damaged.iter().for_each(|path| out.line(format!("what was there before: {}", path.display())));
        report.emptied.iter().for_each(|path| out.line(format!("emptied: {}", path.display())));
        report.left_behind.iter().for_each(|one| out.line(format!("not brought over: {}: {}", one.path, one.why)));
        report.carried.iter().for_each(|path| out.line(format!("came over from before: {}", path.display())));
    }
    if let Some(live) = &report.live {
        out.line(format!("checked by {}: {} errors, {} warnings", live.preset, live.errors, live.warnings));
    }
    if let Some(health) = &report.health {
        let status = health.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        out.line(format!("{}: {status}: {}", health.url, health.means));
    }
    report.warnings.iter().for_each(|warning| out.warning(format!("warning: {warning}")));
    report.next.iter().for_each(|next| out.line(format!("next: {next}")));
}

fn row(one: &Candidate, report: &Report, context: &Context) -> [String; 6] {
    let mut known = Vec::new();
    known.extend(one.pinned.then(|| "pinned".to_owned()));
    known.extend(one.tags.iter().map(|tag| format!("tagged {tag}")));
    known.push(match (one.verified_at, one.whole_at) {
        (Some(at), _) => format!("every byte verified {}", moment(at)),
        (None, Some(at)) => format!("whole {}", moment(at)),
        (None, None) => "not verified".to_owned(),
    });
    known.extend(one.capture.map(str::to_owned));
    known.extend(one.passed_over.iter().map(|why| format!("passed over: {why}")));
    [
        format!("{}@{}", report.collection, one.sequence),
        moment(one.created_at),
        age(context.clock.now().as_second() - one.created_at.as_second()),
        one.files.map_or_else(|| "?".to_owned(), number),
        one.bytes.map_or_else(|| "?".to_owned(), bytes),
        known.join(", "),
    ]
}
