//! `bulbil check`

use anyhow::Context as _;
use serde_json::json;

use crate::backup::check::{Databases, Depth, Private, private, stored};
use crate::backup::escrow;
use crate::backup::open::OpenSnapshot;
use crate::backup::select;
use crate::domain::content::{Finding, Level, Report};
use crate::monitor::{Counter, Monitor};
use crate::store::blocking;
use crate::store::index::Cause;
use crate::worker::runs::Recorder;

use super::args::CheckArgs;
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, count, took};
use super::rules;

/// Checks the content of a collection by the rules of its preset.
pub async fn run(args: CheckArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let store = context.store().await?;
    let collection = select::collection(&store, &args.collection).await?;
    let (preset, given) = rules::of(&args.rules, &store, &collection)?;
    // The server looks at folders; what is in a snapshot this command reads by itself.
    let server = match &args.snapshot {
        Some(_) => None,
        None => Server::running(&store, rules::only_here(&args.rules), context).await?,
    };
    let cancel = server.as_ref().map_or_else(|| context.cancellation(), |server| server.stop().clone());
    let progress = context.progress();
    progress.task(&format!("checking {}", collection.name), Counter::BytesDone, None);
    let monitor = progress.clone();
    let mut tightened = 0;
    let (report, of): (Report, String) = match &args.snapshot {
        Some(which) => {
            let text = if which.contains('@') { which.clone() } else { format!("{}@{which}", collection.name) };
            let snapshot = select::snapshot(&store, &text).await?;
            let of = format!("{}@{}", collection.name, snapshot.sequence);
            let report = tokio::task::spawn_blocking(move || {
                let open = OpenSnapshot::open(&store, &snapshot.id)?;
                let tree = (open.collection(), &open.root);
                let marks = open.private.capture.as_ref().map(|capture| capture.secrets.as_slice()).unwrap_or_default();
                let secrets = given.map_or_else(|| escrow::stored(&store, &open.collection(), marks), Ok)?;
                let databases = Databases::new(&store, &preset)?;
                let depth = (Depth::Everything, Some(&databases));
                anyhow::Ok(stored(&store.chunks, tree, &preset, secrets, depth, &*monitor, &cancel)?)
            });
            (report.await??, of)
        }
        None => {
            let settings = collection.settings.clone().with_context(|| {
                format!(
                    "collection {:?} has no folders here: say which snapshot to check (--snapshot latest)",
                    args.collection
                )
            })?;
            let (roots, rules, listening) = (settings.roots.clone(), preset.clone(), monitor.clone());
            let mut report = match &server {
                Some(server) => {
                    let order = json!({ "kind": "check", "collection": collection.name });
                    let report: Option<Report> = server.run(&order, &progress).await?;
                    report.context("the server that runs in this home says nothing of what it found")?
                }
                None => {
                    let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
                    recorder.check(&collection, settings, preset, given.unwrap_or_default(), monitor).await?
                }
            };
            for root in roots {
                let (rules, stop, change) = (rules.clone(), cancel.clone(), args.tighten);
                let found = blocking(move || private(&root.path, &rules, change, &stop)).await?;
                found.problems.iter().for_each(|problem| listening.problem(problem.clone()));
                tightened += found.tightened;
                add_loose(&mut report, found, change);
            }
            (report, format!("{} as it is now", collection.name))
        }
    };
    progress.finish();
    say(&report, &of, started.elapsed(), context);
    if args.tighten {
        context.output.line(format!("{} only their owner may read now", count(tightened, "private file or folder")));
    }
    let problems = progress.problems();
    context.output.document("check", &report, &problems);
    let outcome = context.output.outcome(&problems);
    Ok(if report.errors > 0 { Outcome::NotEverything } else { outcome })
}

/// Private files that others may read become findings; not those that were put right just now.
fn add_loose(report: &mut Report, found: Private, change: bool) {
    let failed = |path: &String| found.problems.iter().any(|problem| problem.subject == *path);
    for (path, mode) in found.loose.iter().filter(|(path, _)| !change || failed(path)) {
        report.warnings += 1;
        let who = if mode & 0o007 == 0 { "its group" } else { "everybody on this machine" };
        let message = format!("{who} has rights on it (mode {mode:o}), and it is private: --tighten takes them away");
        report.findings.push(Finding {
            level: Level::Warning,
            code: "readable".into(),
            path: path.clone(),
            line: None,
            message,
        });
    }
}

fn say(report: &Report, of: &str, elapsed: std::time::Duration, context: &Context) {
    let out = &context.output;
    for finding in &report.findings {
        let word = if finding.level == Level::Error { "error" } else { "warning" };
        out.line(format!("{word}: {}", finding.in_words()));
    }
    let untold = report.errors + report.warnings - report.findings.len() as u64;
    if untold > 0 {
        out.line(format!("and {untold} more of the same kinds"));
    }
    out.line(format!(
        "{of}, by {}: {}, {}, {}, {} compared with their hashes; {}",
        report.preset,
        count(report.files, "file"),
        count(report.records, "record"),
        count(report.references, "reference"),
        count(report.hashed, "file"),
        took(elapsed),
    ));
    if report.sealed > 0 {
        out.line(match report.secret_given {
            true => format!("{} of {} open", report.opened, count(report.sealed, "sealed field")),
            false => format!(
                "{} were not opened: 'bulbil secret add' stores what opens them, --secrets FILE gives it",
                count(report.sealed, "sealed field")
            ),
        });
    }
    out.line(match (report.errors, report.warnings) {
        (0, 0) => "everything holds".to_owned(),
        (0, warnings) => format!("everything holds; {}", count(warnings, "warning")),
        (errors, warnings) => format!("{}, {}", count(errors, "error"), count(warnings, "warning")),
    });
}
