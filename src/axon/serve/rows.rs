//! Rows of an exported configuration, with numbers and names that do no harm where they are loaded.

use std::collections::{BTreeMap, HashMap, HashSet};

use sha2::{Digest, Sha256};

use crate::domain::axon::export::Row;
use crate::domain::axon::json::{Object, Value};
use crate::domain::axon::kept::Kept;

/// How far the numbers of a collection's rows are moved.
pub(super) const STEP: i64 = 1_000_000;
/// Rows that are made for a name begin here within a step.
const MADE: i64 = 900_000;

pub(super) const USER: Model = Model {
    name: "core.user",
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
    Model { name: "core.validfiletype", unique: &["mime_type"], fields: &["mime_type", "description", "is_enabled"] };
pub(super) const CATEGORY: Model =
    Model { name: "applets.appletcategory", unique: &["name"], fields: &["name", "description"] };
pub(super) const BOARD: Model = Model {
    name: "messaging.messageboard",
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

/// Added to a number that is the final one already.
pub(super) const FOUND: i64 = 1 << 40;

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
    pub(super) fn add(&mut self, model: &Model, pk: i64, fields: &Object) -> Option<i64> {
        let mut out = Object::new();
        for name in model.fields {
            if let Some(value) = fields.get(name) {
                out.set(*name, value.clone());
            }
        }
        if model.name == USER.name {
            if !fields.get("is_superuser").is_none_or(is_false) {
                return None;
            }
            // No such password exists: whoever has an account gets a new one from the clone's admin.
            out.set("password", "!");
            for name in ["is_superuser", "is_staff"] {
                out.set(name, Value::Bool(false));
            }
            for name in ["groups", "user_permissions"] {
                out.set(name, Vec::new());
            }
            // It names a file of another machine; who has none is given one.
            out.set("avatar", "");
        } else if model.name == BOARD.name {
            out.set("trusted_peers", Vec::new());
        }
        let main = out.get(model.unique[0]).and_then(text).filter(|name| !name.is_empty())?;
        if let Some(same) = self.names.get(&(model.name, model.unique[0], main)) {
            return Some(*same);
        }
        for name in model.unique {
            let value = out.get(name).and_then(text).filter(|value| !value.is_empty());
            let Some(value) = value else { continue };
            if self.names.contains_key(&(model.name, name, value)) {
                return None;
            }
        }
        if self.rows.contains_key(&(model.name, pk)) {
            return None;
        }
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

    /// The number of the row of this name, which is made if there is none.
    pub(super) fn named(&mut self, model: &Model, moved_by: i64, name: &str) -> i64 {
        if let Some(pk) = self.names.get(&(model.name, "name", name.to_owned())) {
            return *pk;
        }
        let digest = Sha256::digest(name.as_bytes());
        let mut pk = moved_by + MADE + i64::from(u16::from_be_bytes([digest[0], digest[1]]));
        while self.rows.contains_key(&(model.name, pk)) {
            pk += 1;
        }
        let fields = Object::new().with("name", name).with("description", "");
        self.add(model, pk, &fields).unwrap_or(pk)
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

/// A number that can be a row's, in a real instance and moved.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Int(int) => int.to_i64().filter(|pk| (1..FOUND * 2).contains(pk)),
        _ => None,
    }
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
