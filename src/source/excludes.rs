//! What is left out: patterns as in a `.gitignore`, relative to the root.
//!
//! `*.tmp` leaves out every such name; `/cache` and `a/b` only that place; `node_modules/` only directories; `!keep.tmp` takes
//! back what an earlier pattern left out. The last pattern that fits decides. `*` and `?` stop at `/`, `**` does not. What lies
//! in a directory that is left out is never looked at, so it cannot be taken back. Upper and lower case differ.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

/// A pattern that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the exclude pattern '{pattern}' cannot be understood ({reason}): write it as in a .gitignore, e.g. '*.tmp' or '/cache/'"
)]
pub struct ExcludeError {
    /// The pattern as it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// What is left out.
#[derive(Debug, Clone, Default)]
pub struct Excludes {
    globs: GlobSet,
    rules: Vec<Rule>,
    texts: Vec<String>,
}

#[derive(Debug, Clone, Copy)]
struct Rule {
    takes_back: bool,
    only_directories: bool,
}

impl Excludes {
    /// Understands patterns. Empty ones, and those that begin with `#`, mean nothing.
    ///
    /// # Errors
    /// [`ExcludeError`] names the first one that cannot be understood.
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, ExcludeError> {
        let mut globs = GlobSetBuilder::new();
        let mut rules = Vec::new();
        let mut texts = Vec::new();
        for pattern in patterns.iter().map(AsRef::as_ref) {
            let refuse = |reason: String| ExcludeError { pattern: pattern.to_owned(), reason };
            let text = without_blanks_at_the_end(pattern);
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let (takes_back, text) = text.strip_prefix('!').map_or((false, text), |rest| (true, rest));
            let (only_directories, text) = text.strip_suffix('/').map_or((false, text), |rest| (true, rest));
            let (anchored, text) = match text.strip_prefix('/') {
                Some(rest) => (true, rest),
                None => (text.contains('/'), text),
            };
            if text.is_empty() {
                return Err(refuse("it names nothing".to_owned()));
            }
            let glob = if anchored { text.to_owned() } else { format!("**/{text}") };
            let glob = GlobBuilder::new(&glob).literal_separator(true).backslash_escape(true).build();
            globs.add(glob.map_err(|error| refuse(error.kind().to_string()))?);
            rules.push(Rule { takes_back, only_directories });
            texts.push(pattern.to_owned());
        }
        let globs = globs.build().map_err(|error| ExcludeError {
            pattern: error.glob().unwrap_or_default().to_owned(),
            reason: error.kind().to_string(),
        })?;
        Ok(Self { globs, rules, texts })
    }

    /// Whether nothing is left out.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the entry at `path`, relative to the root, is left out.
    pub fn leaves_out(&self, path: &[u8], is_directory: bool) -> bool {
        self.left_out_by(path, is_directory).is_some()
    }

    /// The pattern that leaves the entry at `path` out, as it was given.
    pub fn left_out_by(&self, path: &[u8], is_directory: bool) -> Option<&str> {
        if self.is_empty() {
            return None;
        }
        let fits = self.globs.matches_candidate(&Candidate::from_bytes(path));
        let last = fits.into_iter().filter(|at| is_directory || !self.rules[*at].only_directories).max();
        last.filter(|at| !self.rules[*at].takes_back).map(|at| self.texts[at].as_str())
    }
}

/// As git does: blanks at the end mean nothing unless a backslash stands before them.
fn without_blanks_at_the_end(pattern: &str) -> &str {
    let trimmed = pattern.trim_end_matches(' ');
    if trimmed.len() < pattern.len() && trimmed.ends_with('\\') { &pattern[..=trimmed.len()] } else { trimmed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_git_means() {
        let table: &[(&[&str], &str, bool, bool)] = &[
            (&["*.tmp"], "a.tmp", false, true),
            (&["*.tmp"], "deep/er/a.tmp", false, true),
            (&["*.tmp"], "a.TMP", false, false),
            (&["*.tmp"], "a.tmp.txt", false, false),
            (&["/cache"], "cache", true, true),
            (&["/cache"], "a/cache", true, false),
            (&["a/b"], "a/b", false, true),
            (&["a/b"], "x/a/b", false, false),
            (&["node_modules/"], "x/node_modules", true, true),
            (&["node_modules/"], "x/node_modules", false, false),
            (&["*.tmp", "!keep.tmp"], "keep.tmp", false, false),
            (&["*.tmp", "!keep.tmp", "keep.*"], "keep.tmp", false, true),
            (&["*", "!*/"], "dir", true, false),
            (&["a/*"], "a/b", false, true),
            (&["a/*"], "a/b/c", false, false),
            (&["a/**"], "a/b/c", false, true),
            (&["**/x/y"], "q/x/y", false, true),
            (&["a/**/z"], "a/z", false, true),
            (&["a/**/z"], "a/b/c/z", false, true),
            (&["[ab].log"], "b.log", false, true),
            (&["\\!odd"], "!odd", false, true),
            (&["\\#odd"], "#odd", false, true),
            (&["# a remark", ""], "# a remark", false, false),
            (&["blank  "], "blank", false, true),
            (&["blank\\ "], "blank ", false, true),
            (&[".*"], ".git", true, true),
            (&["?"], "ab", false, false),
        ];
        for (patterns, path, is_directory, expected) in table {
            let excludes = Excludes::new(patterns).unwrap();
            assert_eq!(excludes.leaves_out(path.as_bytes(), *is_directory), *expected, "{patterns:?} on {path}");
        }
        assert!(Excludes::new(&["*.tmp"]).unwrap().leaves_out(b"\xff\xfe.tmp", false));
        assert!(!Excludes::default().leaves_out(b"a", false));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        for bad in ["[a", "/", "!", "a[z-a]"] {
            let error = Excludes::new(&["fine", bad]).unwrap_err();
            assert_eq!(error.pattern, bad);
            assert!(error.to_string().contains(bad));
        }
    }
}
