//! The change feed: what an instance has to tell a peer, in order.
//!
//! The cursor is a feed id and a number, never a clock (R11): a peer that was away for a year misses nothing. A feed id
//! that the reader does not know means that the order starts afresh: it reads from the beginning and reconciles.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::id::{FeedId, ManifestId};
use super::manifest::ManifestSignature;

/// Most changes in one page.
pub const MAX_CHANGES: usize = 500;
/// A page is ended when its manifests reach this many bytes.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// A place in a feed. Text form: `<feed id>.<number>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor {
    /// Which feed.
    pub feed: FeedId,
    /// Everything up to this number has been seen.
    pub position: u64,
}

/// Text that is no cursor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a cursor is a feed id, a dot and a number")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.feed, self.position)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (feed, position) = text.split_once('.').ok_or(CursorError)?;
        let position = position.parse().ok().filter(|n| *n <= i64::MAX as u64).ok_or(CursorError)?;
        Ok(Self { feed: feed.parse().map_err(|_| CursorError)?, position })
    }
}

impl TryFrom<String> for Cursor {
    type Error = CursorError;

    fn try_from(text: String) -> Result<Self, CursorError> {
        text.parse()
    }
}

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> String {
        cursor.to_string()
    }
}

/// One page of the feed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Page {
    /// What happened, oldest first.
    pub changes: Vec<Change>,
    /// Where to go on.
    pub next: Cursor,
    /// Whether there is more right now.
    pub more: bool,
    /// Fingerprint of everything the reader may see: see [`Fingerprint`].
    pub fingerprint: Fingerprint,
    /// Stands for the statements of succession that the reader may be told; absent if there are none. When it changes, the
    /// reader asks with `POST /succession`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub succession: Option<String>,
}

/// Something that happened.
#[expect(clippy::large_enum_variant, reason = "nearly all changes are manifests")]
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Change {
    /// There is a snapshot.
    Manifest {
        /// Its manifest.
        id: ManifestId,
        /// The manifest's bytes; they are JSON, hence text.
        manifest: String,
        /// Its signature.
        signature: ManifestSignature,
        /// Envelopes that travel with it: those for the recovery key.
        #[serde(default)]
        envelopes: Vec<Envelope>,
    },
    /// The source deleted a snapshot. Nothing is deleted here because of it: own retention decides.
    Tombstone {
        /// Which snapshot.
        id: ManifestId,
    },
}

impl Change {
    /// Which snapshot it is about.
    pub fn id(&self) -> ManifestId {
        match self {
            Change::Manifest { id, .. } | Change::Tombstone { id } => *id,
        }
    }

    /// Bytes of its manifest: what counts against [`MAX_PAGE_BYTES`].
    pub fn manifest_bytes(&self) -> usize {
        match self {
            Change::Manifest { manifest, .. } => manifest.len(),
            Change::Tombstone { .. } => 0,
        }
    }
}

/// Fingerprint of a set of snapshots: the sum of their ids as 256-bit big-endian numbers, modulo 2²⁵⁶, and their number.
///
/// It can be kept up to date by adding, and shows that two sides have the same set. Ids are hashes of signed documents, so
/// that nobody but the signer can look for sets that collide.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fingerprint {
    sum: [u8; 32],
    count: u64,
}

impl Fingerprint {
    /// Adds a snapshot that is not in it yet.
    pub fn add(&mut self, id: &ManifestId) {
        let mut carry = 0u16;
        for (a, b) in self.sum.iter_mut().zip(id.as_bytes()).rev() {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            *a = sum as u8;
            carry = sum >> 8;
        }
        self.count += 1;
    }

    /// How many snapshots are in it.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl<'a> FromIterator<&'a ManifestId> for Fingerprint {
    fn from_iter<T: IntoIterator<Item = &'a ManifestId>>(ids: T) -> Self {
        let mut fingerprint = Self::default();
        for id in ids {
            fingerprint.add(id);
        }
        fingerprint
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}:{}", self.count, data_encoding::HEXLOWER.encode(&self.sum)))
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts = text.split_once(':').and_then(|(count, sum)| {
            let sum = data_encoding::HEXLOWER.decode(sum.as_bytes()).ok()?.try_into().ok()?;
            Some(Self { sum, count: count.parse().ok()? })
        });
        parts.ok_or_else(|| serde::de::Error::custom("a fingerprint is a count, a colon and 64 hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let ids: Vec<ManifestId> = (0u8..50).map(|n| ManifestId::of(&[n])).collect();
        let forth: Fingerprint = ids.iter().collect();
        let back: Fingerprint = ids.iter().rev().collect();
        let fewer: Fingerprint = ids[1..].iter().collect();
        assert_eq!(forth, back);
        assert_ne!(forth, fewer);
        let json = serde_json::to_string(&forth).unwrap();
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), forth);
    }

    #[test]
    fn cursors_are_strict() {
        let cursor = Cursor { feed: FeedId::from_slice(&[1; 16]).unwrap(), position: 7 };
        assert_eq!(cursor.to_string().parse(), Ok(cursor));
        for bad in [
            "",
            ".",
            "1.2",
            "01010101010101010101010101010101.-1",
            "01010101010101010101010101010101.99999999999999999999",
        ] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError), "{bad}");
        }
    }
}
