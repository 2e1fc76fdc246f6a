//! The few shapes of structured fields (RFC 9651) that the signature profile needs, read strictly.
//!
//! This is not a general parser: it walks along the one spelling that our own writer uses, and stops at the first
//! difference.

/// Longest field that is looked at, in bytes.
pub(super) const MAX_FIELD: usize = 768;

/// Walks along a text.
pub(super) struct Walk<'a>(&'a str);

impl<'a> Walk<'a> {
    /// Begins; `None` if the text is too long or not printable ASCII.
    pub(super) fn along(text: &'a str) -> Option<Self> {
        (text.len() <= MAX_FIELD && is_printable(text)).then_some(Self(text))
    }

    /// Passes over exactly this text.
    pub(super) fn over(&mut self, text: &str) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// Passes over everything up to this character and the character itself; gives what stands before it.
    pub(super) fn until(&mut self, end: char) -> Option<&'a str> {
        let (before, after) = self.0.split_once(end)?;
        self.0 = after;
        Some(before)
    }

    /// Reads an integer of up to 15 digits.
    pub(super) fn integer(&mut self) -> Option<i64> {
        let digits = self.0.len() - self.0.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        if !(1..=15).contains(&digits) {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        number.parse().ok()
    }

    /// Nothing is left.
    pub(super) fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// What is left.
    pub(super) fn rest(&self) -> &'a str {
        self.0
    }
}

/// Whether a text has only ASCII characters that can be seen, and spaces.
pub(super) fn is_printable(text: &str) -> bool {
    text.bytes().all(|b| (b' '..=b'~').contains(&b))
}

/// Reads `name=:base64:` with exactly `N` bytes.
pub(super) fn byte_sequence<const N: usize>(name: &str, text: &str) -> Option<[u8; N]> {
    let mut walk = Walk::along(text)?;
    walk.over(name)?;
    walk.over("=:")?;
    let bytes = fixed_base64(walk.until(':')?)?;
    walk.end()?;
    Some(bytes)
}

/// Writes what [`byte_sequence`] reads.
pub(super) fn write_byte_sequence(name: &str, bytes: &[u8]) -> String {
    format!("{name}=:{}:", data_encoding::BASE64.encode(bytes))
}

/// Reads standard base64 of exactly `N` bytes.
pub(super) fn fixed_base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != N.div_ceil(3) * 4 {
        return None;
    }
    data_encoding::BASE64.decode(text.as_bytes()).ok()?.try_into().ok()
}
