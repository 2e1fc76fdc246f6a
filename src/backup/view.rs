//! Looking into snapshots: what is in a folder, and what differs between two.

use std::cmp::Ordering;

use crate::domain::metadata::entry::{Entry, EntryKind};
use crate::domain::metadata::path::TreePath;
use crate::store::{TreeError, TreeReader};

/// What happened to an entry between two snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Difference {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// Its content or kind is another.
    Modified,
    /// Only its attributes are others: mode, owner, times, extended attributes.
    Attributes,
}

impl Difference {
    /// One letter, as in a list of changes.
    pub fn letter(self) -> char {
        match self {
            Difference::Added => '+',
            Difference::Removed => '-',
            Difference::Modified => 'M',
            Difference::Attributes => 'U',
        }
    }
}

/// Calls `each` with what is directly in `within` (with everything below if `recursive`), in tree order.
///
/// With no path: the roots. A path that is a file is listed itself.
///
/// # Errors
/// [`TreeError`].
pub fn list(
    tree: &mut TreeReader<'_>,
    within: Option<&TreePath>,
    recursive: bool,
    mut each: impl FnMut(&Entry),
) -> Result<(), TreeError> {
    let depth = within.map_or(0, |path| path.names().count());
    tree.walk(within, |entry| {
        let below = entry.path.names().count() - depth;
        let is_itself = below == 0 && !matches!(entry.kind, EntryKind::Directory);
        if is_itself || below == 1 || recursive && below > 0 {
            each(&entry);
        }
        Ok(())
    })
}

/// Calls `each` with what differs, in tree order.
///
/// # Errors
/// [`TreeError`].
pub fn diff(
    before: TreeReader<'_>,
    after: TreeReader<'_>,
    mut each: impl FnMut(Difference, &Entry),
) -> Result<(), TreeError> {
    let (mut before, mut after) = (before.peekable(), after.peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(Ok(a)), Some(Ok(b))) => a.path.cmp(&b.path),
            _ => Ordering::Equal,
        };
        match order {
            Ordering::Less => {
                if let Some(entry) = before.next().transpose()? {
                    each(Difference::Removed, &entry);
                }
            }
            Ordering::Greater => {
                if let Some(entry) = after.next().transpose()? {
                    each(Difference::Added, &entry);
                }
            }
            Ordering::Equal => {
                let (a, b) = (before.next().transpose()?, after.next().transpose()?);
                if let (Some(a), Some(b)) = (a, b)
                    && let Some(difference) = compare(&a, &b)
                {
                    each(difference, &b);
                }
            }
        }
    }
}

fn compare(before: &Entry, after: &Entry) -> Option<Difference> {
    let same = match (&before.kind, &after.kind) {
        (EntryKind::File(a), EntryKind::File(b)) => a.size == b.size && a.hash == b.hash,
        (EntryKind::Symlink { target: a }, EntryKind::Symlink { target: b }) => a == b,
        (EntryKind::HardLink { to: a }, EntryKind::HardLink { to: b }) => a == b,
        (EntryKind::CharDevice { rdev: a }, EntryKind::CharDevice { rdev: b })
        | (EntryKind::BlockDevice { rdev: a }, EntryKind::BlockDevice { rdev: b }) => a == b,
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
    };
    let (a, b) = (&before.attributes, &after.attributes);
    if !same {
        Some(Difference::Modified)
    } else if (a.mode, a.uid, a.gid, a.mtime, &a.xattrs) != (b.mode, b.uid, b.gid, b.mtime, &b.xattrs) {
        Some(Difference::Attributes)
    } else {
        None
    }
}
