//! Rows of an exported configuration, with numbers and names that do no harm where they are loaded.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::domain::axon::export::{self, Row, is_superuser};
use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::moment;

/// Numbers that follow from names are above this one.
const ABOVE: i64 = 1_000_000;
/// So many of them there are; what the database of a real instance numbers next still has 32 bits.
const SPREAD: u64 = 1_000_000_000;

/// Under which number a row is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Under that of the peer whose row it is.
    AsThere,
    /// Under one above a million that follows from its name: the same for everybody, also after the row has come back to its
    /// peer under this number.
    ByName,
}

pub(super) const USER: Model = Model {
    name: export::USER,
    unique: &["username", "nickname"],
    fields: &[
        "password",
        "last_login",
        "is_superuser",
        "username",
        "first_name",
        "last_name",
        "email",
        "is_staff",
        "is_active",
        "date_joined",
        "access_level",
        "is_banned",
        "pubkey",
        "nickname",
        "avatar",
        "is_agent",
        "agent_service_path",
        "agent_parameters",
        "is_moderator",
        "karma",
        "last_moderated_at",
        "timezone",
        "groups",
        "user_permissions",
    ],
};
pub(super) const FILE_TYPE: Model =
    Model { name: export::FILE_TYPE, unique: &["mime_type"], fields: &["mime_type", "description", "is_enabled"] };
pub(super) const CATEGORY: Model =
    Model { name: export::CATEGORY, unique: &["name"], fields: &["name", "description"] };
pub(super) const BOARD: Model = Model {
    name: export::BOARD,
    unique: &["name"],
    fields: &[
        "name",
        "description",
        "required_access_level",
        "is_realtime",
        "local_poll_interval",
        "federation_poll_interval",
        "use_lan_federation",
        "federation_room_id",
        "trusted_peers",
        "message_retention_days",
    ],
};
/// A table, and what of it is told.
pub(super) struct Model {
    pub(super) name: &'static str,
    unique: &'static [&'static str],
    fields: &'static [&'static str],
}

/// What a column of an applet leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reference {
    /// The row with this number at the peer whose rows they are.
    There(i64),
    /// The row that is told under this number.
    Told(i64),
}

/// Most of an integer column.
const MAX_INT: i64 = i32::MAX as i64;
/// Most characters of a name, and of a user's name.
pub(super) const MAX_NAME: usize = 255;
const MAX_USERNAME: usize = 150;

/// Rows that are told, by model and number.
#[derive(Default)]
pub(super) struct Told {
    pub(super) rows: BTreeMap<(&'static str, i64), Object>,
    /// Whose a unique value is.
    names: HashMap<(&'static str, &'static str, String), i64>,
    keys: HashMap<String, i64>,
    /// Names of applets that are told.
    pub(super) applets: HashSet<String>,
}

impl Told {
    /// Adds a row; the number under which it, or one of the same name, is told. `None` if it is not told.
    pub(super) fn add(&mut self, model: &Model, there: i64, numbering: Numbering, fields: &Object) -> Option<i64> {
        let mut out = Object::new();
        for name in model.fields {
            if let Some(value) = fields.get(name)
                && !is_reset(name)
            {
                match fits(name, value) {
                    Fits::Yes => out.set(*name, value.clone()),
                    Fits::Default => {}
                    // Over there everything is loaded or nothing.
                    Fits::No => return None,
                }
            }
        }
        if model.name == USER.name {
            if is_superuser(fields) {
                return None;
            }
            // No such password exists: whoever has an account gets a new one from the clone's admin.
            out.set("password", "!");
            for name in ["is_superuser", "is_staff", "is_agent", "is_moderator"] {
                out.set(name, Value::Bool(false));
            }
            for name in ["groups", "user_permissions"] {
                out.set(name, Vec::new());
            }
            // An agent is a program that runs there, of a path that somebody else names.
            out.set("agent_service_path", Value::Null);
            out.set("agent_parameters", Object::new());
            // It names a file of another machine; who has none is given one.
            out.set("avatar", "");
        } else if model.name == BOARD.name {
            out.set("trusted_peers", Vec::new());
        }
        let main = out.get(model.unique[0]).and_then(text).filter(|name| !name.is_empty())?;
        if let Some(same) = self.names.get(&(model.name, model.unique[0], main.clone())) {
            return Some(*same);
        }
        for name in model.unique {
            let value = out.get(name).and_then(text).filter(|value| !value.is_empty());
            let Some(value) = value else { continue };
            if self.names.contains_key(&(model.name, name, value)) {
                return None;
            }
        }
        let pk = match numbering {
            Numbering::AsThere if self.rows.contains_key(&(model.name, there)) => return None,
            Numbering::AsThere => there,
            Numbering::ByName => self.by_name(model, &main),
        };
        for name in model.unique {
            if let Some(value) = out.get(name).and_then(text) {
                self.names.insert((model.name, name, value), pk);
            }
        }
        if let Some(key) = out.get("pubkey").and_then(text) {
            self.keys.insert(key, pk);
        }
        self.rows.insert((model.name, pk), out);
        Some(pk)
    }

    /// The number of the row of this name, which is made if there is none; `None` if no row can have this name.
    pub(super) fn named(&mut self, model: &Model, name: &str) -> Option<i64> {
        if let Some(pk) = self.names.get(&(model.name, "name", name.to_owned())) {
            return Some(*pk);
        }
        let fields = Object::new().with("name", name).with("description", "");
        self.add(model, 0, Numbering::ByName, &fields)
    }

    /// A free number that follows from a name.
    fn by_name(&self, model: &Model, name: &str) -> i64 {
        let digest = Sha256::digest(name.as_bytes());
        let drawn = digest.iter().take(8).fold(0u64, |sum, byte| sum << 8 | u64::from(*byte)) % SPREAD;
        let mut pk = ABOVE + 1 + i64::try_from(drawn).unwrap_or(0);
        while self.rows.contains_key(&(model.name, pk)) {
            pk += 1;
        }
        pk
    }

    pub(super) fn user_with_key(&self, key: &str) -> Option<i64> {
        self.keys.get(key).copied().filter(|_| !key.is_empty())
    }

    pub(super) fn rows(&self, models: &[&Model]) -> Vec<Kept<Row>> {
        let of = |model: &&Model| {
            let name = model.name;
            self.rows.range((name, i64::MIN)..=(name, i64::MAX)).collect::<Vec<_>>()
        };
        models.iter().flat_map(of).map(|((name, pk), fields)| row(name, Value::from(*pk), fields.clone())).collect()
    }
}

pub(super) fn row(model: &str, pk: Value, fields: Object) -> Kept<Row> {
    Kept::new(Row { model: model.to_owned(), pk, fields })
}

/// A number that can be a row's in a real instance.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(int) => int.to_i64().filter(|pk| (1..=MAX_INT).contains(pk)),
        _ => None,
    }
}

/// What another instance says of these is not passed on: they give rights, or name what runs and lies on its machine.
fn is_reset(column: &str) -> bool {
    let reset = ["password", "is_superuser", "is_staff", "groups", "user_permissions", "avatar", "trusted_peers"];
    let agents = ["is_agent", "agent_service_path", "agent_parameters", "is_moderator"];
    reset.contains(&column) || agents.contains(&column)
}

/// Whether a real instance can load a value.
enum Fits {
    Yes,
    /// It is left out; a column that nobody names has its usual value.
    Default,
    No,
}

fn fits(column: &str, value: &Value) -> Fits {
    let longest = |max: usize| text(value).is_some_and(|text| text.chars().count() <= max && !text.contains('\0'));
    let is_moment = || text(value).is_some_and(|at| moment::parse(&at).is_some());
    let fits = match column {
        _ if *value == Value::Null => {
            let may_be_none =
                ["last_login", "last_moderated_at", "pubkey", "nickname", "timezone", "federation_room_id"];
            return if may_be_none.contains(&column) { Fits::Yes } else { Fits::Default };
        }
        "username" => {
            let allowed = |c: char| c.is_alphanumeric() || "@.+-_".contains(c);
            longest(MAX_USERNAME) && text(value).is_some_and(|name| name.chars().all(allowed))
        }
        "first_name" | "last_name" => longest(MAX_USERNAME),
        "email" => longest(254),
        "nickname" | "name" | "mime_type" | "timezone" | "federation_room_id" => longest(MAX_NAME),
        "last_login" | "date_joined" | "last_moderated_at" => is_moment(),
        "access_level" | "required_access_level" | "karma" | "message_retention_days" => match value {
            Value::Int(int) => int.to_i64().is_some_and(|n| (-MAX_INT - 1..=MAX_INT).contains(&n)),
            _ => false,
        },
        "local_poll_interval" | "federation_poll_interval" => match value {
            Value::Int(int) => int.to_i64().is_some_and(|n| (0..=MAX_INT).contains(&n)),
            Value::Float(float) => float.is_finite(),
            _ => false,
        },
        _ if column.starts_with("is_") || column == "use_lan_federation" => matches!(value, Value::Bool(_)),
        // Texts of any length.
        _ => longest(usize::MAX),
    };
    if fits { Fits::Yes } else { Fits::No }
}

pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) => text.as_str().map(str::to_owned),
        _ => None,
    }
}

/// What counts as no.
pub(super) fn is_false(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(false)) || matches!(value, Value::Int(int) if int.to_i64() == Some(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(fields: &str) -> Object {
        Value::parse(fields.as_bytes()).unwrap().into_object().unwrap()
    }

    #[test]
    fn a_user_has_one_number_wherever_the_row_stands() {
        let told =
            |there| Told::default().add(&USER, there, Numbering::ByName, &user(r#"{"username": "alice"}"#)).unwrap();
        let first = told(1);
        assert!(first > ABOVE && first < MAX_INT);
        // It came back to its BBS under that number, and is listed under it.
        assert_eq!((told(first), told(7)), (first, first));
        let mut both = Told::default();
        let bob = both.add(&USER, first, Numbering::ByName, &user(r#"{"username": "bob"}"#));
        assert!(bob.is_some() && bob != Some(first));
        assert_eq!(both.add(&USER, 1, Numbering::ByName, &user(r#"{"username": "alice"}"#)), Some(first));
    }

    #[test]
    fn no_row_gives_rights_or_makes_a_clone_fail() {
        let mut told = Told::default();
        let agent = r#"{"username": "a", "is_agent": true, "agent_service_path": "os.system", "agent_parameters": {"x": 1},
            "is_moderator": "yes", "karma": 3, "pubkey": null, "date_joined": null}"#;
        let pk = told.add(&USER, 1, Numbering::ByName, &user(agent)).unwrap();
        let shown = Value::Object(told.rows[&(USER.name, pk)].clone()).to_line();
        assert!(!shown.contains("os.system") && !shown.contains("true") && !shown.contains("yes"), "{shown}");
        assert!(shown.contains("\"karma\": 3") || shown.contains("\"karma\":3"), "{shown}");
        let long = "x".repeat(151);
        for bad in [
            r#"{"username": "b c"}"#,
            r#"{"username": "b", "karma": 2147483648}"#,
            r#"{"username": "b", "karma": "many"}"#,
            r#"{"username": "b", "is_active": 1}"#,
            r#"{"username": "b", "date_joined": "yesterday"}"#,
            r#"{"username": "b", "pubkey": []}"#,
            &format!(r#"{{"username": "{long}"}}"#),
            &format!(r#"{{"username": "b", "nickname": "{long}{long}"}}"#),
        ] {
            assert_eq!(told.add(&USER, 2, Numbering::ByName, &user(bad)), None, "{bad}");
        }
        for (number_there, known) in
            [("2147483647", true), ("2147483648", false), ("0", false), ("1099511627777", false)]
        {
            assert_eq!(number(&Value::parse(number_there.as_bytes()).unwrap()).is_some(), known, "{number_there}");
        }
    }
}
