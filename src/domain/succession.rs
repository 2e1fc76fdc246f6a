//! Succession: who makes the snapshots of a collection, and who took over from whom.
//!
//! Three kinds of signed statements, which travel between peers and are kept for good:
//!
//! - an **appointment**: the instance that leads a collection names its heirs, while it is well;
//! - a **takeover**: an heir says that it leads from now on, and behind which snapshot;
//! - a **renewal**: an instance says, with its old and its new key, that it goes on under the new one.
//!
//! What follows from them, who led when and whose snapshots are kept, is worked out by [`Succession`].

mod line; // what follows from a set of statements
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::crypto::sign::{IdentityKey, PublicKey, SignatureBytes, SignatureError};
use super::id::{CollectionId, InstanceId, StatementId};

pub use line::{Reign, Succession, appointed, founder, heirs_now, is_renewal_of, renewed, stands_beside};

/// The format's name and version.
pub const FORMAT: &str = "bulbil-succession/1";
/// No statement is longer, in bytes.
pub const MAX_BYTES: usize = 8 << 10;
/// Most heirs of one collection.
pub const MAX_HEIRS: usize = 16;
/// Most statements in one message.
pub const MAX_STATEMENTS: usize = 256;

const PURPOSE: &str = "bulbil/succession/1";

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Statement {
    /// Who may take over.
    Appointment {
        /// [`FORMAT`].
        format: String,
        /// Which collection.
        collection: CollectionId,
        /// Who says so: its key.
        by: PublicKey,
        /// Who may take over; replaces all that was said before. Nobody, if empty.
        heirs: BTreeSet<InstanceId>,
        /// Counts the appointments of this signer for this collection, from 1.
        number: u64,
        /// When it was said.
        at: Timestamp,
        /// If the signer went on from another key: what it said and made under that one. Nothing else of the former key counts,
        /// so that whoever steals that afterwards cannot date anything back. Older statements are silent about it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        former: Option<Former>,
    },
    /// Somebody takes over.
    Takeover {
        /// [`FORMAT`].
        format: String,
        /// Which collection.
        collection: CollectionId,
        /// From whom.
        from: InstanceId,
        /// Who takes over: its key.
        by: PublicKey,
        /// Number of the predecessor's last snapshot that the heir knows. Later ones of the predecessor stand beside the line.
        after: u64,
        /// When it was said.
        at: Timestamp,
        /// Number from which the heir's snapshots stand in the line: what it made before, not knowing that it did not lead any
        /// more, stays beside. Older statements do not say; then it is the one behind `after`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        first: Option<u64>,
    },
    /// An instance goes on under another key. Signed with both.
    Renewal {
        /// [`FORMAT`].
        format: String,
        /// The key until now.
        from: PublicKey,
        /// The key from now on.
        to: PublicKey,
        /// When it was said.
        at: Timestamp,
    },
}

/// What an instance said and made about a collection under the key before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// Number of the last snapshot that it made; 0 if none.
    pub last: u64,
    /// All its appointments.
    pub appointments: BTreeSet<StatementId>,
}

/// A statement as it is kept and sent: the text that was signed, and its signatures.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct SignedStatement {
    /// JSON text of a [`Statement`], verbatim.
    pub statement: String,
    /// Ed25519 over `"bulbil/succession/1" 0x00` ‖ the text; of a renewal with the old key.
    #[schema(value_type = String)]
    pub signature: SignatureBytes,
    /// Of a renewal: the same with the new key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub countersignature: Option<SignatureBytes>,
}

/// A statement whose signatures hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// SHA-256 of its text.
    pub id: StatementId,
    /// What it says.
    pub statement: Statement,
    /// As it came.
    pub signed: SignedStatement,
}

/// What is wrong with a statement.
#[derive(Debug, thiserror::Error)]
pub enum StatementError {
    /// Longer than [`MAX_BYTES`], or with more heirs than [`MAX_HEIRS`].
    #[error("a statement of succession is too long")]
    TooLong,
    /// Not JSON of this shape, or of a version to come.
    #[error("this is not a statement of the form {FORMAT}")]
    NotAStatement(#[source] Option<serde_json::Error>),
    /// Not signed by whom it names.
    #[error("the signature of a statement of succession does not hold")]
    Signature(#[from] SignatureError),
}

impl Statement {
    /// An appointment.
    pub fn appointment(
        collection: CollectionId,
        by: PublicKey,
        heirs: BTreeSet<InstanceId>,
        number: u64,
        at: Timestamp,
        former: Option<Former>,
    ) -> Self {
        Statement::Appointment { format: FORMAT.to_owned(), collection, by, heirs, number, at, former }
    }

    /// A takeover, behind the predecessor's snapshot `after`; the heir's own stand in the line from `first` on.
    pub fn takeover(
        collection: CollectionId,
        from: InstanceId,
        by: PublicKey,
        after: u64,
        at: Timestamp,
        first: u64,
    ) -> Self {
        let first = Some(first);
        Statement::Takeover { format: FORMAT.to_owned(), collection, from, by, after, at, first }
    }

    /// Signs an appointment or a takeover with the key that it names.
    pub fn sign(&self, key: &IdentityKey) -> SignedStatement {
        let statement = self.text();
        let signature = key.sign(PURPOSE, statement.as_bytes());
        SignedStatement { statement, signature, countersignature: None }
    }

    /// When it was said.
    pub fn at(&self) -> Timestamp {
        match self {
            Statement::Appointment { at, .. } | Statement::Takeover { at, .. } | Statement::Renewal { at, .. } => *at,
        }
    }

    /// The collection that it is about; a renewal is about all.
    pub fn collection(&self) -> Option<CollectionId> {
        match self {
            Statement::Appointment { collection, .. } | Statement::Takeover { collection, .. } => Some(*collection),
            Statement::Renewal { .. } => None,
        }
    }

    /// Who says so.
    pub fn signer(&self) -> InstanceId {
        match self {
            Statement::Appointment { by, .. } | Statement::Takeover { by, .. } => by.instance(),
            Statement::Renewal { from, .. } => from.instance(),
        }
    }

    fn text(&self) -> String {
        serde_json::to_string(self).expect("a statement has no maps with odd keys")
    }
}

/// Makes a renewal, signed with both keys.
pub fn renewal(from: &IdentityKey, to: &IdentityKey, at: Timestamp) -> SignedStatement {
    let statement = Statement::Renewal { format: FORMAT.to_owned(), from: from.public(), to: to.public(), at }.text();
    let signature = from.sign(PURPOSE, statement.as_bytes());
    let countersignature = Some(to.sign(PURPOSE, statement.as_bytes()));
    SignedStatement { statement, signature, countersignature }
}

impl SignedStatement {
    /// Which one it is.
    pub fn id(&self) -> StatementId {
        StatementId::of(self.statement.as_bytes())
    }

    /// Reads a statement of which the signatures were checked when it was taken over.
    ///
    /// # Errors
    /// [`StatementError::NotAStatement`].
    pub fn verified_before(self) -> Result<Verified, StatementError> {
        let statement = serde_json::from_str(&self.statement).map_err(|e| StatementError::NotAStatement(Some(e)))?;
        Ok(Verified { id: self.id(), statement, signed: self })
    }

    /// Checks the signatures and reads the text.
    ///
    /// # Errors
    /// [`StatementError`].
    pub fn verify(&self) -> Result<Verified, StatementError> {
        let text = self.statement.as_bytes();
        if text.len() > MAX_BYTES {
            return Err(StatementError::TooLong);
        }
        let statement: Statement =
            serde_json::from_slice(text).map_err(|error| StatementError::NotAStatement(Some(error)))?;
        let format = match &statement {
            Statement::Appointment { format, by, heirs, .. } => {
                if heirs.len() > MAX_HEIRS {
                    return Err(StatementError::TooLong);
                }
                by.verify(PURPOSE, text, &self.signature)?;
                format
            }
            Statement::Takeover { format, by, .. } => {
                by.verify(PURPOSE, text, &self.signature)?;
                format
            }
            Statement::Renewal { format, from, to, .. } => {
                from.verify(PURPOSE, text, &self.signature)?;
                to.verify(PURPOSE, text, self.countersignature.as_ref().ok_or(SignatureError)?)?;
                format
            }
        };
        // One spelling: nothing else is signed along.
        if format != FORMAT || statement.text() != self.statement {
            return Err(StatementError::NotAStatement(None));
        }
        Ok(Verified { id: self.id(), statement, signed: self.clone() })
    }
}
