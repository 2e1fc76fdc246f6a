//! `bulbil scrub`

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::id::ManifestId;
use crate::replicate::pull::Puller;
use crate::store::Store;
use crate::store::index::{Cause, Collection, Finding, ScrubState};
use crate::worker::runs::{Recorder, ScrubbedReport};

use super::args::ScrubArgs;
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, age, bytes, count};
use super::remote::caller;

/// Findings that are shown.
const FINDINGS: usize = 20;

/// Shows how it stands, or reads everything at once.
pub async fn run(args: ScrubArgs, context: &Context) -> anyhow::Result<Outcome> {
    if args.accept_loss && Store::accept_loss(&context.home, context.passphrase()?).await? {
        context.output.remark("what is not in the folders now counts as lost");
    }
    let store = context.store().await?;
    let config = context.config()?;
    if args.now || args.accept_loss {
        store.check_folders()?;
    } else {
        let now = context.clock.now();
        let state = state(&store, now, config.scrub.days).await?;
        context.output.line(in_words(&state, now, config.scrub.days));
        for finding in &state.findings {
            let found = age(now.duration_since(finding.found_at).as_secs());
            context.output.line(format!("  {found}: {}: {}", finding.subject, finding.what));
        }
        let lost = store.lost_manifests().await?;
        lost_manifests(&lost).into_iter().for_each(|line| context.output.line(format!("  {line}")));
        context.output.document("scrub", document(&state, &lost), &[]);
        return Ok(Outcome::Done);
    }
    let collections = named(&store, &args.collections).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let scrubbed: ScrubbedReport = match Server::running(&store, None, context).await? {
        Some(server) => {
            let order = json!({ "kind": "scrub", "collections": args.collections });
            let report = server.run(&order, &progress).await?;
            report.context("the server that runs in this home says nothing of what it read")?
        }
        None => {
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            let puller = Puller::new(store.clone(), caller(&store, &config, context), progress.clone());
            let scrubbed = recorder.scrub(&puller, config.scrub.policy(), &collections, progress.clone()).await;
            anyhow::ensure!(!cancel.is_cancelled(), "cancelled: not everything was read; run it again");
            scrubbed?
        }
    };
    progress.finish();
    let out = &context.output;
    out.line(format!(
        "{} and {} read, {}: {}",
        count(scrubbed.objects, "chunk"),
        count(scrubbed.manifests, "manifest"),
        bytes(scrubbed.bytes),
        count(scrubbed.findings.len() as u64, "finding")
    ));
    let ScrubbedReport { healed_chunks, lost, healed_manifests, lost_manifests, .. } = scrubbed;
    if healed_chunks > 0 {
        out.line(format!("{} brought back from peers", count(healed_chunks, "chunk")));
    }
    if lost > 0 {
        out.line(format!("{} still lost: no peer that could be asked has it", count(lost, "chunk")));
    }
    if healed_manifests > 0 {
        out.line(format!("{} mended", count(healed_manifests, "manifest")));
    }
    if lost_manifests > 0 {
        let lost = count(lost_manifests, "manifest");
        out.line(format!("{lost} still damaged or lost: no peer that could be asked has it"));
    }
    let problems = progress.problems();
    out.document("scrub", &scrubbed, &problems);
    Ok(out.outcome(&problems))
}

/// The collections that are named.
async fn named(store: &Store, names: &[String]) -> anyhow::Result<Vec<Collection>> {
    let mut collections = Vec::new();
    for name in names {
        collections.push(select::collection(store, name).await?);
    }
    Ok(collections)
}

/// How it stands with the pass of the last so many days.
///
/// # Errors
/// If the index cannot be read.
pub(super) async fn state(store: &Store, now: Timestamp, days: u32) -> anyhow::Result<ScrubState> {
    let since = now.saturating_sub(SignedDuration::from_hours(24 * i64::from(days)))?;
    Ok(store.index.scrub_state(since, FINDINGS).await?)
}

/// The same for people, in one line.
pub(super) fn in_words(state: &ScrubState, now: Timestamp, days: u32) -> String {
    let ago = |at: Timestamp| age(now.duration_since(at).as_secs());
    let oldest = match state.all_read_since {
        Some(at) => format!("all since {}", ago(at)),
        None if state.read == 0 => "none before".to_owned(),
        None => format!("{} never yet", count(state.objects - state.read, "chunk")),
    };
    let lost = if state.lost > 0 { format!("; {} lost", count(state.lost, "chunk")) } else { String::new() };
    let found = match state.findings.first() {
        Some(finding) => format!("; last finding {}", ago(finding.found_at)),
        None => String::new(),
    };
    format!("{} of {} read in the last {days} days, {oldest}{found}{lost}", state.read_since, state.objects)
}

/// That manifests are lost, for people; nothing if none is.
pub(super) fn lost_manifests(lost: &[ManifestId]) -> Option<String> {
    let first = lost.first()?.short();
    let which = if lost.len() > 1 { format!("{first} and {} more", lost.len() - 1) } else { first };
    Some(format!(
        "{} lost ({which}): 'bulbil scrub --now' gets it back from a peer that has it",
        count(lost.len() as u64, "manifest")
    ))
}

/// The same as JSON.
pub(super) fn document(state: &ScrubState, lost_manifests: &[ManifestId]) -> Value {
    json!({
        "objects": state.objects, "read": state.read, "read_in_period": state.read_since,
        "all_read_since": state.all_read_since, "lost": state.lost, "lost_manifests": lost_manifests, "findings": findings(&state.findings),
    })
}

fn findings(findings: &[Finding]) -> Vec<Value> {
    let one = |f: &Finding| json!({ "found_at": f.found_at, "subject": f.subject, "what": f.what });
    findings.iter().map(one).collect()
}
