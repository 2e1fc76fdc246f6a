//! What must hold of an application's files, checked as their bytes go by.
//!
//! Goals: one pass in any order, memory that does not grow with the length of files (one line, or one JSON document of at most 256 MiB,
//! is held at a time, beside names, references and lists), and findings that name path and line. Where the bytes come from (a folder, a
//! snapshot) is somebody else's business: they are pushed.
//!
//! Non-goal: repair.

mod file; // one file: lines, documents, hashes
mod finding; // what is wrong, and how much was looked at
mod json; // JSON as programs write it
mod resolve; // what refers to what, when all was seen
mod sealed; // fields that a secret opens

use std::collections::{BTreeMap, HashMap, HashSet};

use globset::GlobSet;
use zeroize::Zeroizing;

pub use file::FileCheck;
pub use finding::{Finding, Level, Report};
pub use json::parse as parse_json;

use super::preset::{FieldPath, Preset, PresetError, SealedAs, Template, globs};

/// So many findings of one kind are told one by one.
const TOLD: usize = 50;

/// Secrets by their names, for opening sealed fields. They are in no Debug output.
#[derive(Default)]
pub struct Secrets(BTreeMap<String, Zeroizing<String>>);

impl Secrets {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn insert(&mut self, name: String, secret: Zeroizing<String>) {
        self.0.insert(name, secret);
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is one of this name, and it is not empty.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some_and(|secret| !secret.is_empty())
    }

    fn get(&self, name: &str) -> Option<&Zeroizing<String>> {
        self.0.get(name)
    }
}

impl std::fmt::Debug for Secrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Checks the files of one folder, or of one snapshot.
#[derive(Debug)]
pub struct Checker {
    rules: Rules,
    secrets: Secrets,
    seen: Seen,
    report: Report,
    told: HashMap<(Level, String), usize>,
}

/// The preset's rules, ready for use.
#[derive(Debug)]
struct Rules {
    /// What a file looks like inside is worth a warning only.
    soft: bool,
    json: GlobSet,
    jsonl: GlobSet,
    required: Vec<String>,
    ids: Vec<(String, GlobSet, Option<FieldPath>, String)>,
    references: Vec<ReferenceRule>,
    lists: Vec<ListRule>,
    sealed: Vec<SealedRule>,
    /// What a listed file's path looks like: these are hashed or counted.
    places: GlobSet,
}

#[derive(Debug)]
struct ReferenceRule {
    from: GlobSet,
    field: FieldPath,
    to: String,
    soft: bool,
}

#[derive(Debug)]
struct ListRule {
    index: String,
    places: Vec<PlaceRule>,
    size: Option<FieldPath>,
    lines: Option<FieldPath>,
    unlisted: Option<GlobSet>,
}

#[derive(Debug)]
struct PlaceRule {
    path: Template,
    sha256: Option<FieldPath>,
    unless: Vec<(FieldPath, String)>,
}

#[derive(Debug)]
struct SealedRule {
    from: GlobSet,
    field: FieldPath,
    cipher: SealedAs,
    secret: String,
    password_from: String,
    password_field: FieldPath,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    ids: HashMap<String, HashSet<String>>,
    references: Vec<SeenReference>,
    listed: Vec<SeenListed>,
    files: HashMap<String, SeenFile>,
    folders: HashMap<String, bool>,
    sealed: Vec<SeenSealed>,
    passwords: HashMap<(usize, String), String>,
}

#[derive(Debug)]
struct SeenReference {
    rule: usize,
    path: String,
    line: u64,
    value: String,
}

#[derive(Debug)]
struct SeenListed {
    rule: usize,
    line: u64,
    places: Vec<SeenPlace>,
    size: Option<u64>,
    lines: Option<u64>,
}

#[derive(Debug)]
struct SeenPlace {
    path: String,
    sha256: Option<String>,
}

#[derive(Debug, Default)]
struct SeenFile {
    size: u64,
    lines: Option<u64>,
    sha256: Option<[u8; 32]>,
    unreadable: bool,
}

#[derive(Debug)]
struct SeenSealed {
    rule: usize,
    path: String,
    line: u64,
    fields: Option<sealed::Fields>,
}

impl Checker {
    /// By the rules of `preset`; sealed fields are opened if their secret is among `secrets`.
    ///
    /// # Errors
    /// [`PresetError::Wrong`].
    pub fn new(preset: &Preset, secrets: Secrets) -> Result<Self, PresetError> {
        let rules = Rules::of(preset).map_err(|why| PresetError::Wrong { name: preset.name.clone(), why })?;
        let report = Report { preset: preset.label(), ..Report::default() };
        Ok(Self { rules, secrets, seen: Seen::default(), report, told: HashMap::new() })
    }

    /// Whether the content of the file at `path` has to be pushed.
    pub fn wants(&self, path: &str) -> bool {
        let r = &self.rules;
        r.json.is_match(path) || r.jsonl.is_match(path) || r.places.is_match(path)
    }

    /// Whether the file at `path` is a document, or holds documents.
    pub fn wants_documents(&self, path: &str) -> bool {
        self.rules.json.is_match(path) || self.rules.jsonl.is_match(path)
    }

    /// A file of this length is there; its content is not looked at.
    pub fn passed_over(&mut self, path: &str, size: u64) {
        self.parent_has_something(path);
        self.report.files += 1;
        self.end(FileCheck::new(path, size, false, false, false));
    }

    /// A folder is there.
    pub fn folder(&mut self, path: &str) {
        self.parent_has_something(path);
        self.seen.folders.entry(path.to_owned()).or_default();
    }

    /// A file is there; what is pushed into the answer is its content, and [`Self::end`] ends it.
    pub fn begin(&mut self, path: &str, size: u64) -> FileCheck {
        self.parent_has_something(path);
        self.report.files += 1;
        let r = &self.rules;
        FileCheck::new(path, size, r.json.is_match(path), r.jsonl.is_match(path), r.places.is_match(path))
    }

    /// Something else than a file or a folder is there.
    pub fn other(&mut self, path: &str, noun: &str) {
        self.parent_has_something(path);
        if self.wants(path) && noun != "a link" {
            let message = format!("it is {noun}, and a file should be there; it is not read");
            self.tell(Level::Warning, "kind", path, None, message);
        }
    }

    /// A file is there and cannot be read.
    pub fn unreadable(&mut self, path: &str, why: &str) {
        self.parent_has_something(path);
        self.tell(Level::Error, "unreadable", path, None, why.to_owned());
        self.seen.files.insert(path.to_owned(), SeenFile { unreadable: true, ..SeenFile::default() });
    }

    /// Something that whoever reads the bytes found wrong.
    pub fn found(&mut self, level: Level, code: &'static str, path: &str, message: String) {
        self.tell(level, code, path, None, message);
    }

    /// The part of the path before the last name holds something.
    fn parent_has_something(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            match self.seen.folders.get_mut(parent) {
                Some(any) => *any = true,
                None => drop(self.seen.folders.insert(parent.to_owned(), true)),
            }
        }
    }

    fn tell(&mut self, level: Level, code: &'static str, path: &str, line: Option<u64>, message: String) {
        let about_form = matches!(code, "json" | "torn" | "empty" | "sqlite");
        let level = if self.rules.soft && about_form { Level::Warning } else { level };
        let finding = Finding { level, code: code.into(), path: path.to_owned(), line, message };
        match level {
            Level::Error => self.report.errors += 1,
            Level::Warning => self.report.warnings += 1,
        }
        // Thousands of the same kind in one file say no more than some.
        let told = self.told.entry((level, format!("{code} {}", kind_of(path)))).or_default();
        *told += 1;
        if *told <= TOLD {
            self.report.findings.push(finding);
        }
    }

    /// Ends: what refers to what is looked up.
    pub fn finish(mut self) -> Report {
        self.resolve();
        self.report.findings.sort_by(|a, b| (a.level, &a.path, a.line).cmp(&(b.level, &b.path, b.line)));
        self.report
    }
}

/// The folder of a path: findings in one folder are of one kind.
fn kind_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Rules {
    fn of(preset: &Preset) -> Result<Self, String> {
        let c = &preset.checks;
        let one = |pattern: &String| globs(std::slice::from_ref(pattern));
        let mut places = Vec::new();
        let mut lists = Vec::new();
        for listed in &c.files {
            let mut own = Vec::new();
            for place in &listed.places {
                let unless = place.sha256_unless.iter();
                let unless = unless.map(|(field, value)| Ok((FieldPath::parse(field)?, value.clone())));
                let unless = unless.collect::<Result<Vec<_>, String>>()?;
                let sha256 = place.sha256.as_deref().map(FieldPath::parse).transpose()?;
                own.push(PlaceRule { path: Template::parse(&place.path)?, sha256, unless });
                places.push(as_glob(&place.path));
            }
            lists.push(ListRule {
                index: listed.index.clone(),
                places: own,
                size: listed.size.as_deref().map(FieldPath::parse).transpose()?,
                lines: listed.lines.as_deref().map(FieldPath::parse).transpose()?,
                unlisted: listed.unlisted.as_ref().map(one).transpose()?,
            });
        }
        let ids = c.ids.iter().map(|ids| {
            Ok((
                ids.of.clone(),
                one(&ids.from)?,
                ids.field.as_deref().map(FieldPath::parse).transpose()?,
                ids.from.clone(),
            ))
        });
        let references = c.references.iter().map(|reference| {
            Ok(ReferenceRule {
                from: one(&reference.from)?,
                field: FieldPath::parse(&reference.field)?,
                to: reference.to.clone(),
                soft: reference.soft,
            })
        });
        let sealed = c.sealed.iter().map(|sealed| {
            Ok(SealedRule {
                from: one(&sealed.from)?,
                field: FieldPath::parse(&sealed.field)?,
                cipher: sealed.cipher,
                secret: sealed.secret.clone(),
                password_from: sealed.password_from.clone(),
                password_field: FieldPath::parse(&sealed.password_field)?,
            })
        });
        Ok(Self {
            soft: c.soft,
            json: globs(&c.json)?,
            jsonl: globs(&c.jsonl)?,
            required: c.required.clone(),
            ids: ids.collect::<Result<_, String>>()?,
            references: references.collect::<Result<_, String>>()?,
            lists,
            sealed: sealed.collect::<Result<_, String>>()?,
            places: globs(&places)?,
        })
    }
}

/// A template as a pattern: each field is anything.
fn as_glob(template: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(&globset::escape(before));
        let (field, behind) = after.split_once('}').unwrap_or((after, ""));
        // A field may hold a path, an extension none.
        out.push_str(if field.ends_with(".ext") { "*" } else { "**" });
        rest = behind;
    }
    out.push_str(&globset::escape(rest));
    // Next to something else '**' has to be '*' to mean anything.
    let tidy: Vec<String> = out
        .split('/')
        .map(|name| if name == "**" { name.to_owned() } else { name.replace("**", "*").replace("**", "*") })
        .collect();
    let mut glob = tidy.join("/");
    if glob.ends_with("/**") {
        glob.push_str("/*");
    }
    glob
}

#[cfg(test)]
mod tests;
