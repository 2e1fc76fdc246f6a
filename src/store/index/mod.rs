//! The index: what is where, in one SQLite file (WAL). Derived data: see [`super::Store::rebuild`].
//!
//! SQL stands beside its function, one file an aggregate. Each change is one transaction that takes the write lock at its
//! beginning, so that it never fails halfway for want of it; every commit is durable (`synchronous=FULL`). Whoever names a
//! manifest or a chunk here has made its file durable before (R8).

mod alerts;
mod audit;
pub mod axon;
mod captures; // how snapshots were taken
mod chunks;
mod collections;
mod dump;
mod feed;
mod figures; // numbers of rows, for whoever watches
mod fill;
mod fingerprints;
mod given;
mod holdings;
mod invites;
mod marks;
mod nonces;
mod peers;
mod proofs;
mod prune;
mod retention;
mod run_lines;
mod runs;
mod scrub;
mod snapshots;
mod standbys;
mod succession;
mod targets; // what was copied where
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{Row, Sqlite, SqliteConnection, SqlitePool, Transaction};

pub use alerts::KnownAlert;
pub use collections::{Application, Collection, CollectionKind, CollectionSettings, NewCollection, Root, root_path};
pub use feed::{FeedChange, FeedRow};
pub(super) use fill::Contents;
pub use given::{GivenChunk, GivenSnapshot};
pub use invites::{InviteRow, NewInvite};
pub use marks::Mark;
pub(super) use marks::Marked;
pub use peers::{Compared, Granted, Peer};
pub use proofs::{Proof, ProofOf};
pub use prune::Amount;
pub(super) use prune::Removed;
pub use retention::Retention;
pub use run_lines::RunLine;
pub use runs::{Begin, Cause, Counts, Ended, Run, RunResult, SlotState};
pub use scrub::{Due, Finding, ScrubState};
pub use snapshots::{NewChunk, NewSnapshot, Snapshot};
pub use standbys::{StandbyRecord, StandbySettings};
pub(super) use succession::founder;
pub use succession::{Succeeded, Topic};
pub use targets::TargetCopy;

use super::entropy;
use super::ledger::{Ledger, LedgerFile};
use crate::domain::id::{ChunkId, CollectionId, FeedId, InstanceId, ManifestId, ParseIdError};
use crate::domain::peer::Rights;

/// Connections: a writer and some readers.
const CONNECTIONS: u32 = 4;
/// Rows in one statement.
const BATCH: usize = 500;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// The schema that this program makes and reads, `PRAGMA user_version`: the number of the last migration.
fn schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().expect("there are migrations")
}

/// What went wrong with the index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// There is none.
    #[error(
        "the index (index.db) is missing: run 'bulbil rebuild'; it is made anew from keys/, manifests/ and chunks/"
    )]
    Missing,
    /// It is no index, or not a whole one.
    #[error(
        "the index (index.db) is damaged: run 'bulbil rebuild'; it is made anew from keys/, manifests/ and chunks/"
    )]
    Damaged(#[source] Option<sqlx::Error>),
    /// A later program made it.
    #[error("the index (index.db) was made by a later version of bulbil: use a newer bulbil, or run 'bulbil rebuild'")]
    Newer,
    /// Others did not let go of it.
    #[error("the index (index.db) stayed locked by another process for too long: try again when that is done")]
    Locked(#[source] sqlx::Error),
    /// The disk is full.
    #[error(
        "no space is left for the index (index.db): free some, then run the command again; nothing that was stored is lost"
    )]
    NoSpace(#[source] sqlx::Error),
    /// SQLite said no.
    #[error("the index (index.db) cannot be used: check the disk and the permissions of the home")]
    Sql(#[source] sqlx::Error),
    /// The ledger could not be written; nothing was changed.
    #[error("the ledger (keys/ledger) cannot be written, so nothing was changed: check the disk and its permissions")]
    Ledger(#[source] std::io::Error),
    /// A name that cannot be shown.
    #[error("{name:?} is no name: use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '-' or '.'")]
    BadName {
        /// The name.
        name: String,
    },
    /// Something else has the name.
    #[error("the name {name:?} is taken: choose another")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// More than one thing fits.
    #[error("{text:?} fits more than one: give more of it")]
    Ambiguous {
        /// What was asked for.
        text: String,
    },
    /// There is no such collection.
    #[error("there is no collection {id} here")]
    NoSuchCollection {
        /// Which one.
        id: CollectionId,
    },
    /// There is no such collection that is backed up here.
    #[error("collection {id} belongs to another instance: it can be pulled and restored here, not changed")]
    NotOurs {
        /// Which one.
        id: CollectionId,
    },
    /// There is no such snapshot.
    #[error("there is no snapshot {id} here")]
    NoSuchSnapshot {
        /// Which one.
        id: ManifestId,
    },
    /// There is no such peer.
    #[error("there is no peer {id} here")]
    NoSuchPeer {
        /// Which one.
        id: InstanceId,
    },
    /// What the snapshots of an Axon collection hold was not taken from them yet.
    #[error(
        "what the snapshots of collection {id} hold is not in the index yet: nothing is added before it is, or the next snapshot would lack it"
    )]
    NotLoaded {
        /// Which one.
        id: CollectionId,
    },
    /// There is no such segment.
    #[error("no snapshot names segment {id}")]
    NoSuchSegment {
        /// Which one.
        id: ChunkId,
    },
    /// A manifest claims a collection that other instances led.
    #[error("manifest {manifest} claims collection {collection}, which belongs to another instance")]
    Foreign {
        /// The manifest.
        manifest: ManifestId,
        /// The collection.
        collection: CollectionId,
    },
    /// Whoever takes over was not named as an heir.
    #[error("nobody who leads this collection has appointed this instance: nothing was changed")]
    NotEntitled,
    /// Two manifests claim the same place in a collection's history.
    #[error(
        "manifest {manifest} claims number {sequence} of collection {collection}, which another manifest has already"
    )]
    Fork {
        /// The manifest.
        manifest: ManifestId,
        /// The collection.
        collection: CollectionId,
        /// The number.
        sequence: u64,
    },
    /// A snapshot names a chunk that belongs elsewhere, or is something else.
    #[error("chunk {id} belongs to another collection, or is not what it is named as")]
    ChunkElsewhere {
        /// Which one.
        id: ChunkId,
    },
    /// A snapshot that claims to be whole names a chunk that is not here.
    #[error("chunk {id} is named by the snapshot, but not here: the snapshot was not recorded")]
    ChunkNotHere {
        /// Which one.
        id: ChunkId,
    },
    /// A segment is not what the manifest says of it.
    #[error("segment {id} is not what its manifest says of it")]
    Contradiction {
        /// Which one.
        id: ChunkId,
    },
}

impl From<sqlx::Error> for IndexError {
    fn from(error: sqlx::Error) -> Self {
        // Primary result codes: https://www.sqlite.org/rescode.html
        let code = match &error {
            sqlx::Error::Database(database) => database.code().and_then(|code| code.parse::<i32>().ok()),
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => return IndexError::Damaged(Some(error)),
            sqlx::Error::PoolTimedOut => return IndexError::Locked(error),
            _ => None,
        };
        match code.map(|code| code & 0xff) {
            Some(5 | 6) => IndexError::Locked(error),
            Some(11 | 26) => IndexError::Damaged(Some(error)),
            Some(13) => IndexError::NoSpace(error),
            Some(14) => IndexError::Missing,
            _ if error.to_string().contains("no such table") => IndexError::Damaged(Some(error)),
            _ => IndexError::Sql(error),
        }
    }
}

/// The index. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Index {
    pool: SqlitePool,
    ledger: Option<LedgerFile>,
    nonces_since_purge: Arc<AtomicU32>,
    fingerprints: Arc<fingerprints::Fingerprints>,
}

impl Index {
    /// Makes an index at `path`, where there is none, with a fresh feed.
    pub(super) async fn create(path: &Path, ledger: Option<LedgerFile>) -> Result<Self, IndexError> {
        let index = Self::connect(options(path).create_if_missing(true), ledger);
        index.migrate().await?;
        let feed = FeedId::random(&mut entropy());
        sqlx::query("INSERT INTO feed_name (only_row, id) VALUES (1, ?1)")
            .bind(feed.as_bytes().to_vec())
            .execute(&index.pool)
            .await?;
        Ok(index)
    }

    /// Opens the index at `path`; upgrades an older one.
    pub(super) async fn open(path: &Path, ledger: Option<LedgerFile>) -> Result<Self, IndexError> {
        if !path.exists() {
            return Err(IndexError::Missing);
        }
        let index = Self::connect(options(path), ledger);
        let version: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&index.pool).await?;
        if version > schema() {
            return Err(IndexError::Newer);
        }
        if version < 1 {
            return Err(IndexError::Damaged(None));
        }
        if version < schema() {
            index.migrate().await?;
            let mut tx = index.begin().await?;
            succession::follow_anew(&mut tx).await?;
            tx.commit().await?;
        }
        Ok(index)
    }

    /// Brings the schema up to date. The version comes last: cut before, it is done again, and what was done is passed over.
    async fn migrate(&self) -> Result<(), IndexError> {
        MIGRATIONS.run(&self.pool).await.map_err(migration)?;
        let version = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {}", schema()));
        sqlx::query(version).execute(&self.pool).await?;
        Ok(())
    }

    fn connect(options: SqliteConnectOptions, ledger: Option<LedgerFile>) -> Self {
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS)
            .min_connections(0)
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Self { pool, ledger, nonces_since_purge: Arc::default(), fingerprints: Arc::default() }
    }

    /// Whether somebody works with it at this moment. Where the clock is simulated it has to stand still meanwhile: SQLite
    /// works on threads of its own, of which the runtime knows nothing.
    pub fn in_use(&self) -> bool {
        self.pool.size() as usize > self.pool.num_idle()
    }

    /// Looks whether the file is a whole database.
    ///
    /// # Errors
    /// [`IndexError::Damaged`] if it is not.
    pub async fn check(&self) -> Result<(), IndexError> {
        let found: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(&self.pool).await?;
        if found == "ok" { Ok(()) } else { Err(IndexError::Damaged(None)) }
    }

    /// Closes all connections; the last one folds the write-ahead log into the file.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Begins a change: takes the write lock now, not at the first write.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, IndexError> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// Writes the ledger as the transaction sees the world, then commits: what the index knows, the ledger knows.
    async fn commit_with_ledger(&self, mut tx: Transaction<'static, Sqlite>) -> Result<(), IndexError> {
        self.write_ledger(&mut tx).await?;
        Ok(tx.commit().await?)
    }

    async fn write_ledger(&self, connection: &mut SqliteConnection) -> Result<(), IndexError> {
        let Some(file) = self.ledger.clone() else { return Ok(()) };
        let feed = feed::feed_id(connection).await?;
        let collections = collections::all(connection).await?;
        let peers = peers::all(connection).await?;
        let statements = succession::all(connection).await?.into_iter().map(|statement| statement.signed).collect();
        let axon_peers = axon::all_peers(connection).await?;
        let marks = marks::all(connection).await?;
        let removed = prune::all_removed(connection).await?;
        let ledger = Ledger::new(feed, collections, peers, statements)
            .with_axon_peers(axon_peers)
            .with_snapshots(marks, removed);
        tokio::task::spawn_blocking(move || file.save(&ledger))
            .await
            .expect("writing the ledger does not panic")
            .map_err(IndexError::Ledger)
    }

    /// Rewrites the ledger. Every change of collections and peers does it by itself.
    pub(super) async fn save_ledger(&self) -> Result<(), IndexError> {
        let tx = self.begin().await?;
        self.commit_with_ledger(tx).await
    }

    /// What rights let see, for SQL.
    async fn visible(&self, rights: &Rights) -> Result<Visible, IndexError> {
        let rows = sqlx::query("SELECT no, id FROM collection").fetch_all(&self.pool).await?;
        let (mut numbers, mut own) = (Vec::new(), Vec::new());
        for row in &rows {
            let collection = id(row, "id", CollectionId::from_slice)?;
            let no: i64 = row.try_get("no")?;
            if rights.scope.is_own(&collection) {
                own.push(no);
            }
            if rights.scope.includes(&collection) {
                numbers.push(no);
            }
        }
        let from = rights.from.map_or(i64::MIN, nanos);
        Ok(Visible { collections: to_json(&numbers), from, own: to_json(&own) })
    }
}

/// What rights let see, for SQL: row numbers of collections as JSON arrays.
struct Visible {
    /// All that may be seen.
    collections: String,
    /// The earliest moment.
    from: i64,
    /// Those for which that moment does not count.
    own: String,
}

fn options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(60))
        .statement_cache_capacity(200)
}

fn migration(error: sqlx::migrate::MigrateError) -> IndexError {
    match error {
        sqlx::migrate::MigrateError::Execute(error) => error.into(),
        other => IndexError::Sql(sqlx::Error::Migrate(Box::new(other))),
    }
}

/// Nanoseconds since 1970; moments before 1678 or after 2262 become the nearest that fits, which keeps their order.
fn nanos(at: Timestamp) -> i64 {
    at.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

fn moment(row: &SqliteRow, column: &str) -> Result<Timestamp, IndexError> {
    let nanos: i64 = row.try_get(column)?;
    Timestamp::from_nanosecond(nanos.into()).map_err(|_| IndexError::Damaged(None))
}

fn optional_moment(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>, IndexError> {
    let nanos: Option<i64> = row.try_get(column)?;
    nanos.map(|nanos| Timestamp::from_nanosecond(nanos.into()).map_err(|_| IndexError::Damaged(None))).transpose()
}

fn id<T>(row: &SqliteRow, column: &str, parse: fn(&[u8]) -> Result<T, ParseIdError>) -> Result<T, IndexError> {
    let bytes: &[u8] = row.try_get(column)?;
    parse(bytes).map_err(|_| IndexError::Damaged(None))
}

fn json<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, IndexError> {
    serde_json::from_str(text).map_err(|_| IndexError::Damaged(None))
}

fn to_json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("what is stored has no maps with odd keys")
}
