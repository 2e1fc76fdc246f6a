//! Strings as Python has them: code points, lone surrogates among them.

use std::borrow::{Borrow, Cow};
use std::fmt;

/// A string that may hold lone surrogates, which a Python string can and a Rust string cannot.
///
/// Kept as UTF-8 in which a lone surrogate has the three bytes it would have if it were a character, so that the order of
/// the bytes is the order of the code points, by which Python sorts keys. A pair is always one character.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text(Vec<u8>);

impl Text {
    /// The text, if it holds no lone surrogates.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// The text, each lone surrogate replaced by U+FFFD.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        match self.as_str() {
            Some(text) => Cow::Borrowed(text),
            None => {
                self.code_points().map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
        }
    }

    /// Length in bytes of the form it is kept in.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Code points in order; surrogates are lone ones.
    pub(super) fn code_points(&self) -> impl Iterator<Item = u32> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (&first, _) = rest.split_first()?;
            let (len, start) = match first {
                0..0x80 => (1, u32::from(first)),
                0x80..0xe0 => (2, u32::from(first & 0x1f)),
                0xe0..0xf0 => (3, u32::from(first & 0x0f)),
                _ => (4, u32::from(first & 0x07)),
            };
            let (head, tail) = rest.split_at(len.min(rest.len()));
            rest = tail;
            Some(head[1..].iter().fold(start, |code, byte| code << 6 | u32::from(byte & 0x3f)))
        })
    }

    /// Appends valid text.
    pub(super) fn push_str(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Appends a character or a surrogate; a low one behind a high one becomes the character that they mean.
    pub(super) fn push_unit(&mut self, unit: u16) {
        if (0xdc00..0xe000).contains(&unit)
            && let [.., 0xed, b @ 0xa0..=0xaf, c] = self.0[..]
        {
            let high = u32::from(b & 0x0f) << 6 | u32::from(c & 0x3f);
            let code = 0x1_0000 + (high << 10) + (u32::from(unit) - 0xdc00);
            self.0.truncate(self.0.len() - 3);
            let char = char::from_u32(code).expect("a pair of surrogates means a character");
            self.push_str(char.encode_utf8(&mut [0; 4]));
            return;
        }
        match char::from_u32(unit.into()) {
            Some(char) => self.push_str(char.encode_utf8(&mut [0; 4])),
            None => {
                let low = |shift: u16| 0x80 | u8::try_from(unit >> shift & 0x3f).expect("six bits fit a byte");
                self.0.extend_from_slice(&[0xed, low(6), low(0)]);
            }
        }
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string_lossy())
    }
}

impl Borrow<[u8]> for Text {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.0 == other.as_bytes()
    }
}
