//! Hashes of contents and chunks.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

/// A text that is not a SHA-256 in 64 lower-case hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a hash must have exactly 64 lower-case hex digits")]
pub struct NotAHash;

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Hashes the bytes.
            pub fn of(bytes: &[u8]) -> Self {
                Self(Sha256::digest(bytes).into())
            }

            /// The 32 bytes.
            pub fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NotAHash;

            fn from_str(text: &str) -> Result<Self, NotAHash> {
                // HEXLOWER refuses upper case, so there is one spelling.
                let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| NotAHash)?;
                Ok(Self(bytes.try_into().map_err(|_| NotAHash)?))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
    };
}

hash! {
    /// SHA-256 of a payload's plaintext (FIPS 180-4): its id in URLs and the name of its chunk directory. Text form: 64
    /// lower-case hex digits and nothing else, so that it can never lead out of a directory.
    ContentHash
}

hash! {
    /// SHA-256 of one chunk's ciphertext. Text form: 64 lower-case hex digits.
    ChunkHash
}

impl ContentHash {
    /// Takes over a finished hash.
    pub(super) fn finish(hasher: Sha256) -> Self {
        Self(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_hash_is_never_a_path() {
        let good = "a".repeat(64);
        assert_eq!(good.parse::<ContentHash>().unwrap().to_string(), good);
        let slash = format!("{}/", "a".repeat(63));
        for bad in
            ["", "..", "/etc", "a", &"A".repeat(64), &"a".repeat(63), &"a".repeat(66), &slash, &format!("{good}\n")]
        {
            assert!(bad.parse::<ContentHash>().is_err(), "{bad:?}");
        }
    }
}
