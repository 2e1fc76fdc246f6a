//! An archive's bytes, decrypted and decompressed as they go by.
//!
//! What it is shows in its first bytes. gzip and zstd are read here; `bzip2`, `xz`, `gpg` and `openssl` are run. Nothing of an archive
//! counts before its end was reached and everything that was run has ended well: a stream that is cut, or whose checksum is wrong, is an
//! error at its end.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::sync::{Arc, Mutex};

use flate2::read::MultiGzDecoder;
use tokio_util::sync::CancellationToken;

use super::ArchiveError;
use super::header::{self, BLOCK};
use crate::source::command::Output;

/// How archives are opened.
#[derive(Debug, Clone, Copy)]
pub struct Opening<'a> {
    /// A file whose first line is the passphrase of encrypted archives. Without, gpg asks its agent.
    pub passphrase_file: Option<&'a Path>,
    /// Stops it.
    pub cancel: &'a CancellationToken,
}

/// What a program writes.
#[derive(Clone)]
struct Piped(Arc<Mutex<Option<Output>>>);

impl Read for Piped {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut output = self.0.lock().expect("no holder of this lock can panic");
        output.as_mut().map_or(Ok(0), |output| output.fill(buffer)).map_err(io::Error::other)
    }
}

/// The bytes of a tar archive.
pub struct Stream {
    input: Box<dyn Read + Send>,
    programs: Vec<(&'static str, Piped)>,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.input.read(buffer)
    }
}

/// What the first bytes say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Tar,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

fn format(head: &[u8]) -> Option<Format> {
    let is_tar = || {
        let block: &[u8; BLOCK] = head.first_chunk()?;
        (header::is_end(block) || header::parse(block).is_ok()).then_some(Format::Tar)
    };
    match head {
        [0x1f, 0x8b, ..] => Some(Format::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Format::Zstd),
        [b'B', b'Z', b'h', ..] => Some(Format::Bzip2),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Format::Xz),
        _ => is_tar(),
    }
}

impl Stream {
    /// Opens an archive.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn open(path: &Path, opening: &Opening<'_>) -> Result<Self, ArchiveError> {
        let unreadable = |cause| ArchiveError::Unreadable { cause };
        let mut file = File::open(path).map_err(unreadable)?;
        if !file.metadata().map_err(unreadable)?.is_file() {
            return Err(ArchiveError::NoFile);
        }
        let head = head(&mut file).map_err(unreadable)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let ends = |ends: &[&str]| ends.iter().any(|end| name.ends_with(end));
        if head.starts_with(b"Salted__") || ends(&[".enc"]) {
            // The guide's own recipe has no key derivation to speak of; which one it was shows in what comes out.
            for options in ["-pbkdf2", "-md sha256", "-md md5"] {
                let command = format!(
                    "exec openssl enc -d -aes-256-cbc {options} -pass file:\"$BULBIL_PASSPHRASE\" -in \"$BULBIL_ARCHIVE\""
                );
                opening.passphrase_file.ok_or(ArchiveError::NoPassphrase)?;
                let mut piped = run(&command, path, opening)?;
                let Ok(head) = self::head(&mut piped) else { continue };
                if format(&head).is_some() {
                    return Self::decompress(head, Box::new(piped.clone()), vec![("openssl", piped)], None, opening);
                }
            }
            return Err(ArchiveError::NotOpened);
        }
        if ends(&[".gpg", ".pgp", ".asc"]) || head.starts_with(b"-----BEGIN PGP MESSAGE") {
            let with = match opening.passphrase_file {
                Some(_) => "--pinentry-mode loopback --passphrase-file \"$BULBIL_PASSPHRASE\"",
                None => "",
            };
            let command = format!("exec gpg --batch --no-tty --quiet {with} --decrypt -- \"$BULBIL_ARCHIVE\"");
            let mut piped = run(&command, path, opening)?;
            let head = self::head(&mut piped).map_err(|cause| ArchiveError::Read { cause })?;
            let programs = vec![("gpg", piped.clone())];
            if head.is_empty() {
                // It says why.
                Self { input: Box::new(io::empty()), programs }.finish()?;
                return Err(ArchiveError::NoArchive);
            }
            return Self::decompress(head, Box::new(piped), programs, None, opening);
        }
        Self::decompress(head, Box::new(file), Vec::new(), Some(path), opening)
    }

    /// `path`: where the bytes are, if a program may read them there.
    fn decompress(
        head: Vec<u8>,
        rest: Box<dyn Read + Send>,
        mut programs: Vec<(&'static str, Piped)>,
        path: Option<&Path>,
        opening: &Opening<'_>,
    ) -> Result<Self, ArchiveError> {
        let format = format(&head).ok_or(ArchiveError::NoArchive)?;
        let whole = Cursor::new(head).chain(rest);
        let input: Box<dyn Read + Send> = match format {
            Format::Tar => Box::new(whole),
            Format::Gzip => Box::new(MultiGzDecoder::new(io::BufReader::with_capacity(1 << 16, whole))),
            Format::Zstd => {
                Box::new(zstd::stream::read::Decoder::new(whole).map_err(|cause| ArchiveError::Read { cause })?)
            }
            Format::Bzip2 | Format::Xz => {
                let program = if format == Format::Xz { "xz" } else { "bzip2" };
                let path = path.ok_or(ArchiveError::DecryptFirst(program))?;
                let piped = run(&format!("exec {program} -dc < \"$BULBIL_ARCHIVE\""), path, opening)?;
                programs.push((program, piped.clone()));
                Box::new(piped)
            }
        };
        Ok(Self { input, programs })
    }

    /// Everything was read: whether what was run ended well, too.
    ///
    /// # Errors
    /// [`ArchiveError::Program`]: what was read is not all that there should be, or not what it was.
    pub fn finish(self) -> Result<(), ArchiveError> {
        drop(self.input);
        for (name, mut piped) in self.programs {
            let rest = io::copy(&mut piped, &mut io::sink());
            let output = piped.0.lock().expect("no holder of this lock can panic").take();
            if let Some(output) = output {
                output.finish().map_err(|cause| ArchiveError::Program { name, cause })?;
            }
            rest.map_err(|cause| ArchiveError::Read { cause })?;
        }
        Ok(())
    }
}

fn run(command: &str, archive: &Path, opening: &Opening<'_>) -> Result<Piped, ArchiveError> {
    let mut environment = vec![("BULBIL_ARCHIVE", archive.as_os_str().to_owned())];
    environment.extend(opening.passphrase_file.map(|file| ("BULBIL_PASSPHRASE", file.as_os_str().to_owned())));
    let output = Output::start(command, &environment, opening.cancel);
    output
        .map(|output| Piped(Arc::new(Mutex::new(Some(output)))))
        .map_err(|cause| ArchiveError::Program { name: "sh", cause })
}

/// The first block, or less if there is no more.
fn head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(BLOCK);
    input.take(BLOCK as u64).read_to_end(&mut head)?;
    Ok(head)
}
