//! Everything as plain files, for whoever wants to do without Bulbil and without Axon.
//!
//! ```text
//! applets/<name>/applet.json, high_scores.json, shared_state.json   as in a backup folder
//! applets/<name>/code/<file>              the code, byte for byte
//! applets/<name>/data/<user>.json         what the applet keeps for a user, opened
//! boards/<board>.jsonl                    messages, one on a line, in the order in which they came
//! files/<file>, files.jsonl               files, and what is known of each
//! private_messages.jsonl                  sealed end to end: only the sender's and the recipient's own keys open them
//! other/<hash>.json                       what is of no known kind, or too large to be taken apart
//! config/<model>.json, actions.jsonl      the configuration's rows; what other instances said to do
//! report.json                             what is there, and what could not be opened
//! ```
//!
//! Names are those that somebody gave, made plain. The folder is for its owner alone: the configuration has hashes of passwords.

mod content; // items, opened
mod names; // plain names

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::folder::stage::Stage;
use super::library::{Applet, Library, NoApplet};
use crate::domain::axon::backup;
use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::moment;
use crate::monitor::{Counter, Monitor, Problem};
use crate::store::dir::{Access, Dir, DirError};
use crate::store::{ChunkStoreError, Store};

/// What is laid out, and where.
#[derive(Debug)]
pub struct ExtractOptions<'a> {
    /// The folder that is made. One that is there must be empty.
    pub target: &'a Path,
    /// One applet only, and nothing else.
    pub applet: Option<&'a str>,
    /// When it is.
    pub now: Timestamp,
}

/// What was laid out.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ExtractReport {
    /// Applets.
    pub applets: u64,
    /// Applets' code.
    pub code: u64,
    /// Users' data.
    pub data: u64,
    /// Files.
    pub files: u64,
    /// Messages on boards.
    pub messages: u64,
    /// Private messages, which stay sealed.
    pub private_messages: u64,
    /// Rows of the configuration.
    pub rows: u64,
    /// Actions.
    pub actions: u64,
    /// Items of no known kind, or too large to be taken apart.
    pub other: u64,
    /// What could not be opened: what it is, and why.
    pub not_opened: Vec<(String, String)>,
}

/// Why nothing was laid out.
#[derive(Debug, thiserror::Error)]
pub enum ExtractError {
    /// There is no applet of that name.
    #[error(transparent)]
    NoApplet(#[from] NoApplet),
    /// The target can be no folder.
    #[error("{0} can be no folder that is made here: give a path that ends with its name")]
    Target(PathBuf),
    /// Something is there.
    #[error("{0} is there already, and is no empty folder: give another one, which is made")]
    Taken(PathBuf),
    /// It cannot be written.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Chunks cannot be read.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// It was stopped.
    #[error("stopped; nothing was laid out")]
    Cancelled,
    /// A thread died.
    #[error("a part of the work died unexpectedly. This is a bug in bulbil")]
    Died,
}

/// Lays everything out that can be opened. Blocks; holds one item in memory at a time, of 256 MiB at most, and the lines of all messages
/// and of what is known of files until the end. What cannot be opened is in the report, in `report.json`, and a problem for `monitor`.
///
/// # Errors
/// [`ExtractError`]: then there is nothing at the target.
pub fn extract(
    store: &Store,
    library: &Library,
    options: &ExtractOptions<'_>,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<ExtractReport, ExtractError> {
    let applets = library.chosen(options.applet)?;
    let target = std::path::absolute(options.target).map_err(|cause| DirError::Io {
        what: "find",
        path: options.target.to_owned(),
        cause,
    })?;
    let (Some(parent), Some(name)) = (target.parent(), target.file_name().and_then(|name| name.to_str())) else {
        return Err(ExtractError::Target(options.target.to_owned()));
    };
    std::fs::create_dir_all(parent).map_err(|cause| DirError::Io { what: "make", path: parent.to_owned(), cause })?;
    let parent = Dir::open(parent)?;
    let is_free = !parent.has(name)? || parent.is_folder(name)? && parent.enter(name)?.names()?.is_empty();
    if !is_free {
        return Err(ExtractError::Taken(options.target.to_owned()));
    }
    let stage = Stage::begin(parent, Access::Owner, monitor)?;
    let mut layout = Layout { store, library, monitor, cancel, root: stage.dir(), report: ExtractReport::default() };
    layout.applets(&applets)?;
    if options.applet.is_none() {
        layout.items()?;
        layout.config()?;
    }
    let report = layout.report;
    write(stage.dir(), "report.json", report_value(&report, options.now).to_indented().as_bytes())?;
    stage.finish(name).map_err(|error| match error {
        DirError::Exists(_) => ExtractError::Taken(options.target.to_owned()),
        error => error.into(),
    })?;
    Ok(report)
}

struct Layout<'a> {
    store: &'a Store,
    library: &'a Library,
    monitor: &'a dyn Monitor,
    cancel: &'a CancellationToken,
    root: &'a Dir,
    report: ExtractReport,
}

impl Layout<'_> {
    /// Applets with all that belongs to them.
    fn applets(&mut self, applets: &[&Applet]) -> Result<(), ExtractError> {
        if applets.is_empty() {
            return Ok(());
        }
        self.monitor.task("laying out applets", Counter::Entries, Some(applets.len() as u64));
        let all = self.root.make("applets", Access::Owner)?;
        let mut names = names::Names::default();
        for applet in applets {
            let name = applet.shown();
            let dir = all.make(&names.claim(&applet.metadata.name.to_string_lossy()), Access::Owner)?;
            write(&dir, "applet.json", backup::write_one(&applet.metadata).as_bytes())?;
            if !applet.scores.is_empty() {
                write(&dir, backup::HIGH_SCORES, backup::write_rows(&applet.scores).as_bytes())?;
            }
            if let Some(state) = &applet.state {
                write(&dir, backup::SHARED_STATE, backup::write_one(state).as_bytes())?;
            }
            if let Some(code) = &applet.metadata.code_manifest {
                self.code(&dir, &name, code)?;
            }
            let mut users = names::Names::default();
            for row in &applet.data {
                self.data(&dir, &name, row, &mut users)?;
            }
            self.report.applets += 1;
            self.monitor.add(Counter::Entries, 1);
        }
        Ok(())
    }

    /// The configuration, and actions.
    fn config(&mut self) -> Result<(), ExtractError> {
        if !self.library.config.is_empty() {
            let dir = self.root.make("config", Access::Owner)?;
            let mut names = names::Names::default();
            for (model, rows) in &self.library.config {
                let lines: Vec<String> = rows.iter().map(|row| row.to_value().to_raw_line()).collect();
                let text = format!("[\n{}\n]\n", lines.join(",\n"));
                write(&dir, &names.claim(&format!("{model}.json")), text.as_bytes())?;
                self.report.rows += rows.len() as u64;
            }
        }
        let mut lines = String::new();
        for action in self.library.actions.values() {
            lines.push_str(&action.to_value().to_raw_line());
            lines.push('\n');
            self.report.actions += 1;
        }
        if !lines.is_empty() {
            write(self.root, "actions.jsonl", lines.as_bytes())?;
        }
        Ok(())
    }

    fn not_opened(&mut self, what: String, why: String) {
        self.monitor.problem(Problem { subject: what.clone(), message: format!("left out: {why}") });
        self.report.not_opened.push((what, why));
    }
}

fn write(dir: &Dir, name: &str, bytes: &[u8]) -> Result<(), DirError> {
    dir.write(name, bytes, Access::Owner)
}

fn report_value(report: &ExtractReport, now: Timestamp) -> Value {
    let number = |n: u64| Value::from(i64::try_from(n).unwrap_or(i64::MAX));
    let not_opened = report
        .not_opened
        .iter()
        .map(|(what, why)| Value::from(Object::new().with("what", what.as_str()).with("why", why.as_str())));
    Object::new()
        .with("extracted_at", moment::format(now))
        .with("applets", number(report.applets))
        .with("code", number(report.code))
        .with("data", number(report.data))
        .with("files", number(report.files))
        .with("messages", number(report.messages))
        .with("private_messages_sealed", number(report.private_messages))
        .with("config_rows", number(report.rows))
        .with("actions", number(report.actions))
        .with("other", number(report.other))
        .with("not_opened", not_opened.collect::<Vec<_>>())
        .into()
}
