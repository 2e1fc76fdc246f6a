//! One file as it goes by: lines, documents, hashes, and what the rules want from them.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::json;
use super::sealed;
use super::{Checker, Level, SeenFile, SeenListed, SeenPlace, SeenReference, SeenSealed};
use crate::domain::preset::field::text;

/// A document or a line that is longer is not read, in bytes.
const LONGEST: usize = 256 << 20;

/// A file that is being read.
#[derive(Debug)]
pub struct FileCheck {
    path: String,
    size: u64,
    as_json: bool,
    as_jsonl: bool,
    hasher: Option<Sha256>,
    pending: Vec<u8>,
    too_long: bool,
    /// Lines that ended.
    line: u64,
    records: u64,
    bytes: u64,
}

impl FileCheck {
    pub(super) fn new(path: &str, size: u64, as_json: bool, as_jsonl: bool, hashed: bool) -> Self {
        Self {
            path: path.to_owned(),
            size,
            as_json: as_json && !as_jsonl,
            as_jsonl,
            hasher: hashed.then(Sha256::new),
            pending: Vec::new(),
            too_long: false,
            line: 0,
            records: 0,
            bytes: 0,
        }
    }
}

impl Checker {
    /// The next bytes of a file.
    pub fn push(&mut self, file: &mut FileCheck, bytes: &[u8]) {
        file.bytes += bytes.len() as u64;
        if let Some(hasher) = &mut file.hasher {
            hasher.update(bytes);
        }
        if file.as_jsonl {
            let mut rest = bytes;
            while let Some(at) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, after) = (&rest[..at], &rest[at + 1..]);
                file.line += 1;
                if file.pending.is_empty() {
                    self.line(file, line);
                } else {
                    keep(file, line);
                    let line = std::mem::take(&mut file.pending);
                    self.line(file, &line);
                }
                file.too_long = false;
                rest = after;
            }
            keep(file, rest);
        } else if file.as_json {
            keep(file, bytes);
        }
    }

    /// The file has ended.
    pub fn end(&mut self, mut file: FileCheck) {
        let path = std::mem::take(&mut file.path);
        if file.bytes != file.size && (file.as_json || file.as_jsonl || file.hasher.is_some()) {
            // It changed while it was read; what was read is what counts.
            file.size = file.bytes;
        }
        file.path = path.clone();
        let lines = file.as_jsonl.then_some(file.records);
        if file.as_jsonl && (!file.pending.is_empty() || file.too_long) {
            let line = file.line + 1;
            let rest = std::mem::take(&mut file.pending);
            match json::parse(&rest) {
                Ok(record) => {
                    self.record(&path, line, &record);
                    let message = "the last line does not end: what comes next will be written into it".to_owned();
                    self.tell(Level::Error, "torn", &path, Some(line), message);
                }
                Err(_) => {
                    let message = "the file ends in the middle of a line: it was cut off".to_owned();
                    self.tell(Level::Error, "torn", &path, Some(line), message);
                }
            }
        }
        if file.as_json {
            self.document(&path, &file);
        }
        for (of, from, field, _) in &self.rules.ids {
            if field.is_none() && from.is_match(&path) {
                let name = path.rsplit('/').next().unwrap_or(&path);
                let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
                self.seen.ids.entry(of.clone()).or_default().insert(stem.to_owned());
            }
        }
        let wanted = file.hasher.is_some()
            || self.rules.places.is_match(&path)
            || self.is_required(&path)
            || self.may_be_unlisted(&path);
        if wanted {
            let sha256 = file.hasher.map(|hasher| hasher.finalize().into());
            self.seen.files.insert(path, SeenFile { size: file.size, lines, sha256, unreadable: false });
        }
    }

    fn document(&mut self, path: &str, file: &FileCheck) {
        if file.too_long {
            let message = "it is longer than 256 MiB: it is not looked into".to_owned();
            return self.tell(Level::Warning, "json", path, None, message);
        }
        if file.pending.is_empty() {
            return self.tell(
                Level::Error,
                "empty",
                path,
                None,
                "it is empty, and should be a JSON document".to_owned(),
            );
        }
        match json::parse(&file.pending) {
            Ok(record) => self.record(path, 1, &record),
            Err(error) if json::is_beyond_us(&error) => self.beyond_us(path, error.line() as u64),
            Err(error) => {
                let what = if error.is_eof() { "it is cut off" } else { "it is no JSON" };
                let message = format!("{what} ({})", json::in_words(&error));
                self.tell(Level::Error, "json", path, Some(error.line() as u64), message);
            }
        }
    }

    fn line(&mut self, file: &mut FileCheck, line: &[u8]) {
        if file.too_long {
            let message = "the line is longer than 256 MiB: it is not looked into".to_owned();
            return self.tell(Level::Warning, "json", &file.path, Some(file.line), message);
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        file.records += 1;
        match json::parse(line) {
            Ok(record) => self.record(&file.path, file.line, &record),
            Err(error) if json::is_beyond_us(&error) => self.beyond_us(&file.path, file.line),
            Err(error) => {
                let message = format!("the line is no JSON ({})", json::in_words(&error));
                self.tell(Level::Error, "json", &file.path, Some(file.line), message);
            }
        }
    }

    fn beyond_us(&mut self, path: &str, line: u64) {
        let message = "it is nested deeper, or has larger numbers, than can be looked into".to_owned();
        self.tell(Level::Warning, "json", path, Some(line), message);
    }

    /// Takes from a document what the rules want.
    fn record(&mut self, path: &str, line: u64, record: &Value) {
        self.report.records += 1;
        let Checker { rules, seen, .. } = self;
        for (of, from, field, _) in &rules.ids {
            let Some(field) = field.as_ref().filter(|_| from.is_match(path)) else { continue };
            let ids = seen.ids.entry(of.clone()).or_default();
            field.each(record, &mut |value| ids.extend(text(value)));
        }
        for (rule, reference) in rules.references.iter().enumerate() {
            if reference.from.is_match(path) {
                reference.field.each(record, &mut |value| {
                    if let Some(value) = text(value) {
                        seen.references.push(SeenReference { rule, path: path.to_owned(), line, value });
                    }
                });
            }
        }
        for (rule, list) in rules.lists.iter().enumerate().filter(|(_, list)| list.index == path) {
            let number = |field: &Option<crate::domain::preset::FieldPath>| {
                field.as_ref().and_then(|field| field.text(record)).and_then(|text| text.parse().ok())
            };
            let places = list.places.iter().filter_map(|place| {
                let unless = |(field, value): &(crate::domain::preset::FieldPath, String)| {
                    field.text(record).as_ref() == Some(value)
                };
                let sha256 = place.sha256.as_ref().filter(|_| !place.unless.iter().any(unless));
                Some(SeenPlace { path: place.path.path(record)?, sha256: sha256.and_then(|field| field.text(record)) })
            });
            let places = places.collect();
            seen.listed.push(SeenListed { rule, line, places, size: number(&list.size), lines: number(&list.lines) });
        }
        for (rule, sealed) in rules.sealed.iter().enumerate() {
            if sealed.password_from == path
                && let Some(password) = sealed.password_field.text(record)
            {
                seen.passwords.insert((rule, path.to_owned()), password);
            }
            if sealed.from.is_match(path) {
                sealed.field.each(record, &mut |value| {
                    if value.is_object() {
                        let fields = sealed::Fields::of(value);
                        seen.sealed.push(SeenSealed { rule, path: path.to_owned(), line, fields });
                    }
                });
            }
        }
    }

    fn is_required(&self, path: &str) -> bool {
        self.rules.required.iter().any(|required| required == path)
    }

    fn may_be_unlisted(&self, path: &str) -> bool {
        self.rules.lists.iter().any(|list| list.unlisted.as_ref().is_some_and(|glob| glob.is_match(path)))
    }
}

/// Keeps the beginning of a line, or of a document, up to the longest.
fn keep(file: &mut FileCheck, bytes: &[u8]) {
    if file.too_long || file.pending.len() + bytes.len() > LONGEST {
        file.too_long = true;
        file.pending = Vec::new();
        return;
    }
    file.pending.extend_from_slice(bytes);
}
