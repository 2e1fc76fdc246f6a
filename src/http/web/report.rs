//! What came of a run, in words.

use maud::{Markup, html};
use serde_json::Value;

use super::parts::{self, Light};
use crate::domain::run::RunKind;
use crate::domain::schedule::Work;
use crate::domain::words::{count, number};
use crate::http::admin::view::run::RunView;
use crate::worker::copies::{Came, Made};

/// What came of it; nothing of a run that has no figures.
pub(super) fn in_words(run: &RunView) -> Markup {
    let lines = lines(run);
    html! {
        @if !lines.is_empty() {
            section.card { h2 { @if is_only_look(run) { "What would be done" } @else { "What came of it" } } (parts::facts(&lines)) }
        }
    }
}

/// Whether it only looked what would be done: of a restore or a recovery, of a prune at a target.
pub(super) fn is_only_look(run: &RunView) -> bool {
    let may_look =
        [RunKind::Restore, RunKind::Recover, RunKind::PruneTarget].iter().any(|kind| run.kind == kind.word());
    may_look && run.report.as_ref().is_some_and(|report| Report(report).yes("/dry_run"))
}

fn lines(run: &RunView) -> Vec<(&'static str, Markup)> {
    let (counts, report) = (&run.counts, Report(run.report.as_ref().unwrap_or(&Value::Null)));
    match run.kind.parse::<RunKind>() {
        Ok(RunKind::Work(Work::Backup)) if run.snapshot.is_some() => vec![
            ("In the snapshot", html! { (count(counts.files, "file")) ", " (parts::size(counts.file_bytes)) }),
            (
                "Read",
                html! { (parts::size(counts.read_bytes)) @if counts.read_bytes < counts.file_bytes { span.soft { "; the rest had not changed" } } },
            ),
            ("Newly stored", html! { (parts::size(counts.stored_bytes)) " in " (count(counts.chunks, "chunk")) }),
        ],
        Ok(RunKind::Work(Work::Verify | Work::VerifyData)) => verified(report),
        Ok(RunKind::Work(Work::Check)) if counts.files > 0 => {
            vec![("Looked at", html! { (count(counts.files, "file")) " of the live folders" })]
        }
        Ok(RunKind::Work(Work::Drill)) => drilled(report),
        Ok(RunKind::Work(Work::Prune)) => pruned(report),
        Ok(RunKind::Work(Work::Copy)) if run.report.is_some() => copied(run),
        Ok(RunKind::VerifyTarget) => target_checked(report),
        Ok(RunKind::PruneTarget) => target_pruned(report),
        Ok(RunKind::Restore) => restored(report),
        Ok(RunKind::Recover) => recovered(report),
        Ok(RunKind::LayOut) if report.is_there() => vec![
            ("Folder", html! { code { (report.text("/into")) } }),
            (
                "In it",
                html! {
                    @match report.number("/laid_out/sequence") { 0 => "nothing yet", n => { "snapshot @" (n) } }
                    @if !report.yes("/new") { span.soft { ": as before" } }
                },
            ),
        ],
        Ok(RunKind::Export) => exported(report),
        Ok(RunKind::Import) if report.is_there() => imported(report),
        Ok(RunKind::Sync) if report.is_there() => {
            vec![("New snapshots", html! { (number(report.number("/new_snapshots"))) })]
        }
        Ok(RunKind::Clone) if report.is_there() => cloned(report),
        Ok(RunKind::Fetch) if report.is_there() => vec![
            (
                "Fetched",
                html! { (count(report.number("/chunks"), "chunk")) ", " (parts::size(report.number("/bytes"))) },
            ),
            ("Still missing", html! { (count(report.number("/still_missing"), "chunk")) }),
        ],
        Ok(RunKind::Rekey) if report.is_there() => vec![
            ("Keys that came", html! { (number(report.number("/keys"))) }),
            ("Without a key still", html! { (count(report.number("/without_key"), "snapshot")) }),
        ],
        Ok(RunKind::Scrub) if report.is_there() => scrubbed(report),
        _ => Vec::new(),
    }
}

fn scrubbed(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    let (chunks, manifests) = (report.number("/objects"), report.number("/manifests"));
    let healed = report.number("/healed_chunks") + report.number("/healed_manifests");
    let lost = report.number("/lost") + report.number("/lost_manifests");
    vec![
        (
            "Read again",
            html! { (count(chunks, "chunk")) " and " (count(manifests, "manifest")) ", " (parts::size(report.number("/bytes"))) },
        ),
        ("Not what it was", html! { (count(report.length("/findings"), "finding")) }),
        ("Brought back", html! { @if healed == 0 { "nothing" } @else { (number(healed)) " from peers" } }),
        (
            "Lost still",
            html! {
                @if lost == 0 { (parts::light(Light::Good, "nothing")) }
                @else { (parts::light(Light::Bad, &format!("{lost}: no peer that could be asked has it"))) }
            },
        ),
    ]
}

fn cloned(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    let peer = report.text("/peer");
    let collections = report.0.pointer("/collections").and_then(Value::as_array);
    let names: Vec<&str> = collections.into_iter().flatten().filter_map(|one| one["name"].as_str()).collect();
    vec![
        ("Joined", html! { a href={ "/peers/" (peer) } { (peer) } ", which is followed from now on" }),
        (
            "Collections",
            html! {
                @if names.is_empty() { span.soft { "none yet: there is no snapshot that it lets us have" } }
                @for (at, name) in names.iter().enumerate() {
                    @if at > 0 { ", " }
                    a href={ "/collections/" (name) } { (name) }
                }
            },
        ),
        (
            "Fetched",
            html! { (count(report.number("/fetched/chunks"), "chunk")) ", " (parts::size(report.number("/fetched/bytes"))) },
        ),
        ("Still missing", html! { (count(report.number("/fetched/still_missing"), "chunk")) }),
        (
            "Looked at",
            html! {
                (count(report.number("/verified/snapshots"), "snapshot")) ", " (count(report.number("/verified/chunks"), "chunk"))
                "; each was compared with its name as it came in"
            },
        ),
    ]
}

fn verified(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let (missing, damaged, affected) =
        (report.length("/missing"), report.length("/damaged"), report.length("/affected"));
    let verdict = match (missing, damaged) {
        (0, 0) => parts::light(Light::Good, "everything that was looked at is there and right"),
        _ => parts::light(Light::Bad, &format!("{} missing, {} damaged", count(missing, "chunk"), number(damaged))),
    };
    let mut lines = vec![
        ("Verdict", verdict),
        (
            "Looked at",
            html! {
                (count(report.number("/snapshots"), "snapshot")) ", " (count(report.number("/chunks"), "chunk")) ", "
                (parts::size(report.number("/chunk_bytes")))
            },
        ),
        (
            "Read to the last byte",
            html! {
                (count(report.number("/chunks_read"), "chunk")) ", " (parts::size(report.number("/bytes_read")))
            },
        ),
    ];
    if affected > 0 {
        lines.push(("Cannot be restored whole", html! { (count(affected, "snapshot")) }));
    }
    lines
}

fn drilled(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let (wrong, failed, errors) =
        (report.number("/wrong"), report.number("/restored/failed"), report.number("/content/errors"));
    let verdict = match report.yes("/good") {
        true => parts::light(Light::Good, "everything came back as it was"),
        false => parts::light(Light::Bad, "not everything came back as it was"),
    };
    let mut lines = vec![
        ("Verdict", verdict),
        (
            "Restored",
            html! {
                (count(report.number("/restored/files"), "file")) ", " (parts::size(report.number("/restored/bytes")))
                " into a scratch folder, which is removed again"
            },
        ),
        ("Took", html! { "the restore alone " (seconds(report.fraction("/restore_seconds"))) }),
        (
            "Compared",
            html! {
                (count(report.number("/compared"), "file")) ", " (parts::size(report.number("/compared_bytes")))
                @match wrong { 0 => "; none differs", n => { "; " (count(n, "file")) " differ" } }
            },
        ),
    ];
    if failed > 0 {
        lines.push(("Not restored", html! { (number(failed)) }));
    }
    if errors > 0 {
        lines.push(("Against the application's rules", html! { (count(errors, "error")) }));
    }
    lines
}

fn pruned(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let amount = |at: &str| {
        let of = |what: &str| report.number(&format!("{at}/{what}"));
        html! { (count(of("chunks"), "chunk")) ", " (parts::size(of("bytes"))) }
    };
    let mut lines = vec![
        ("Removed", html! { (count(report.number("/snapshots"), "snapshot")) }),
        ("Freed", amount("/swept/removed")),
        ("Freed later", html! { (amount("/waiting")) span.soft { ": it stays until the grace period is over" } }),
    ];
    if report.yes("/swept/postponed") {
        lines.push(("Left for the next time", html! { "somebody was storing or reading something meanwhile" }));
    }
    lines
}

fn restored(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let dry = report.yes("/dry_run");
    let of = |what: &str| report.number(&format!("/statistics/{what}"));
    let mut lines = vec![
        ("Folder", html! { code { (report.text("/target")) } }),
        (
            if dry { "Would be written" } else { "Written" },
            html! {
                (count(of("files"), "file")) ", " (parts::size(of("bytes"))) ", in " (count(of("directories"), "folder"))
                @if of("others") > 0 { "; and " (count(of("others"), "link")) " and such" }
            },
        ),
        (if dry { "Would stay as it is" } else { "Left as it was" }, html! { (count(of("skipped"), "file")) }),
    ];
    if of("deleted") > 0 {
        lines.push((if dry { "Would be removed" } else { "Removed" }, html! { (number(of("deleted"))) }));
    }
    if of("failed") > 0 {
        lines.push(("Not restored", parts::light(Light::Bad, &number(of("failed")))));
    }
    if dry {
        lines.push(("Nothing was written", html! { "This run only looked." }));
    }
    lines
}

/// Each copy, and the sum.
fn copied(run: &RunView) -> Vec<(&'static str, Markup)> {
    let made: Vec<Made> = run.report.clone().and_then(|made| serde_json::from_value(made).ok()).unwrap_or_default();
    let came = |made: &Made| match &made.came {
        Came::There(there) => {
            let new = there.exported.new_snapshots;
            let words =
                if new == 0 { "nothing was new".to_owned() } else { format!("{} added", count(new, "snapshot")) };
            html! {
                (parts::light(Light::Good, &words)) "; " (count(there.read, "chunk")) " read back"
                @if there.repaired > 0 { ", " (number(there.repaired)) " written anew: damaged there" }
            }
        }
        Came::Failed { failed } => parts::light(Light::Bad, failed),
        Came::Nothing {} => parts::light(Light::Unknown, "there is no whole snapshot yet"),
    };
    let each = html! { ul { @for made in &made { li { (made.collection) " to " (made.target) ": " (came(made)) } } } };
    let sum = html! { (count(run.counts.chunks, "chunk")) ", " (parts::size(run.counts.stored_bytes)) };
    vec![("Copies", each), ("Newly copied", sum)]
}

fn target_checked(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let (bad, repaired) = (report.length("/checked/bad"), report.number("/repaired"));
    let verdict = match (bad, repaired) {
        (0, _) => parts::light(Light::Good, "no chunk is missing or damaged there"),
        (bad, repaired) if bad == repaired => {
            parts::light(Light::Good, &format!("{} damaged, and written anew", count(bad, "chunk")))
        }
        (bad, _) => parts::light(Light::Bad, &format!("{} missing or damaged", count(bad, "chunk"))),
    };
    let snapshots = report.0.pointer("/checked/snapshots").and_then(Value::as_object);
    let of = |snapshots: &Value| snapshots.as_array().map_or(0, |all| all.len() as u64);
    let snapshots: u64 = snapshots.map_or(0, |all| all.values().map(of).sum());
    vec![
        ("Verdict", verdict),
        (
            "There",
            html! { (count(snapshots, "snapshot")) ", of which " (number(report.length("/checked/sound"))) " are right; " (count(report.number("/checked/chunks"), "chunk")) },
        ),
        (
            "Read to the last byte",
            html! { (count(report.number("/checked/read"), "chunk")) ", " (parts::size(report.number("/checked/read_bytes"))) },
        ),
    ]
}

fn target_pruned(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let dry = report.yes("/dry_run");
    vec![
        (
            if dry { "Would be removed" } else { "Removed" },
            html! {
                (count(report.length("/pruned/snapshots"), "snapshot")) ", " (count(report.number("/pruned/chunks"), "chunk")) ", "
                (parts::size(report.number("/pruned/bytes")))
            },
        ),
        (
            "Later",
            html! { (count(report.number("/pruned/later"), "chunk")) span.soft { ": nobody leans on them, and they go with a prune a day from now" } },
        ),
    ]
}

fn recovered(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    let list = |at: &str| {
        let lines: Vec<String> = report.texts(at).into_iter().map(parts::sentence).collect();
        html! { ul { @for line in &lines { li { (line) } } } }
    };
    let paths =
        |at: &str| html! { ul { @for path in report.texts(at).into_iter().take(50) { li { code { (path) } } } } };
    let ending = match report.text("/report/ending").as_str() {
        "recovered" => parts::light(Light::Good, "what was chosen is in place"),
        "finished" => parts::light(Light::Good, "a recovery that had been interrupted was brought to its end"),
        "planned" => html! { "nothing was done: this run only looked" },
        _ => html! { "the live folders are as they were" },
    };
    let mut lines = vec![("Ending", ending)];
    if let n @ 1.. = report.number("/report/chosen/sequence") {
        lines.push(("Snapshot", html! { "@" (n) span.soft { ": " (report.text("/report/chosen/why")) } }));
    }
    if report.text("/report/ending") != "unchanged" {
        lines.push(("Replaced", paths("/report/replaced")));
        lines.push(("What was there before", paths("/report/damaged")));
    }
    for (title, at) in
        [("Worth knowing", "/report/warnings"), ("Failed", "/report/failures"), ("What to do next", "/report/next")]
    {
        if report.length(at) > 0 {
            lines.push((title, list(at)));
        }
    }
    if report.length("/written") > 0 {
        lines.push(("The report is in", paths("/written")));
    }
    lines
}

fn exported(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    if !report.is_there() {
        return Vec::new();
    }
    vec![
        ("Folder", html! { code { (report.text("/folder")) } }),
        (
            "New in it",
            html! {
                (count(report.number("/new_snapshots"), "snapshot")) ", " (count(report.number("/new_chunks"), "chunk")) ", "
                (parts::size(report.number("/new_bytes")))
            },
        ),
        (
            "In it now",
            html! {
                (count(report.number("/snapshots"), "snapshot")) ", " (parts::size(report.number("/chunk_bytes")))
            },
        ),
    ]
}

fn imported(report: Report<'_>) -> Vec<(&'static str, Markup)> {
    let mut lines = vec![
        (
            "Came",
            html! {
                (count(report.number("/new_snapshots"), "new snapshot")) ", " (count(report.number("/chunks"), "chunk")) ", "
                (parts::size(report.number("/bytes")))
            },
        ),
        ("Known before", html! { (count(report.number("/known_snapshots"), "snapshot")) }),
        ("Can be read from now on", html! { (count(report.number("/keys"), "snapshot")) }),
    ];
    let (closed, incomplete) = (report.number("/without_key"), report.number("/incomplete"));
    if closed > 0 {
        let words = format!("{}: import it once more with the recovery key of who made it", count(closed, "snapshot"));
        lines.push(("Cannot be read here", parts::light(Light::Care, &words)));
    }
    if incomplete > 0 {
        lines.push(("Not whole", parts::light(Light::Care, &count(incomplete, "snapshot"))));
    }
    if report.number("/secrets") > 0 {
        lines.push(("Secrets of applications", html! { (number(report.number("/secrets"))) ", sealed" }));
    }
    lines
}

/// A duration as a report has it.
fn seconds(seconds: f64) -> String {
    std::time::Duration::try_from_secs_f64(seconds).map(crate::domain::words::took).unwrap_or_default()
}

/// A report, whose figures stand at JSON pointers.
#[derive(Clone, Copy)]
struct Report<'a>(&'a Value);

impl Report<'_> {
    fn is_there(self) -> bool {
        self.0.is_object()
    }

    fn number(self, at: &str) -> u64 {
        self.0.pointer(at).and_then(Value::as_u64).unwrap_or(0)
    }

    fn fraction(self, at: &str) -> f64 {
        self.0.pointer(at).and_then(Value::as_f64).unwrap_or(0.0)
    }

    fn length(self, at: &str) -> u64 {
        self.0.pointer(at).and_then(Value::as_array).map_or(0, |list| list.len() as u64)
    }

    fn yes(self, at: &str) -> bool {
        self.0.pointer(at).and_then(Value::as_bool).unwrap_or(false)
    }

    fn texts(&self, at: &str) -> Vec<&str> {
        let list = self.0.pointer(at).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn text(self, at: &str) -> String {
        self.0.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}
