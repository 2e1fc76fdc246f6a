//! The order of the modules, checked: a module uses only what stands left of it in [`LAYERS`], neighbours in one
//! group do not see each other, and what belongs to one module (SQL, dialling, status codes, the environment, the
//! clock) is said nowhere else.
//!
//! The check reads the sources, not the compiled crate: it breaks them into tokens (so that comments and strings do not
//! count), leaves out `#[cfg(test)]` items, and expands every path, `use` groups included. `crate::a`, `bulbil::a` and
//! `super::…::a` are followed up to the top-level module. Circles need no check of their own: an order has none.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Groups of top-level modules; a module may use those of the groups before its own.
const LAYERS: &[&[&str]] = &[
    &["domain", "clock", "monitor"],
    &["transport"],
    &["source", "store"],
    &["backup", "portable", "replicate", "axon"],
    &["worker"],
    &["http"],
    &["config"],
    &["server"],
    &["cli"],
    &["main"],
];

/// What only the named modules may say: the start or a part of a path, who may, and why nobody else.
const RESERVED: &[(&[&str], &[&str], &str)] = &[
    (&["sqlx"], &["store"], "only the store speaks SQL"),
    (&["TcpStream"], &["transport"], "only a transport dials (R9)"),
    (&["TcpSocket"], &["transport"], "only a transport dials (R9)"),
    (&["ToSocketAddrs"], &["transport"], "a look-up would leak past Tor (R9)"),
    (&["lookup_host"], &["transport"], "a look-up would leak past Tor (R9)"),
    (&["hyper", "client"], &["transport"], "only a transport dials (R9)"),
    (&["hyper_util", "client"], &["transport"], "only a transport dials (R9)"),
    (&["reqwest"], &["transport"], "only a transport dials (R9)"),
    (&["StatusCode"], &["http", "transport"], "status codes are the words of the HTTP edge"),
    (&["env", "var"], &["config", "cli", "main"], "only the configuration reads the environment"),
    (&["env", "var_os"], &["config", "cli", "main"], "only the configuration reads the environment"),
    (&["env", "vars"], &["config", "cli", "main"], "only the configuration reads the environment"),
    (&["env", "vars_os"], &["config", "cli", "main"], "only the configuration reads the environment"),
    (&["Timestamp", "now"], &["clock"], "tests must be able to move time"),
    (&["Zoned", "now"], &["clock"], "tests must be able to move time"),
    (&["SystemTime", "now"], &["clock"], "tests must be able to move time"),
];

/// What `domain` never says: it never waits, never touches the world, never draws randomness of its own.
const NEVER_IN_DOMAIN: &[&[&str]] = &[
    &["async"],
    &["await"],
    &["tokio"],
    &["std", "fs"],
    &["std", "process"],
    &["std", "thread"],
    &["File", "open"],
    &["File", "create"],
    &["TcpListener"],
    &["UdpSocket"],
    &["Instant"],
    &["SystemTime"],
    &["getrandom"],
    &["OsRng"],
    &["rustix"],
];

/// At this many lines (tests not counted) look for the second noun in a file.
const LONG: usize = 600;

/// Files that are longer all the same, each with its reason.
const LONG_ALLOWED: &[(&str, &str)] = &[];

#[test]
fn the_sources_keep_the_order() {
    let sources = read_sources();
    assert!(sources.len() > 20, "found only {} sources: is the test looking in the right folder?", sources.len());
    let found = violations(&sources);
    assert!(found.is_empty(), "{} broken rules:\n{}", found.len(), found.join("\n"));
}

#[test]
fn the_map_in_lib_rs_lists_the_modules_in_this_order() {
    let lib = std::fs::read_to_string(root().join("src/lib.rs")).expect("lib.rs is readable");
    let tokens = without_tests(tokens(&lib)).kept;
    let declared: Vec<_> =
        tokens.windows(2).filter(|pair| pair[0].is("mod")).map(|pair| pair[1].text.clone()).collect();
    let ranks: Vec<_> = declared
        .iter()
        .map(|name| rank(name).unwrap_or_else(|| panic!("module {name} stands in no layer: add it to LAYERS")))
        .collect();
    assert!(ranks.is_sorted(), "lib.rs declares its modules out of order: {declared:?}");
}

#[test]
fn no_file_has_grown_too_long() {
    let mut found = Vec::new();
    for (name, text) in read_sources() {
        let lines = code_lines(&text);
        if lines > LONG && !name.ends_with("tests.rs") && !LONG_ALLOWED.iter().any(|(allowed, _)| *allowed == name) {
            found.push(format!("{name}: {lines} lines without its tests; which second noun lives in it?"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

// ------------------------------------------------------------------ the checker catches what it is there for

/// What the checker says about one planted file.
fn planted(name: &str, text: &str) -> Vec<String> {
    violations(&BTreeMap::from([(name.to_owned(), text.to_owned())]))
}

/// Asserts that exactly one rule is broken and that the message names `word` and line `line`.
#[track_caller]
fn caught(name: &str, text: &str, line: usize, word: &str) {
    let found = planted(name, text);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with(&format!("{name}:{line}: ")) && found[0].contains(word), "{found:?}");
}

#[test]
fn an_upward_import_is_caught() {
    caught("store/index.rs", "//! Head.\nuse crate::backup::create;\n", 2, "backup");
    caught("domain/id.rs", "fn f() { let x = crate::store::Store::open(); }", 1, "store");
    caught("domain/id.rs", "use crate::{\n    domain::id,\n    http::{self, problem::Problem},\n};", 3, "http");
    caught("cli/mod.rs", "fn f() { bulbil::main::go() }", 1, "main");
    caught("store/mod.rs", "fn f() { Vec::<crate::cli::Command>::new(); }", 1, "cli");
    caught("store/mod.rs", "fn f(x: u8) -> u8 { x as crate::http::Code }", 1, "http");
    caught("store/mod.rs", "use crate::{domain as d, cli as c};", 1, "cli");
    caught("store/mod.rs", "macro_rules! m { () => { $crate::cli::run() } }", 1, "cli");
    caught("monitor.rs", "fn f() -> impl Iterator<Item = crate::r#worker::Runner> {}", 1, "worker");
}

#[test]
fn neighbours_are_caught() {
    caught("store/mod.rs", "use crate::source::Walk;", 1, "source");
    caught("replicate/pull.rs", "pub(crate) use crate::{domain::id, backup::verify as v};", 1, "backup");
}

#[test]
fn super_leads_up_to_the_root() {
    caught("store/index/rows.rs", "use super::super::super::worker::Runner;", 1, "worker");
    caught("store/mod.rs", "use super::worker::Runner;", 1, "worker");
    caught("store/mod.rs", "mod inner { use super::super::worker::Runner; }", 1, "worker");
    assert_eq!(planted("store/index/rows.rs", "use super::super::worker::Runner;"), Vec::<String>::new());
    assert_eq!(planted("store/mod.rs", "mod inner { use super::worker::Runner; }"), Vec::<String>::new());
}

#[test]
fn the_root_by_another_name_is_caught() {
    caught("store/mod.rs", "use crate::*;", 1, "whole crate");
    caught("store/mod.rs", "use crate as all;", 1, "whole crate");
    caught("store/mod.rs", "use crate::{self as all};", 1, "whole crate");
    caught("store/mod.rs", "use crate::Shortcut;", 1, "no layer");
}

#[test]
fn reserved_words_are_caught() {
    caught("backup/mod.rs", "fn f() { sqlx::query(\"SELECT 1\"); }", 1, "SQL");
    caught("replicate/pull.rs", "use tokio::net::{TcpListener, TcpStream};", 1, "dials");
    caught("cli/mod.rs", "use hyper::{body, client::conn::http1};", 1, "dials");
    caught("replicate/serve.rs", "use http::StatusCode;", 1, "HTTP edge");
    caught("store/mod.rs", "fn f() { std::env::var_os(\"HOME\"); }", 1, "environment");
    caught("worker.rs", "use std::{env::{current_dir, var}, fs};", 1, "environment");
    caught("worker.rs", "fn f() { jiff::Timestamp::now(); }", 1, "time");
    caught("domain/id.rs", "async fn f() {}", 1, "domain");
    caught("domain/id.rs", "use std::{fmt, fs::{self, read}};", 1, "domain");
}

#[test]
fn what_is_allowed_passes() {
    let clean = r##"
        //! use crate::cli;   /* sqlx */
        /* outer /* crate::cli::x */ still a comment crate::cli::y */
        use crate::{domain::{id::ChunkId, chunk}, store::Store, monitor};
        const TEXT: &str = "crate::cli \" sqlx::query";
        const RAW: &[u8] = br#"crate::cli " sqlx"#;
        const QUOTE: char = '"'; const TICK: char = '\'';
        fn f<'a>(x: &'a str) -> &'a str { let _ = env!("CARGO_PKG_VERSION"); self::g(); super::h(); x }
        #[cfg(test)]
        use crate::cli::helper;
        #[cfg(test)]
        #[allow(dead_code)]
        mod tests { use crate::cli; fn t() { if true { sqlx::query(""); } } }
        #[cfg(test)]
        fn fixture() -> [u8; 2] { crate::http::x(); [0; 2] }
        pub(crate) fn last() { crate::monitor::null(); }
    "##;
    assert_eq!(planted("backup/create.rs", clean), Vec::<String>::new());
    // A test module in a file of its own is a test module too.
    let sources = BTreeMap::from([
        ("backup/mod.rs".to_owned(), "#[cfg(test)]\nmod tests;\n".to_owned()),
        ("backup/tests.rs".to_owned(), "use crate::cli::run;\n".to_owned()),
    ]);
    assert_eq!(violations(&sources), Vec::<String>::new());
    // And what comes after a test module is read again.
    caught("backup/a.rs", "#[cfg(test)]\nmod tests { fn t() {} }\nuse crate::cli;\n", 3, "cli");
}

// ------------------------------------------------------------------ the rules

/// Everything that breaks a rule, as `file:line: what is wrong`.
fn violations(sources: &BTreeMap<String, String>) -> Vec<String> {
    let scanned: BTreeMap<_, _> = sources.iter().map(|(name, text)| (name, without_tests(tokens(text)))).collect();
    let test_files: BTreeSet<_> = scanned
        .iter()
        .flat_map(|(name, scan)| {
            let folder = module_path(name).join("/");
            scan.test_modules.iter().map(move |module| format!("{folder}/{module}"))
        })
        .collect();
    let mut found = BTreeSet::new();
    for (name, scan) in &scanned {
        let place = module_path(name);
        let Some(me) = place.first().cloned() else { continue }; // lib.rs is the map, not a module
        if test_files.iter().any(|test| place.join("/") == *test || place.join("/").starts_with(&format!("{test}/"))) {
            continue;
        }
        let mut say = |line: usize, what: String| found.insert((name.to_string(), line, what));
        let Some(my_rank) = rank(&me) else {
            say(1, format!("{me} stands in no layer: add it to LAYERS, where it belongs"));
            continue;
        };
        for path in paths(&scan.kept) {
            match target(&path, place.len()) {
                Target::Outside => {}
                Target::Root => {
                    say(path.line, "names the whole crate: name the module, so that its layer can be checked".into());
                }
                Target::Module(module) if module == me => {}
                Target::Module(module) => match rank(&module) {
                    None => {
                        say(path.line, format!("crate::{module} stands in no layer: is it a re-export at the root?"));
                    }
                    Some(other) if other < my_rank => {}
                    Some(other) if other == my_rank => {
                        say(path.line, format!("{me} sees its neighbour {module}: neighbours do not see each other"));
                    }
                    Some(_) => {
                        say(path.line, format!("{me} uses {module}, which stands above it"));
                    }
                },
            }
            for (words, allowed, why) in RESERVED {
                if !allowed.contains(&me.as_str()) && says(&path.segments, words) {
                    say(path.line, format!("{me} says {}: {why}", words.join("::")));
                }
            }
            for words in NEVER_IN_DOMAIN {
                if me == "domain" && says(&path.segments, words) {
                    say(path.line, format!("domain never says {}: it takes its inputs as arguments", words.join("::")));
                }
            }
        }
    }
    found.into_iter().map(|(name, line, what)| format!("{name}:{line}: {what}")).collect()
}

/// Where a top-level module stands in the order.
fn rank(module: &str) -> Option<usize> {
    LAYERS.iter().position(|group| group.contains(&module))
}

/// Whether `words` follow each other in `segments`.
fn says(segments: &[String], words: &[&str]) -> bool {
    segments.windows(words.len()).any(|window| window.iter().zip(words).all(|(a, b)| a == b))
}

/// What a path leads to.
enum Target {
    /// Another crate, a local name, or somewhere inside the same top-level module.
    Outside,
    /// The root of this crate itself.
    Root,
    /// A top-level module of this crate.
    Module(String),
}

fn target(path: &FullPath, file_depth: usize) -> Target {
    let segments = &path.segments;
    let start = match segments[0].as_str() {
        // `pub(crate)`, and `super` alone in `pub(super)`, name nothing.
        "crate" | "bulbil" if segments.len() > 1 || path.renamed => 1,
        "self" | "super" => {
            let start = segments.iter().take_while(|s| *s == "self" || *s == "super").count();
            let up = segments.iter().filter(|s| *s == "super").count();
            if up < file_depth + path.inline_depth || segments.len() == start {
                return Target::Outside;
            }
            start
        }
        _ => return Target::Outside,
    };
    match segments.get(start).map(String::as_str) {
        None | Some("*" | "self") => Target::Root,
        Some(module) => Target::Module(module.to_owned()),
    }
}

/// The module that a file is: `store/index/mod.rs` is `[store, index]`, `lib.rs` is `[]`.
fn module_path(name: &str) -> Vec<String> {
    let mut parts: Vec<_> = name.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
    if parts.last().is_some_and(|last| last == "mod" || last == "lib") {
        parts.pop();
    }
    parts
}

// ------------------------------------------------------------------ reading Rust, as far as this needs it

/// A word, a `::`, or one other character that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Token {
    text: String,
    line: usize,
}

impl Token {
    fn is(&self, text: &str) -> bool {
        self.text == text
    }
    fn is_word(&self) -> bool {
        self.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

/// The tokens of a source without comments, strings, characters, lifetimes and numbers.
fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut out, mut i, mut line) = (Vec::new(), 0, 1);
    while i < chars.len() {
        let start = i;
        let c = chars[i];
        if c == '/' && at(i + 1) == '/' {
            while i < chars.len() && chars[i] != '\n' {
                i += 1;
            }
        } else if c == '/' && at(i + 1) == '*' {
            let mut depth = 0;
            while i < chars.len() {
                match (chars[i], at(i + 1)) {
                    ('/', '*') => (depth, i) = (depth + 1, i + 2),
                    ('*', '/') => (depth, i) = (depth - 1, i + 2),
                    _ => i += 1,
                }
                if depth == 0 {
                    break;
                }
            }
        } else if let Some(end) = raw_string(&chars, i) {
            i = end;
        } else if c == '"' {
            i = quoted(&chars, i, '"');
        } else if c == '\'' {
            // 'x' and '\n' are characters; 'x without a closing quote is a lifetime.
            if at(i + 1) == '\\' || at(i + 2) == '\'' {
                i = quoted(&chars, i, '\'');
            } else {
                i += 1;
                while word(at(i)) {
                    i += 1;
                }
            }
        } else if c == ':' && at(i + 1) == ':' {
            i += 2;
            out.push(Token { text: "::".into(), line });
        } else if word(c) {
            while word(at(i)) {
                i += 1;
            }
            let raw = start >= 2 && chars[start - 1] == '#' && chars[start - 2] == 'r';
            let prefix = matches!(at(i), '"' | '\'') && matches!(chars[start..i], ['b'] | ['c']);
            if raw {
                out.truncate(out.len().saturating_sub(2)); // r#word: the word alone
            }
            if !c.is_numeric() && !prefix {
                out.push(Token { text: chars[start..i].iter().collect(), line });
            }
        } else {
            i += 1;
            if !c.is_whitespace() {
                out.push(Token { text: c.into(), line });
            }
        }
        line += chars[start..i.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    out
}

/// Where the raw string that begins at `i` ends, if one begins there: `r"…"`, `r#"…"#`, `br#"…"#`, `cr"…"`.
fn raw_string(chars: &[char], i: usize) -> Option<usize> {
    let mut at = i;
    if i > 0 && (chars[i - 1].is_alphanumeric() || chars[i - 1] == '_') {
        return None;
    }
    if matches!(chars[at], 'b' | 'c') {
        at += 1;
    }
    if chars.get(at) != Some(&'r') {
        return None;
    }
    at += 1;
    let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
    at += hashes;
    if chars.get(at) != Some(&'"') {
        return None;
    }
    at += 1;
    while at < chars.len() {
        if chars[at] == '"' && chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(at)
}

/// Where the quoted text that begins at `i` ends.
fn quoted(chars: &[char], i: usize, quote: char) -> usize {
    let mut at = i + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// A source without its `#[cfg(test)]` items.
struct Scan {
    kept: Vec<Token>,
    /// Lines that belong to tests.
    test_lines: usize,
    /// Names in `#[cfg(test)] mod name;`: such a file is all tests.
    test_modules: Vec<String>,
}

fn without_tests(tokens: Vec<Token>) -> Scan {
    let marks = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut scan = Scan { kept: Vec::new(), test_lines: 0, test_modules: Vec::new() };
    let mut i = 0;
    while i < tokens.len() {
        let marked = tokens[i..].iter().zip(marks).filter(|(token, mark)| token.is(mark)).count() == marks.len();
        if !marked {
            scan.kept.push(tokens[i].clone());
            i += 1;
            continue;
        }
        let first_line = tokens[i].line;
        i += marks.len();
        let begin = i;
        // The item ends at the `;` or the closing brace on its own level; further attributes belong to it.
        let (mut depth, mut attribute) = (0_i32, 0);
        while i < tokens.len() {
            let token = &tokens[i];
            if token.is("#") && tokens.get(i + 1).is_some_and(|next| next.is("[")) && depth == 0 {
                attribute = 1;
            }
            match token.text.as_str() {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            let attribute_ends = attribute == 1 && depth == 0 && token.is("]");
            i += 1;
            if attribute_ends {
                attribute = 0;
            } else if depth == 0 && (token.is(";") || token.is("}")) {
                // `use a::{b};` goes on to its semicolon.
                if token.is("}") && tokens.get(i).is_some_and(|next| next.is(";")) {
                    i += 1;
                }
                break;
            }
        }
        let item = &tokens[begin..i];
        if let [.., keyword, name, end] = item
            && keyword.is("mod")
            && end.is(";")
        {
            scan.test_modules.push(name.text.clone());
        }
        scan.test_lines += tokens[i - 1].line - first_line + 1;
    }
    scan
}

/// How many lines a source has, its tests left out.
fn code_lines(text: &str) -> usize {
    text.lines().count().saturating_sub(without_tests(tokens(text)).test_lines)
}

/// A path as it reads when all groups are written out.
struct FullPath {
    segments: Vec<String>,
    line: usize,
    /// How many inline modules (`mod x { … }`) stand around it.
    inline_depth: usize,
    /// It is followed by `as`.
    renamed: bool,
}

/// All paths in a source; a lone word is a path of one segment.
fn paths(tokens: &[Token]) -> Vec<FullPath> {
    let mut out = Vec::new();
    let (mut i, mut depth, mut inline) = (0, 0, Vec::new());
    while i < tokens.len() {
        match tokens[i].text.as_str() {
            "{" => {
                depth += 1;
                if i >= 2 && tokens[i - 2].is("mod") {
                    inline.push(depth);
                }
            }
            "}" => {
                if inline.last() == Some(&depth) {
                    inline.pop();
                }
                depth -= 1;
            }
            _ => {}
        }
        i = if tokens[i].is_word() { expand(tokens, i, &[], inline.len(), &mut out) } else { i + 1 };
    }
    out
}

/// Reads the path that begins at `i`, behind `prefix`, and returns where it ends.
fn expand(tokens: &[Token], mut i: usize, prefix: &[String], inline_depth: usize, out: &mut Vec<FullPath>) -> usize {
    let mut segments = prefix.to_vec();
    let line = tokens[i].line;
    while let Some(token) = tokens.get(i) {
        if token.is("{") {
            i += 1;
            while i < tokens.len() && !tokens[i].is("}") {
                let starts = tokens[i].is_word() || tokens[i].is("*") || tokens[i].is("{");
                i = if starts { expand(tokens, i, &segments, inline_depth, out) } else { i + 1 };
            }
            return i + 1;
        }
        if !token.is_word() && !token.is("*") {
            break; // a turbofish: what it names is read on its own
        }
        segments.push(token.text.clone());
        i += 1;
        if !tokens.get(i).is_some_and(|next| next.is("::")) {
            break;
        }
        i += 1;
    }
    let renamed = tokens.get(i).is_some_and(|next| next.is("as"));
    out.push(FullPath { segments, line, inline_depth, renamed });
    // In a group a new name leads nowhere; elsewhere what is behind `as` may be the path of a type.
    i + if renamed && !prefix.is_empty() { 2 } else { 0 }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every source below `src`, by its name there with forward slashes.
fn read_sources() -> BTreeMap<String, String> {
    fn walk(folder: &Path, base: &Path, out: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                walk(&path, base, out);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(base).expect("it was found below the base").to_string_lossy();
                let text = std::fs::read_to_string(&path).expect("a source is readable UTF-8");
                out.insert(name.replace('\\', "/"), text);
            }
        }
    }
    let mut out = BTreeMap::new();
    walk(&root().join("src"), &root().join("src"), &mut out);
    out
}
