//! When all was seen: what must be there, what refers to what, what the lists say.

use std::collections::HashSet;

use super::{Checker, Level, SeenListed, sealed};

impl Checker {
    pub(super) fn resolve(&mut self) {
        self.resolve_required();
        self.resolve_lists();
        self.resolve_references();
        self.resolve_sealed();
    }

    fn resolve_required(&mut self) {
        for required in self.rules.required.clone() {
            match required.strip_suffix('/') {
                Some(folder) => match self.seen.folders.get(folder) {
                    Some(true) => {}
                    Some(false) => {
                        self.tell(Level::Error, "required", folder, None, "the folder is empty".to_owned());
                    }
                    None => self.tell(Level::Error, "required", folder, None, "it is missing".to_owned()),
                },
                None if self.seen.files.contains_key(&required) => {}
                None => self.tell(Level::Error, "required", &required, None, "it is missing".to_owned()),
            }
        }
    }

    fn resolve_lists(&mut self) {
        let listed = std::mem::take(&mut self.seen.listed);
        let mut known: Vec<HashSet<String>> = vec![HashSet::new(); self.rules.lists.len()];
        for entry in &listed {
            known[entry.rule].extend(entry.places.iter().map(|place| place.path.clone()));
            self.resolve_listed(entry);
        }
        let mut unlisted = Vec::new();
        for (list, known) in self.rules.lists.iter().zip(&known) {
            let Some(glob) = &list.unlisted else { continue };
            let files = self.seen.files.keys();
            let odd = files.filter(|path| glob.is_match(path) && **path != list.index && !known.contains(*path));
            unlisted.extend(odd.map(|path| (path.clone(), list.index.clone())));
        }
        unlisted.sort();
        for (path, index) in unlisted {
            self.tell(Level::Warning, "unlisted", &path, None, format!("{index} does not name it"));
        }
    }

    fn resolve_listed(&mut self, entry: &SeenListed) {
        let index = self.rules.lists[entry.rule].index.clone();
        let Some(place) = entry.places.iter().find(|place| self.seen.files.contains_key(&place.path)) else {
            let near =
                |path: &str| path.rsplit_once('/').is_some_and(|(folder, _)| self.seen.folders.contains_key(folder));
            let likely = entry.places.iter().find(|place| near(&place.path)).or(entry.places.first());
            match likely.map(|place| place.path.clone()) {
                Some(path) => {
                    let others = entry.places.iter().map(|place| place.path.as_str()).filter(|other| *other != path);
                    let others: Vec<&str> = others.collect();
                    let too =
                        if others.is_empty() { String::new() } else { format!(", and so is {}", others.join(", ")) };
                    let message = format!("it is missing{too}; {index}:{} names it", entry.line);
                    self.tell(Level::Error, "missing", &path, None, message);
                }
                None => {
                    let message = "the line does not say where its file is".to_owned();
                    self.tell(Level::Error, "missing", &index, Some(entry.line), message);
                }
            }
            return;
        };
        let (path, sha256) = (place.path.clone(), place.sha256.clone());
        let file = &self.seen.files[&path];
        if file.unreadable {
            return;
        }
        let (size, lines, hash) = (file.size, file.lines, file.sha256);
        if let Some(said) = entry.size.filter(|said| *said != size) {
            let message = format!("it has {size} bytes, and {index}:{} says {said}", entry.line);
            return self.tell(Level::Error, "size", &path, None, message);
        }
        if let (Some(said), Some(hash)) = (sha256, hash) {
            self.report.hashed += 1;
            if !said.eq_ignore_ascii_case(&data_encoding::HEXLOWER.encode(&hash)) {
                let message = format!("its content is not that of the hash in {index}:{}", entry.line);
                return self.tell(Level::Error, "hash", &path, None, message);
            }
        }
        if let (Some(said), Some(lines)) = (entry.lines, lines)
            && said != lines
        {
            let message = format!("it has {lines} lines, and {index}:{} says {said}", entry.line);
            self.tell(Level::Warning, "lines", &path, None, message);
        }
    }

    fn resolve_references(&mut self) {
        let references = std::mem::take(&mut self.seen.references);
        self.report.references = references.len() as u64;
        let mut told = HashSet::new();
        for seen in references {
            let rule = &self.rules.references[seen.rule];
            if self.seen.ids.get(&rule.to).is_some_and(|ids| ids.contains(&seen.value)) {
                continue;
            }
            // A document may name the same thing many times.
            if !told.insert((seen.rule, seen.path.clone(), seen.line, seen.value.clone())) {
                continue;
            }
            let (to, level) = (&rule.to, if rule.soft { Level::Warning } else { Level::Error });
            // Where its file would be, if it is named after it.
            let file = self
                .rules
                .ids
                .iter()
                .find(|(of, _, field, from)| of == to && field.is_none() && from.matches('*').count() == 1);
            let place = match file {
                Some((_, _, _, from)) if is_plain_id(&seen.value) => format!(" ({})", from.replace('*', &seen.value)),
                _ => String::new(),
            };
            let message = match is_plain_id(&seen.value) {
                true => format!("it names the {to} {}{place}, which is not there", seen.value),
                false => format!("it names a {to} by something that is no id, and there is none of that name"),
            };
            self.tell(level, "reference", &seen.path, Some(seen.line), message);
        }
    }

    fn resolve_sealed(&mut self) {
        let seen = std::mem::take(&mut self.seen.sealed);
        self.report.sealed = seen.len() as u64;
        let mut keys = sealed::Keys::default();
        for field in seen {
            let rule = &self.rules.sealed[field.rule];
            let Some(secret) = self.secrets.get(&rule.secret) else { continue };
            self.report.secret_given = true;
            let password = self.seen.passwords.get(&(field.rule, rule.password_from.clone()));
            let opened = match (&field.fields, password) {
                (Some(fields), Some(password)) => keys.opens(rule.cipher, fields, password, secret),
                _ => false,
            };
            if opened {
                self.report.opened += 1;
                continue;
            }
            let message = format!("a sealed field does not open with {}", rule.secret);
            self.tell(Level::Error, "sealed", &field.path, Some(field.line), message);
        }
    }
}

/// Whether a value may be shown: it looks like an id, and not like something that somebody wrote.
fn is_plain_id(value: &str) -> bool {
    let mut dashes = 0;
    let plain = |c: char| {
        dashes += usize::from(c == '-');
        c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
    };
    let is_uuid = value.len() == 36 && value.split('-').map(str::len).eq([8, 4, 4, 4, 12]);
    value.chars().all(plain) && !value.is_empty() && (is_uuid || (value.len() <= 32 && dashes <= 1))
}
