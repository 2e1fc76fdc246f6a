//! What is known of an application whose data is backed up: a TOML document, built in or written by a user.
//!
//! A preset says which parts of the application's folder are its data, what is left out of them, what must hold of the content,
//! which files have to be read with care, and what has to run before and after. Nothing of it is code: another application gets
//! its own preset without a line of Rust. Each field is described in `docs/presets.md`.

pub mod builtin; // the presets that come with the program
pub mod field; // a place in a JSON document, and paths made from it

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use serde::{Deserialize, Serialize};

pub use field::{FieldPath, Template};

use super::peer::is_plain_name;
use super::text::shown;

/// Why a preset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    /// Not TOML of this shape.
    #[error("the preset {name:?} cannot be understood: {}", printable(.cause))]
    Malformed {
        /// Which one.
        name: String,
        /// What the reader of TOML said.
        cause: Box<toml::de::Error>,
    },
    /// A value that means nothing.
    #[error("the preset {name:?} has a wrong value: {why}")]
    Wrong {
        /// Which one.
        name: String,
        /// What is wrong with what.
        why: String,
    },
}

/// What the reader of TOML said, with a piece of the document: nothing in it moves a terminal's cursor.
fn printable(cause: &toml::de::Error) -> String {
    cause.to_string().split('\n').map(shown).collect::<Vec<_>>().join("\n")
}

/// A preset, as it is written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// What it is called.
    pub name: String,
    /// Raised with each change.
    pub version: u32,
    /// One sentence: of which application, and which of its versions.
    #[serde(default)]
    pub about: String,
    /// Other presets that fit better if something is there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<Instead>,
    /// What of the folder is the application's data. Empty: all of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    /// What is left out of the parts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leave_out: Vec<LeaveOut>,
    /// Folders that say by a `CACHEDIR.TAG` that they are caches are recorded empty.
    #[serde(default)]
    pub skip_caches: bool,
    /// Files that nobody but the application should read: patterns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub private: Vec<String>,
    /// SQLite databases: patterns. They are copied as they stand at one moment, with what is in their logs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sqlite: Vec<String>,
    /// Files to take from the hook's folder instead of the live ones: path in the folder, name in the hook's folder.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub copies: std::collections::BTreeMap<String, String>,
    /// What must hold of the content.
    #[serde(default)]
    pub checks: Checks,
    /// When a snapshot counts as shrunk.
    #[serde(default)]
    pub shrink: Shrink,
    /// Things of the application that can be restored alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub entities: Vec<Entity>,
    /// Secrets that are not in the data, without which it is of no use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretPlace>,
    /// Files that hold sessions: empty ones are valid. They become empty where sessions are not to come back.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sessions: Vec<String>,
    /// Commands before and after a backup.
    #[serde(default)]
    pub hooks: Hooks,
    /// Where the application says that it is up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
}

/// Another preset that fits better.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Instead {
    /// Its name.
    pub preset: String,
    /// If this is there: a path relative to the folder, `*` in a name allowed.
    pub when: String,
}

/// A part of the application's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Where: a path relative to the folder, `*` in a name allowed.
    pub path: String,
    /// What is in it, for people.
    pub what: String,
    /// Without it this is not the application's folder.
    #[serde(default)]
    pub required: bool,
    /// One part of each such group has to be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_of: Option<String>,
    /// Which layout of the application it shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<String>,
}

/// Something that is left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeaveOut {
    /// A pattern as in a `.gitignore`, relative to the folder.
    pub pattern: String,
    /// Why it is not needed.
    pub why: String,
}

/// What must hold of the content.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checks {
    /// A file that is no JSON, or no database, is worth a warning only: what has such a name may be something else.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub soft: bool,
    /// Files that are JSON documents: patterns.
    pub json: Vec<String>,
    /// Files that are JSON documents, one a line: patterns. They are also read with care: one that ends within a line is read again.
    pub jsonl: Vec<String>,
    /// SQLite databases that must be whole: patterns.
    pub sqlite: Vec<String>,
    /// Files and folders (with a `/` at the end: folders that are not empty) that must be there.
    pub required: Vec<String>,
    /// Where names are given that others refer to.
    pub ids: Vec<Ids>,
    /// Where names are referred to.
    pub references: Vec<Reference>,
    /// Where files are listed with what is known of them.
    pub files: Vec<Listed>,
    /// Where sealed fields are, which a secret opens.
    pub sealed: Vec<Sealed>,
}

/// Where names are given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// What they are names of.
    pub of: String,
    /// In which files: a pattern.
    pub from: String,
    /// Where in them; without it a file's name without its extension is the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// Where names are referred to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// In which files: a pattern.
    pub from: String,
    /// Where in them. What is null, empty or not there refers to nothing.
    pub field: String,
    /// What is named.
    pub to: String,
    /// The application itself leaves such references behind: a warning, no error.
    #[serde(default)]
    pub soft: bool,
}

/// A list of files: each line (or the document) of it names one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// The list: a path.
    pub index: String,
    /// Where the file may be; the first one that is there counts.
    pub places: Vec<Place>,
    /// The field with its length in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<String>,
    /// The field with its number of lines: if it differs, that is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lines: Option<String>,
    /// Files that should be in the list: a pattern. One that is not is a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unlisted: Option<String>,
}

/// Where a listed file may be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Its path, with `{field}` for the field's text, and `{field.ext}` for the extension in it, with its dot.
    pub path: String,
    /// The field with its SHA-256 in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// No hash is known where these fields have these values.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub sha256_unless: std::collections::BTreeMap<String, String>,
}

/// Sealed fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// In which files: a pattern.
    pub from: String,
    /// Which objects in them: each has `ciphertext`, `iv` and `authTag` in hex.
    pub field: String,
    /// How they are sealed: [`SealedAs`].
    pub cipher: SealedAs,
    /// Which secret opens them.
    pub secret: String,
    /// Where the password stands with which the key is derived: a file …
    pub password_from: String,
    /// … and the field in it.
    pub password_field: String,
}

/// How a field is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealedAs {
    /// AES-256-GCM with an IV of 16 bytes; the key is PBKDF2-HMAC-SHA256 of the password, salted with the secret, 100,000 rounds.
    #[serde(rename = "aes-256-gcm/pbkdf2-sha256-100000")]
    Aes256GcmPbkdf2,
}

/// When a snapshot counts as shrunk, compared with the one before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shrink {
    /// Files that only grow: patterns.
    pub files: Vec<String>,
    /// A file or a collection is shrunk if less than so many percent are left.
    pub percent: u8,
    /// A file is looked at if it had so many bytes.
    pub from_bytes: u64,
}

impl Default for Shrink {
    fn default() -> Self {
        Self { files: Vec::new(), percent: 60, from_bytes: 4096 }
    }
}

/// Something of the application that can be restored alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entity {
    /// What it is: `chat`.
    pub kind: String,
    /// Where a title for people stands: in its line, or in its first file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its files, `{id}` in them: templates of paths.
    pub files: Vec<String>,
    /// Lines that belong to it: a list, and the field that holds its name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<EntityLine>,
    /// Files of others that belong to it: the field in its own files that names them, and the list in which they stand.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<EntityFiles>,
}

/// A line in a list that belongs to an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityLine {
    /// The list.
    pub index: String,
    /// The field that holds the entity's name.
    pub field: String,
}

/// Files of a list that belong to an entity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityFiles {
    /// The field in the entity's own files.
    pub field: String,
    /// The list, one of [`Checks::files`].
    pub index: String,
}

/// Secrets that are not in the data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretPlace {
    /// Its name: that of the variable, or of the file.
    pub name: String,
    /// What it is for.
    pub what: String,
    /// Files relative to the folder that may hold it: as `NAME=value`, or, if it is no variable, as a whole. The first one that has it
    /// counts.
    pub files: Vec<String>,
    /// It is a whole file, no variable.
    #[serde(default)]
    pub whole_file: bool,
    /// Without it the data is of no use.
    #[serde(default)]
    pub required: bool,
}

/// Commands before and after a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hooks {
    /// Before. If it fails, there is no backup.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// After, also if something failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// How long each may take, in seconds; 600 if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_secs: Option<u64>,
}

impl Hooks {
    /// Whether nothing runs.
    pub fn is_empty(&self) -> bool {
        self.before.is_none() && self.after.is_none()
    }
}

/// Where the application says that it is up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// The URL, on this machine.
    pub url: String,
    /// What its answers mean, by status code.
    #[serde(default)]
    pub means: std::collections::BTreeMap<String, String>,
}

impl Preset {
    /// Reads a document and checks everything in it that can be checked.
    ///
    /// # Errors
    /// [`PresetError`].
    pub fn parse(name: &str, text: &str) -> Result<Self, PresetError> {
        let malformed = |cause| PresetError::Malformed { name: name.to_owned(), cause: Box::new(cause) };
        let preset: Preset = toml::from_str(text).map_err(malformed)?;
        let called = (preset.name == name)
            .then_some(())
            .ok_or_else(|| format!("it calls itself {:?}: give its file that name", preset.name));
        called.and_then(|()| preset.check()).map_err(|why| PresetError::Wrong { name: name.to_owned(), why })?;
        Ok(preset)
    }

    fn check(&self) -> Result<(), String> {
        if !is_plain_name(&self.name) {
            return Err(format!("the name {:?}: use letters, digits, '-', '_' and '.'", self.name));
        }
        let paths = self.parts.iter().map(|part| &part.path).chain(self.instead.iter().map(|other| &other.when));
        for path in paths.chain(self.copies.keys()).chain(self.copies.values()).chain(&self.sessions) {
            relative(path)?;
        }
        let c = &self.checks;
        globs(&self.sqlite)?;
        globs(&self.private)?;
        [&c.json, &c.jsonl, &c.sqlite, &self.shrink.files].into_iter().try_for_each(|list| globs(list).map(drop))?;
        for ids in &c.ids {
            globs(std::slice::from_ref(&ids.from))?;
            ids.field.as_deref().map(FieldPath::parse).transpose()?;
        }
        for reference in &c.references {
            globs(std::slice::from_ref(&reference.from))?;
            FieldPath::parse(&reference.field)?;
            if !c.ids.iter().any(|ids| ids.of == reference.to) {
                return Err(format!("a reference to {:?}, of which no 'ids' are given", reference.to));
            }
        }
        for listed in &c.files {
            if listed.places.is_empty() {
                return Err(format!("the list {:?} says no place where its files are", listed.index));
            }
            for place in &listed.places {
                Template::parse(&place.path)?;
            }
            listed.unlisted.iter().try_for_each(|glob| globs(std::slice::from_ref(glob)).map(drop))?;
        }
        for sealed in &c.sealed {
            globs(std::slice::from_ref(&sealed.from))?;
            FieldPath::parse(&sealed.field)?;
            FieldPath::parse(&sealed.password_field)?;
        }
        if self.hooks.timeout_secs == Some(0) {
            return Err("'hooks.timeout_secs' is 0: nothing can be done in no time".to_owned());
        }
        if [&self.hooks.before, &self.hooks.after].into_iter().flatten().any(|command| command.trim().is_empty()) {
            return Err("a hook that is empty: leave it out".to_owned());
        }
        for entity in &self.entities {
            if !is_plain_name(&entity.kind) {
                return Err(format!("the entity {:?}: use letters, digits, '-', '_' and '.'", entity.kind));
            }
            if !entity.files.first().is_some_and(|file| file.contains("{id}")) {
                return Err(format!("the entity {:?} says no file with '{{id}}' in its name", entity.kind));
            }
            entity.files.iter().try_for_each(|file| Template::parse(file).map(drop))?;
            let fields = entity.lines.iter().map(|line| &line.field).chain(&entity.title);
            fields
                .chain(entity.attachments.iter().map(|file| &file.field))
                .try_for_each(|f| FieldPath::parse(f).map(drop))?;
        }
        for secret in &self.secrets {
            if !is_plain_name(&secret.name) {
                return Err(format!("the secret {:?}: use letters, digits, '-', '_' and '.'", secret.name));
            }
            secret.files.iter().try_for_each(|path| relative(path))?;
        }
        if self.shrink.percent > 100 {
            return Err("'shrink.percent' above 100".to_owned());
        }
        Ok(())
    }

    /// What is left out, as patterns of a `.gitignore` in their order: everything that is no part, then what the preset leaves out.
    pub fn patterns(&self) -> Vec<String> {
        let mut out = Vec::new();
        let parts: Vec<Vec<&str>> = self.parts.iter().map(|part| part.path.split('/').collect()).collect();
        // Within one that is taken whole there is nothing to take.
        let whole = |at: &[&str]| parts.iter().any(|part| at.starts_with(part));
        let deepest = parts.iter().map(Vec::len).max().unwrap_or(0);
        for depth in 0..deepest {
            let mut seen: Vec<&[&str]> = Vec::new();
            for part in parts.iter().filter(|part| part.len() > depth && !whole(&part[..depth])) {
                let above = &part[..depth];
                if !seen.contains(&above) {
                    seen.push(above);
                    let slash = if above.is_empty() { "" } else { "/" };
                    out.push(format!("{slash}{}/*", above.join("/")));
                }
                let back = format!("!/{}", part[..=depth].join("/"));
                if !out.contains(&back) {
                    out.push(back);
                }
            }
        }
        out.extend(self.leave_out.iter().map(|out| out.pattern.clone()));
        for pattern in self.secrets.iter().flat_map(|secret| &secret.files).map(|file| secret_pattern(file)) {
            if !out.contains(&pattern) {
                out.push(pattern);
            }
        }
        out
    }

    /// Why something is left out: the reason of the pattern, if there is one.
    pub fn why(&self, pattern: &str) -> Option<&str> {
        let said = self.leave_out.iter().find(|out| out.pattern == pattern).map(|out| out.why.as_str());
        let mut secrets = self.secrets.iter().flat_map(|secret| &secret.files);
        said.or_else(|| {
            secrets
                .any(|file| secret_pattern(file) == pattern)
                .then_some("it may hold a secret, which is kept apart from the data")
        })
    }

    /// What a backup writes down: `quilltap/1`.
    pub fn label(&self) -> String {
        format!("{}/{}", self.name, self.version)
    }
}

/// What leaves out a file that may hold a secret.
fn secret_pattern(file: &str) -> String {
    format!("/{}", globset::escape(file))
}

/// Patterns of paths: `*` and `?` stop at `/`, `**` does not.
///
/// # Errors
/// Which one is none.
pub fn globs(patterns: &[String]) -> Result<GlobSet, String> {
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        let glob = GlobBuilder::new(pattern).literal_separator(true).backslash_escape(true).build();
        set.add(glob.map_err(|error| format!("the pattern {pattern:?}: {}", error.kind()))?);
    }
    set.build().map_err(|error| error.to_string())
}

fn relative(path: &str) -> Result<(), String> {
    let sound = |name: &str| !name.is_empty() && name != "." && name != "..";
    match path.split('/').all(sound) {
        true => Ok(()),
        false => Err(format!("the path {path:?}: it has to be relative, without '..' and without a '/' at the end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_hold_a_secret_is_left_out_also_where_everything_is_taken() {
        let text = r#"
            name = "x"
            version = 1
            secrets = [{ name = "KEY", what = "", files = [".env", "conf/[a].bin"] }]
        "#;
        let preset = Preset::parse("x", text).unwrap();
        assert_eq!(preset.patterns(), ["/.env", "/conf/[[]a[]].bin"]);
        assert!(preset.why("/.env").unwrap().contains("secret"));
    }

    #[test]
    fn parts_become_patterns_that_leave_everything_else_out() {
        let text = r#"
            name = "x"
            version = 1
            parts = [{ path = "data", what = "" }, { path = "data/binaries", what = "" }, { path = "public/data/files", what = "" },
                     { path = "public/uploads", what = "" }]
            leave_out = [{ pattern = "*.lock", why = "a lock" }]
        "#;
        let expected = [
            "/*",
            "!/data",
            "!/public",
            "/public/*",
            "!/public/data",
            "!/public/uploads",
            "/public/data/*",
            "!/public/data/files",
            "*.lock",
        ];
        assert_eq!(Preset::parse("x", text).unwrap().patterns(), expected);
    }

    #[test]
    fn what_means_nothing_is_said() {
        let wrong =
            |text: &str| Preset::parse("x", &format!("name = \"x\"\nversion = 1\n{text}")).unwrap_err().to_string();
        assert!(wrong("parts = [{ path = \"../x\", what = \"\" }]").contains("\"../x\""));
        assert!(wrong("ignore = 1").contains("ignore"));
        assert!(wrong("[[checks.references]]\nfrom = \"a\"\nfield = \"b\"\nto = \"c\"").contains("\"c\""));
        assert!(wrong("sqlite = [\"[\"]").contains("pattern"));
    }
}
