//! One type for each kind of identifier, so that none can stand in for another.
//!
//! An id is computed or parsed, never assembled from loose bytes: there is no `Default` and no `From<[u8; N]>`.
//! Text forms are lower-case hex.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// Text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} is written as {digits} lower-case hex digits; this is not: {text:?}")]
pub struct ParseIdError {
    what: &'static str,
    digits: usize,
    text: String,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $bytes;

            /// The raw bytes.
            pub fn as_bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            /// Reads an id from a binary format or a database column.
            ///
            /// # Errors
            /// If the length is not the id's.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, ParseIdError> {
                bytes.try_into().map(Self).map_err(|_| ParseIdError {
                    what: $what,
                    digits: 2 * $bytes,
                    text: format!("{} bytes", bytes.len()),
                })
            }

            /// The first eight hex digits, for people.
            pub fn short(&self) -> String {
                data_encoding::HEXLOWER.encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let fail = || ParseIdError { what: $what, digits: 2 * $bytes, text: text.chars().take(80).collect() };
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| fail())?;
                bytes.try_into().map(Self).map_err(|_| fail())
            }
        }

        impl TryFrom<String> for $name {
            type Error = ParseIdError;

            fn try_from(text: String) -> Result<Self, ParseIdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.to_string()
            }
        }
    };
}

id!(
    /// SHA-256 of an instance's Ed25519 public key (32 bytes, RFC 8032): whoever shows the key proves the id.
    InstanceId, 32, "an instance id"
);
id!(
    /// Random name of a collection, drawn once when it is added and the same on every clone.
    CollectionId, 16, "a collection id"
);
id!(
    /// SHA-256 of a manifest's bytes as stored (FIPS 180-4).
    ManifestId, 32, "a manifest id"
);
id!(
    /// SHA-256 of a chunk's bytes as stored (FIPS 180-4). Segments are stored and sent like chunks and have such an id too.
    ChunkId, 32, "a chunk id"
);
id!(
    /// Random name of a change feed. A new one tells readers that the order of changes starts afresh.
    FeedId, 16, "a feed id"
);
id!(
    /// SHA-256 of the text of a statement of succession.
    StatementId, 32, "the id of a statement"
);
id!(
    /// SHA-256 of the plaintext of an item of an Axon BBS (FIPS 180-4): its id there, and the name of its chunk directory. Its text
    /// form can never lead out of a directory.
    ContentHash, 32, "a content hash"
);
id!(
    /// Random name of an invite.
    InviteId, 16, "an invite id"
);

impl InstanceId {
    /// The id of the instance with this Ed25519 public key.
    pub fn of_public_key(key: &[u8; 32]) -> Self {
        Self(Sha256::digest(key).into())
    }
}

impl ManifestId {
    /// The id of these manifest bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl StatementId {
    /// The id of the statement with this text.
    pub fn of(text: &[u8]) -> Self {
        Self(Sha256::digest(text).into())
    }
}

impl ChunkId {
    /// The id of these stored bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl ContentHash {
    /// The hash of this plaintext.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Takes over a hash that was computed piece by piece.
    pub(in crate::domain) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

macro_rules! random {
    ($($name:ident),*) => {$(
        impl $name {
            /// Draws a fresh id. `rng` must be cryptographic.
            pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
                let mut bytes = [0; Self::LEN];
                rng.fill_bytes(&mut bytes);
                Self(bytes)
            }
        }
    )*};
}

random!(CollectionId, FeedId, InviteId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips_and_is_strict() {
        let id = ChunkId::of(b"abc");
        assert_eq!(id.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(id.to_string().parse::<ChunkId>().unwrap(), id);
        assert!(id.to_string().to_uppercase().parse::<ChunkId>().is_err());
        assert!("ba78".parse::<ChunkId>().is_err());
        assert!(serde_json::from_str::<ChunkId>("\"../../etc/passwd\"").is_err());
    }
}
