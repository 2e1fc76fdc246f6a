//! Small files, written so that a kill leaves either the old one or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

static NEXT_TEMPORARY: AtomicU64 = AtomicU64::new(0);

/// Puts `bytes` under `path`: temporary file, fsync, rename, fsync of the folder.
pub(super) fn write_atomically(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let dir = path.parent().expect("a file in a home has a folder");
    let n = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
    let temporary = dir.join(format!(".tmp-{}-{n}", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path))
        .and_then(|()| sync_dir(dir));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

/// Writes a file for its owner alone, replacing what is there; durable on return. Its folder is made if it is missing, for its owner alone.
///
/// # Errors
/// What the system said.
pub fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        create_private_dir(folder)?;
    }
    write_atomically(path, bytes, 0o600)
}

/// Puts many files into one folder: all of them temporary files first, made durable together, then renamed. A kill leaves some
/// of the new ones, each of them whole.
pub(super) fn write_together(dir: &Path, files: &[(PathBuf, Vec<u8>)], mode: u32) -> io::Result<()> {
    let mut temporary = Vec::with_capacity(files.len());
    let written = files.iter().try_for_each(|(_, bytes)| {
        let n = NEXT_TEMPORARY.fetch_add(1, Ordering::Relaxed);
        temporary.push(dir.join(format!(".tmp-{}-{n}", std::process::id())));
        let path = &temporary[temporary.len() - 1];
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?.write_all(bytes)
    });
    let written = written
        .and_then(|()| Ok(rustix::fs::syncfs(File::open(dir)?)?))
        .and_then(|()| temporary.iter().zip(files).try_for_each(|(from, (to, _))| fs::rename(from, to)))
        .and_then(|()| sync_dir(dir));
    if written.is_err() {
        temporary.iter().for_each(|path| drop(fs::remove_file(path)));
    }
    written
}

/// Moves a file, onto another file system too; what is not there is passed over. At no moment is there no copy of it.
pub(super) fn move_file(from: &Path, to: &Path) -> io::Result<()> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == ErrorKind::NotFound && !from.exists() => Ok(()),
        Err(error) if error.kind() == ErrorKind::CrossesDevices => {
            let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
            if copied.is_err() {
                let _ = fs::remove_file(to);
            }
            copied.and_then(|()| remove(from))
        }
        done => done,
    }
}

/// Makes the names in a folder durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Makes a folder that only its owner may enter; one that is there already is left as it is.
pub(super) fn create_private_dir(dir: &Path) -> io::Result<()> {
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(()),
        done => done,
    }
}

/// Reads a file that must not be longer than `max_bytes`; `None` if it is longer.
pub(super) fn read_bounded(path: &Path, max_bytes: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // A pipe would be waited for.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    file.take(max_bytes as u64 + 1).read_to_end(&mut bytes)?;
    Ok((bytes.len() <= max_bytes).then_some(bytes))
}

/// Removes a file; that it is not there is no error.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
