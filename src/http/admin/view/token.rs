//! A token as it is shown: everything but what it is.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::access::{KeptToken, Scopes};

/// A token.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TokenView {
    /// What it is called; one is called so.
    pub name: String,
    /// What it is good for: `metrics`, `read`, `operate`, `content`, `admin`.
    #[schema(value_type = Vec<String>)]
    pub scopes: Scopes,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it stops being good; absent if it does not.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Whether that is over.
    pub expired: bool,
    /// The last day, UTC, on which it was used; absent if it never was.
    #[schema(value_type = Option<String>, format = Date)]
    pub last_used_on: Option<Date>,
}

impl TokenView {
    /// What is shown of a token.
    pub fn of(token: KeptToken, now: Timestamp) -> Self {
        Self {
            expired: !token.is_good(now),
            name: token.name,
            scopes: token.scopes,
            created_at: token.created_at,
            expires_at: token.expires_at,
            last_used_on: token.last_used_on,
        }
    }
}
