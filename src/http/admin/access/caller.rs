//! Who asks.

use jiff::Timestamp;

use super::sessions::Key;
use crate::domain::access::{KeptToken, Scope, Scopes, TokenDigest};
use crate::domain::audit::Who;

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub struct Caller {
    /// How.
    pub credential: Credential,
    /// What they may.
    pub scopes: Scopes,
    /// The very thing that was shown: one that is called the same is another one.
    pub(in crate::http::admin) shown: Shown,
}

/// What was shown, as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::http::admin) enum Shown {
    /// The owner's token.
    Owner,
    /// A token.
    Token(TokenDigest),
    /// A session.
    Session(Key),
}

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The token in the home's keys: whoever can read that file.
    Owner,
    /// A token that was made for somebody.
    Token {
        /// What it is called.
        name: String,
        /// When it stops being good.
        expires_at: Option<Timestamp>,
    },
    /// The cookie of a browser that logged in.
    Session,
}

impl Caller {
    /// Who can read the home's keys.
    pub(super) fn owner() -> Self {
        Self { credential: Credential::Owner, scopes: Scopes::from(Scope::Admin), shown: Shown::Owner }
    }

    /// Who has this token.
    pub(super) fn of_token(token: &KeptToken) -> Self {
        let credential = Credential::Token { name: token.name.clone(), expires_at: token.expires_at };
        Self { credential, scopes: token.scopes.clone(), shown: Shown::Token(token.digest) }
    }

    /// Who logged in.
    pub(super) fn of_session(key: Key) -> Self {
        Self { credential: Credential::Session, scopes: Scopes::from(Scope::Admin), shown: Shown::Session(key) }
    }

    /// As it stands in the audit log.
    pub fn who(&self) -> Who {
        match &self.credential {
            Credential::Owner => Who::AdminToken,
            Credential::Token { name, .. } => Who::Token { name: name.clone() },
            Credential::Session => Who::Browser,
        }
    }
}
