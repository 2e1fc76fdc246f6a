//! Another program's SQLite database: read as it stood at one moment, or changed in one transaction.
//!
//! Reading takes nothing but SQLite's own read lock, and sees one moment: all is read in one transaction, what stands in the write-ahead
//! log included. Where SQLite would have to write beside the database even to read it (a log without its `-shm`, a journal that was
//! left by a crash), the files are copied into a private folder of this home and read there; if they changed meanwhile, again.
//! That folder goes when the reading ends, and what a killed process left goes with the next reading.
//!
//! Changing wants the database for itself: nobody else may have it open.

use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions, Connection, Row, SqliteConnection, TypeInfo, ValueRef};

use super::{Store, files};

/// How a database begins.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Which byte of the head says how it is read; 2 is the write-ahead log.
const READ_VERSION: usize = 19;
/// What stands beside a database.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];
/// How long another connection may hold its lock.
pub(super) const WAIT: Duration = Duration::from_secs(10);
/// How often files are copied that change meanwhile.
pub(super) const COPIES: usize = 5;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// None.
    Null,
    /// A whole number.
    Integer(i64),
    /// Another number.
    Real(f64),
    /// A text; bytes that are none are replaced by U+FFFD.
    Text(String),
    /// Bytes.
    Blob(Vec<u8>),
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type as it was declared, in lower case.
    pub kind: String,
    /// It must have a value, and has none by itself.
    pub required: bool,
    /// It is the primary key, or a part of it.
    pub primary: bool,
}

/// A table with its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub columns: Vec<Column>,
    /// Its rows, by the primary key.
    pub rows: Vec<Vec<Cell>>,
}

/// Why a database cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// Not there.
    #[error("there is no database at {}", .0.display())]
    Missing(PathBuf),
    /// Something else.
    #[error("{} is no SQLite database: it is another kind of file, or it is encrypted", .0.display())]
    NotADatabase(PathBuf),
    /// A pipe, a folder, a device: nothing that is opened.
    #[error("{} is no regular file, and is not opened: what belongs there is a database, or what stands beside one", .0.display())]
    NoFile(PathBuf),
    /// Not whole.
    #[error("the database {} is damaged: put it back from a copy, or let 'sqlite3 FILE .recover' save what is left", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        cause: sqlx::Error,
    },
    /// Somebody has it.
    #[error("another program has the database {} open: stop it, and try again", .0.display())]
    InUse(PathBuf),
    /// Somebody changes it, and does not come to an end.
    #[error("the database {} is being changed by another program, for longer than 10 seconds: try again when that is done", .0.display())]
    Busy(PathBuf),
    /// It is written all the time.
    #[error("the database {} changed each time while it was copied: try again when less is written", .0.display())]
    Changing(PathBuf),
    /// A row is not as its table wants it.
    #[error("the database {} does not take a row: {why}", path.display())]
    NotTaken {
        /// Which one.
        path: PathBuf,
        /// Which rule of the table it does not fulfil.
        why: String,
    },
    /// SQLite said no.
    #[error("the database {} cannot be {what}", path.display())]
    Sqlite {
        /// What was tried.
        what: &'static str,
        /// On which one.
        path: PathBuf,
        /// What SQLite said.
        #[source]
        cause: sqlx::Error,
    },
    /// The system said no.
    #[error("cannot read {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What it said.
        #[source]
        cause: std::io::Error,
    },
}

impl Store {
    /// Reads the tables that `wanted` names from a database, all as of one moment, and writes nothing beside it.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn read_foreign(
        &self,
        path: &Path,
        wanted: &(dyn Fn(&str) -> bool + Send + Sync),
    ) -> Result<Vec<Table>, ForeignError> {
        // The log stands beside the file itself, not beside a link to it.
        let path = &real(path)?;
        let in_place = can_be_read_in_place(path)?;
        if in_place {
            match read_at(path, true, wanted).await {
                Err(ForeignError::Sqlite { .. }) => {}
                done => return done,
            }
        }
        let root = self.home.root().to_owned();
        let from = path.to_owned();
        let copied = tokio::task::spawn_blocking(move || Scratch::of(&root, &from)).await;
        let scratch = copied.map_err(|_| ForeignError::Changing(path.to_owned()))??;
        read_at(&scratch.database, false, wanted).await.map_err(|error| error.at(path))
    }
}

/// A database that is being changed; nobody else has it. Dropped before [`Self::commit`], nothing has changed.
#[derive(Debug)]
pub struct ForeignChange {
    connection: SqliteConnection,
    path: PathBuf,
    copy: PathBuf,
}

impl ForeignChange {
    /// Takes a database for itself, copies it (whoever may read the one may read the other), and begins the transaction. The copy is
    /// called `copy`, which must not be there, when it is committed; until then it has another name, under which the next one finds and
    /// removes what a kill left.
    ///
    /// # Errors
    /// [`ForeignError::InUse`], and the others.
    pub async fn begin(path: &Path, copy: &Path) -> Result<Self, ForeignError> {
        head(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(false)
            .foreign_keys(false)
            .busy_timeout(Duration::from_secs(1))
            .disable_statement_logging();
        let fail = |what| move |cause| told(what, path, cause);
        let mut connection = SqliteConnection::connect_with(&options).await.map_err(fail("opened"))?;
        // From here on the lock is kept until the connection closes.
        for statement in ["PRAGMA locking_mode = EXCLUSIVE", "BEGIN EXCLUSIVE", "COMMIT"] {
            sqlx::query(statement).execute(&mut connection).await.map_err(fail("opened"))?;
        }
        let io = |path: &Path| {
            let path = path.to_owned();
            move |cause| ForeignError::Io { path, cause }
        };
        if copy.exists() {
            return Err(io(copy)(std::io::ErrorKind::AlreadyExists.into()));
        }
        let unfinished = unfinished(path);
        match std::fs::remove_file(&unfinished) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(io(&unfinished)(cause)),
            _ => {}
        }
        claim(path, &unfinished).map_err(io(&unfinished))?;
        if let Err(error) = copy_and_begin(&mut connection, path, &unfinished).await {
            remove_copy(&unfinished);
            return Err(error);
        }
        Ok(Self { connection, path: path.to_owned(), copy: copy.to_owned() })
    }

    /// The tables that `wanted` names, with what was inserted.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn tables(&mut self, wanted: &(dyn Fn(&str) -> bool + Send + Sync)) -> Result<Vec<Table>, ForeignError> {
        read_tables(&mut self.connection, wanted).await.map_err(|cause| told("read", &self.path, cause))
    }

    /// Inserts a row; its row id.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn insert(&mut self, table: &str, row: &[(String, Cell)]) -> Result<i64, ForeignError> {
        let columns: Vec<String> = row.iter().map(|(name, _)| quoted(name)).collect();
        let marks = vec!["?"; row.len()].join(", ");
        let sql = format!("INSERT INTO {} ({}) VALUES ({marks})", quoted(table), columns.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for (_, cell) in row {
            query = match cell {
                Cell::Null => query.bind(None::<i64>),
                Cell::Integer(number) => query.bind(*number),
                Cell::Real(number) => query.bind(*number),
                Cell::Text(text) => query.bind(text.clone()),
                Cell::Blob(bytes) => query.bind(bytes.clone()),
            };
        }
        let done = query.execute(&mut self.connection).await.map_err(|cause| told("changed", &self.path, cause))?;
        Ok(done.last_insert_rowid())
    }

    /// Begins a part that can be taken back alone.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn mark(&mut self) -> Result<(), ForeignError> {
        self.execute("SAVEPOINT part").await
    }

    /// Takes everything since the mark back.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn back(&mut self) -> Result<(), ForeignError> {
        self.execute("ROLLBACK TO part").await?;
        self.execute("RELEASE part").await
    }

    /// Keeps everything since the mark, until the whole is committed or not.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn keep(&mut self) -> Result<(), ForeignError> {
        self.execute("RELEASE part").await
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), ForeignError> {
        let done = sqlx::query(statement).execute(&mut self.connection).await;
        done.map(|_| ()).map_err(|cause| told("changed", &self.path, cause))
    }

    /// Gives the copy its name, makes everything durable, and lets the database go.
    ///
    /// # Errors
    /// [`ForeignError`]; nothing has changed then.
    pub async fn commit(mut self) -> Result<(), ForeignError> {
        let fail = |cause| told("changed", &self.path, cause);
        let named = std::fs::rename(unfinished(&self.path), &self.copy).and_then(|()| sync(folder_of(&self.copy)));
        named.map_err(|cause| ForeignError::Io { path: self.copy.clone(), cause })?;
        sqlx::query("COMMIT").execute(&mut self.connection).await.map_err(fail)?;
        self.connection.close().await.map_err(|cause| told("closed", &self.path, cause))
    }

    /// Lets the database go as it was; nobody needs the copy.
    ///
    /// # Errors
    /// [`ForeignError`].
    pub async fn abandon(mut self) -> Result<(), ForeignError> {
        let fail = |cause| told("let go", &self.path, cause);
        remove_copy(&unfinished(&self.path));
        sqlx::query("ROLLBACK").execute(&mut self.connection).await.map_err(fail)?;
        self.connection.close().await.map_err(|cause| told("let go", &self.path, cause))
    }
}

/// What the copy of a database is called until its change is committed.
fn unfinished(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".before_restore_unfinished");
    PathBuf::from(name)
}

/// A copy that is not whole, or of a change that was not made, would be taken for a good one.
fn remove_copy(unfinished: &Path) {
    if let Err(error) = std::fs::remove_file(unfinished) {
        tracing::warn!(%error, "a copy of a database that nobody needs could not be removed");
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path)?.sync_all()
}

/// Copies a database into an empty file, durably, and begins a transaction.
async fn copy_and_begin(connection: &mut SqliteConnection, path: &Path, copy: &Path) -> Result<(), ForeignError> {
    let fail = |what| move |cause| told(what, path, cause);
    let name = copy.to_string_lossy().into_owned();
    sqlx::query("VACUUM INTO ?").bind(name).execute(&mut *connection).await.map_err(fail("copied"))?;
    for made in [copy, folder_of(copy)] {
        sync(made).map_err(|cause| ForeignError::Io { path: made.to_owned(), cause })?;
    }
    for statement in ["PRAGMA synchronous = FULL", "BEGIN IMMEDIATE"] {
        sqlx::query(statement).execute(&mut *connection).await.map_err(fail("changed"))?;
    }
    Ok(())
}

/// Copies of a database and of what stands beside it, in a private folder that goes with this.
struct Scratch {
    folder: PathBuf,
    database: PathBuf,
}

impl Scratch {
    fn of(home: &Path, path: &Path) -> Result<Self, ForeignError> {
        let io = |cause| ForeignError::Io { path: path.to_owned(), cause };
        let all = home.join("foreign");
        clear(&all);
        let folder = all.join(std::process::id().to_string());
        let _ = std::fs::remove_dir_all(&folder);
        for dir in [&all, &folder] {
            match files::create_private_dir(dir) {
                Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => return Err(io(cause)),
                _ => {}
            }
        }
        let scratch = Self { database: folder.join("db.sqlite3"), folder };
        for _ in 0..COPIES {
            let before = seen(path);
            std::fs::copy(path, &scratch.database).map_err(io)?;
            for end in ["-wal", "-journal"] {
                let to = beside(&scratch.database, end);
                let _ = std::fs::remove_file(&to);
                match std::fs::copy(beside(path, end), to) {
                    Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => return Err(io(cause)),
                    _ => {}
                }
            }
            if before == seen(path) {
                return Ok(scratch);
            }
        }
        Err(ForeignError::Changing(path.to_owned()))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, "a copy of a database could not be removed");
        }
    }
}

/// Makes an empty file, which nobody has made meanwhile, with the rights and, if root makes it, the owner of another.
fn claim(like: &Path, path: &Path) -> std::io::Result<()> {
    let like = std::fs::metadata(like)?;
    let mut new = std::fs::OpenOptions::new();
    let file = new.write(true).create_new(true).mode(0o600).open(path)?;
    let given = match rustix::process::geteuid().is_root() {
        true => std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid())),
        false => Ok(()),
    };
    let given = given.and_then(|()| file.set_permissions(like.permissions()));
    if given.is_err() {
        let _ = std::fs::remove_file(path);
    }
    given
}

/// Removes what processes left that are no more.
fn clear(all: &Path) {
    let Ok(entries) = std::fs::read_dir(all) else { return };
    for entry in entries.flatten() {
        if !Path::new("/proc").join(entry.file_name()).exists() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// What would be different if a file had been written.
pub(super) fn seen(path: &Path) -> Vec<Option<(u64, Option<std::time::SystemTime>)>> {
    let look = |path: PathBuf| std::fs::metadata(path).ok().map(|found| (found.len(), found.modified().ok()));
    std::iter::once(path.to_owned()).chain(["-wal", "-journal"].map(|end| beside(path, end))).map(look).collect()
}

/// Where a file is, links followed.
pub(super) fn real(path: &Path) -> Result<PathBuf, ForeignError> {
    std::fs::canonicalize(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => ForeignError::Missing(path.to_owned()),
        _ => ForeignError::Io { path: path.to_owned(), cause },
    })
}

pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    debug_assert!(BESIDE.contains(&end));
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    PathBuf::from(name)
}

/// Refuses what would be waited for when it is opened, as the database or beside it.
fn ensure_files(path: &Path) -> Result<(), ForeignError> {
    for it in std::iter::once(path.to_owned()).chain(BESIDE.map(|end| beside(path, end))) {
        // What is not there, or cannot be looked at, is said when it is opened.
        if std::fs::metadata(&it).is_ok_and(|found| !found.is_file()) {
            return Err(ForeignError::NoFile(it));
        }
    }
    Ok(())
}

/// The first bytes of a database.
pub(super) fn head(path: &Path) -> Result<[u8; 100], ForeignError> {
    use std::io::Read;
    ensure_files(path)?;
    let mut file = std::fs::File::open(path).map_err(|cause| match cause.kind() {
        std::io::ErrorKind::NotFound => ForeignError::Missing(path.to_owned()),
        _ => ForeignError::Io { path: path.to_owned(), cause },
    })?;
    let mut head = [0; 100];
    match file.read_exact(&mut head) {
        Ok(()) if head.starts_with(MAGIC) => Ok(head),
        _ => Err(ForeignError::NotADatabase(path.to_owned())),
    }
}

/// Whether SQLite reads it without making a file beside it.
pub(super) fn can_be_read_in_place(path: &Path) -> Result<bool, ForeignError> {
    let has_log = head(path)?[READ_VERSION] == 2;
    let has = |end| beside(path, end).exists();
    Ok(if has_log { has("-shm") && has("-wal") } else { !has("-wal") && !has("-shm") })
}

async fn read_at(
    path: &Path,
    read_only: bool,
    wanted: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<Vec<Table>, ForeignError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .read_only(read_only)
        .busy_timeout(WAIT)
        .disable_statement_logging();
    let fail = |cause| match told("read", path, cause) {
        ForeignError::InUse(path) => ForeignError::Busy(path),
        other => other,
    };
    let mut connection = SqliteConnection::connect_with(&options).await.map_err(fail)?;
    // One read transaction is one moment.
    sqlx::query("BEGIN").execute(&mut connection).await.map_err(fail)?;
    let tables = read_tables(&mut connection, wanted).await;
    let closed = connection.close().await;
    let tables = tables.map_err(fail)?;
    closed.map_err(fail)?;
    Ok(tables)
}

async fn read_tables(
    connection: &mut SqliteConnection,
    wanted: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Result<Vec<Table>, sqlx::Error> {
    let listed =
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    let names: Vec<String> = sqlx::query_scalar(listed).fetch_all(&mut *connection).await?;
    let mut tables = Vec::new();
    for name in names.into_iter().filter(|name| wanted(name)) {
        let info = sqlx::query("SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info(?)");
        let info = info.bind(name.clone()).fetch_all(&mut *connection).await?;
        let mut columns = Vec::new();
        for row in info {
            let primary = row.try_get::<i64, _>(4)? > 0;
            let default = row.try_get::<Option<String>, _>(3)?;
            columns.push(Column {
                name: row.try_get(0)?,
                kind: row.try_get::<String, _>(1)?.to_lowercase(),
                required: row.try_get::<i64, _>(2)? != 0 && default.is_none(),
                primary,
            });
        }
        let keys: Vec<String> =
            columns.iter().filter(|column| column.primary).map(|column| quoted(&column.name)).collect();
        let order = if keys.is_empty() { String::new() } else { format!(" ORDER BY {}", keys.join(", ")) };
        let listed: Vec<String> = columns.iter().map(|column| quoted(&column.name)).collect();
        let sql = format!("SELECT {} FROM {}{order}", listed.join(", "), quoted(&name));
        let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *connection).await?;
        let rows = rows.iter().map(cells).collect::<Result<_, _>>()?;
        tables.push(Table { name, columns, rows });
    }
    Ok(tables)
}

fn cells(row: &SqliteRow) -> Result<Vec<Cell>, sqlx::Error> {
    let cell = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Cell::Null);
        }
        let kind = raw.type_info().name().to_owned();
        Ok(match kind.as_str() {
            "REAL" => Cell::Real(row.try_get_unchecked(at)?),
            "TEXT" => Cell::Text(String::from_utf8_lossy(row.try_get_unchecked(at)?).into_owned()),
            "BLOB" => Cell::Blob(row.try_get_unchecked(at)?),
            _ => Cell::Integer(row.try_get_unchecked(at)?),
        })
    };
    row.columns().iter().map(|column| cell(column.ordinal())).collect()
}

/// A name as SQL has it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// What an error of SQLite means.
pub(super) fn told(what: &'static str, path: &Path, cause: sqlx::Error) -> ForeignError {
    let path = path.to_owned();
    let code = cause.as_database_error().and_then(|error| error.code()).and_then(|code| code.parse::<u32>().ok());
    match code.map(|code| code & 0xff) {
        Some(5 | 6) => ForeignError::InUse(path),
        Some(11) => ForeignError::Damaged { path, cause },
        Some(19) => {
            let why = cause.as_database_error().map(|error| error.message().to_owned()).unwrap_or_default();
            ForeignError::NotTaken { path, why }
        }
        Some(26) => ForeignError::NotADatabase(path),
        _ => ForeignError::Sqlite { what, path, cause },
    }
}

impl ForeignError {
    /// Of the database itself, where a copy was looked at.
    fn at(self, path: &Path) -> Self {
        let path = path.to_owned();
        match self {
            Self::Damaged { cause, .. } => Self::Damaged { path, cause },
            Self::NotADatabase(_) => Self::NotADatabase(path),
            Self::Sqlite { what, cause, .. } => Self::Sqlite { what, path, cause },
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_copy_that_is_not_whole_does_not_stay() {
        let temp = tempfile::tempdir().unwrap();
        let (path, copy) = (temp.path().join("db"), temp.path().join("copy"));
        let options = SqliteConnectOptions::new().filename(&path).create_if_missing(true);
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        for statement in
            ["CREATE TABLE t (a blob)", "INSERT INTO t VALUES (zeroblob(3000)), (zeroblob(3000)), (zeroblob(3000))"]
        {
            sqlx::query(statement).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
        let left = unfinished(&path);
        // Killed, it leaves its copy, and the next one removes that.
        drop(ForeignChange::begin(&path, &copy).await.unwrap());
        assert!(left.exists() && !copy.exists());
        ForeignChange::begin(&path, &copy).await.unwrap().abandon().await.unwrap();
        assert!(!left.exists() && !copy.exists());
        ForeignChange::begin(&path, &copy).await.unwrap().commit().await.unwrap();
        assert!(!left.exists() && copy.exists());
        // What is there already stays.
        assert!(ForeignChange::begin(&path, &copy).await.is_err() && copy.exists());
        std::fs::remove_file(&copy).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[4096..].fill(0xff);
        std::fs::write(&path, bytes).unwrap();
        assert!(ForeignChange::begin(&path, &copy).await.is_err());
        assert!(!copy.exists() && !left.exists());
    }
}
