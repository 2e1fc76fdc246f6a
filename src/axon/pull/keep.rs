//! A newer list of rows from the same peer: what it no longer lists stays known.
//!
//! A peer that lost everything lists nothing, and shall get its configuration back from here. So a row is replaced by a listed one
//! that is the same thing: the same user, or the same name. A known row under whose number something else is listed moves to a
//! free number, and what stays known and refers to it follows.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::domain::axon::export::{APPLET, BOARD, CATEGORY, Row, USER};
use crate::domain::axon::json::Value;
use crate::domain::axon::kept::Kept;

/// Rows that had to move have numbers above this one.
const MOVED: i64 = 1_000_000;
/// Most rows of a model of which some are no longer listed.
const MOST: usize = 100_000;
/// Columns that lead to a row of another model.
const REFERENCES: [(&str, &str); 5] =
    [("owner", USER), ("user", USER), ("author", USER), ("category", CATEGORY), ("event_board", BOARD)];

type Rows = BTreeMap<String, Vec<Kept<Row>>>;

/// What is known from now on, by model: the listed rows, then those of the known ones that no listed row stands for. `None` if they
/// would be more than any BBS has.
pub(super) fn keep(known: Rows, mut listed: Rows) -> Option<Rows> {
    let mut moved: HashMap<(String, String), Value> = HashMap::new();
    let mut staying: Rows = BTreeMap::new();
    for (model, rows) in known {
        let fresh = listed.entry(model.clone()).or_default();
        let by_name: HashMap<String, usize> =
            fresh.iter().enumerate().filter_map(|(n, row)| Some((name(row)?, n))).collect();
        let numbers: HashMap<String, usize> = fresh.iter().enumerate().map(|(n, row)| (number(&row.pk), n)).collect();
        let mut taken: BTreeSet<String> =
            numbers.keys().cloned().chain(rows.iter().map(|row| number(&row.pk))).collect();
        let mut next = MOVED;
        for row in rows {
            let there = numbers.get(&number(&row.pk)).map(|n| &fresh[*n]);
            let elsewhere = || by_name.get(&name(&row)?).map(|n| &fresh[*n]);
            let same = there.filter(|other| is_same(&row, other)).or_else(|| elsewhere().filter(|o| is_same(&row, o)));
            let row = match (same, there) {
                (Some(same), _) => {
                    moved.insert((model.clone(), number(&row.pk)), same.pk.clone());
                    continue;
                }
                (None, None) => row,
                (None, Some(_)) => {
                    let pk = loop {
                        next += 1;
                        if taken.insert(next.to_string()) {
                            break Value::from(next);
                        }
                    };
                    moved.insert((model.clone(), number(&row.pk)), pk.clone());
                    Kept::new(Row { model: row.model.clone(), pk, fields: row.fields.clone() })
                }
            };
            let staying = staying.entry(model.clone()).or_default();
            if fresh.len() + staying.len() >= MOST {
                return None;
            }
            staying.push(row);
        }
    }
    for (model, rows) in staying {
        let followed = rows.into_iter().map(|row| follow(row, &moved));
        listed.entry(model).or_default().extend(followed);
    }
    Some(listed)
}

/// Whether two rows of a model are the same thing.
fn is_same(one: &Row, other: &Row) -> bool {
    if one.model == APPLET {
        return number(&one.pk) == number(&other.pk);
    }
    let key = |row: &Row| match row.fields.get("pubkey") {
        Some(Value::Text(key)) if !key.is_empty() => Some(key.to_string_lossy().trim().to_owned()),
        _ => None,
    };
    match (key(one), key(other)) {
        (Some(one), Some(other)) => one == other,
        _ => name(one) == name(other),
    }
}

/// What a row is known by, besides its number.
fn name(row: &Row) -> Option<String> {
    let column = match row.model.as_str() {
        USER => "username",
        APPLET => return None,
        CATEGORY | BOARD => "name",
        _ => "mime_type",
    };
    match row.fields.get(column) {
        Some(Value::Text(name)) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    }
}

/// A number may be written as text.
fn number(pk: &Value) -> String {
    pk.to_line().trim_matches('"').to_owned()
}

/// A row with its references where they have moved to.
fn follow(row: Kept<Row>, moved: &HashMap<(String, String), Value>) -> Kept<Row> {
    let mut fields = row.fields.clone();
    for (column, model) in REFERENCES {
        let to = row.fields.get(column).and_then(|pk| moved.get(&(model.to_owned(), number(pk))));
        if let Some(to) = to {
            fields.set(column, to.clone());
        }
    }
    if fields == row.fields { row } else { Kept::new(Row { model: row.model.clone(), pk: row.pk.clone(), fields }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::axon::export;

    fn rows(text: &str) -> Rows {
        let mut rows = Rows::new();
        for row in export::parse(text.as_bytes()).unwrap() {
            rows.entry(row.model.clone()).or_default().push(row);
        }
        rows
    }

    fn shown(rows: &Rows) -> Vec<String> {
        let line = |row: &Kept<Row>| {
            let field = |name: &str| row.fields.get(name).map(Value::to_line).unwrap_or_default();
            let known = name(row).unwrap_or_else(|| field("name"));
            format!("{} {known} {}{}", number(&row.pk), field("owner"), field("event_board"))
        };
        rows.values().flatten().map(line).collect()
    }

    const KNOWN: &str = r#"[{"model": "core.user", "pk": 1, "fields": {"username": "alice", "pubkey": "A"}},
        {"model": "core.user", "pk": 2, "fields": {"username": "bob", "pubkey": "B"}},
        {"model": "messaging.messageboard", "pk": 1, "fields": {"name": "general"}},
        {"model": "messaging.messageboard", "pk": 2, "fields": {"name": "music"}},
        {"model": "applets.applet", "pk": "u", "fields": {"name": "Miner", "owner": 1, "event_board": 2}}]"#;

    #[test]
    fn a_peer_that_lists_nothing_takes_nothing_away() {
        let known = shown(&rows(KNOWN));
        assert_eq!(known.len(), 5);
        assert_eq!(shown(&keep(rows(KNOWN), Rows::new()).unwrap()), known);
        assert_eq!(shown(&keep(rows(KNOWN), rows(KNOWN)).unwrap()), known);
    }

    #[test]
    fn what_is_listed_replaces_the_same_and_moves_the_other_with_what_refers_to_it() {
        let listed = r#"[{"model": "core.user", "pk": 1, "fields": {"username": "mallory", "pubkey": "M"}},
            {"model": "core.user", "pk": 7, "fields": {"username": "bob", "pubkey": "B"}},
            {"model": "core.user", "pk": 1000001, "fields": {"username": "carol", "pubkey": "C"}},
            {"model": "messaging.messageboard", "pk": 1, "fields": {"name": "music"}},
            {"model": "messaging.messageboard", "pk": 2, "fields": {"name": "spam"}}]"#;
        let kept = keep(rows(KNOWN), rows(listed)).unwrap();
        let expected = [
            "u \"Miner\" 10000021",
            "1 mallory ",
            "7 bob ",
            "1000001 carol ",
            "1000002 alice ",
            "1 music ",
            "2 spam ",
            "1000001 general ",
        ];
        assert_eq!(shown(&kept), expected);
        // The same list once more changes nothing.
        assert_eq!(shown(&keep(kept, rows(listed)).unwrap()), expected);
        // An account whose key is another one's is not the same account.
        let stolen = r#"[{"model": "core.user", "pk": 1, "fields": {"username": "alice", "pubkey": "M"}}]"#;
        let kept = keep(rows(KNOWN), rows(stolen)).unwrap();
        assert!(kept[USER].iter().any(|row| row.fields.get("pubkey") == Some(&Value::from("A"))));
    }
}
