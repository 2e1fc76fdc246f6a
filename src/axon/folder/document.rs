//! The JSON files of a backup folder: bounded as they are and as they will be written, their rows each by itself.

use super::read::AppletFault;
use crate::domain::axon::backup;
use crate::domain::axon::json::{MAX_DEPTH, ParseError};
use crate::domain::axon::kept::{Fields, Kept};
use crate::store::dir::Dir;

/// Longest of the JSON files, in bytes. What is read becomes a document of a snapshot, and those are bounded.
const MAX_JSON: usize = 32 << 20;
/// Longest float as it is written, in bytes: `-2.2250738585072014e-308`.
const MAX_FLOAT: usize = 24;
/// Files of more rows are not taken apart.
const MAX_ROWS: usize = 1_000_000;
/// So many rows of a file that are refused are told one by one.
const MAX_TOLD: usize = 20;

/// Reads a file that holds one object.
pub(super) fn document<T: Fields>(dir: &Dir, file: &'static str) -> Result<Kept<T>, AppletFault> {
    let (bytes, _) = read_json(dir, file)?;
    backup::parse_one(&bytes).map_err(|cause| AppletFault::Document { file, cause })
}

/// Reads a JSON file that is not too long, and will not be when it is written again.
fn read_json(dir: &Dir, file: &'static str) -> Result<(Vec<u8>, Written), AppletFault> {
    let bytes = dir.read(file, MAX_JSON)?;
    let written = Written::of(&bytes);
    // Nested so deep it would be long, too, and the depth is what is wrong with it.
    if written.depth > MAX_DEPTH {
        return Err(AppletFault::Document { file, cause: ParseError::TooDeep.into() });
    }
    if written.len > MAX_JSON {
        return Err(AppletFault::Grows { file });
    }
    Ok((bytes, written))
}

/// What a JSON text becomes when it is written with indents and escapes; of a text that is none, anything.
struct Written {
    /// How long it is at most, in bytes.
    len: usize,
    /// If it is an array, how many values it has; one for an empty one.
    rows: usize,
    /// Most arrays and objects in each other.
    depth: usize,
}

impl Written {
    /// Looks at the text without taking it apart.
    fn of(bytes: &[u8]) -> Self {
        let (mut len, mut rows, mut depth, mut in_text, mut escaped) = (0_usize, 1_usize, 0_usize, false, false);
        let mut deepest = 0;
        // The word outside of texts that is being read.
        let mut word: &[u8] = &[];
        for (at, byte) in bytes.iter().enumerate() {
            if !in_text && (byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'-')) {
                word = &bytes[at - word.len()..=at];
                continue;
            }
            len += word_len(std::mem::take(&mut word));
            match (in_text, byte) {
                (true, b'"') if !escaped => in_text = false,
                (false, b'"') => in_text = true,
                (false, b'[' | b'{') => {
                    depth += 1;
                    deepest = deepest.max(depth);
                    len += 1 + 2 * depth;
                }
                (false, b']' | b'}') => {
                    depth = depth.saturating_sub(1);
                    len += 1 + 2 * depth;
                }
                (false, b',') => {
                    len += 1 + 2 * depth;
                    rows += usize::from(depth == 1);
                }
                (false, b':') => len += 1,
                (false, byte) if byte.is_ascii_whitespace() => continue,
                _ => {}
            }
            escaped = in_text && *byte == b'\\' && !escaped;
            // The shortest character that becomes six has two bytes.
            len += if byte.is_ascii() && *byte != 0x7f { 1 } else { 6 };
        }
        Self { len: len + word_len(word), rows, depth: deepest }
    }
}

/// How long a word outside of texts is at most when it is written. Integers stay as long; floats with an exponent, or of many
/// digits, may be longer than they were (`1e15` is written as `1000000000000000.0`), but none is longer than [`MAX_FLOAT`].
fn word_len(word: &[u8]) -> usize {
    let is_number = word.first().is_some_and(|byte| matches!(byte, b'-' | b'0'..=b'9'));
    let grows = word.iter().any(|byte| matches!(byte, b'e' | b'E')) || word.len() > 16 && word.contains(&b'.');
    if is_number && grows { word.len().max(MAX_FLOAT) } else { word.len() }
}

/// Nothing, if the file is not there.
pub(super) fn optional<T>(read: Result<T, AppletFault>) -> Result<Option<T>, AppletFault> {
    match read {
        Ok(it) => Ok(Some(it)),
        Err(AppletFault::Dir(error)) if error.is_missing() => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Why rows of a file were refused: the first ones by number, the others counted.
pub(super) struct RowFaults {
    file: &'static str,
    told: Vec<AppletFault>,
    more: usize,
}

impl RowFaults {
    /// None yet.
    pub(super) fn of(file: &'static str) -> Self {
        Self { file, told: Vec::new(), more: 0 }
    }

    /// One more.
    pub(super) fn add(&mut self, fault: AppletFault) {
        if self.told.len() < MAX_TOLD { self.told.push(fault) } else { self.more += 1 }
    }

    /// What is told.
    pub(super) fn finish(self) -> impl Iterator<Item = AppletFault> {
        let more = (self.more > 0).then_some(AppletFault::MoreRows { file: self.file, rows: self.more });
        self.told.into_iter().chain(more)
    }
}

/// The rows of an optional file that can be read.
pub(super) fn rows_of<T: Fields>(dir: &Dir, refused: &mut RowFaults) -> Vec<Kept<T>> {
    let file = refused.file;
    let read = || -> Result<_, AppletFault> {
        let (bytes, written) = read_json(dir, file)?;
        if written.rows > MAX_ROWS {
            return Err(AppletFault::TooManyRows { file });
        }
        backup::parse_rows::<T>(&bytes).map_err(|cause| AppletFault::Document { file, cause })
    };
    let rows = match optional(read()) {
        Ok(rows) => rows.unwrap_or_default(),
        Err(fault) => {
            refused.add(fault);
            return Vec::new();
        }
    };
    let mut kept = Vec::new();
    for (at, row) in rows.into_iter().enumerate() {
        match row {
            Ok(row) => kept.push(row),
            Err(cause) => refused.add(AppletFault::Row { file, row: at + 1, why: cause.to_string() }),
        }
    }
    kept
}

#[cfg(test)]
mod tests;
