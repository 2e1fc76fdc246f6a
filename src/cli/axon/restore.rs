//! `bulbil axon restore`

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::super::context::Context;
use super::super::output::{Outcome, Output, bytes, count};
use super::super::progress::Progress;
use super::common::{collection_to_fill, instance, snapshot};
use super::install::InstallArgs;
use crate::axon::folder::Keys;
use crate::axon::folder::inspect::inspect;
use crate::axon::folder::read::BackupFolder;
use crate::axon::folder::restore::{Existing, Lack, Left, Part, Restore, RestoreOptions, RestoreReport};
use crate::axon::instance::AxonInstance;
use crate::axon::pull::rekey;
use crate::clock::Clock;
use crate::domain::axon::private::PrivateKey;
use crate::monitor::{Monitor, Problem};
use crate::store::Store;
use crate::store::index::Collection;

/// Longest file with a private key, in bytes.
const MAX_KEY: u64 = 64 << 10;

/// `bulbil axon restore`
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup's folder: the one with backup_manifest.json in it. With --into and without it, what the collection holds goes back
    #[arg(required_unless_present = "into")]
    pub dir: Option<PathBuf>,
    /// Put the applets into the Axon BBS in this folder, which is stopped; its database is copied beside itself first
    #[arg(long, value_name = "DIR", conflicts_with_all = ["skip_chunks", "rekey", "replace"])]
    pub into: Option<PathBuf>,
    /// Do not look whether a program has the database open
    #[arg(long, requires = "into")]
    pub force: bool,
    /// Where it has its things
    #[command(flatten)]
    pub place: InstallArgs,
    /// This applet only: its name, or that of its folder
    #[arg(long, value_name = "NAME")]
    pub applet: Option<String>,
    /// The collection to take them into; with --into, the one that belongs to that BBS. The one called axon, or the only one, if nothing is said
    #[arg(long, value_name = "NAME")]
    pub collection: Option<String>,
    /// Take nothing: only say whether the backup is whole, each of its chunks compared with its hash
    #[arg(long, conflicts_with_all = ["into", "skip_chunks", "replace", "rekey", "key"])]
    pub dry_run: bool,
    /// Leave the chunks out; 'bulbil axon download' gets them later
    #[arg(long)]
    pub skip_chunks: bool,
    /// Take the backup's applets in place of those that are here with the same name or id; earlier snapshots keep what was
    #[arg(long)]
    pub replace: bool,
    /// Make envelopes for this instance and for all trusted Axon BBSes afterwards, and drop all others
    #[arg(long)]
    pub rekey: bool,
    /// The private key (PEM) of the instance that made the backup, to open what was made for it alone
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

/// Restores a backup folder.
pub async fn run(args: RestoreArgs, store: &Store, context: &Context) -> anyhow::Result<Outcome> {
    if args.into.is_some() {
        return super::into::run(args, store, context).await;
    }
    args.place.ensure_used(false, "--into")?;
    let dir = args.dir.context("the backup's folder must be given")?;
    if args.dry_run {
        return dry_run(dir, args.applet, context).await;
    }
    let instance = instance(store).await?;
    let collection = collection_to_fill(store, args.collection.as_deref()).await?;
    let (progress, cancel) = (context.progress(), context.cancellation());
    let existing = if args.replace { Existing::Replaced } else { Existing::Stays };
    let options = RestoreOptions { applet: args.applet, skip_chunks: args.skip_chunks, existing };
    let whose = Whose { store, collection: &collection, instance: &instance, key: args.key.as_deref() };
    let restored = from_folder(&whose, &dir, &options, &progress, &cancel, context).await;
    let rekeyed = match args.rekey && restored.is_ok() {
        true => Some(rekey(store, &collection, &instance, context.clock.now()).await),
        false => None,
    };
    // What came is kept in a snapshot, also if it was stopped.
    let made = snapshot(store, &collection, progress.clone(), &cancel, context).await;
    progress.finish();
    let (restored, rekeyed, made) = (restored?, rekeyed.transpose()?, made?);
    let out = &context.output;
    tell_left(&progress, out, &restored.left);
    restored_in_words(&restored).iter().for_each(|line| out.line(line));
    if let Some(rekeyed) = rekeyed {
        let (items, recipients) = (count(rekeyed.rekeyed, "item"), count(rekeyed.recipients, "recipient"));
        out.line(format!("{items} have new envelopes, for {recipients}"));
    }
    if let Some(sequence) = made {
        out.line(format!("snapshot {}@{sequence}", collection.name));
    }
    let problems = progress.problems();
    let mut document = restored_document(&restored);
    document["collection"] = json!(collection.name);
    document["rekeyed"] = json!(rekeyed.map(|rekeyed| rekeyed.rekeyed));
    document["snapshot"] = json!(made);
    out.document("axon restore", document, &problems);
    Ok(out.outcome(&problems))
}

/// Says whether a backup is whole.
async fn dry_run(dir: PathBuf, applet: Option<String>, context: &Context) -> anyhow::Result<Outcome> {
    let (progress, cancel) = (context.progress(), context.cancellation());
    let monitor = Arc::clone(&progress);
    let work = move || inspect(&BackupFolder::open(&dir)?, applet.as_deref(), &*monitor, &cancel);
    let found = tokio::task::spawn_blocking(work).await?;
    progress.finish();
    let found = found?;
    ensure!(!found.cancelled, "stopped before all of the backup was read");
    let out = &context.output;
    for (what, names) in [("whole", &found.whole), ("damaged", &found.damaged)] {
        if !names.is_empty() {
            out.line(format!("{what}: {}", names.join(", ")));
        }
    }
    out.line(format!(
        "{} whole, {} damaged; {}, {} of users, {}, {}; nothing was restored",
        count(found.whole.len() as u64, "applet"),
        found.damaged.len(),
        count(found.chunks, "chunk"),
        count(found.data, "data set"),
        count(found.scores, "score"),
        count(found.states, "shared state")
    ));
    let problems = progress.problems();
    let document = json!({
        "whole": found.whole, "damaged": found.damaged, "chunks": found.chunks, "data": found.data,
        "scores": found.scores, "shared_states": found.states,
    });
    out.document("axon restore", document, &problems);
    Ok(out.outcome(&problems))
}

/// Where a backup goes, and who opens it.
pub struct Whose<'a> {
    /// The repository.
    pub store: &'a Store,
    /// The collection.
    pub collection: &'a Collection,
    /// This instance.
    pub instance: &'a AxonInstance,
    /// A file with the private key of the backup's maker.
    pub key: Option<&'a Path>,
}

/// Restores a folder into a collection that was refreshed; problems are those of `progress`.
///
/// # Errors
/// If the folder or the key cannot be read.
pub async fn from_folder(
    whose: &Whose<'_>,
    dir: &Path,
    options: &RestoreOptions,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
    context: &Context,
) -> anyhow::Result<RestoreReport> {
    let own = PrivateKey::from_pkcs8_der(whose.instance.private.pkcs8_der())?;
    let mut private = vec![own];
    if let Some(file) = whose.key {
        private.push(read_key(file)?);
    }
    let keys = Arc::new(Keys { private, own: whose.instance.wrapper()? });
    let folder = BackupFolder::open(dir)?;
    let now = context.clock.now();
    let restore = Restore { store: whose.store, collection: whose.collection, keys, now, monitor: &**progress };
    Ok(restore.run(folder, options, cancel).await?)
}

/// The private key in a file.
///
/// # Errors
/// If there is none.
pub fn read_key(file: &Path) -> anyhow::Result<PrivateKey> {
    let cannot = || format!("cannot read the key {}", file.display());
    let stat = std::fs::metadata(file).with_context(cannot)?;
    ensure!(stat.is_file() && stat.len() <= MAX_KEY, "{} is no key: a private key is a PEM file", file.display());
    let text = std::fs::read_to_string(file).with_context(cannot)?;
    let key = PrivateKey::from_pem(&Zeroizing::new(text));
    key.with_context(|| format!("{} is no key with which a backup could be opened", file.display()))
}

/// Says what cannot be used, the same of many items once. Users' data is for the instance that made it, and is as good as it can be
/// without that instance's key; everything else is a problem.
pub fn tell_left(progress: &Progress, out: &Output, all: &[Left]) {
    let mut told: BTreeMap<(&str, String, bool), Vec<&Part>> = BTreeMap::new();
    for left in all {
        let usual = matches!((&left.part, &left.lack), (Part::Data(_), Lack::Key { given: false }));
        told.entry((&left.applet, left.lack.to_string(), usual)).or_default().push(&left.part);
    }
    for ((applet, lack, usual), parts) in told {
        let (subject, mut message) = (format!("applet {applet}"), parts[0].to_string());
        if parts.len() > 1 {
            message = format!("{message} and {} more", parts.len() - 1);
        }
        message = format!("{message}: {lack}");
        match usual {
            true => out.remark(format!("{subject}: {message}")),
            false => progress.problem(Problem { subject, message }),
        }
    }
}

/// A restore in words.
pub fn restored_in_words(report: &RestoreReport) -> Vec<String> {
    let mut lines = Vec::new();
    if !report.restored.is_empty() {
        lines.push(format!("restored: {}", report.restored.join(", ")));
    }
    if !report.replaced.is_empty() {
        lines.push(format!("in place of what was here: {}", report.replaced.join(", ")));
    }
    if !report.skipped.is_empty() {
        lines.push(format!("here already, and left as they are: {}", report.skipped.join(", ")));
    }
    for (applet, more) in &report.not_taken {
        lines.push(format!("{applet}: the backup has {more} that are not here; --replace takes what the backup has"));
    }
    if report.opened > 0 {
        lines.push(format!("{} of them can be opened from now on", count(report.opened, "item")));
    }
    lines.push(format!(
        "{} restored, {} skipped, {} refused; {} of users, {}, {}; copied {} in {}",
        count(report.restored.len() as u64, "applet"),
        report.skipped.len(),
        report.refused.len(),
        count(report.data, "data set"),
        count(report.scores, "score"),
        count(report.states, "shared state"),
        bytes(report.bytes),
        count(report.chunks, "chunk")
    ));
    lines
}

/// A restore as JSON.
pub fn restored_document(report: &RestoreReport) -> Value {
    let left: Vec<Value> = report
        .left
        .iter()
        .map(|left| json!({ "applet": left.applet, "content_hash": left.content_hash, "part": left.part.to_string(), "lack": left.lack.to_string() }))
        .collect();
    let not_taken: Vec<Value> =
        report.not_taken.iter().map(|(applet, more)| json!({ "applet": applet, "what": more })).collect();
    json!({
        "not_taken": not_taken, "restored": report.restored, "replaced": report.replaced, "skipped": report.skipped, "refused": report.refused, "opened": report.opened, "left": left,
        "data": report.data, "scores": report.scores, "shared_states": report.states, "chunks": report.chunks,
        "bytes": report.bytes,
    })
}
