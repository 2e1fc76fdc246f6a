//! How long a token is good.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// The longest time that a token may be good, in days, unless it is good for ever.
const MAX_DAYS: i64 = 3650;

/// How long a token is good. As text: `never` (it does not expire), or a number and `h` or `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// So long.
    For(SignedDuration),
    /// Until it is revoked.
    Unlimited,
}

/// A text that is no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no time: write a number and h or d, as in 12h or 90d, at most {MAX_DAYS}d; or never")]
pub struct LifetimeError(String);

impl Lifetime {
    /// What a token gets if nobody says otherwise: 90 days.
    pub const USUAL: Self = Self::For(SignedDuration::from_hours(90 * 24));

    /// When a token that is made now stops being good.
    pub fn end(self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::For(time) => now.checked_add(time).ok(),
            Self::Unlimited => None,
        }
    }
}

impl Default for Lifetime {
    fn default() -> Self {
        Self::USUAL
    }
}

impl FromStr for Lifetime {
    type Err = LifetimeError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" {
            return Ok(Self::Unlimited);
        }
        let (number, hours) = match text.strip_suffix('d') {
            Some(days) => (days, 24),
            None => (text.strip_suffix('h').unwrap_or(""), 1),
        };
        let number = number.parse::<i64>().ok().filter(|_| number.bytes().all(|byte| byte.is_ascii_digit()));
        let time =
            number.and_then(|number| number.checked_mul(hours)).filter(|time| (1..=MAX_DAYS * 24).contains(time));
        time.map(|hours| Self::For(SignedDuration::from_hours(hours))).ok_or_else(|| LifetimeError(text.to_owned()))
    }
}

impl fmt::Display for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unlimited => f.write_str("never"),
            Self::For(time) if time.as_hours() % 24 == 0 => write!(f, "{}d", time.as_hours() / 24),
            Self::For(time) => write!(f, "{}h", time.as_hours()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_written() {
        for text in ["90d", "never", "12h", "3650d"] {
            assert_eq!(text.parse::<Lifetime>().unwrap().to_string(), text);
        }
        assert_eq!("24h".parse::<Lifetime>().unwrap().to_string(), "1d");
        for bad in ["", "0d", "-1d", "90", "d", "3651d", "90m", "+1d", "99999999999999999999d", "Never"] {
            assert!(bad.parse::<Lifetime>().is_err(), "{bad}");
        }
        assert_eq!(Lifetime::default().to_string(), "90d");
        assert_eq!(Lifetime::Unlimited.end(Timestamp::UNIX_EPOCH), None);
        let end = Lifetime::default().end(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(end.to_string(), "1970-04-01T00:00:00Z");
    }
}
