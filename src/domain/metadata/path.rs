//! Paths inside a snapshot: bytes, never absolute, never climbing.

use std::cmp::Ordering;
use std::fmt;

/// Longest path, in bytes.
pub const MAX_PATH: usize = 1 << 16;

/// A path inside a snapshot: one or more names joined by `/`. The first name is the root's.
///
/// No name is empty, `.` or `..`, or holds a NUL byte: whatever a snapshot says, nothing climbs out of a target. Order is
/// that of a directory walk: `a`, `a/b`, `a-b`; hence not the order of the bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

/// Bytes that are no path inside a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a path inside a snapshot: it is empty, absolute, climbs with '..', or holds a NUL byte")]
pub struct PathError;

impl TreePath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn new(bytes: Vec<u8>) -> Result<Self, PathError> {
        let sound = |name: &[u8]| !name.is_empty() && name != b"." && name != b".." && !name.contains(&0);
        if bytes.len() <= MAX_PATH && bytes.split(|b| *b == b'/').all(sound) { Ok(Self(bytes)) } else { Err(PathError) }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The names, from the root's on.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/')
    }

    /// The last name.
    pub fn name(&self) -> &[u8] {
        self.names().next_back().expect("a path has a name")
    }

    /// The path without its last name; `None` for a root.
    pub fn parent(&self) -> Option<TreePath> {
        let at = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..at].to_vec()))
    }

    /// This path with one more name.
    ///
    /// # Errors
    /// [`PathError`] if `name` is no name.
    pub fn child(&self, name: &[u8]) -> Result<Self, PathError> {
        if name.contains(&b'/') {
            return Err(PathError);
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self::new(bytes)
    }

    /// Whether `self` is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &TreePath) -> bool {
        self.0.strip_prefix(ancestor.0.as_slice()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        let common = self.0.iter().zip(&other.0).take_while(|(a, b)| a == b).count();
        let rank = |byte: Option<&u8>| byte.map(|b| if *b == b'/' { 0 } else { *b });
        rank(self.0.get(common)).cmp(&rank(other.0.get(common)))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    /// For people: bytes that are not UTF-8 and control characters are escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn nothing_climbs_out() {
        for bad in ["", "/", "/etc", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert_eq!(TreePath::new(bad.as_bytes().to_vec()), Err(PathError), "{bad:?}");
        }
        assert!(path("a").child(b"b/c").is_err());
        assert!(path("a").child(b"..").is_err());
    }

    #[test]
    fn order_is_that_of_a_walk() {
        let mut paths = [path("a.b"), path("a/b"), path("a"), path("a-b"), path("a/b/c"), path("a/b.c")];
        paths.sort();
        assert_eq!(paths.map(|p| p.to_string()), ["a", "a/b", "a/b/c", "a/b.c", "a-b", "a.b"]);
        assert!(path("a/b").is_within(&path("a")));
        assert!(!path("ab").is_within(&path("a")));
    }
}
