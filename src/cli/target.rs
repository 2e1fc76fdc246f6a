//! `bulbil target`: other places that hold copies.

use std::path::Path;

use anyhow::{Context as _, bail, ensure};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::backup::select;
use crate::clock::Clock;
use crate::domain::target::{BucketKey, Location, Target};
use crate::portable::At;
use crate::portable::target::{Depth, begin};
use crate::store::Store;
use crate::store::index::TargetCopy;
use crate::transport::bucket::Bucket;
use crate::worker::copies::{Copies, seed};

use super::args::{BucketArgs, TargetAddArgs, TargetCommand, TargetPruneArgs, TargetVerifyArgs};
use super::context::Context;
use super::output::{Outcome, age, bytes, count};

/// So long nobody has leaned on a chunk that goes.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Does what is said of targets.
pub async fn run(command: TargetCommand, context: &Context) -> anyhow::Result<Outcome> {
    match command {
        TargetCommand::Add(args) => add(args, context).await,
        TargetCommand::List => list(context).await,
        TargetCommand::Remove(args) => {
            let store = context.store().await?;
            let target = find(&store, &args.name)?;
            store.drop_target(&target.name)?;
            store.index.forget_target(&target.name).await?;
            context.output.line(format!("forgot target {}; what is in {} stays", target.name, target.location));
            context.output.document("target remove", json!({ "name": target.name }), &[]);
            Ok(Outcome::Done)
        }
        TargetCommand::Verify(args) => verify(args, context).await,
        TargetCommand::Prune(args) => prune(args, context).await,
    }
}

async fn add(args: TargetAddArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let url = if args.url.contains("://") { args.url.clone() } else { absolute(&args.url)? };
    let location = Location::parse(&url, args.bucket.endpoint.as_deref(), args.bucket.region.as_deref())?;
    let known = store.targets()?;
    ensure!(
        !known.iter().any(|known| known.name == args.name && known.location != location),
        "there is a target {:?} already, elsewhere: 'bulbil target remove' forgets it first",
        args.name
    );
    if let Some(other) = known.iter().find(|known| known.name != args.name && known.location == location) {
        bail!("that is target {:?} already: two names for one place are one copy", other.name);
    }
    let mut collections = Vec::new();
    for name in &args.collections {
        collections.push(select::collection(&store, name).await?.id);
    }
    ensure!(
        !store.index.collections().await?.iter().any(|collection| collection.name == args.name),
        "there is a collection {:?}: give the target another name, so that 'bulbil copy' knows which is meant",
        args.name
    );
    let key = match &location {
        Location::Folder(path) => {
            ensure!(
                path.is_dir(),
                "{} is not there: mount its disk, or make the folder; a copy is never put where the disk should be",
                path.display()
            );
            crate::backup::restore::refuse_homes(path, &context.home).with_context(|| "a target cannot be there")?;
            refuse_backed_up(&store, path).await?;
            None
        }
        Location::Bucket(_) => Some(bucket_key(&args.bucket)?),
    };
    let target = Target { name: args.name, location, collections, key };
    ensure!(
        crate::domain::peer::is_plain_name(&target.name),
        "{:?} cannot be a target's name: use letters, digits and -_., 64 at most",
        target.name
    );
    begin(&store, &At::of(&target)?, context.clock.now()).await?;
    store.put_target(target.clone())?;
    context.output.line(format!("target {}: {}", target.name, target.location));
    context.output.remark("'bulbil copy' copies to it; 'bulbil schedule NAME --copy CRON' does so by itself");
    context.output.document("target add", document(&target, &[]), &[]);
    Ok(Outcome::Done)
}

/// What is copied there would be in the next backup, and in the next copy, and so on.
async fn refuse_backed_up(store: &Store, path: &Path) -> anyhow::Result<()> {
    let real = path.canonicalize()?;
    for collection in store.index.collections().await? {
        let roots = collection.settings.iter().flat_map(|settings| &settings.roots);
        let around = roots.into_iter().find(|root| root.path.canonicalize().is_ok_and(|root| real.starts_with(root)));
        ensure!(
            around.is_none(),
            "{} is backed up itself, with collection {:?}: each copy would be in the next backup; name a folder elsewhere",
            path.display(),
            collection.name
        );
    }
    Ok(())
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

/// The target of this name.
pub(super) fn find(store: &Store, name: &str) -> anyhow::Result<Target> {
    let targets = store.targets()?;
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    match targets.iter().find(|target| target.name == name) {
        Some(target) => Ok(target.clone()),
        None if names.is_empty() => bail!("there is no target yet: 'bulbil target add' names one"),
        None => bail!("there is no target {name:?}; there are: {}", names.join(", ")),
    }
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
        None => find(store, text).and_then(|target| Ok(At::of(&target)?)),
    }
}

async fn list(context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let (targets, copies) = (store.targets()?, store.index.target_copies().await?);
    if targets.is_empty() {
        context.output.line("there is no target; 'bulbil target add' names one");
    }
    let mut documents = Vec::new();
    for target in &targets {
        let of_it: Vec<&TargetCopy> = copies.iter().filter(|copy| copy.target == target.name).collect();
        for line in in_words(&store, target, &of_it, context).await? {
            context.output.line(line);
        }
        documents.push(document(target, &of_it));
    }
    context.output.document("target list", documents, &[]);
    Ok(Outcome::Done)
}

/// A target, and under it a line for each collection.
pub(super) async fn in_words(
    store: &Store,
    target: &Target,
    copies: &[&TargetCopy],
    context: &Context,
) -> anyhow::Result<Vec<String>> {
    let now = context.clock.now();
    let ago = |at: jiff::Timestamp| age(now.duration_since(at).as_secs());
    let mut lines = vec![format!("target {}: {}", target.name, target.location)];
    for collection in store.index.collections().await?.iter().filter(|collection| target.takes(&collection.id)) {
        let copy = copies.iter().find(|copy| copy.collection == collection.id);
        let Some(copy) = copy else {
            lines.push(format!("  {}: nothing was copied yet", collection.name));
            continue;
        };
        let copied = match copy.copied {
            None => "nothing was copied yet".to_owned(),
            Some((at, id)) => match store.index.snapshot(&id).await? {
                Some(snapshot) => format!("@{} copied {}", snapshot.sequence, ago(at)),
                None => format!("copied {}", ago(at)),
            },
        };
        let verified = copy.verified.map(|(at, _)| format!(", verified {}", ago(at))).unwrap_or_default();
        let failed = copy.failed.as_ref().map(|(at, why)| format!("; FAILED {}: {why}", ago(*at))).unwrap_or_default();
        lines.push(format!("  {}: {copied}{verified}{failed}", collection.name));
    }
    Ok(lines)
}

/// The same as JSON; never what lets us in.
pub(super) fn document(target: &Target, copies: &[&TargetCopy]) -> Value {
    let event = |event: &Option<(jiff::Timestamp, crate::domain::id::ManifestId)>| {
        event.as_ref().map(|(at, id)| json!({ "at": at, "snapshot": id }))
    };
    let copies: Vec<Value> = copies
        .iter()
        .map(|copy| {
            json!({
                "collection": copy.collection, "copied": event(&copy.copied), "verified": event(&copy.verified),
                "failed": copy.failed.as_ref().map(|(at, why)| json!({ "since": at, "message": why })),
            })
        })
        .collect();
    json!({
        "name": target.name, "location": target.location.to_string(), "collections": target.collections, "copies": copies,
    })
}

async fn prune(args: TargetPruneArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let target = find(&store, &args.name)?;
    let cancel = context.cancellation();
    let copies = Copies { store: &store, clock: &*context.clock, cancel: &cancel };
    let grace = if args.now { SignedDuration::ZERO } else { GRACE };
    let pruned = copies.prune(&target, grace, args.dry_run).await?;
    let verb = if args.dry_run { "would remove" } else { "removed" };
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
    let document = json!({ "target": target.name, "dry_run": args.dry_run, "pruned": pruned });
    context.output.document("target prune", document, &[]);
    Ok(Outcome::Done)
}

async fn verify(args: TargetVerifyArgs, context: &Context) -> anyhow::Result<Outcome> {
    let store = context.store().await?;
    let target = find(&store, &args.name)?;
    let depth = match (args.data, args.sample) {
        (true, _) => Depth::Data,
        (false, Some(percent)) => Depth::Sample { percent, seed: seed() },
        (false, None) => Depth::Structure,
    };
    let (progress, cancel) = (context.progress(), context.cancellation());
    let copies = Copies { store: &store, clock: &*context.clock, cancel: &cancel };
    let (checked, repaired) = copies.verify(&target, depth, args.repair, progress.clone()).await?;
    progress.finish();
    let out = &context.output;
    let snapshots: u64 = checked.snapshots.values().map(|snapshots| snapshots.len() as u64).sum();
    out.line(format!(
        "target {}: {}, {}; {} read ({})",
        target.name,
        count(snapshots, "snapshot"),
        count(checked.chunks, "chunk"),
        count(checked.read, "chunk"),
        bytes(checked.read_bytes)
    ));
    if repaired > 0 {
        out.line(format!("  {} written anew", count(repaired, "chunk")));
    } else if !checked.bad.is_empty() && !args.repair {
        out.remark("'bulbil target verify --repair' writes anew what is damaged there");
    }
    let problems = progress.problems();
    let document = json!({ "target": target.name, "checked": checked, "repaired": repaired });
    out.document("target verify", document, &problems);
    Ok(out.outcome(&problems))
}
