//! Old archives as a source: a tar archive, compressed and encrypted or not, becomes the tree of a snapshot.
//!
//! An archive is read once, as a stream: its members' content into a file without a name, everything else into memory (some hundred
//! bytes a member). Nothing is unpacked into folders, so whatever paths, links and devices an archive names, nothing outside is
//! touched, and owners come as they are written. Only when the end was reached and every checksum held does anything count.

mod date;
mod header;
mod open;
mod place;
mod spool;
mod unpack;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;

pub use date::from_name;
pub use open::Opening;
pub use place::Place;
pub use unpack::Piece;

use crate::domain::crypto::hash::{FileHash, FileHasher};
use crate::domain::metadata::entry::{Attributes, EntryKind, FileTime};
use crate::domain::metadata::path::TreePath;
use crate::domain::preset::Preset;
use crate::source::command::CommandError;
use crate::source::{Excludes, LeftOut};
use spool::Spool;
use unpack::{Member, MemberKind, Unpacked};

/// How the file CACHEDIR.TAG begins (<https://bford.info/cachedir/>).
const CACHE_TAG: &[u8; 43] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// Why nothing is taken from an archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("it cannot be read: {cause}")]
    Unreadable {
        /// What the system said.
        cause: std::io::Error,
    },
    /// It is a folder or a pipe.
    #[error("it is no file")]
    NoFile,
    /// It begins like nothing that is known.
    #[error(
        "it is no tar archive (.tar, or compressed with gzip, zstd, bzip2 or xz), or it is encrypted in a way that is not known here"
    )]
    NoArchive,
    /// Its bytes do not decompress.
    #[error("it is damaged or cut off: {cause}")]
    Read {
        /// What is wrong.
        cause: std::io::Error,
    },
    /// It ends too early.
    #[error("it is cut off: it ends in the middle")]
    Cut,
    /// A header is none.
    #[error("it is damaged: at byte {at} (uncompressed) there should be a member, and there is none")]
    Damaged {
        /// Where, in the uncompressed archive.
        at: u64,
    },
    /// Names or attributes without end.
    #[error("it is damaged or made to do harm: a name or attributes of more than 4 MiB")]
    LongRecord,
    /// A bomb.
    #[error("it has more than {0} members: this is no backup")]
    TooMany(usize),
    /// It is one of several volumes.
    #[error("it is one of several volumes: join them first (tar --multi-volume)")]
    Volume,
    /// What decrypts it failed.
    #[error("{name} could not read it all: {cause}")]
    Program {
        /// Which program.
        name: &'static str,
        /// What happened.
        cause: CommandError,
    },
    /// There is no passphrase.
    #[error(
        "it is encrypted with openssl: say which file has its passphrase in the first line (--archive-passphrase-file)"
    )]
    NoPassphrase,
    /// The passphrase is wrong, or it was made in some other way.
    #[error("it does not open: the passphrase is wrong, or it was not made with 'openssl enc -aes-256-cbc'")]
    NotOpened,
    /// Two programs in a row.
    #[error("it is encrypted and compressed with {0}: decrypt it first, and import what comes out")]
    DecryptFirst(&'static str),
    /// There is no room.
    #[error("there is no room for its content meanwhile: {cause}. --scratch DIR names a folder on another disk")]
    Spool {
        /// What the system said.
        cause: std::io::Error,
    },
    /// Nothing is in it.
    #[error("there is nothing in it")]
    Empty,
    /// Somebody stopped it.
    #[error("cancelled")]
    Cancelled,
}

/// What an archive is taken into.
#[derive(Debug)]
pub struct Destination<'a> {
    /// The name of the root in the snapshot's tree.
    pub root: &'a str,
    /// Where that folder is on this machine, if it is known.
    pub folder: Option<&'a Path>,
    /// What is known of the application.
    pub preset: Option<&'a Preset>,
    /// What is left out.
    pub excludes: &'a Excludes,
}

/// One entry of the tree.
#[derive(Debug, Clone)]
pub struct ArchiveEntry {
    /// Where it is in the snapshot's tree.
    pub path: TreePath,
    /// What every kind has.
    pub attributes: Attributes,
    /// What it is.
    pub kind: ArchiveKind,
}

/// What an entry is.
#[derive(Debug, Clone)]
pub enum ArchiveKind {
    /// Everything is known.
    Known(EntryKind),
    /// A file, whose content is in the spool.
    File {
        /// Where there.
        content: Arc<Vec<Piece>>,
        /// Its length in bytes.
        size: u64,
    },
}

/// An archive that was read to its end.
#[derive(Debug)]
pub struct Archive {
    /// In tree order, with all folders.
    pub entries: Vec<ArchiveEntry>,
    /// Where in the archive the application's folder was.
    pub place: Place,
    /// What the patterns left out.
    pub left_out: Vec<LeftOut>,
    /// Members that are not taken: path and reason.
    pub refused: Vec<(String, String)>,
    /// How many more are not taken.
    pub untold: u64,
    /// Members beside the application's folder.
    pub beside: u64,
    /// Something stands behind the end, which tar does not read either.
    pub trailing: bool,
    /// When the newest file in it changed.
    pub newest: Option<Timestamp>,
    spool: File,
}

/// What an archive is, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned {
    /// BLAKE3 of its file as it is.
    pub hash: FileHash,
    /// When the newest file in it changed.
    pub newest: Option<Timestamp>,
}

/// The hash of an archive's file, and with `look` what the newest member is. Blocks.
///
/// # Errors
/// [`ArchiveError`].
pub fn scan(path: &Path, look: bool, opening: &Opening<'_>) -> Result<Scanned, ArchiveError> {
    let unreadable = |cause| ArchiveError::Unreadable { cause };
    let mut hasher = FileHasher::default();
    let mut file = File::open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(ArchiveError::NoFile);
    }
    let mut buffer = vec![0; 1 << 18];
    loop {
        if opening.cancel.is_cancelled() {
            return Err(ArchiveError::Cancelled);
        }
        match file.read(&mut buffer).map_err(unreadable)? {
            0 => break,
            n => hasher.update(&buffer[..n]),
        }
    }
    let newest = if look {
        let mut stream = open::Stream::open(path, opening)?;
        let unpacked = unpack::unpack(&mut stream, None, opening.cancel)?;
        stream.finish()?;
        unpacked.newest.and_then(moment)
    } else {
        None
    };
    Ok(Scanned { hash: hasher.finish(), newest })
}

impl Archive {
    /// Reads an archive; its content lies in `scratch` meanwhile, without a name. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError`].
    pub fn read(
        path: &Path,
        into: &Destination<'_>,
        scratch: &Path,
        opening: &Opening<'_>,
    ) -> Result<Self, ArchiveError> {
        let mut spool = Spool::new(scratch).map_err(|cause| ArchiveError::Spool { cause })?;
        let mut stream = open::Stream::open(path, opening)?;
        let unpacked = unpack::unpack(&mut stream, Some(&mut spool), opening.cancel)?;
        stream.finish()?;
        let spool = spool.finish().map_err(|cause| ArchiveError::Spool { cause })?;
        let place = place::find(&unpacked.members, into.preset, into.folder, into.root);
        Self::arrange(unpacked, place, into, spool)
    }

    fn arrange(unpacked: Unpacked, place: Place, into: &Destination<'_>, spool: File) -> Result<Self, ArchiveError> {
        let Unpacked { members, top, newest, refused, untold, trailing } = unpacked;
        let root = TreePath::new(into.root.as_bytes().to_vec()).map_err(|_| ArchiveError::Empty)?;
        let mut archive = Self {
            entries: Vec::with_capacity(members.len() + 1),
            place,
            left_out: Vec::new(),
            refused,
            untold,
            beside: 0,
            trailing,
            newest: newest.and_then(moment),
            spool,
        };
        let skips = into.preset.is_some_and(|preset| preset.skip_caches);
        let caches = if skips { caches(&members, &archive.spool) } else { Vec::new() };
        let is_cached = |path: &TreePath| caches.iter().find(|cache| path.is_within(cache) && path != *cache);
        let mut tree: BTreeMap<TreePath, Member> = BTreeMap::new();
        let top_place = archive.place.within.is_none().then_some(top).flatten();
        if let (Some(attributes), Ok(path)) = (top_place, placed(&root, archive.place.below.as_ref())) {
            tree.insert(path, Member { attributes, kind: MemberKind::Directory });
        }
        for (path, member) in members {
            let Some(below) = archive.place.of(&path) else {
                archive.beside +=
                    u64::from(!archive.place.within.as_ref().is_some_and(|within| within.is_within(&path)));
                continue;
            };
            if below.is_empty() {
                tree.insert(root.clone(), member);
                continue;
            }
            let Ok(whole) = TreePath::new([root.as_bytes(), b"/", &below].concat()) else {
                archive.refused.push((path.to_string(), "its name is too long".to_owned()));
                continue;
            };
            if archive.leave_out(&whole, &below, &member, is_cached(&path).is_some(), into.excludes) {
                continue;
            }
            tree.insert(whole, member);
        }
        archive.entries = entries(tree, &root);
        if archive.entries.len() <= 1 { Err(ArchiveError::Empty) } else { Ok(archive) }
    }

    /// Whether a pattern leaves it, or a folder that it is in, out; then it is counted.
    fn leave_out(
        &mut self,
        whole: &TreePath,
        below: &[u8],
        member: &Member,
        is_cached: bool,
        excludes: &Excludes,
    ) -> bool {
        let is_folder = member.kind == MemberKind::Directory;
        let (files, bytes) = match member.kind {
            MemberKind::Directory => (0, 0),
            MemberKind::File { size, .. } => (1, size),
            _ => (1, 0),
        };
        if let Some(last) = self.left_out.last_mut()
            && whole.is_within(&last.path)
        {
            (last.files, last.bytes) = (last.files + files, last.bytes + bytes);
            return true;
        }
        let ends = below.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let above = ends.map(|end| (end, true)).chain([(below.len(), is_folder)]);
        let mut above = above;
        let pattern = above.find_map(|(end, is_folder)| {
            let pattern = excludes.left_out_by(&below[..end], is_folder)?;
            Some((end, pattern.to_owned()))
        });
        let (path, pattern) = match pattern {
            Some((end, pattern)) => {
                let cut = whole.as_bytes().len() - (below.len() - end);
                (TreePath::new(whole.as_bytes()[..cut].to_vec()), pattern)
            }
            None if is_cached => (Ok(whole.clone()), "CACHEDIR.TAG".to_owned()),
            None => return false,
        };
        let path = path.unwrap_or_else(|_| whole.clone());
        self.left_out.push(LeftOut { path, pattern, files, bytes });
        true
    }

    /// Reads bytes of a file's content.
    ///
    /// # Errors
    /// If the disk does not give them any more.
    pub fn read_at(&self, buffer: &mut [u8], at: u64) -> std::io::Result<()> {
        self.spool.read_exact_at(buffer, at)
    }
}

/// Where below the root something belongs.
fn placed(root: &TreePath, below: Option<&TreePath>) -> Result<TreePath, crate::domain::metadata::path::PathError> {
    match below {
        Some(below) => TreePath::new([root.as_bytes(), b"/", below.as_bytes()].concat()),
        None => Ok(root.clone()),
    }
}

/// Folders of an archive that say of themselves that their content is made anew.
fn caches(members: &BTreeMap<TreePath, Member>, spool: &File) -> Vec<TreePath> {
    let is_tag = |member: &Member| {
        let MemberKind::File { content, .. } = &member.kind else { return false };
        let Some(Piece::Data { at, len }) = content.first() else { return false };
        let mut head = [0; CACHE_TAG.len()];
        *len >= head.len() as u64 && spool.read_exact_at(&mut head, *at).is_ok() && head == *CACHE_TAG
    };
    let tags = members.iter().filter(|(path, member)| path.name() == b"CACHEDIR.TAG" && is_tag(member));
    tags.filter_map(|(path, _)| path.parent()).collect()
}

/// The tree in order, with the folders that no member stands for; the second name of a file as a link to the first.
fn entries(mut tree: BTreeMap<TreePath, Member>, root: &TreePath) -> Vec<ArchiveEntry> {
    let mut missing: BTreeMap<TreePath, Member> = BTreeMap::new();
    for (path, member) in &tree {
        let mut above = path.parent();
        while let Some(folder) = above {
            if tree.contains_key(&folder) || missing.contains_key(&folder) {
                break;
            }
            let of = &member.attributes;
            let attributes =
                Attributes { mode: 0o755, uid: of.uid, gid: of.gid, mtime: of.mtime, ..Attributes::default() };
            missing.insert(folder.clone(), Member { attributes, kind: MemberKind::Directory });
            above = folder.parent();
        }
    }
    tree.extend(missing);
    tree.entry(root.clone()).or_insert_with(|| Member {
        attributes: Attributes { mode: 0o755, ..Attributes::default() },
        kind: MemberKind::Directory,
    });
    let mut first: HashMap<usize, TreePath> = HashMap::new();
    let mut entries = Vec::with_capacity(tree.len());
    for (path, Member { attributes, kind }) in tree {
        let kind = match kind {
            MemberKind::Directory => ArchiveKind::Known(EntryKind::Directory),
            MemberKind::Symlink { target } => ArchiveKind::Known(EntryKind::Symlink { target }),
            MemberKind::Fifo => ArchiveKind::Known(EntryKind::Fifo),
            MemberKind::CharDevice { rdev } => ArchiveKind::Known(EntryKind::CharDevice { rdev }),
            MemberKind::BlockDevice { rdev } => ArchiveKind::Known(EntryKind::BlockDevice { rdev }),
            MemberKind::File { number, content, size } => match first.get(&number) {
                Some(to) => ArchiveKind::Known(EntryKind::HardLink { to: to.clone() }),
                None => {
                    first.insert(number, path.clone());
                    ArchiveKind::File { content, size }
                }
            },
        };
        entries.push(ArchiveEntry { path, attributes, kind });
    }
    entries
}

fn moment(at: FileTime) -> Option<Timestamp> {
    Timestamp::new(at.secs, i32::try_from(at.nanos).ok()?).ok()
}

/// When an archive was made: as its name says, with the time of the newest file in it where the name has only the day; else that
/// time; else when the file changed. And where that is from.
pub fn made_at(path: &Path, newest: Option<Timestamp>, zone: &TimeZone) -> Option<(Timestamp, &'static str)> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    if let Some(date) = from_name(&name) {
        if date.time.is_none()
            && let Some(at) = newest.filter(|at| date.is_day_of(*at, zone))
        {
            return Some((at, "its name and the newest file in it"));
        }
        return date.moment(zone).map(|at| (at, "its name"));
    }
    if let Some(at) = newest {
        return Some((at, "the newest file in it"));
    }
    let changed = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
    Timestamp::try_from(changed).ok().map(|at| (at, "the time of the file"))
}
