//! Who asks.

use crate::domain::access::{Scope, Scopes};
use crate::domain::audit::Who;

/// Somebody who has shown who they are.
#[derive(Debug, Clone)]
pub struct Caller {
    /// How.
    pub credential: Credential,
    /// What they may.
    pub scopes: Scopes,
}

/// What was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The token in the home's keys: whoever can read that file.
    Owner,
}

impl Caller {
    /// Who can read the home's keys.
    pub(super) fn owner() -> Self {
        Self { credential: Credential::Owner, scopes: Scopes::from(Scope::Admin) }
    }

    /// As the audit log names them.
    pub fn who(&self) -> Who {
        match self.credential {
            Credential::Owner => Who::AdminToken,
        }
    }
}
