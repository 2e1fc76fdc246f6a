//! Names for files that somebody else named: plain, not hidden, none twice in a folder.

use std::collections::{HashMap, HashSet};

use crate::domain::text::is_unseen;

/// Longest name, in bytes. What makes a name single is added to it.
const MAX_LEN: usize = 200;
/// Longest ending that is kept when a name is cut, in bytes.
const MAX_ENDING: usize = 20;

/// The names in one folder.
#[derive(Debug, Default)]
pub struct Names {
    /// In lower case: on other systems `A` and `a` are one.
    taken: HashSet<String>,
    /// The number that a further one of the same name is tried with first.
    next: HashMap<String, u64>,
}

impl Names {
    /// A name for what is called so: the same if it can be, and if nothing else here has it.
    pub fn claim(&mut self, name: &str) -> String {
        let plain = plain(name);
        if self.taken.insert(plain.to_lowercase()) {
            return plain;
        }
        let (stem, ending) = split(&plain);
        let next = self.next.entry(plain.to_lowercase()).or_insert(2);
        loop {
            let name = format!("{stem}-{next}{ending}");
            *next += 1;
            if self.taken.insert(name.to_lowercase()) {
                return name;
            }
        }
    }
}

/// A name that is one everywhere: no separators, nothing that cannot be seen, no dot in front.
fn plain(name: &str) -> String {
    let is_bad = |c: char| is_unseen(c) || matches!(c, '/' | '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|');
    let mut text: String = name.chars().map(|c| if is_bad(c) { '_' } else { c }).collect();
    text = text.trim().trim_end_matches(['.', ' ']).to_owned();
    if let Some(rest) = text.strip_prefix('.') {
        text = format!("_{rest}");
    }
    if text.len() > MAX_LEN {
        let (stem, ending) = split(&text);
        let mut end = MAX_LEN - ending.len();
        while !stem.is_char_boundary(end) {
            end -= 1;
        }
        text = format!("{}{ending}", &stem[..end]);
    }
    if text.is_empty() { "unnamed".to_owned() } else { text }
}

/// A name and its ending, with the dot.
fn split(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(at) if at > 0 && name.len() - at <= MAX_ENDING => name.split_at(at),
        _ => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_single() {
        let mut names = Names::default();
        let mut claim = |name: &str| names.claim(name);
        assert_eq!(claim("a.js"), "a.js");
        assert_eq!(claim("A.js"), "A-2.js");
        assert_eq!(claim("a-2.js"), "a-2-2.js");
        assert_eq!(claim("../../etc/passwd"), "_._.._etc_passwd");
        assert_eq!(claim(".."), "unnamed");
        assert_eq!(claim(""), "unnamed-2");
        assert_eq!(claim(".bashrc"), "_bashrc");
        assert_eq!(claim("gnp.\u{202e}exe"), "gnp._exe");
        assert_eq!(claim("c:\\x\0"), "c__x_");
        let long = claim(&format!("{}.tar", "ü".repeat(300)));
        assert!(long.len() <= MAX_LEN && long.ends_with("ü.tar"), "{long}");
    }

    #[test]
    fn many_files_of_one_name_take_no_longer_than_as_many_of_others() {
        let mut names = Names::default();
        let begun = std::time::Instant::now();
        let all: HashSet<String> = (0..20_000).map(|_| names.claim("image.png")).collect();
        assert_eq!(all.len(), 20_000);
        assert!(all.contains("image-20000.png"));
        assert!(begun.elapsed() < std::time::Duration::from_secs(10), "{:?}", begun.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn no_name_leads_out(name in proptest::prelude::any::<String>()) {
            let mut names = Names::default();
            for _ in 0..2 {
                let plain = names.claim(&name);
                assert!(!plain.contains(['/', '\\', '\0']) && !plain.starts_with('.') && !plain.is_empty());
                assert!(plain.len() < 255);
            }
        }
    }
}
