//! `bulbil target`: other places that hold copies.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::domain::target::{BucketKey, Location};
use crate::http::admin::view::target::{CopiedView, TargetView, targets};
use crate::monitor::Monitor;
use crate::portable::At;
use crate::portable::target::Depth;
use crate::store::Store;
use crate::store::index::Cause;
use crate::transport::bucket::Bucket;
use crate::worker::copies::{GRACE, TargetChecked, TargetPruneReport, sample};
use crate::worker::runs::Recorder;
use crate::worker::targets::{self as places, NewTarget, find};

use super::args::{BucketArgs, TargetAddArgs, TargetCommand, TargetPruneArgs, TargetVerifyArgs};
use super::by_server::Server;
use super::context::Context;
use super::output::{Outcome, age, bytes, count};

/// Does what is said of targets.
pub async fn run(command: TargetCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        TargetCommand::Add(args) => add(args, context).await,
        TargetCommand::List => list(context).await,
        TargetCommand::Remove(args) => remove(&args.name, context).await,
        TargetCommand::Verify(args) => verify(args, context).await,
        TargetCommand::Prune(args) => prune(args, context).await,
    }
}

async fn add(args: TargetAddArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let TargetAddArgs { name, url, collections, bucket } = args;
    let url = if url.contains("://") { url } else { absolute(&url)? };
    let location = Location::parse(&url, bucket.endpoint.as_deref(), bucket.region.as_deref())?;
    let key = match &location {
        Location::Folder(_) => None,
        Location::Bucket(_) => Some(bucket_key(&bucket)?),
    };
    let view = match Server::running(&store, None, context).await? {
        Some(server) => {
            let of_bucket = |value: &Option<String>| value.clone().filter(|_| key.is_some());
            let (endpoint, region) = (of_bucket(&bucket.endpoint), of_bucket(&bucket.region));
            let body = json!({
                "name": name, "location": url, "endpoint": endpoint, "region": region, "collections": collections,
                "credentials": key.map(crate::http::admin::Credentials::from),
            });
            server.post("/admin/v1/targets", &body).await?
        }
        None => {
            let new = NewTarget { name, location, collections, key };
            let (target, _) = places::add(&store, new, context.clock.now()).await?;
            let found = targets(&store).await?.into_iter().find(|view| view.name == target.name);
            found.context("the target was forgotten at once")?
        }
    };
    context.output.line(format!("target {}: {}", view.name, view.location));
    context.output.remark("'bulbil copy' copies to it; 'bulbil schedule NAME --copy CRON' does so by itself");
    context.output.document("target add", document(&store, &view).await?, &[]);
    Ok(Outcome::Done)
}

async fn remove(name: &str, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let target = find(&store, name)?;
    match Server::running(&store, None, context).await? {
        Some(server) => server.delete(&format!("/admin/v1/targets/{}", target.name)).await?,
        None => drop(places::remove(&store, name).await?),
    }
    context.output.line(format!("forgot target {}; what is in {} stays", target.name, target.location));
    context.output.document("target remove", json!({ "name": target.name }), &[]);
    Ok(Outcome::Done)
}

/// The path from the root on, links followed if it is there: one place has one name.
fn absolute(text: &str) -> anyhow::Result<String> {
    let path = std::path::absolute(text).with_context(|| format!("{text:?} is no path"))?;
    let path = path.canonicalize().unwrap_or(path);
    path.into_os_string().into_string().map_err(|_| anyhow::anyhow!("the path of a target has to be valid UTF-8"))
}

/// The credentials from their file, or from the environment.
pub(super) fn bucket_key(args: &BucketArgs) -> anyhow::Result<BucketKey> {
    if let Some(file) = &args.credentials_file {
        return key_in(file);
    }
    let value = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(id), Some(secret)) = (value("AWS_ACCESS_KEY_ID"), value("AWS_SECRET_ACCESS_KEY")) else {
        bail!(
            "there are no credentials for the bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --credentials-file"
        );
    };
    Ok(BucketKey { id, secret, token: value("AWS_SESSION_TOKEN") })
}

fn key_in(file: &Path) -> anyhow::Result<BucketKey> {
    use std::os::unix::fs::PermissionsExt;
    let fail = || format!("cannot read the credentials in {}", file.display());
    let mode = std::fs::metadata(file).with_context(fail)?.permissions().mode() & 0o777;
    ensure!(
        mode & 0o077 == 0,
        "{} can be reached by others than its owner (mode {mode:03o}): run 'chmod 600 {}'",
        file.display(),
        file.display()
    );
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).with_context(fail)?);
    text.parse().with_context(|| format!("{} cannot be used", file.display()))
}

/// A place that is named by its address.
pub(super) fn place(url: &str, args: &BucketArgs) -> anyhow::Result<At> {
    let url = if url.contains("://") { url.to_owned() } else { absolute(url)? };
    Ok(match Location::parse(&url, args.endpoint.as_deref(), args.region.as_deref())? {
        Location::Folder(path) => At::Folder(path),
        Location::Bucket(address) => At::Bucket(Bucket::open(&address, &bucket_key(args)?)?),
    })
}

/// A target by its name, or a place by its address.
pub(super) fn target_or_place(store: &Store, text: &str, args: &BucketArgs) -> anyhow::Result<At> {
    match store.targets()?.iter().find(|target| target.name == text) {
        Some(target) => Ok(At::of(target)?),
        None if text.contains('/') => place(text, args),
        None => Ok(At::of(&find(store, text)?)?),
    }
}

/// A list, as the server sends it.
#[derive(serde::Deserialize)]
struct Listed {
    items: Vec<TargetView>,
}

async fn list(context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let all = match Server::running(&store, None, context).await? {
        Some(server) => server.get::<Listed>("/admin/v1/targets").await?.items,
        None => targets(&store).await?,
    };
    if all.is_empty() {
        context.output.line("there is no target; 'bulbil target add' names one");
    }
    let mut documents = Vec::new();
    for target in &all {
        say(target, context);
        documents.push(document(&store, target).await?);
    }
    context.output.document("target list", documents, &[]);
    Ok(Outcome::Done)
}

/// A target, and under it a line for each collection.
fn say(target: &TargetView, context: &Context) {
    let (out, now) = (&context.output, context.clock.now());
    let ago = |at: jiff::Timestamp| age(now.duration_since(at).as_secs());
    out.line(format!("target {}: {}", target.name, target.location));
    for copy in &target.copies {
        let copied = match &copy.copied {
            None => "nothing was copied yet".to_owned(),
            Some(CopiedView { at, sequence: Some(sequence), .. }) => format!("@{sequence} copied {}", ago(*at)),
            Some(CopiedView { at, .. }) => format!("copied {}", ago(*at)),
        };
        let verified = copy.verified.as_ref().map(|one| format!(", verified {}", ago(one.at))).unwrap_or_default();
        let failed = copy.failed.as_ref();
        let failed = failed.map(|one| format!("; FAILED {}: {}", ago(one.since), one.message)).unwrap_or_default();
        out.line(format!("  {}: {copied}{verified}{failed}", copy.collection));
    }
}

/// The same as JSON: collections by their ids, and those of which something is known.
async fn document(store: &Store, target: &TargetView) -> anyhow::Result<Value> {
    let all = store.index.collections().await?;
    let ids: HashMap<&str, String> = all.iter().map(|one| (one.name.as_str(), one.id.to_string())).collect();
    let id = |name: &String| ids.get(name.as_str()).unwrap_or(name).clone();
    let event =
        |event: &Option<CopiedView>| event.as_ref().map(|one| json!({ "at": one.at, "snapshot": one.snapshot }));
    let known =
        target.copies.iter().filter(|copy| copy.copied.is_some() || copy.verified.is_some() || copy.failed.is_some());
    let copies: Vec<Value> = known
        .map(|copy| {
            json!({
                "collection": copy.collection_id, "copied": event(&copy.copied), "verified": event(&copy.verified), "failed": copy.failed,
            })
        })
        .collect();
    let collections: Vec<String> = target.collections.iter().map(id).collect();
    Ok(json!({ "name": target.name, "location": target.location, "collections": collections, "copies": copies }))
}

async fn prune(args: TargetPruneArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let target = find(&store, &args.name)?;
    let progress = context.progress();
    let report: TargetPruneReport = match Server::running(&store, None, context).await? {
        Some(server) => {
            let order =
                json!({ "kind": "prune-target", "target": target.name, "dry_run": args.dry_run, "at_once": args.now });
            server.run(&order, &progress).await?.context("the server says nothing of what it removed")?
        }
        None => {
            let cancel = context.cancellation();
            let grace = if args.now { SignedDuration::ZERO } else { GRACE };
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            recorder.prune_target(&target, grace, args.dry_run, progress.clone()).await?
        }
    };
    progress.finish();
    let (verb, pruned) = (if report.dry_run { "would remove" } else { "removed" }, &report.pruned);
    context.output.line(format!(
        "target {}: {verb} {}, {} ({})",
        target.name,
        count(pruned.snapshots.len() as u64, "snapshot"),
        count(pruned.chunks, "chunk"),
        bytes(pruned.bytes)
    ));
    if pruned.later > 0 {
        context.output.line(format!("  {} that nobody leans on go with a later prune", count(pruned.later, "chunk")));
    }
    context.output.document("target prune", &report, &[]);
    Ok(Outcome::Done)
}

async fn verify(args: TargetVerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let target = find(&store, &args.name)?;
    let progress = context.progress();
    let report: TargetChecked = match Server::running(&store, None, context).await? {
        Some(server) => {
            let order = json!({
                "kind": "verify-target", "target": target.name, "data": args.data, "sample_percent": args.sample, "repair": args.repair,
            });
            server.run(&order, &progress).await?.context("the server says nothing of what it found")?
        }
        None => {
            let depth = match (args.data, args.sample) {
                (true, _) => Depth::Data,
                (false, Some(percent)) => sample(percent),
                (false, None) => Depth::Structure,
            };
            let cancel = context.cancellation();
            let recorder = Recorder::new(&store, Cause::Command, context.clock.clone(), &cancel);
            let monitor: Arc<dyn Monitor> = progress.clone();
            recorder.verify_target(&target, depth, args.repair, monitor).await?
        }
    };
    progress.finish();
    let (out, TargetChecked { checked, repaired, .. }) = (&context.output, &report);
    let snapshots: u64 = checked.snapshots.values().map(|snapshots| snapshots.len() as u64).sum();
    out.line(format!(
        "target {}: {}, {}; {} read ({})",
        target.name,
        count(snapshots, "snapshot"),
        count(checked.chunks, "chunk"),
        count(checked.read, "chunk"),
        bytes(checked.read_bytes)
    ));
    if *repaired > 0 {
        out.line(format!("  {} written anew", count(*repaired, "chunk")));
    } else if !checked.bad.is_empty() && !args.repair {
        out.remark("'bulbil target verify --repair' writes anew what is damaged there");
    }
    let problems = progress.problems();
    out.document("target verify", &report, &problems);
    Ok(out.outcome(&problems))
}
