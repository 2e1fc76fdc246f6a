//! A copy of an SQLite database that is in use: whole, as it stood at one moment, page by page as it is.
//!
//! A read transaction is opened first. While it lasts, nobody changes the database's file in rollback mode (SQLite's shared lock), and in WAL
//! mode nobody begins the log anew or brings more of it into the file than the transaction sees. So the file and then its log are copied with
//! plain reads; whatever was only half written is mended from the copied log, whose frames carry checksums, when the copy is opened. `VACUUM
//! INTO` would renumber rows and fail on tables of unknown modules; the backup API needs unsafe code. Closing a copied file lets go of this
//! process's locks on it (POSIX), hence the file is opened once, and read to its end, before anything else.
//!
//! Where nobody has the database open and SQLite would have to write beside it, the files are copied and looked at again.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};

use super::foreign::{COPIES, ForeignError, WAIT, beside, can_be_read_in_place, head, real, seen, told};

/// Whether a file begins as an SQLite database does. An encrypted one does not.
///
/// # Errors
/// [`ForeignError::Missing`], [`ForeignError::Io`].
pub fn is_database(path: &Path) -> Result<bool, ForeignError> {
    match head(path) {
        Ok(_) => Ok(true),
        Err(ForeignError::NotADatabase(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies the database at `path` to `to`, which must not be there: one file, without a log.
///
/// # Errors
/// [`ForeignError`].
pub async fn copy(path: &Path, to: &Path) -> Result<(), ForeignError> {
    let path = &real(path)?;
    if can_be_read_in_place(path)? {
        match copy_under_lock(path, to).await {
            // A journal that a crash left: reading would have to mend it.
            Err(ForeignError::Sqlite { .. }) => copy_unlocked(path, to)?,
            done => done?,
        }
    } else {
        copy_unlocked(path, to)?;
    }
    settle(to).await.map_err(|cause| told("copied", path, cause))
}

/// What is wrong with the database at `path`, which nobody else has open; nothing if it is whole.
///
/// # Errors
/// [`ForeignError`].
pub async fn examine(path: &Path) -> Result<Option<String>, ForeignError> {
    head(path)?;
    let fail = |cause| told("read", path, cause);
    let mut connection = open(path, true).await.map_err(fail)?;
    let rows: Result<Vec<String>, sqlx::Error> =
        sqlx::query_scalar("PRAGMA quick_check(3)").fetch_all(&mut connection).await;
    let closed = connection.close().await;
    let rows = match rows.map_err(fail) {
        Err(ForeignError::Damaged { cause, .. }) => return Ok(Some(cause.to_string())),
        rows => rows?,
    };
    closed.map_err(fail)?;
    Ok((rows != ["ok"]).then(|| rows.join("; ")))
}

async fn open(path: &Path, read_only: bool) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(false).read_only(read_only);
    SqliteConnection::connect_with(&options.busy_timeout(WAIT).disable_statement_logging()).await
}

async fn copy_under_lock(path: &Path, to: &Path) -> Result<(), ForeignError> {
    let fail = |cause| match told("read", path, cause) {
        ForeignError::InUse(path) => ForeignError::Busy(path),
        other => other,
    };
    let mut connection = open(path, true).await.map_err(fail)?;
    sqlx::query("BEGIN").execute(&mut connection).await.map_err(fail)?;
    // The transaction begins with the first page that it reads.
    sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await.map_err(fail)?;
    let (from, target) = (path.to_owned(), to.to_owned());
    let copied = tokio::task::spawn_blocking(move || copy_files(&from, &target, &["-wal"])).await;
    let closed = connection.close().await;
    copied.map_err(|_| ForeignError::Changing(path.to_owned()))??;
    closed.map_err(fail)
}

fn copy_unlocked(path: &Path, to: &Path) -> Result<(), ForeignError> {
    for _ in 0..COPIES {
        let before = seen(path);
        copy_files(path, to, &["-wal", "-journal"])?;
        if before == seen(path) {
            return Ok(());
        }
    }
    Err(ForeignError::Changing(path.to_owned()))
}

fn copy_files(path: &Path, to: &Path, ends: &[&str]) -> Result<(), ForeignError> {
    use std::os::unix::fs::PermissionsExt;
    let io = |cause| ForeignError::Io { path: path.to_owned(), cause };
    std::fs::copy(path, to).map_err(io)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o600)).map_err(io)?;
    for end in ends {
        let target = beside(to, end);
        match std::fs::copy(beside(path, end), &target) {
            Ok(_) => std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o600)).map_err(io)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let _ = std::fs::remove_file(target);
            }
            Err(cause) => return Err(io(cause)),
        }
    }
    Ok(())
}

/// Brings the log into the copy, or takes back what a journal says.
async fn settle(path: &Path) -> Result<(), sqlx::Error> {
    let mut connection = open(path, false).await?;
    sqlx::query("SELECT count(*) FROM sqlite_master").fetch_one(&mut connection).await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
    connection.close().await
}
