//! What is wrong, and how much was looked at.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::domain::text::shown;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Data is lost, hidden, or not what it should be.
    Error,
    /// Worth knowing; the application itself leaves such things.
    Warning,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad.
    pub level: Level,
    /// A stable word for its kind: `json`, `torn`, `empty`, `missing`, `required`, `reference`, `size`, `hash`, `lines`, `unlisted`,
    /// `sealed`, `kind`, `unreadable`, `sqlite`, `changed`.
    pub code: Cow<'static, str>,
    /// Which file, relative to the folder.
    pub path: String,
    /// In which line, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// A sentence.
    pub message: String,
}

/// What a check brought.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// By which preset: `quilltap/1`.
    pub preset: String,
    /// Files that are there.
    pub files: u64,
    /// JSON documents that were read, lines included.
    pub records: u64,
    /// References that were looked up.
    pub references: u64,
    /// Files whose hash was compared with a list.
    pub hashed: u64,
    /// Sealed fields.
    pub sealed: u64,
    /// Sealed fields that the secret opened.
    pub opened: u64,
    /// Whether a secret was given for them.
    pub secret_given: bool,
    /// How many errors, told or not.
    pub errors: u64,
    /// How many warnings, told or not.
    pub warnings: u64,
    /// What was found: errors first, then by path and line; some of each kind.
    pub findings: Vec<Finding>,
}

impl Report {
    /// What is wrong, as it is written into a snapshot: errors only, the first few.
    pub fn reasons(&self, most: usize) -> Vec<String> {
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error);
        errors.take(most).map(Finding::in_words).collect()
    }
}

impl Finding {
    /// `data/chats/index.jsonl:3: …`
    pub fn in_words(&self) -> String {
        let (path, message) = (shown(&self.path), shown(&self.message));
        match self.line {
            Some(line) => format!("{path}:{line}: {message}"),
            None => format!("{path}: {message}"),
        }
    }
}
