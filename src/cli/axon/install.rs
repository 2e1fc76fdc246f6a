//! `bulbil axon backup --install`: an Axon BBS on this machine is taken over, while it runs.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::bail;
use clap::Args;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::context::Context;
use super::super::output::{bytes, count};
use super::super::progress::Progress;
use super::common::{instance, snapshot};
use crate::axon::install::{InstallError, Installation, Options, Place, TakeOver, TakeReport};
use crate::clock::Clock;
use crate::domain::text::path_text;
use crate::store::Store;
use crate::store::index::Collection;

/// Where an installation has its things.
#[derive(Debug, Args, Clone)]
pub struct InstallArgs {
    /// The database of the Axon BBS, if it is not where it usually is
    #[arg(long, value_name = "FILE")]
    pub database: Option<PathBuf>,
    /// The folder of its chunks, if it is not data/bitsync_chunks
    #[arg(long, value_name = "DIR")]
    pub chunks: Option<PathBuf>,
    /// A file with its SECRET_KEY, if that is not in its .env
    #[arg(long, value_name = "FILE")]
    pub secret_key_file: Option<PathBuf>,
}

impl InstallArgs {
    /// Refuses those that are given where there is no installation.
    ///
    /// # Errors
    /// If one of them is given, and `needed` is not.
    pub fn ensure_used(&self, is_used: bool, needed: &str) -> anyhow::Result<()> {
        let given =
            [("--database", &self.database), ("--chunks", &self.chunks), ("--secret-key-file", &self.secret_key_file)];
        match given.iter().find(|(_, value)| value.is_some()) {
            Some((name, _)) if !is_used => {
                bail!("{name} does nothing without {needed}: it says where an Axon BBS on this machine has its things")
            }
            _ => Ok(()),
        }
    }

    /// As the installation wants it.
    pub fn options(&self) -> Options {
        Options {
            database: self.database.clone(),
            chunks: self.chunks.clone(),
            secret_key_file: self.secret_key_file.clone(),
        }
    }
}

/// What an admin says of a run.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// The collection becomes this BBS's, whose ever its rows were.
    pub take_place: bool,
    /// Its chunks are all read.
    pub verify: bool,
}

/// Takes everything of an installation over, and makes a snapshot if anything is new.
///
/// # Errors
/// If it cannot be read; what cannot be taken is a problem of `progress`.
#[expect(clippy::too_many_arguments, reason = "all that a run is told, once")]
pub async fn take_over(
    dir: &Path,
    args: &InstallArgs,
    how: How,
    collection: &Collection,
    store: &Store,
    progress: &Arc<Progress>,
    cancel: &CancellationToken,
    context: &Context,
) -> anyhow::Result<(TakeReport, Option<u64>)> {
    let place = Place::find(dir, &args.options())?;
    let database = place.database.clone();
    let installation = Installation::open(store, place).await?;
    let no_table_of = installation.missing().iter().map(ToString::to_string).collect();
    let instance = instance(store).await?;
    let work = TakeOver {
        store,
        collection,
        instance: &instance,
        take_place: how.take_place,
        verify: how.verify,
        now: context.clock.now(),
        monitor: &**progress,
    };
    let taken = work.run(&installation, cancel).await;
    if let Err(error @ InstallError::OfAnother { .. }) = taken {
        return Err(error.into());
    }
    // What came is kept in a snapshot, also if it was stopped.
    let made = snapshot(store, collection, progress.clone(), cancel, context).await;
    Ok((TakeReport { database, no_table_of, ..taken? }, made?))
}

/// In words.
pub fn in_words(report: &TakeReport, made: Option<u64>, collection: &str) -> Vec<String> {
    let named = |kind: &str| report.items.get(kind).copied().unwrap_or(0);
    let rows: u64 = report.tables.values().sum();
    let mut lines = vec![
        format!("database {}", report.database.display()),
        format!(
            "{}, {}, {}, {}, {} of users, {}, {}; {} in {}",
            count(named("message"), "message"),
            count(named("file"), "file"),
            count(named("pm"), "private message"),
            count(report.applets, "applet"),
            count(report.data, "data set"),
            count(report.scores, "score"),
            count(report.states, "shared state"),
            count(rows, "row"),
            count(report.tables.len() as u64, "table")
        ),
        format!(
            "new: {} in {} ({})",
            count(report.new_items, "item"),
            count(report.chunks, "chunk"),
            bytes(report.bytes)
        ),
    ];
    if !report.no_table_of.is_empty() {
        let missing = report.no_table_of.join(", ");
        lines.push(format!("this version of the BBS has no table of {missing}: nothing of that was taken"));
    }
    if !report.not_there.is_empty() {
        lines.push(format!("known here, and not at the BBS any more; kept: {}", report.not_there.join(", ")));
    }
    if !report.amiss.is_empty() {
        lines.push(format!(
            "{} whole here, and missing or damaged in the BBS's own folder",
            count(report.amiss.len() as u64, "item")
        ));
    }
    match made {
        Some(sequence) => lines.push(format!("snapshot {collection}@{sequence}")),
        None => lines.push("nothing new since the last snapshot".to_owned()),
    }
    lines
}

/// As JSON.
pub fn document(report: &TakeReport, made: Option<u64>) -> Value {
    json!({
        "database": path_text(&report.database), "no_table_of": report.no_table_of, "not_there": report.not_there, "items": report.items, "new_items": report.new_items, "incomplete": report.incomplete, "amiss_there": report.amiss, "chunks": report.chunks,
        "bytes": report.bytes, "tables": report.tables, "applets": report.applets, "data": report.data,
        "scores": report.scores, "shared_states": report.states, "changed_records": report.changed, "snapshot": made,
    })
}
