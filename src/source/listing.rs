//! One directory read, looked at and sorted.

use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags, RawDir, statat};
use rustix::io::Errno;

use crate::domain::metadata::path::TreePath;

use super::dir::DirHandle;
use super::excludes::Excludes;
use super::stat::{FoundKind, Stat, from_system};

/// How many bytes of names the kernel gives at a time.
const BUFFER: usize = 64 * 1024;

/// What a `CACHEDIR.TAG` begins with (<https://bford.info/cachedir/>).
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";

/// The file that says of a folder that it is a home of Bulbil, what it begins with, and a folder that every home has.
const HOME_MARK: &[u8] = b"version";
const HOME_TAG: &[u8] = b"bulbil-home/";
const HOME_KEYS: &[u8] = b"keys";

/// What a directory says of itself, for which its content is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tagged {
    /// A cache.
    Cache,
    /// A home of Bulbil, with keys in it.
    Home,
}

/// A directory's entries in the order of their names. Names are kept in one piece of memory.
#[derive(Debug)]
pub(super) struct Listing {
    pub dir: Arc<DirHandle>,
    pub items: Vec<Item>,
    /// What the patterns leave out, and whether each is a directory.
    pub left_out: Vec<(Vec<u8>, bool)>,
    names: Vec<u8>,
    /// Up to which item subdirectories were queued to be listed ahead.
    pub queued: usize,
    /// Why there are no items, if it is for what the directory says of itself.
    pub tagged: Option<Tagged>,
}

/// An entry, or why it could not be looked at.
#[derive(Debug)]
pub(super) struct Item {
    name_at: usize,
    name_len: usize,
    pub what: Result<(FoundKind, Stat), Errno>,
}

impl Item {
    fn is_directory(&self) -> bool {
        matches!(self.what, Ok((FoundKind::Directory, _)))
    }
}

impl Listing {
    pub(super) fn name(&self, item: usize) -> &[u8] {
        let Item { name_at, name_len, .. } = self.items[item];
        &self.names[name_at..name_at + name_len]
    }
}

/// Lists `name` in `parent`, which is at `path` in the tree. What vanished meanwhile, and what is excluded, is not in it.
pub(super) fn list(
    parent: &Arc<DirHandle>,
    name: &[u8],
    path: &TreePath,
    root: &TreePath,
    excludes: &Excludes,
    skip_caches: bool,
) -> io::Result<Listing> {
    let (dir, fd) = parent.open_child(name)?;
    let mut listing =
        Listing { dir, items: Vec::new(), left_out: Vec::new(), names: Vec::new(), queued: 0, tagged: None };
    // Excludes are relative to the root.
    let mut relative = path.as_bytes()[root.as_bytes().len()..].to_vec();
    if relative.first() == Some(&b'/') {
        relative.remove(0);
        relative.push(b'/');
    }
    let prefix = relative.len();

    let (mut types, mut is_marked, mut has_keys) = (Vec::new(), false, false);
    let mut buffer = vec![MaybeUninit::uninit(); BUFFER];
    let mut entries = RawDir::new(&*fd, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            // The directory was deleted while it was read.
            Err(Errno::NOENT) => break,
            entry => entry?,
        };
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        if skip_caches && name == b"CACHEDIR.TAG" && begins_with(&fd, name, CACHE_TAG) {
            listing.items.clear();
            listing.tagged = Some(Tagged::Cache);
            return Ok(listing);
        }
        is_marked |= name == HOME_MARK;
        has_keys |= name == HOME_KEYS;
        types.push(entry.file_type());
        listing.items.push(Item { name_at: listing.names.len(), name_len: name.len(), what: Err(Errno::NOENT) });
        listing.names.extend_from_slice(name);
    }
    if is_marked && has_keys && begins_with(&fd, HOME_MARK, HOME_TAG) {
        listing.items.clear();
        listing.tagged = Some(Tagged::Home);
        return Ok(listing);
    }

    let Listing { items, names, left_out, .. } = &mut listing;
    for (item, file_type) in items.iter_mut().zip(types) {
        let name = &names[item.name_at..item.name_at + item.name_len];
        let mut is_left_out = |is_directory| {
            relative.truncate(prefix);
            relative.extend_from_slice(name);
            excludes.leaves_out(&relative, is_directory)
        };
        let known = !excludes.is_empty() && file_type != FileType::Unknown;
        if known && is_left_out(file_type == FileType::Directory) {
            left_out.push((name.to_vec(), file_type == FileType::Directory));
            continue;
        }
        item.what =
            statat(&*fd, name, AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT).map(|stat| from_system(&stat));
        if !known && !excludes.is_empty() && is_left_out(item.is_directory()) {
            left_out.push((name.to_vec(), item.is_directory()));
            item.what = Err(Errno::NOENT);
        }
    }
    items.retain(|item| !matches!(item.what, Err(Errno::NOENT)));
    // Plain order of the bytes among siblings, children right behind their parent: exactly the order of tree paths.
    let name = |item: &Item| &names[item.name_at..item.name_at + item.name_len];
    items.sort_unstable_by(|a, b| name(a).cmp(name(b)));
    Ok(listing)
}

/// Whether the file `name` in this directory begins so.
fn begins_with(dir: &rustix::fd::OwnedFd, name: &[u8], tag: &[u8]) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let Ok(file) = super::dir::open_quietly(dir, name, flags) else { return false };
    let mut head = vec![0; tag.len()];
    matches!(rustix::io::pread(&file, &mut head, 0), Ok(n) if n == head.len() && head == tag)
}
