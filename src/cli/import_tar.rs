//! `bulbil import-tar`

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::json;

use crate::backup::create::{ArchiveSource, Extras, moment};
use crate::clock::Clock;
use crate::domain::chunk::Padding;
use crate::domain::crypto::hash::FileHash;
use crate::domain::id::CollectionId;
use crate::domain::manifest::ArchiveOrigin;
use crate::domain::peer::is_plain_name;
use crate::domain::text::path_text;
use crate::monitor::{Counter, Monitor, Problem};
use crate::source::Excludes;
use crate::source::archive::{self, Archive, ArchiveError, Opening};
use crate::store::index::{Application, Cause, Collection, CollectionKind, CollectionSettings, NewCollection};
use crate::store::{Store, blocking, entropy};
use crate::worker::runs::Recorder;

use super::admin::AdminClient;
use super::args::ImportTarArgs;
use super::context::Context;
use super::output::{Outcome, bytes, count};
use super::progress::Progress;

/// Findings that are told of one archive.
const TOLD: usize = 10;

/// An archive that is to be taken.
struct Dated {
    path: PathBuf,
    name: String,
    hash: FileHash,
    made_at: Timestamp,
    from: &'static str,
}

/// Where everything goes.
struct Place<'a> {
    store: &'a Store,
    args: &'a ImportTarArgs,
    context: &'a Context,
    progress: Arc<Progress>,
    /// What it is called.
    name: String,
    /// Nothing before the first archive was read.
    collection: Option<Collection>,
}

/// Turns old archives into snapshots with their dates, oldest first.
pub async fn run(args: ImportTarArgs, context: &Context) -> anyhow::Result<Outcome> {
    ensure!(args.date.is_none() || args.files.len() == 1, "--date is for one archive: name one file");
    let name = collection_name(&args)?;
    let store = context.store().await?;
    let collection = store.index.collection_named(&name).await?;
    if let Some(collection) = &collection {
        fits(collection, &args)?;
    } else if let Some(preset) = &args.preset {
        store.preset(preset)?;
    }
    let progress = context.progress();
    let mut place = Place { store: &store, args: &args, context, progress: progress.clone(), name, collection };
    let dated = place.dated().await?;
    let mut documents = Vec::new();
    let mut unsound = false;
    for one in &dated {
        if context.cancellation().is_cancelled() {
            bail!("cancelled: {} of {} were looked at; run it again to go on", documents.len(), dated.len());
        }
        let when = format!("{} ({})", moment(one.made_at), one.from);
        if args.dry_run {
            context.output.line(format!("{}: {when}", one.name));
            documents.push(json!({ "file": path_text(&one.path), "made_at": one.made_at, "date_from": one.from }));
            continue;
        }
        match place.import(one).await? {
            Some((document, sound)) => {
                documents.push(document);
                unsound |= !sound;
            }
            None => progress.suspend(|| context.output.line(format!("{}: it is here already", one.name))),
        }
    }
    progress.finish();
    let problems = progress.problems();
    context.output.document("import-tar", json!({ "collection": place.name, "archives": documents }), &problems);
    let outcome = context.output.outcome(&problems);
    Ok(if unsound { Outcome::NotEverything } else { outcome })
}

/// The collection's name: as it is said, or what the names of all archives begin with.
fn collection_name(args: &ImportTarArgs) -> anyhow::Result<String> {
    if let Some(name) = &args.collection {
        return Ok(name.clone());
    }
    let mut names: Vec<String> = args.files.iter().map(|path| stem(path)).collect();
    names.sort();
    names.dedup();
    match names.as_slice() {
        [name] if is_plain_name(name) => Ok(name.clone()),
        _ => bail!("say which collection the archives belong to (--collection NAME): their names do not tell"),
    }
}

/// A file's name without its date and endings.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().unwrap_or_default();
    let words = name.split(['-', '_', ' ']).filter(|word| !word.is_empty());
    words.filter(|word| !word.starts_with(|c: char| c.is_ascii_digit())).collect::<Vec<_>>().join("-")
}

/// Whether archives can go into a collection that is there.
fn fits(collection: &Collection, args: &ImportTarArgs) -> anyhow::Result<()> {
    let name = &collection.name;
    let settings = collection.settings.as_ref();
    let settings = settings.with_context(|| format!("collection {name:?} belongs to another instance"))?;
    ensure!(settings.kind == CollectionKind::Directory, "collection {name:?} is of an Axon BBS: name another one");
    ensure!(
        settings.roots.len() <= 1,
        "collection {name:?} has several folders, and nobody knows which of them an archive is of: name another one"
    );
    let preset = settings.application.as_ref().map(|application| application.preset.as_str());
    if let Some(wanted) = args.preset.as_deref().filter(|wanted| Some(*wanted) != preset) {
        bail!(
            "collection {name:?} is there already: 'bulbil collection set {name} --preset {wanted}' gives it that preset"
        );
    }
    Ok(())
}

impl Place<'_> {
    fn problem(&self, name: &str, message: String) {
        self.progress.problem(Problem { subject: name.to_owned(), message });
    }

    /// All archives that can be read, oldest first.
    async fn dated(&self) -> anyhow::Result<Vec<Dated>> {
        let zone = TimeZone::try_system().unwrap_or(TimeZone::UTC);
        let mut dated = Vec::new();
        self.progress.task("looking at archives", Counter::Entries, Some(self.args.files.len() as u64));
        for path in &self.args.files {
            let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
            let said = archive::from_name(&name);
            let look = self.args.date.is_none() && said.is_none_or(|date| date.time.is_none());
            let (passphrase, cancel) = (self.args.archive_passphrase_file.clone(), self.context.cancellation());
            let at = path.clone();
            let scanned = blocking(move || {
                archive::scan(&at, look, &Opening { passphrase_file: passphrase.as_deref(), cancel: &cancel })
            });
            let scanned = match scanned.await {
                Ok(scanned) => scanned,
                Err(ArchiveError::Cancelled) => bail!("cancelled: nothing was imported"),
                Err(error) => {
                    self.problem(&name, format!("no snapshot was made of it: {error}"));
                    continue;
                }
            };
            self.progress.add(Counter::Entries, 1);
            let made = match self.args.date {
                Some(date) => Some((date, "what was said")),
                None => archive::made_at(path, scanned.newest, &zone),
            };
            match made {
                Some((made_at, from)) if made_at <= self.context.clock.now() => {
                    dated.push(Dated { path: path.clone(), name, hash: scanned.hash, made_at, from });
                }
                Some((made_at, from)) => {
                    let when = moment(made_at);
                    self.problem(
                        &name,
                        format!("its date ({when}, by {from}) is in the future: --date says when it was made"),
                    );
                }
                None => self.problem(&name, "nobody knows when it was made: --date says it".to_owned()),
            }
        }
        dated.sort_by(|a, b| (a.made_at, &a.name).cmp(&(b.made_at, &b.name)));
        Ok(dated)
    }

    /// Makes a snapshot of an archive: what to say of it, and whether it is sound. Nothing if it is in one already.
    async fn import(&mut self, one: &Dated) -> anyhow::Result<Option<(serde_json::Value, bool)>> {
        let hash = data_encoding::HEXLOWER.encode(one.hash.as_bytes());
        if let Some(collection) = &self.collection {
            let captures = self.store.index.captures(&collection.id).await?;
            let mut taken = captures.iter().filter_map(|(_, capture)| capture.archive.as_ref());
            if taken.any(|origin| origin.blake3 == hash) {
                return Ok(None);
            }
        }
        let archive = match self.read(one).await {
            Ok(archive) => archive,
            Err(error) => match error.downcast_ref::<ArchiveError>() {
                Some(ArchiveError::Cancelled) | None => return Err(error),
                Some(_) => {
                    self.problem(&one.name, format!("no snapshot was made of it: {error}"));
                    return Ok(Some((json!({ "file": path_text(&one.path), "failed": error.to_string() }), true)));
                }
            },
        };
        let collection = self.collection().await?;
        for (path, why) in &archive.refused {
            self.problem(&one.name, format!("{path} is not taken: {why}"));
        }
        if archive.untold > 0 {
            self.problem(&one.name, format!("{} more members are not taken", archive.untold));
        }
        let origin = ArchiveOrigin { name: one.name.clone(), blake3: hash, imported_at: self.context.clock.now() };
        let (beside, trailing, place) = (archive.beside, archive.trailing, archive.place.clone());
        let source = ArchiveSource { archive: Arc::new(archive), root: self.root(), made_at: one.made_at, origin };
        let extras = Extras { archive: Some(source), ..Extras::default() };
        let cancel = self.context.cancellation();
        let recorder = Recorder::new(self.store, Cause::Command, self.context.clock.clone(), &cancel);
        let created = match recorder.take_archive(&collection, extras, self.progress.clone()).await {
            Ok(created) => created.context("an archive makes a snapshot")?,
            Err(error) if error.is_busy() || cancel.is_cancelled() => return Err(error.into()),
            Err(error) => {
                let why = crate::monitor::with_causes(&error);
                self.problem(&one.name, format!("no snapshot was made of it: {why}"));
                return Ok(Some((json!({ "file": path_text(&one.path), "failed": why }), true)));
            }
        };
        AdminClient::feed_changed(self.store).await;
        self.context.note(format!("{}@{} {}", collection.name, created.sequence, created.id.short()));
        let s = &created.statistics;
        self.progress.suspend(|| {
            let out = &self.context.output;
            out.line(format!("{}@{}  {}, of {}", collection.name, created.sequence, one.name, moment(one.made_at)));
            out.line(format!(
                "  dated by {}; {}, {}, stored {}",
                one.from,
                count(s.files, "file"),
                bytes(s.bytes),
                bytes(s.new_bytes)
            ));
            if let Some(within) = &place.within {
                out.remark(format!("  the application's folder is {within} in it"));
            }
            if let Some(below) = &place.below {
                out.remark(format!("  it holds only what belongs into {below}"));
            }
            if beside > 0 {
                out.remark(format!("  {} beside that folder are left out", count(beside, "member")));
            }
            if trailing {
                out.remark("  something stands behind its end; tar does not read that either");
            }
            let wrong = created.capture.inconsistent.iter().map(|what| format!("inconsistent: {what}"));
            let shrunk = created.capture.shrunk.iter().map(|what| format!("shrunk: {what}"));
            for what in wrong.chain(shrunk).take(TOLD) {
                out.line(format!("  {what}"));
            }
        });
        let document = json!({
            "file": path_text(&one.path), "made_at": one.made_at, "date_from": one.from, "sequence": created.sequence,
            "id": created.id, "statistics": created.statistics, "capture": created.capture, "beside": beside,
        });
        Ok(Some((document, created.capture.is_sound())))
    }

    async fn read(&self, one: &Dated) -> anyhow::Result<Archive> {
        let settings = self.collection.as_ref().and_then(|collection| collection.settings.clone());
        let application = settings.as_ref().and_then(|settings| settings.application.as_ref());
        let preset = application.map(|application| application.preset.clone()).or(self.args.preset.clone());
        let preset = preset.map(|name| self.store.preset(&name)).transpose()?;
        let mut patterns = preset.as_ref().map(|preset| preset.patterns()).unwrap_or_default();
        patterns.extend(settings.iter().flat_map(|settings| settings.excludes.iter().cloned()));
        let excludes = Excludes::new(&patterns)?;
        let folder = settings.and_then(|settings| settings.roots.first().map(|root| root.path.clone()));
        let (path, root) = (one.path.clone(), self.root());
        let scratch = self.args.scratch.clone().unwrap_or_else(|| self.store.home.root().to_owned());
        let (passphrase, cancel) = (self.args.archive_passphrase_file.clone(), self.context.cancellation());
        self.progress.task(&format!("reading {}", one.name), Counter::BytesDone, None);
        let read = move || {
            let into = archive::Destination {
                root: &root,
                folder: folder.as_deref(),
                preset: preset.as_ref(),
                excludes: &excludes,
            };
            let opening = Opening { passphrase_file: passphrase.as_deref(), cancel: &cancel };
            Archive::read(&path, &into, &scratch, &opening)
        };
        Ok(blocking(read).await?)
    }

    /// What the root is called in the tree.
    fn root(&self) -> String {
        let settings = self.collection.as_ref().and_then(|collection| collection.settings.as_ref());
        let root = settings.and_then(|settings| settings.roots.first());
        root.map_or_else(|| self.name.clone(), |root| root.name.clone())
    }

    /// The collection, made if it is not there.
    async fn collection(&mut self) -> anyhow::Result<Collection> {
        if let Some(collection) = &self.collection {
            return Ok(collection.clone());
        }
        ensure!(
            is_plain_name(&self.name),
            "{:?} is no name for a collection: use 1 to 64 letters, digits, '-', '_' and '.'",
            self.name
        );
        let settings = CollectionSettings {
            roots: Vec::new(),
            excludes: Vec::new(),
            level: 3,
            padding: Padding::None,
            kind: CollectionKind::Directory,
            application: self.args.preset.clone().map(|preset| Application { preset, hooks: None }),
        };
        let id = CollectionId::random(&mut entropy());
        let new =
            NewCollection { id, name: self.name.clone(), origin: self.store.keys.instance(), settings: Some(settings) };
        let collection = self.store.index.add_collection(&new).await?;
        self.progress.suspend(|| self.context.output.line(format!("added collection {}", collection.name)));
        self.collection = Some(collection.clone());
        Ok(collection)
    }
}
