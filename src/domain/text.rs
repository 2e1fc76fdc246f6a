//! Names that others gave, as they are shown to people.

use std::path::Path;

/// A name that somebody gave, to be shown: what would move a terminal's cursor, or turn the direction of what follows, is replaced.
pub fn shown(name: &str) -> String {
    name.chars().map(|c| if is_unseen(c) { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A path in a JSON document for people and programs: bytes that are no text become U+FFFD. serde itself refuses such a path, and
/// `json!` ends the program then.
pub fn path_text(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

/// The same for fields: `#[serde(serialize_with = "paths::one")]`.
pub mod paths {
    use std::path::PathBuf;

    use serde::Serializer;

    use super::path_text;

    /// One path.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn one<S: Serializer>(path: &PathBuf, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&path_text(path))
    }

    /// One, or none.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn maybe<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        match path {
            Some(path) => serializer.serialize_some(&path_text(path)),
            None => serializer.serialize_none(),
        }
    }

    /// Several.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn all<S: Serializer>(paths: &[PathBuf], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(paths.iter().map(path_text))
    }
}

/// Whether a character is not seen itself, and may change how others are.
pub fn is_unseen(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}
