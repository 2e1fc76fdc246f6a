//! Something of an application that stands by itself, and its lines in lists of others: a file of JSON lines in which each line is about
//! one thing.

use serde_json::Value;

use super::content::parse_json;
use super::preset::FieldPath;

/// Which one: `chat:5f3c…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityId {
    /// What it is, as the preset calls it.
    pub kind: String,
    /// Its name in the application; `?` asks which there are.
    pub id: String,
}

impl std::str::FromStr for EntityId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, id) = text.split_once(':').unwrap_or((text, ""));
        let sound = !kind.is_empty() && !id.is_empty() && id.len() <= 200 && !id.contains(['/', '\0']);
        match sound {
            true => Ok(Self { kind: kind.to_owned(), id: id.to_owned() }),
            false => Err(format!("{text:?}: write KIND:ID, as in chat:5f3c0a9e-…; 'KIND:?' lists what there is")),
        }
    }
}

impl std::fmt::Display for EntityId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.kind, self.id)
    }
}

/// Calls `each` with every line that is a document, and its bytes as they stand there, without the line's end.
pub fn each_line<'b>(bytes: &'b [u8], mut each: impl FnMut(&Value, &'b [u8])) {
    for line in bytes.split(|byte| *byte == b'\n') {
        if let Ok(value) = parse_json(line) {
            each(&value, line);
        }
    }
}

/// Puts a line into a list: in place of the line about the same thing, or at the end. Everything else stays as it is, byte for byte; of
/// several lines about the thing the first place counts. Answers `None` if nothing changes.
pub fn merge_line(list: &[u8], (field, id): (&FieldPath, &str), line: &[u8]) -> Option<Vec<u8>> {
    let is_about = |bytes: &[u8]| parse_json(bytes).ok().and_then(|value| field.text(&value)).as_deref() == Some(id);
    let mut out = Vec::with_capacity(list.len() + line.len() + 1);
    let mut is_there = false;
    for part in list.split_inclusive(|byte| *byte == b'\n') {
        let bytes = part.strip_suffix(b"\n").unwrap_or(part);
        if !is_about(bytes) {
            out.extend_from_slice(part);
        } else if !is_there {
            is_there = true;
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
    if !is_there {
        if out.last().is_some_and(|byte| *byte != b'\n') {
            out.push(b'\n');
        }
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    (out != list).then_some(out)
}

/// Those of `all` that somebody may have meant, the most likely ones first: an id or a title that holds what was typed, then ids with few
/// other letters.
pub fn similar<'a>(typed: &str, all: &'a [(String, Option<String>)], most: usize) -> Vec<&'a (String, Option<String>)> {
    let typed = typed.to_lowercase();
    let rank = |(id, title): &(String, Option<String>)| {
        let title = title.as_deref().unwrap_or_default().to_lowercase();
        let id = id.to_lowercase();
        match () {
            () if id.starts_with(&typed) || typed.starts_with(&id) => Some(0),
            () if id.contains(&typed) || title.contains(&typed) => Some(1),
            () => Some(2 + distance(&typed, &id)).filter(|rank| *rank <= 2 + typed.chars().count().div_ceil(3)),
        }
    };
    let mut found: Vec<_> = all.iter().filter_map(|one| Some((rank(one)?, one))).collect();
    found.sort_by_key(|(rank, (id, _))| (*rank, id.clone()));
    found.into_iter().take(most).map(|(_, one)| one).collect()
}

/// How many letters have to be put in, taken out or replaced (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let cost = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = cost.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(list: &str, line: &str) -> Option<String> {
        let field = FieldPath::parse("id").unwrap();
        merge_line(list.as_bytes(), (&field, "b"), line.as_bytes()).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_line_takes_the_place_of_its_own_and_the_rest_stays_as_it_is() {
        let new = r#"{"id":"b","n":2}"#;
        assert_eq!(merged("", new).unwrap(), format!("{new}\n"));
        let list = "{ \"id\" : \"a\" }\r\n\nno json\n{\"id\":\"b\",\"n\":1}\n{\"id\":\"c\"}\n";
        let expected = format!("{{ \"id\" : \"a\" }}\r\n\nno json\n{new}\n{{\"id\":\"c\"}}\n");
        assert_eq!(merged(list, new).unwrap(), expected);
        assert_eq!(merged(&expected, new), None);
        assert_eq!(merged("{\"id\":\"a\"}", new).unwrap(), format!("{{\"id\":\"a\"}}\n{new}\n"));
        let twice = "{\"id\":\"b\"}\n{\"id\":\"a\"}\n{\"id\":\"b\",\"old\":1}";
        assert_eq!(merged(twice, new).unwrap(), format!("{new}\n{{\"id\":\"a\"}}\n"));
        assert_eq!(merged("{\"id\":\"torn", new).unwrap(), format!("{{\"id\":\"torn\n{new}\n"));
    }

    #[test]
    fn what_somebody_may_have_meant_comes_first() {
        let all = [("5f3c0a9e", Some("The Lighthouse")), ("5f3c1111", None), ("zzzz", Some("x"))];
        let all = all.map(|(id, title)| (id.to_owned(), title.map(str::to_owned)));
        let ids = |typed: &str| similar(typed, &all, 5).iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids("5f3c0a9d"), ["5f3c0a9e"]);
        assert_eq!(ids("5f3c"), ["5f3c0a9e", "5f3c1111"]);
        assert_eq!(ids("lighthouse"), ["5f3c0a9e"]);
        assert!(ids("nothing of that").is_empty());
    }

    #[test]
    fn a_name_says_what_and_which() {
        let id: EntityId = "chat:a:b".parse().unwrap();
        assert_eq!((id.kind.as_str(), id.id.as_str()), ("chat", "a:b"));
        for wrong in ["chat", "chat:", ":x", "chat:../x", ""] {
            assert!(wrong.parse::<EntityId>().is_err(), "{wrong}");
        }
    }
}
