//! Federated actions: what one instance's moderators did, told to the others.
//!
//! Nothing in an action proves who may order it: what is done about it is the receiver's to decide.

use jiff::Timestamp;

use super::json::{Object, ShapeError, Text, Value};
use super::kept::{Fields, Kept};
use super::moment;
use super::payload::need_uuid;
use super::uuid::Uuid;

/// What an action does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionType {
    /// `ban_pubkey`: the user with the target key is banned.
    BanPubkey,
    /// `unpin_content`: the target content is not pinned any more.
    UnpinContent,
    /// `DELETE_CONTENT`: messages with the target hash are deleted.
    DeleteContent,
    /// `update_profile`: nickname, karma and avatar of the user with the target key.
    UpdateProfile,
    /// Something that we do not know; kept and passed on.
    Other(String),
}

impl ActionType {
    /// As it stands in actions.
    pub fn as_str(&self) -> &str {
        match self {
            Self::BanPubkey => "ban_pubkey",
            Self::UnpinContent => "unpin_content",
            Self::DeleteContent => "DELETE_CONTENT",
            Self::UpdateProfile => "update_profile",
            Self::Other(name) => name,
        }
    }

    fn of(name: &str) -> Self {
        match name {
            "ban_pubkey" => Self::BanPubkey,
            "unpin_content" => Self::UnpinContent,
            "DELETE_CONTENT" => Self::DeleteContent,
            "update_profile" => Self::UpdateProfile,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One action. Applied once for each `id`.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// Its id.
    pub id: Uuid,
    /// What it does.
    pub action_type: ActionType,
    /// The user's key whom it is about.
    pub pubkey_target: Option<Text>,
    /// The content that it is about; any text.
    pub content_hash_target: Option<Text>,
    /// By type: `is_temporary` and `duration_hours`; `reason`; `nickname`, `karma`, `avatar_hash`, `pending_avatar_filename`.
    pub details: Object,
    /// When it was made, or when the instance that tells it received it.
    pub created_at: Timestamp,
}

impl Fields for Action {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        let details = match object.get("action_details") {
            None | Some(Value::Null) => Object::new(),
            Some(_) => object.need_object("action_details")?.clone(),
        };
        Ok(Self {
            id: need_uuid(object, "id")?,
            action_type: ActionType::of(object.need_str("action_type")?),
            pubkey_target: object.optional_text("pubkey_target")?.cloned(),
            content_hash_target: object.optional_text("content_hash_target")?.cloned(),
            details,
            created_at: object.need_moment("created_at")?,
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("id", self.id.as_str())
            .with("action_type", self.action_type.as_str())
            .with("pubkey_target", self.pubkey_target.clone())
            .with("content_hash_target", self.content_hash_target.clone())
            .with("action_details", self.details.clone())
            .with("created_at", moment::format(self.created_at))
    }
}

/// Reads the actions of one answer, each by itself: one that cannot be read does not hold up the others.
///
/// # Errors
/// If it is not an array.
pub fn read_all(value: Value) -> Result<Vec<Result<Kept<Action>, ShapeError>>, ShapeError> {
    Ok(value.into_list()?.into_iter().map(Kept::from_value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_of_an_unknown_type_is_kept_and_a_bad_one_alone_is_refused() {
        let good = r#"{"id": "9d00d0d2-1d37-40f1-a77f-3ab115289799", "action_type": "wave", "pubkey_target": null, "content_hash_target": null, "action_details": {"x": 1.0}, "created_at": "2026-11-21T20:44:52+00:00"}"#;
        let text = format!("[{good}, {}]", good.replace("9d00", "zz00"));
        let actions = read_all(Value::parse(text.as_bytes()).unwrap()).unwrap();
        let action = actions[0].as_ref().unwrap();
        assert_eq!(action.action_type, ActionType::Other("wave".into()));
        assert_eq!(action.to_value().to_line(), good);
        assert_eq!(Value::Object(action.write()).to_line(), good);
        assert!(actions[1].is_err());
    }
}
