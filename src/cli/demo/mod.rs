//! `bulbil demo`: the whole story on throw-away data, for who has never seen it.
//!
//! Everything is real: two homes, two servers, a connection over loopback. Nothing outside one temporary folder is touched.

mod compare; // two folders, byte for byte
mod sample; // an application's folder

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::backup::create::{Created, create};
use crate::backup::open::OpenSnapshot;
use crate::backup::restore::{Overwrite, RestoreOptions, restore};
use crate::backup::select;
use crate::backup::verify::{VerifyOptions, VerifyReport, verify};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::domain::chunk::Padding;
use crate::domain::id::{ChunkId, CollectionId};
use crate::domain::invite::Invite;
use crate::domain::peer::{Rights, Role, Scope, Trust};
use crate::domain::text::path_text;
use crate::monitor::{Monitor, Tally};
use crate::replicate::join::join;
use crate::replicate::pair::invite;
use crate::replicate::pull::Puller;
use crate::server::{Server, ServerOptions};
use crate::store::index::{Collection, CollectionKind, CollectionSettings, NewCollection, Peer, Root};
use crate::store::{CreateOptions, Store, entropy};

use super::args::DemoArgs;
use super::context::Context;
use super::output::{Outcome, Output, bytes, count, took};
use super::remote::{direct_caller, words};

const COLLECTION: &str = "notes";

/// Tells the story.
pub async fn run(args: DemoArgs, context: &Context) -> anyhow::Result<Outcome> {
    let started = std::time::Instant::now();
    let folder = Folder::make(args.keep)?;
    let mut story = Story { output: context.output, steps: Vec::new() };
    story.say(&format!("Bulbil on throw-away data in {}", folder.path.display()));
    tell(&folder.path, &mut story).await?;
    story.say("");
    story.say(&format!("Everything held; {}.", took(started.elapsed())));
    if args.keep {
        story.say(&format!(
            "The two instances are left in {}; try 'bulbil --home {}/beta/home status'.",
            folder.path.display(),
            folder.path.display()
        ));
    } else {
        story.say("The folder is removed now. With your own data:\n  bulbil init --name alpha\n  bulbil collection add notes ~/notes\n  bulbil backup");
    }
    let document = json!({
        "steps": story.steps, "seconds": started.elapsed().as_secs_f64(), "kept": args.keep.then(|| path_text(&folder.path)),
    });
    context.output.document("demo", document, &[]);
    Ok(Outcome::Done)
}

async fn tell(folder: &Path, story: &mut Story) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let data = folder.join("alpha/notes");

    story.step("Two machines");
    let (alpha, beta) = tokio::try_join!(home(folder, "alpha"), home(folder, "beta"))?;
    for store in [&alpha, &beta] {
        story.detail(&format!("{:<6} {}", store.keys.name, words(&store.keys.instance())));
    }
    story.tell(
        "Each instance draws keys of its own. They never leave it; only the fingerprint words are compared between people.",
    );
    std::fs::create_dir_all(data.parent().context("the folder has a parent")?)?;
    sample::make(&data)?;

    story.step("alpha backs up its notes");
    let notes = collection(&alpha, &data).await?;
    let first = backup(&alpha, &notes, &*clock).await?;
    let s = &first.statistics;
    story.detail(&format!(
        "{} files, {} read; {} stored in {}",
        s.files,
        bytes(s.bytes_read),
        bytes(s.new_bytes),
        count(s.new_chunks, "sealed chunk")
    ));
    ensure!(!knows(&folder.join("alpha/home/chunks"), b"bulbs keep what")?, "a chunk holds readable text");
    story.tell("Contents, names and sizes are sealed before they are written: looking into the chunks shows noise.");

    story.step("alpha serves, and invites beta");
    let options = ServerOptions { direct: Some(anywhere()), admin: Some(anywhere()), ..ServerOptions::default() };
    let server =
        Server::start(alpha.clone(), &Config::default(), options, Arc::clone(&clock), Arc::new(Tally::default()))
            .await?;
    let stop_alpha = CancellationToken::new();
    let address = server.peer_address().clone();
    let serving = server.run(stop_alpha.clone());
    let rights = Rights {
        scope: Scope::Only([notes.id].into()),
        role: Role::Reader,
        onward: false,
        from: None,
        limits: Default::default(),
    };
    let until = clock.now().checked_add(Duration::from_secs(3600))?;
    let line = invite(&alpha, address, rights, until).await?.to_text();
    story.detail(&format!("bulbil clone '{}…'", &line[..44]));
    story.tell("That one line is all that beta needs: where alpha is, who it is, and a secret that is good once.");

    let told = async {
        let result = with_beta(folder, &data, &alpha, &beta, &notes, &line, &clock, story).await;
        stop_alpha.cancel();
        result
    };
    let (served, told) = tokio::join!(serving, told);
    told?;
    served?;
    Ok(())
}

/// What beta does while alpha serves.
#[expect(clippy::too_many_arguments, reason = "it is the second half of one story")]
async fn with_beta(
    folder: &Path,
    data: &Path,
    alpha: &Store,
    beta: &Store,
    notes: &Collection,
    line: &str,
    clock: &Arc<dyn Clock>,
    story: &mut Story,
) -> anyhow::Result<()> {
    let none = CancellationToken::new();
    story.step("beta clones");
    let caller = direct_caller(beta, Arc::clone(clock));
    let peer = join(&caller, &Invite::parse(line)?).await?;
    beta.index.save_peer(&peer).await?;
    let monitor: Arc<dyn Monitor> = Arc::new(Tally::default());
    let puller = Puller::new(beta.clone(), caller.clone(), monitor);
    puller.sync(&peer, Duration::ZERO, &none).await?;
    let quote = puller.quote(None).await?;
    story.detail(&format!("to fetch: {} in {}", bytes(quote.bytes), count(quote.chunks, "chunk")));
    let fetched = puller.fetch(None, std::slice::from_ref(&peer), &none).await?;
    ensure!(fetched.still_missing == 0, "beta did not get everything");
    story.detail(&format!(
        "fetched: {} in {}",
        bytes(fetched.bytes),
        count(caller.client().counts().requests, "request")
    ));
    story.tell("Every chunk is compared with its name as it comes in, so it does not matter what the way was like.");
    let checked = restored(beta, COLLECTION, &folder.join("beta/first"), data).await?;
    story.detail(&format!("restored on beta: {} compared with alpha's, all alike", count(checked as u64, "entry")));

    story.step("A day later");
    sample::change(data)?;
    let second = backup(alpha, notes, &**clock).await?;
    let s = &second.statistics;
    story.detail(&format!("alpha backs up again: {} of {} stored anew", bytes(s.new_bytes), bytes(s.bytes)));
    let options = ServerOptions { direct: Some(anywhere()), admin: Some(anywhere()), ..ServerOptions::default() };
    let server =
        Server::start(beta.clone(), &Config::default(), options, Arc::clone(clock), Arc::new(Tally::default())).await?;
    let stop = CancellationToken::new();
    let following = server.following().clone();
    let asking = async {
        let asked = following.round(beta, &**clock).await;
        stop.cancel();
        asked
    };
    let (served, asked) = tokio::join!(server.run(stop.clone()), asking);
    served?;
    asked?;
    let newest = select::snapshot(beta, COLLECTION).await?;
    ensure!(newest.id == second.id && newest.complete, "beta did not follow");
    let brought = following.status().first().map_or(0, |peer| peer.bytes);
    story.detail(&format!("beta follows by itself: {} fetched, notes@{} is here", bytes(brought), newest.sequence));
    story.tell("Only what changed is stored and sent. A server asks its peers every few minutes without being told.");

    story.step("A bit flips on beta's disk");
    let broken = flip_a_bit(beta)?;
    story.detail(&format!("chunk {}: one bit of {} changed", broken.id.short(), bytes(broken.size)));
    let report = check(beta).await?;
    ensure!(report.damaged == [broken.id], "verify did not find the damaged chunk");
    story.detail(&format!(
        "bulbil verify --data: found it; {} of {} need it",
        report.affected.len(),
        count(report.snapshots, "snapshot")
    ));
    story.tell(
        "Disks do this without a word. The chunk's name is the hash of its bytes: nobody has to be asked what it was.",
    );

    story.step("beta heals itself");
    let fetched = puller.fetch(None, &[peer], &none).await?;
    ensure!(fetched.chunks == 1 && fetched.still_missing == 0, "the damaged chunk was not fetched again");
    story.detail(&format!("bulbil fetch: {} from alpha", count(fetched.chunks, "chunk")));
    let report = check(beta).await?;
    ensure!(report.damaged.is_empty() && report.missing.is_empty(), "something is still wrong");
    story.detail("bulbil verify --data: everything is as it was");
    story.tell("The bad copy lies in quarantine, for a look; the good one came from whoever has it.");

    story.step("If alpha burned down now");
    let checked = restored(beta, COLLECTION, &folder.join("beta/second"), data).await?;
    story.detail(&format!(
        "beta restores {}: contents, modes, times and links compared, all alike",
        count(checked as u64, "entry")
    ));
    let before = restore_into(
        beta,
        &format!("{COLLECTION}@{}", first_sequence(beta, notes.id).await?),
        &folder.join("beta/before"),
    )
    .await;
    before.context("the first snapshot cannot be restored any more")?;
    ensure!(folder.join("beta/before/2026/june/note-05.md").exists(), "the deleted note is not in the first snapshot");
    story.tell("The note that was deleted on the second day is still in the first snapshot: both can be restored, whole or in part.");

    story.step("Trust ends");
    let guest = alpha.index.peer(&beta.keys.instance()).await?.context("alpha knows beta")?;
    alpha.index.save_peer(&Peer { trust: Trust::Revoked, ..guest }).await?;
    let peer = beta.index.peer(&alpha.keys.instance()).await?.context("beta knows alpha")?;
    let Err(refused) = puller.sync(&peer, Duration::ZERO, &none).await else {
        bail!("a revoked peer was let in");
    };
    story.detail(&format!("bulbil peer revoke beta; bulbil sync on beta: {refused}"));
    story.tell("From its next request on beta gets nothing new. What it has it keeps: 'peer revoke' lists what it could fetch.");
    Ok(())
}

/// What is printed, and kept for `--json`.
struct Story {
    output: Output,
    steps: Vec<Value>,
}

impl Story {
    fn say(&self, text: &str) {
        self.output.line(text);
    }

    fn step(&mut self, title: &str) {
        self.say("");
        self.say(&format!("{}. {title}", self.steps.len() + 1));
        self.steps.push(json!({ "title": title, "what": [], "why": "" }));
    }

    fn detail(&mut self, text: &str) {
        self.say(&format!("     {text}"));
        if let Some(what) = self.steps.last_mut().and_then(|step| step["what"].as_array_mut()) {
            what.push(json!(text));
        }
    }

    fn tell(&mut self, text: &str) {
        self.say(&format!("   {text}"));
        if let Some(step) = self.steps.last_mut() {
            step["why"] = json!(text);
        }
    }
}

/// The temporary folder; removed in the end, unless it is to be kept.
struct Folder {
    path: PathBuf,
    keep: bool,
}

impl Folder {
    fn make(keep: bool) -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let mut random = [0; 8];
        rand_core::Rng::fill_bytes(&mut entropy(), &mut random);
        let name = format!("bulbil-demo-{}", data_encoding::HEXLOWER.encode(&random));
        let path = std::env::temp_dir().join(name);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self { path, keep })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "the demo's folder {} was not removed", self.path.display());
        }
    }
}

fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

async fn home(folder: &Path, name: &str) -> anyhow::Result<Store> {
    let options = CreateOptions { name: name.to_owned(), passphrase: None };
    let (store, _) = Store::create(&folder.join(name).join("home"), options).await?;
    Ok(store)
}

async fn collection(store: &Store, data: &Path) -> anyhow::Result<Collection> {
    let settings = CollectionSettings {
        application: None,
        roots: vec![Root { name: COLLECTION.to_owned(), path: data.to_owned() }],
        excludes: Vec::new(),
        level: 3,
        padding: Padding::None,
        kind: CollectionKind::Directory,
    };
    let id = CollectionId::random(&mut entropy());
    let origin = store.keys.instance();
    let new = NewCollection { id, name: COLLECTION.to_owned(), origin, settings: Some(settings) };
    Ok(store.index.add_collection(&new).await?)
}

async fn backup(store: &Store, notes: &Collection, clock: &dyn Clock) -> anyhow::Result<Created> {
    let tally = Arc::new(Tally::default());
    let created = create(store, notes, clock, tally.clone(), &CancellationToken::new()).await?;
    ensure!(!created.partial && tally.problems().is_empty(), "the backup is not whole: {:?}", tally.problems());
    Ok(created)
}

async fn check(store: &Store) -> anyhow::Result<VerifyReport> {
    let options = VerifyOptions { data: true, ..VerifyOptions::default() };
    Ok(verify(store, &options, Arc::new(Tally::default()), &CancellationToken::new()).await?)
}

async fn restore_into(store: &Store, which: &str, target: &Path) -> anyhow::Result<()> {
    let snapshot = select::snapshot(store, which).await?;
    let open = OpenSnapshot::open(store, &snapshot.id)?;
    let options = RestoreOptions { paths: Vec::new(), overwrite: Overwrite::Never, delete: false, dry_run: false };
    let (chunks, target, tally) = (store.chunks.clone(), target.to_owned(), Arc::new(Tally::default()));
    let seen = tally.clone();
    let work = move || restore(&chunks, &open, &target, &options, &*tally, &CancellationToken::new());
    tokio::task::spawn_blocking(work).await??;
    ensure!(seen.problems().is_empty(), "not everything was restored: {:?}", seen.problems());
    Ok(())
}

/// Restores and compares with the source; how many entries are alike.
async fn restored(store: &Store, which: &str, target: &Path, source: &Path) -> anyhow::Result<usize> {
    restore_into(store, which, target).await?;
    match compare::compare(source, target)? {
        Ok(alike) => Ok(alike),
        Err(path) => bail!("{} is not what it was after the restore", path.display()),
    }
}

async fn first_sequence(store: &Store, collection: CollectionId) -> anyhow::Result<u64> {
    let snapshots = store.index.snapshots(Some(&collection)).await?;
    snapshots.iter().map(|snapshot| snapshot.sequence).min().context("there are snapshots")
}

/// Whether any file below a folder holds these bytes.
fn knows(folder: &Path, text: &[u8]) -> anyhow::Result<bool> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let found = if path.is_dir() {
            knows(&path, text)?
        } else {
            std::fs::read(&path)?.windows(text.len()).any(|window| window == text)
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A chunk that was damaged.
struct Broken {
    id: ChunkId,
    size: u64,
}

/// Changes one bit in the middle of the largest chunk.
fn flip_a_bit(store: &Store) -> anyhow::Result<Broken> {
    let mut largest: Option<Broken> = None;
    store.chunks.list(&mut |id, size| {
        if largest.as_ref().is_none_or(|broken| broken.size < size) {
            largest = Some(Broken { id, size });
        }
    })?;
    let broken = largest.context("there are chunks")?;
    let name = broken.id.to_string();
    let path = store.home.chunks().join(&name[..2]).join(&name[2..4]).join(&name);
    let mut damaged = std::fs::read(&path)?;
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x10;
    // A file of its own, as chunks may be write-protected.
    std::fs::remove_file(&path)?;
    std::fs::write(&path, damaged)?;
    Ok(broken)
}
