//! Identifiers of applets, rows and actions.

use std::fmt;
use std::str::FromStr;

/// A UUID (RFC 9562) of any version. Text form: 36 characters, lower case; upper case is read too.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uuid(Box<str>);

/// A text that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an id must be a UUID: 8-4-4-4-12 hex digits")]
pub struct NotAUuid;

impl Uuid {
    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A random one (version 4).
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut bytes = [0; 16];
        rng.fill_bytes(&mut bytes);
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        Self([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-").into())
    }
}

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let groups: Vec<_> = text.split('-').collect();
        let shaped = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]);
        let hex = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()));
        if shaped && hex { Ok(Self(text.to_ascii_lowercase().into())) } else { Err(NotAUuid) }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_uuids_are_read() {
        let good = "9d00d0d2-1d37-40f1-a77f-3ab115289799";
        assert_eq!(good.to_uppercase().parse::<Uuid>().unwrap().as_str(), good);
        for bad in ["", "..", &good[1..], &good.replace('-', ""), &good.replace('9', "g"), &format!("{good}-")] {
            assert!(bad.parse::<Uuid>().is_err(), "{bad:?}");
        }
    }
}
