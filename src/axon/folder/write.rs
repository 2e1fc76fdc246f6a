//! A backup folder from the shelf, in the form that an Axon BBS writes, so that one can restore it.
//!
//! It is made under another name and gets its own when it is whole and durable: what a kill leaves looks like no backup, and goes with
//! the next one into the same place.
//!
//! Folders of applets are called as Axon calls them. Where two applets would have one folder, or a name can be none (there), the applet
//! has the folder `applet_<its id>`: a BBS restores every folder, whatever its name, and it is said which applet is where.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use jiff::civil::DateTime;
use jiff::{Span, Timestamp};
use tokio_util::sync::CancellationToken;

use super::stage::Stage;
use crate::axon::check::chunk;
use crate::axon::library::{Applet, Library, NoApplet, with_code, with_data};
use crate::domain::axon::backup::{
    self, APPLET_DATA, BACKUP_MANIFEST, BackupManifest, CHUNKS, DATA_CHUNKS, HIGH_SCORES, METADATA, SHARED_STATE,
};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::key::{KeyError, Wrapper};
use crate::domain::axon::manifest::Manifest;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::dir::{Access, Dir, DirError};
use crate::store::{ChunkStoreError, Store};

/// So many backups are made in one place in as many seconds, at most.
const MAX_TRIES: usize = 60;

/// Why no backup was written.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no applet of that name.
    #[error(transparent)]
    NoApplet(#[from] NoApplet),
    /// There is nothing to write.
    #[error("there are no applets in this collection: 'bulbil axon clone' or 'bulbil axon restore' brings them")]
    Nothing,
    /// The place cannot be written to.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Chunks cannot be read.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// Somebody's key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It was stopped.
    #[error("stopped; nothing was written that looks like a backup")]
    Cancelled,
}

/// What is written, and where.
#[derive(Debug)]
pub struct BackupOptions<'a> {
    /// The folder in which the backup's folder is made. It is made, too, if it is not there.
    pub output: &'a Path,
    /// One applet only, by its name or that of its folder.
    pub applet: Option<&'a str>,
    /// When it is, in local time.
    pub at: DateTime,
    /// Who gets envelopes for code. Envelopes that are there stay.
    pub of_code: &'a [Wrapper],
    /// Who gets envelopes for users' data, which is for nobody but the instance that keeps it and the user.
    pub of_data: &'a [Wrapper],
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The backup's folder.
    pub folder: PathBuf,
    /// Names of applets.
    pub applets: Vec<String>,
    /// Chunks of code.
    pub chunks: u64,
    /// Chunks of users' data.
    pub data_chunks: u64,
    /// Users' data.
    pub data: u64,
    /// Scores.
    pub scores: u64,
    /// Shared states.
    pub states: u64,
}

/// The date in a backup's name.
fn date(at: DateTime) -> String {
    at.strftime("%Y%m%d_%H%M%S").to_string()
}

/// Local time of this machine, as backups are called by it.
pub fn local(now: Timestamp) -> DateTime {
    now.to_zoned(jiff::tz::TimeZone::system()).datetime()
}

/// Writes a backup. Blocks. What an applet lacks is a problem for `monitor`, and the others go on.
///
/// # Errors
/// [`BackupError`]: then there is no backup.
pub fn write(
    store: &Store,
    library: &Library,
    options: &BackupOptions<'_>,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<BackupReport, BackupError> {
    if library.applets.is_empty() {
        return Err(BackupError::Nothing);
    }
    let applets = library.chosen(options.applet)?;
    std::fs::create_dir_all(options.output).map_err(|cause| DirError::Io {
        what: "make",
        path: options.output.to_owned(),
        cause,
    })?;
    let output = Dir::open(options.output)?;
    let free = |at: &DateTime| output.has(&format!("backup_{}", date(*at))).map(|taken| !taken);
    let mut at = options.at;
    for _ in 0..MAX_TRIES {
        if free(&at)? {
            break;
        }
        at = at.saturating_add(Span::new().seconds(1));
    }
    let date = date(at);
    let stage = Stage::begin(output, Access::Usual, monitor)?;
    let mut work = Writing { store, library, options, monitor, taken: [BACKUP_MANIFEST.to_owned()].into() };
    let mut report = BackupReport {
        folder: options.output.join(format!("backup_{date}")),
        applets: Vec::new(),
        chunks: 0,
        data_chunks: 0,
        data: 0,
        scores: 0,
        states: 0,
    };
    work.all(stage.dir(), &applets, &date, &mut report, cancel)?;
    stage.finish(&format!("backup_{date}"))?;
    Ok(report)
}

/// The applets to be written, oldest first, as the database of a BBS has them.
struct Writing<'a> {
    store: &'a Store,
    library: &'a Library,
    options: &'a BackupOptions<'a>,
    monitor: &'a dyn Monitor,
    /// Names in the backup's folder.
    taken: BTreeSet<String>,
}

impl Writing<'_> {
    fn all(
        &mut self,
        into: &Dir,
        applets: &[&Applet],
        date: &str,
        report: &mut BackupReport,
        cancel: &CancellationToken,
    ) -> Result<(), BackupError> {
        self.monitor.task("writing applets", Counter::Entries, Some(applets.len() as u64));
        let mut names = Vec::new();
        for applet in applets {
            if cancel.is_cancelled() {
                return Err(BackupError::Cancelled);
            }
            let name = applet.shown();
            let Some(folder) = self.folder(into, &name, applet)? else { continue };
            self.applet(&folder, &name, applet, report)?;
            names.push(applet.metadata.name.clone());
            report.applets.push(name);
            self.monitor.add(Counter::Entries, 1);
        }
        let total = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let manifest = BackupManifest {
            backup_date: date.into(),
            total_applets: total(names.len() as u64),
            total_chunks: total(report.chunks),
            total_data_instances: total(report.data),
            total_high_scores: total(report.scores),
            applets: names,
        };
        into.write(BACKUP_MANIFEST, backup::write_one(&Kept::new(manifest)).as_bytes(), Access::Usual)?;
        Ok(())
    }

    /// Makes the folder of an applet; nothing if it can have none.
    fn folder(&mut self, into: &Dir, name: &str, applet: &Applet) -> Result<Option<Dir>, DirError> {
        let usual = applet.metadata.name.as_str().map(backup::applet_folder);
        let id = format!("applet_{}", applet.metadata.id.as_str());
        let why = match usual {
            Some(Ok(folder)) if self.taken.insert(folder.clone()) => match into.make(&folder, Access::Usual) {
                Ok(made) => return Ok(Some(made)),
                // Where `Star` and `star` are one name, or a colon can be in none. If it is the disk, the other one fails as well.
                Err(cause) => format!("its folder would be {folder}, and cannot be made here ({cause})"),
            },
            Some(Ok(folder)) => format!("its folder would be {folder}, which another applet has"),
            _ => "its name can be that of no folder".to_owned(),
        };
        if !self.taken.insert(id.clone()) {
            self.problem(name, format!("{why}, and the folder {id} is taken, too: it was left out"));
            return Ok(None);
        }
        let made = into.make(&id, Access::Usual)?;
        self.problem(name, format!("{why}: it was written into the folder {id}"));
        Ok(Some(made))
    }

    fn applet(&self, into: &Dir, name: &str, applet: &Applet, report: &mut BackupReport) -> Result<(), BackupError> {
        let mut metadata = applet.metadata.clone();
        if let Some(code) = &applet.metadata.code_manifest {
            let code = self.with_envelopes(code, self.options.of_code)?;
            report.chunks += self.chunks(into, &[CHUNKS], &code, name, "its code")?;
            metadata = with_code(&metadata, &code);
        }
        into.write(METADATA, backup::write_one(&metadata).as_bytes(), Access::Usual)?;
        let mut rows = Vec::new();
        let mut owners = BTreeSet::new();
        for row in &applet.data {
            let owner = row.owner_username.as_str().map(backup::owner_folder);
            let Some(Ok(owner)) = owner.filter(|owner| owner.as_ref().is_ok_and(|owner| owners.insert(owner.clone())))
            else {
                let whose = row.owner_username.to_string_lossy();
                self.problem(
                    name,
                    format!(
                        "the data of {whose:?} was left out: that name can be that of no folder, or another user has it"
                    ),
                );
                continue;
            };
            let data = self.with_envelopes(&row.data_manifest, self.options.of_data)?;
            let what = format!("the data of {owner:?}");
            report.data_chunks += self.chunks(into, &[DATA_CHUNKS, &owner], &data, name, &what)?;
            rows.push(with_data(row, &data));
        }
        if !rows.is_empty() {
            into.write(APPLET_DATA, backup::write_rows(&rows).as_bytes(), Access::Usual)?;
        }
        if !applet.scores.is_empty() {
            into.write(HIGH_SCORES, backup::write_rows(&applet.scores).as_bytes(), Access::Usual)?;
        }
        if let Some(state) = &applet.state {
            into.write(SHARED_STATE, backup::write_one(state).as_bytes(), Access::Usual)?;
        }
        report.data += rows.len() as u64;
        report.scores += applet.scores.len() as u64;
        report.states += u64::from(applet.state.is_some());
        Ok(())
    }

    /// The manifest of what is here, with envelopes for those who have none, if the key is here.
    fn with_envelopes(&self, manifest: &Manifest, recipients: &[Wrapper]) -> Result<Manifest, KeyError> {
        let mut manifest = self.library.held(manifest);
        if let Some(key) = self.library.key_of(&manifest) {
            for recipient in recipients {
                if !manifest.has_envelope(recipient.name()) {
                    manifest.add_envelope(recipient, key)?;
                }
            }
        }
        Ok(manifest)
    }

    /// Writes the chunks that are here into a folder in folders, made for the first one; how many.
    fn chunks(
        &self,
        into: &Dir,
        folders: &[&str],
        manifest: &Manifest,
        applet: &str,
        what: &str,
    ) -> Result<u64, BackupError> {
        let mut dir = None;
        let (mut written, mut lost) = (0, 0);
        for (index, id) in manifest.chunk_hashes().iter().enumerate() {
            let Some(bytes) = chunk(self.store, id)? else {
                lost += 1;
                continue;
            };
            let dir = match &mut dir {
                Some(dir) => dir,
                none => none.insert(within(into, folders)?),
            };
            dir.write(&backup::chunk_file(index), &bytes, Access::Usual)?;
            written += 1;
            self.monitor.add(Counter::Chunks, 1);
            self.monitor.add(Counter::ChunkBytes, bytes.len() as u64);
        }
        if lost > 0 {
            let total = manifest.chunk_hashes().len();
            self.problem(
                applet,
                format!(
                    "{what}: {lost} of {total} chunks are missing or damaged here: 'bulbil axon download' fetches them"
                ),
            );
        }
        Ok(written)
    }

    fn problem(&self, applet: &str, message: String) {
        self.monitor.problem(Problem { subject: format!("applet {applet}"), message });
    }
}

/// A folder in folders, made where they are not there.
fn within(into: &Dir, folders: &[&str]) -> Result<Dir, DirError> {
    let (first, rest) = folders.split_first().expect("chunks are in a folder");
    let made = into.make_or_enter(first, Access::Usual)?;
    if rest.is_empty() { Ok(made) } else { within(&made, rest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backup_is_called_by_its_date() {
        assert_eq!(date("2026-11-21T20:50:42.9".parse().unwrap()), "20261121_205042");
    }
    #[tokio::test]
    async fn a_name_that_the_disk_refuses_is_written_as_the_applets_id() {
        use crate::axon::testing::{NOW, write_backup};
        let host = crate::store::testing::TestStore::new().await;
        let id = "11111111-1111-4111-8111-111111111111";
        write_backup(&host.dir.path().join("in"), id, None, &[]);
        let read = super::super::read::BackupFolder::open(&host.dir.path().join("in")).unwrap().applets(None).unwrap();
        let applet = read.into_iter().next().unwrap().applet.unwrap().applet;
        // As where `Star` and `star` are one name: the folder cannot be made.
        let out = Dir::open(host.dir.path()).unwrap().make("out", Access::Usual).unwrap();
        out.make("Star", Access::Usual).unwrap();
        let (library, tally) = (Library::default(), crate::monitor::Tally::default());
        let at = NOW.parse::<Timestamp>().unwrap().to_zoned(jiff::tz::TimeZone::UTC).datetime();
        let options = BackupOptions { output: host.dir.path(), applet: None, at, of_code: &[], of_data: &[] };
        let taken = [BACKUP_MANIFEST.to_owned()].into();
        let mut work = Writing { store: &host.store, library: &library, options: &options, monitor: &tally, taken };
        let mut report = BackupReport {
            folder: PathBuf::new(),
            applets: Vec::new(),
            chunks: 0,
            data_chunks: 0,
            data: 0,
            scores: 0,
            states: 0,
        };
        work.all(&out, &[&applet], "d", &mut report, &CancellationToken::new()).unwrap();
        assert!(out.enter(&format!("applet_{id}")).unwrap().has(METADATA).unwrap());
        assert!(format!("{:?}", tally.problems()).contains(&format!("applet_{id}")), "{:?}", tally.problems());
    }
}
