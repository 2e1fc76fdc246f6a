//! What was done for collections, and what came of it.
//!
//! Records of what happened: a rebuilt index does not have them, and says so by having none.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Index, IndexError, id, json, moment, nanos, optional_moment, to_json};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::run::RunKind;
use crate::domain::schedule::{Upkeep, Work};

/// Clocks may be set by so much without anything being from the future.
const AHEAD: SignedDuration = SignedDuration::from_hours(1);

/// Why something was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was due; and how many slots were missed before.
    Schedule {
        /// When it was due.
        slot: Timestamp,
        /// Slots before that one, which it makes up for.
        missed: u32,
    },
    /// Somebody typed a command.
    Command,
    /// Somebody asked the server for it, over the admin plane.
    Request,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunResult {
    /// Everything is well.
    Done,
    /// It was done, and something is wrong.
    Partly,
    /// Nothing came of it.
    Failed,
    /// It was stopped, or its process ended in the middle.
    Interrupted,
}

impl RunResult {
    pub(super) const ALL: [Self; 4] = [Self::Done, Self::Partly, Self::Failed, Self::Interrupted];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Partly => "partly",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What was read and stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Files in the snapshot.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were stored.
    pub new_bytes: u64,
    /// Chunks that were stored, or looked at.
    pub chunks: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// When.
    pub at: Timestamp,
    /// How.
    pub result: RunResult,
    /// Why it failed, or what is wrong.
    pub message: Option<String>,
    /// What it made.
    pub snapshot: Option<ManifestId>,
    /// What it read and stored.
    pub counts: Counts,
    /// What else came of it, as the command of that kind shows it with `--json`.
    pub report: Option<serde_json::Value>,
}

/// What begins.
#[derive(Debug, Clone, Copy)]
pub struct Begin<'a> {
    /// For which collection, if it is for one.
    pub collection: Option<&'a CollectionId>,
    /// At which target, if it is for one.
    pub target: Option<&'a str>,
    /// What.
    pub kind: RunKind,
    /// Why.
    pub cause: Cause,
    /// Who asked for it over the admin plane.
    pub by: Option<&'a str>,
    /// In which process.
    pub pid: u32,
    /// When.
    pub at: Timestamp,
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Which one.
    pub no: i64,
    /// For which collection, if it is for one.
    pub collection: Option<CollectionId>,
    /// At which target, if it is for one.
    pub target: Option<String>,
    /// What was done.
    pub kind: RunKind,
    /// Why.
    pub cause: Cause,
    /// Who asked for it over the admin plane.
    pub by: Option<String>,
    /// By which process.
    pub pid: u32,
    /// Since when.
    pub started_at: Timestamp,
    /// How it ended; nothing as long as it goes on.
    pub ended: Option<Ended>,
}

/// How it stands with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotState {
    /// When it was due.
    pub slot: Timestamp,
    /// How often something was begun for it.
    pub attempts: u32,
    /// When the last attempt ended.
    pub ended_at: Option<Timestamp>,
    /// One goes on, or came to an end with something to show for it.
    pub settled: bool,
}

impl Index {
    /// Says what is done by itself for a collection from now on, and how much of it may be lost; the ledger knows it too.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`].
    pub async fn set_upkeep(&self, collection: &CollectionId, upkeep: &Upkeep) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        set_upkeep(&mut tx, collection, upkeep).await?;
        self.commit_with_ledger(tx).await
    }

    /// Records that something begins; its number.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn begin_run(&self, begin: Begin<'_>) -> Result<i64, IndexError> {
        let (word, slot, missed) = match begin.cause {
            Cause::Schedule { slot, missed } => ("schedule", Some(slot), missed),
            Cause::Command => ("command", None, 0),
            Cause::Request => ("request", None, 0),
        };
        let done = sqlx::query(
            "INSERT INTO run (collection, work, cause, by_whom, slot, missed, pid, started_at, target) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .bind(begin.collection.map(|id| id.as_bytes().to_vec()))
        .bind(begin.kind.word())
        .bind(word)
        .bind(begin.by.map(str::to_owned))
        .bind(slot.map(nanos))
        .bind(i64::from(missed))
        .bind(i64::from(begin.pid))
        .bind(nanos(begin.at))
        .bind(begin.target.map(str::to_owned))
        .execute(&self.pool)
        .await?;
        Ok(done.last_insert_rowid())
    }

    /// Records how a run ended.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn end_run(&self, no: i64, ended: &Ended) -> Result<(), IndexError> {
        sqlx::query(
            "UPDATE run SET ended_at = ?2, result = ?3, message = ?4, snapshot = ?5, counts = ?6, report = ?7 WHERE no = ?1 AND ended_at IS NULL",
        )
        .bind(no)
        .bind(nanos(ended.at))
        .bind(ended.result.word())
        .bind(ended.message.clone())
        .bind(ended.snapshot.map(|id| id.as_bytes().to_vec()))
        .bind(to_json(&ended.counts))
        .bind(ended.report.as_ref().map(ToString::to_string))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// The newest runs, the newest first: of a collection, and of a kind, if they are given.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn runs(
        &self,
        collection: Option<&CollectionId>,
        kind: Option<RunKind>,
        limit: u32,
    ) -> Result<Vec<Run>, IndexError> {
        self.runs_before(collection, kind, None, i64::MAX, limit).await
    }

    /// The same, of those whose number is smaller than `before`, and of a target, if one is given. What copies to all of them is of each.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn runs_before(
        &self,
        collection: Option<&CollectionId>,
        kind: Option<RunKind>,
        target: Option<&str>,
        before: i64,
        limit: u32,
    ) -> Result<Vec<Run>, IndexError> {
        let rows = sqlx::query(
            "SELECT * FROM run WHERE (?1 IS NULL OR collection = ?1) AND (?2 IS NULL OR work = ?2) AND no < ?4
             AND (?5 IS NULL OR target = ?5 OR (target IS NULL AND work = 'copy')) ORDER BY no DESC LIMIT ?3",
        )
        .bind(collection.map(|id| id.as_bytes().to_vec()))
        .bind(kind.map(RunKind::word))
        .bind(i64::from(limit))
        .bind(before)
        .bind(target.map(str::to_owned))
        .fetch_all(&self.pool)
        .await?;
        rows.iter().map(read).collect()
    }

    /// One run.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn run(&self, no: i64) -> Result<Option<Run>, IndexError> {
        let row = sqlx::query("SELECT * FROM run WHERE no = ?1").bind(no).fetch_optional(&self.pool).await?;
        row.as_ref().map(read).transpose()
    }

    /// Runs that go on, as far as the index knows.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn open_runs(&self) -> Result<Vec<Run>, IndexError> {
        let rows = sqlx::query("SELECT * FROM run WHERE ended_at IS NULL ORDER BY no").fetch_all(&self.pool).await?;
        rows.iter().map(read).collect()
    }

    /// How it stands with the newest slot, up to `until`, for which something was begun. Later ones are of a clock that was ahead.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn newest_slot(
        &self,
        collection: &CollectionId,
        work: Work,
        until: Timestamp,
    ) -> Result<Option<SlotState>, IndexError> {
        let row = sqlx::query(
            "SELECT slot, count(*) AS attempts, max(ended_at) AS ended_at,
               max(result IS NULL OR result IN ('done', 'partly')) AS settled
             FROM run WHERE collection = ?1 AND work = ?2 AND slot NOT NULL AND slot <= ?3 GROUP BY slot ORDER BY slot DESC LIMIT 1",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(work.word())
        .bind(nanos(until))
        .fetch_optional(&self.pool)
        .await?;
        let read = |row: SqliteRow| {
            Ok(SlotState {
                slot: moment(&row, "slot")?,
                attempts: row.try_get::<i64, _>("attempts")?.try_into().unwrap_or(u32::MAX),
                ended_at: optional_moment(&row, "ended_at")?,
                settled: row.try_get("settled")?,
            })
        };
        row.map(read).transpose()
    }

    /// Takes the record of a run back that did not begin after all.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn take_run_back(&self, no: i64) -> Result<(), IndexError> {
        sqlx::query("DELETE FROM run WHERE no = ?1 AND ended_at IS NULL").bind(no).execute(&self.pool).await?;
        Ok(())
    }

    /// The moment of the newest snapshot of a collection that is whole, was verified, of which nothing is missing now, and against which
    /// nothing is known. One from the future, by a clock that was ahead, says nothing of how old the data is.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn last_good(
        &self,
        collection: &CollectionId,
        now: Timestamp,
    ) -> Result<Option<(ManifestId, Timestamp)>, IndexError> {
        let row = sqlx::query(
            "SELECT s.id, s.created_at FROM snapshot s JOIN collection c ON c.no = s.collection_no
             JOIN snapshot_mark m ON m.snapshot = s.id
             WHERE c.id = ?1 AND coalesce(m.whole_at, m.verified_at) NOT NULL AND m.flagged IS NULL AND s.deleted = 0 AND s.partial = 0 AND s.complete = 1 AND s.created_at <= ?2
             ORDER BY s.created_at DESC LIMIT 1",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(nanos(now.saturating_add(AHEAD).unwrap_or(Timestamp::MAX)))
        .fetch_optional(&self.pool)
        .await?;
        row.map(|row| Ok((id(&row, "id", ManifestId::from_slice)?, moment(&row, "created_at")?))).transpose()
    }
}

pub(super) async fn set_upkeep(
    connection: &mut sqlx::SqliteConnection,
    collection: &CollectionId,
    upkeep: &Upkeep,
) -> Result<(), IndexError> {
    let done = sqlx::query("UPDATE collection SET upkeep = ?2 WHERE id = ?1")
        .bind(collection.as_bytes().to_vec())
        .bind((!upkeep.is_none()).then(|| to_json(upkeep)))
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 { Err(IndexError::NoSuchCollection { id: *collection }) } else { Ok(()) }
}

fn read(row: &SqliteRow) -> Result<Run, IndexError> {
    let damaged = || IndexError::Damaged(None);
    let word: String = row.try_get("work")?;
    let collection: Option<Vec<u8>> = row.try_get("collection")?;
    let slot: Option<i64> = row.try_get("slot")?;
    let cause = match slot {
        Some(_) => Cause::Schedule {
            slot: moment(row, "slot")?,
            missed: u32::try_from(row.try_get::<i64, _>("missed")?).map_err(|_| damaged())?,
        },
        None if row.try_get::<String, _>("cause")? == "request" => Cause::Request,
        None => Cause::Command,
    };
    let result: Option<String> = row.try_get("result")?;
    let ended = result.map(|result| {
        let snapshot: Option<Vec<u8>> = row.try_get("snapshot")?;
        let counts: Option<String> = row.try_get("counts")?;
        Ok::<_, IndexError>(Ended {
            at: moment(row, "ended_at")?,
            result: RunResult::ALL.into_iter().find(|known| known.word() == result).ok_or_else(damaged)?,
            message: row.try_get("message")?,
            snapshot: snapshot.map(|bytes| ManifestId::from_slice(&bytes)).transpose().map_err(|_| damaged())?,
            counts: counts.as_deref().map(json).transpose()?.unwrap_or_default(),
            report: row.try_get::<Option<String>, _>("report")?.as_deref().map(json).transpose()?,
        })
    });
    Ok(Run {
        no: row.try_get("no")?,
        collection: collection.map(|bytes| CollectionId::from_slice(&bytes)).transpose().map_err(|_| damaged())?,
        target: row.try_get("target")?,
        kind: word.parse().map_err(|_| damaged())?,
        cause,
        by: row.try_get("by_whom")?,
        pid: u32::try_from(row.try_get::<i64, _>("pid")?).map_err(|_| damaged())?,
        started_at: moment(row, "started_at")?,
        ended: ended.transpose()?,
    })
}
