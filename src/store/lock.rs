//! Who is at work in a home: one backup at a time, one server at a time.
//!
//! A lock is an `flock` on a file in `lock/`: the kernel lets go of it when its process ends, however it ends. The file
//! holds the process id, only to name it in messages.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{ChunkStoreError, Home, StoreError, files};

/// How often a taken lock is tried again before it counts as taken: somebody may just be looking whether it is.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);
/// How often the gate is tried: the other side holds it for the removal of some files.
const SWEEP_ATTEMPTS: u32 = 1500;

/// Held while a backup (or a rebuild) writes.
#[derive(Debug)]
pub struct BackupLock(
    #[expect(dead_code, reason = "it is held, not read")] File,
    #[expect(dead_code, reason = "it is held, not read")] ChunkHold,
);

/// Held while files are stored that the index does not name yet, and while a snapshot is read that a prune may take out of the index:
/// meanwhile nothing that the index does not name is removed. Many may hold it.
#[derive(Debug)]
pub struct ChunkHold(#[expect(dead_code, reason = "it is held, not read")] File);

/// Held for a moment while files are removed that nobody names: nobody stores any meanwhile.
#[derive(Debug)]
pub struct SweepGate(#[expect(dead_code, reason = "it is held, not read")] File);

/// Held while snapshots are removed.
#[derive(Debug)]
pub struct PruneLock(#[expect(dead_code, reason = "it is held, not read")] File);

/// Held while a server runs.
#[derive(Debug)]
pub struct ServerLock(#[expect(dead_code, reason = "it is held, not read")] File);

/// Held while Tor's state is written.
#[derive(Debug)]
pub struct TorLock(#[expect(dead_code, reason = "it is held, not read")] File);

/// Held while snapshots are laid out.
#[derive(Debug)]
pub struct StandbyLock(#[expect(dead_code, reason = "it is held, not read")] File);

/// What a running server tells the command line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// Its process.
    pub pid: u32,
    /// Where its admin plane listens.
    pub admin_address: Option<String>,
    /// The Unix socket of its admin plane, if it has one.
    #[serde(default)]
    pub admin_socket: Option<PathBuf>,
    /// Where peers reach it, in full.
    pub peer_address: Option<String>,
}

impl ServerLock {
    /// Tells the command line where the server listens, once that is known.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn tell(&self, home: &Home, info: &ServerInfo) -> Result<(), StoreError> {
        let path = home.lock("server.json");
        let text = serde_json::to_vec(info).expect("server info has no maps");
        files::write_atomically(&path, &text, 0o600).map_err(|cause| StoreError::io("write", &path, cause))
    }
}

/// Takes the backup lock, or says who has it.
pub(super) fn lock_backup(home: &Home) -> Result<BackupLock, StoreError> {
    let backup = take(&home.lock("backup"))?;
    Ok(BackupLock(backup, hold_chunks(home)?))
}

/// Keeps what nobody names from being removed; waits while some of it is just being removed.
pub(super) fn hold_chunks(home: &Home) -> Result<ChunkHold, ChunkStoreError> {
    let path = home.lock("sweep");
    let fail = |cause| ChunkStoreError::Io { what: "wait for", path: path.clone(), cause };
    let file = open(&path).map_err(fail)?;
    for attempt in 1.. {
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK | Errno::INTR) if attempt < SWEEP_ATTEMPTS => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                return Err(fail(std::io::Error::other(
                    "chunks are being removed for an unusually long time: try again",
                )));
            }
            Err(error) => return Err(fail(error.into())),
        }
    }
    Ok(ChunkHold(file))
}

/// The moment to remove what nobody names; `None` while somebody stores something.
pub(super) fn sweep_gate(home: &Home) -> Result<Option<SweepGate>, StoreError> {
    let path = home.lock("sweep");
    let file = open(&path).map_err(|cause| StoreError::io("open", &path, cause))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(SweepGate(file))),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(None),
        Err(error) => Err(StoreError::io("lock", &path, error.into())),
    }
}

/// Takes the lock on removing snapshots, or says who has it.
pub(super) fn lock_prune(home: &Home) -> Result<PruneLock, StoreError> {
    take(&home.lock("prune")).map(PruneLock)
}

/// Takes the lock on Tor's state, or says who has it.
pub(super) fn lock_tor(home: &Home) -> Result<TorLock, StoreError> {
    take(&home.lock("tor")).map(TorLock)
}

/// Takes the lock on standbys, or says who has it.
pub(super) fn lock_standby(home: &Home) -> Result<StandbyLock, StoreError> {
    take(&home.lock("standby")).map(StandbyLock)
}

/// Takes a lock of this name, or says who has it.
pub(super) fn lock_named(home: &Home, name: &str) -> Result<File, StoreError> {
    take(&home.lock(name))
}

/// Waits for the turn to add a key: it takes a moment only.
pub(super) fn lock_keys(home: &Home) -> Result<File, StoreError> {
    loop {
        match take(&home.lock("keys")) {
            Err(StoreError::Busy { .. }) => {}
            taken => return taken,
        }
    }
}

/// Takes the server lock and, if there is something to say, writes the info file.
pub(super) fn lock_server(home: &Home, info: Option<&ServerInfo>) -> Result<ServerLock, StoreError> {
    let lock = ServerLock(take(&home.lock("server"))?);
    if let Some(info) = info {
        lock.tell(home, info)?;
    }
    Ok(lock)
}

/// The server that runs now. An info file whose server is gone is ignored.
pub(super) fn running_server(home: &Home) -> Option<ServerInfo> {
    let mut lock = File::open(home.lock("server")).ok()?;
    match flock(&lock, FlockOperation::NonBlockingLockShared) {
        Err(Errno::WOULDBLOCK) => {}
        _ => return None,
    }
    let info: ServerInfo = serde_json::from_slice(&std::fs::read(home.lock("server.json")).ok()?).ok()?;
    (Some(info.pid) == pid_in(&mut lock)).then_some(info)
}

fn open(path: &Path) -> std::io::Result<File> {
    // A copy of a home may lack the folder: it holds nothing worth copying.
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn take(path: &Path) -> Result<File, StoreError> {
    let fail = |what, cause| StoreError::io(what, path, cause);
    let mut file = open(path).map_err(|cause| fail("open", cause))?;
    for attempt in 1.. {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(Errno::WOULDBLOCK | Errno::INTR) if attempt < ATTEMPTS => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK | Errno::INTR) => {
                let what = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
                return Err(StoreError::Busy { what, pid: pid_in(&mut file) });
            }
            Err(error) => return Err(fail("lock", error.into())),
        }
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        write!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(|cause| fail("write", cause))?;
    Ok(file)
}

fn pid_in(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0)).ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
