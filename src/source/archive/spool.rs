//! What an archive holds, laid down for as long as it is taken: in a file without a name, so that nothing is left of it after a kill,
//! and nobody else reads it.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// Written at once.
const BUFFER: usize = 1 << 20;
/// So often is looked how much room there is, in bytes.
const LOOK_EVERY: u64 = 32 << 20;
/// So much of the disk stays free, in bytes.
const STAYS_FREE: u64 = 64 << 20;

/// A file that grows, and that nobody else sees.
#[derive(Debug)]
pub struct Spool {
    file: File,
    buffer: Vec<u8>,
    len: u64,
    look_at: u64,
}

impl Spool {
    /// In this folder.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = match rustix::fs::open(folder, flags, Mode::from(0o600)) {
            Ok(fd) => File::from(fd),
            // Not every file system has files without names.
            Err(_) => {
                let path = folder.join(format!(".archive-{}", std::process::id()));
                let mut options = File::options();
                let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
                std::fs::remove_file(&path)?;
                file
            }
        };
        Ok(Self { file, buffer: Vec::with_capacity(BUFFER), len: 0, look_at: 0 })
    }

    /// How much is in it: where the next byte goes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// If the disk is full, or would be.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len() as u64;
        if self.buffer.len() + bytes.len() > BUFFER {
            self.flush()?;
        }
        if bytes.len() >= BUFFER {
            return self.file.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.len >= self.look_at {
            self.look_at = self.len + LOOK_EVERY;
            let disk = rustix::fs::fstatvfs(&self.file)?;
            if disk.f_bavail.saturating_mul(disk.f_frsize) < STAYS_FREE + LOOK_EVERY {
                return Err(io::Error::from(io::ErrorKind::StorageFull));
            }
        }
        self.file.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    /// The file, with everything in it.
    ///
    /// # Errors
    /// See [`Self::add`].
    pub fn finish(mut self) -> io::Result<File> {
        self.flush()?;
        Ok(self.file)
    }
}
