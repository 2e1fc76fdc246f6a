//! Succession: who makes the snapshots of a collection, and who took over from whom.
//!
//! Three kinds of signed statements, which travel between peers and are kept for good:
//!
//! - an **appointment**: the instance that leads a collection names its heirs, while it is well;
//! - a **takeover**: an heir says that it leads from now on, and behind which snapshot;
//! - a **renewal**: an instance says, with its old and its new key, that it goes on under the new one.
//!
//! From the founder and all statements, [`line()`] follows who led when. It is a function of the *set* of statements: whoever has
//! the same ones, in whatever order they came, sees the same line. Where two heirs took over from the same predecessor, the
//! earlier takeover counts (then the smaller id); the other heir's snapshots are kept, beside the line.
//!
//! A statement that nobody was entitled to has no effect: a takeover counts only if the newest appointment of its predecessor
//! that is not later than it names the heir. Moments are those of the signers; what a lying heir can do with that stands in the
//! threat model.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::crypto::sign::{IdentityKey, PublicKey, SignatureBytes, SignatureError};
use super::id::{CollectionId, InstanceId, StatementId};

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
    ) -> Self {
        Statement::Appointment { format: FORMAT.to_owned(), collection, by, heirs, number, at }
    }

    /// A takeover.
    pub fn takeover(collection: CollectionId, from: InstanceId, by: PublicKey, after: u64, at: Timestamp) -> Self {
        Statement::Takeover { format: FORMAT.to_owned(), collection, from, by, after, at }
    }

    /// Signs an appointment or a takeover with the key that it names.
    pub fn sign(&self, key: &IdentityKey) -> SignedStatement {
        let statement = self.text();
        let signature = key.sign(PURPOSE, statement.as_bytes());
        SignedStatement { statement, signature, countersignature: None }
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

/// A time during which one instance led a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reign {
    /// Who.
    pub instance: InstanceId,
    /// Since when; the founder leads from the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Number of its last snapshot that stands in the line; `None` if all do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

impl Reign {
    /// That of whoever made the first snapshot.
    pub fn founder(instance: InstanceId) -> Self {
        Self { instance, since: None, until: None }
    }
}

/// Who led a collection, one after the other; the last one leads now. Never empty.
pub fn line<'a>(
    collection: &CollectionId,
    founder: InstanceId,
    statements: impl IntoIterator<Item = &'a Verified>,
) -> Vec<Reign> {
    // By id, so that the order in which they came does not matter.
    let mut open: BTreeMap<StatementId, &Statement> = statements
        .into_iter()
        .filter(|verified| verified.statement.collection().is_none_or(|about| about == *collection))
        .map(|verified| (verified.id, &verified.statement))
        .collect();
    let appointments: Vec<&Statement> =
        open.values().copied().filter(|statement| matches!(statement, Statement::Appointment { .. })).collect();
    let mut reigns = vec![Reign::founder(founder)];
    loop {
        let head = reigns.last_mut().expect("it has a founder");
        let follows = |statement: &Statement| next(statement, &head.instance, &appointments);
        let candidates = open.iter().filter_map(|(id, statement)| follows(statement).map(|step| (step, *id)));
        // What was said during an earlier reign of the same instance is settled.
        let candidates = candidates.filter(|(step, _)| head.since.is_none_or(|since| step.at >= since));
        let Some((step, id)) = candidates.min_by_key(|(step, id)| (step.at, *id)) else { return reigns };
        open.remove(&id);
        head.until = step.after;
        reigns.push(Reign { instance: step.to, since: Some(step.at), until: None });
    }
}

struct Step {
    to: InstanceId,
    at: Timestamp,
    after: Option<u64>,
}

/// Where the line goes on from `head` if this statement counts.
fn next(statement: &Statement, head: &InstanceId, appointments: &[&Statement]) -> Option<Step> {
    match statement {
        Statement::Renewal { from, to, at, .. } if from.instance() == *head => {
            Some(Step { to: to.instance(), at: *at, after: None })
        }
        Statement::Takeover { from, by, after, at, .. } if from == head => {
            let heir = by.instance();
            let named = heirs(appointments, head, *at).is_some_and(|heirs| heirs.contains(&heir));
            (named && heir != *head).then_some(Step { to: heir, at: *at, after: Some(*after) })
        }
        _ => None,
    }
}

/// Whom an instance had named at a moment: its newest appointment until then.
fn heirs<'a>(appointments: &[&'a Statement], of: &InstanceId, until: Timestamp) -> Option<&'a BTreeSet<InstanceId>> {
    let of_it = appointments.iter().filter_map(|statement| match statement {
        Statement::Appointment { by, heirs, number, at, .. } if by.instance() == *of && *at <= until => {
            Some((*number, *at, heirs))
        }
        _ => None,
    });
    of_it.max_by_key(|(number, at, _)| (*number, *at)).map(|(_, _, heirs)| heirs)
}

/// The newest appointment of an instance for a collection: its number and the heirs.
pub fn appointed<'a>(
    collection: &CollectionId,
    by: &InstanceId,
    statements: &'a [Verified],
) -> Option<(u64, &'a BTreeSet<InstanceId>)> {
    let of_it = statements.iter().filter_map(|verified| match &verified.statement {
        Statement::Appointment { collection: about, by: signer, heirs, number, .. }
            if about == collection && signer.instance() == *by =>
        {
            Some((*number, heirs))
        }
        _ => None,
    });
    of_it.max_by_key(|(number, _)| *number)
}

/// Where a snapshot of a maker stands: `None` if it has no business in the collection; otherwise whether it stands beside the
/// line, made by a former leader who did not know yet.
pub fn stands_beside(line: &[Reign], maker: &InstanceId, sequence: u64) -> Option<bool> {
    let last = line.iter().rposition(|reign| reign.instance == *maker)?;
    Some(line[last].until.is_some_and(|until| sequence > until))
}

/// The instance that a chain of renewals leads to, from `known` on.
pub fn renewed<'a>(known: InstanceId, statements: impl IntoIterator<Item = &'a Verified>) -> InstanceId {
    let collection = CollectionId::from_slice(&[0; CollectionId::LEN]).expect("it has the right length");
    let renewals: Vec<&Verified> =
        statements.into_iter().filter(|verified| verified.statement.collection().is_none()).collect();
    line(&collection, known, renewals).last().expect("it has a founder").instance
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::crypto::secret::Secret;
    use proptest::prelude::*;

    fn key(n: u8) -> IdentityKey {
        IdentityKey::from_seed(&Secret::from_bytes([n; 32]))
    }

    fn id(n: u8) -> InstanceId {
        key(n).public().instance()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    const NOTES: [u8; 16] = [5; 16];

    fn notes() -> CollectionId {
        CollectionId::from_slice(&NOTES).unwrap()
    }

    fn appoints(by: u8, heirs: &[u8], number: u64, second: i64) -> Verified {
        let heirs = heirs.iter().map(|n| id(*n)).collect();
        let statement = Statement::appointment(notes(), key(by).public(), heirs, number, at(second));
        statement.sign(&key(by)).verify().unwrap()
    }

    fn takes(from: u8, by: u8, after: u64, second: i64) -> Verified {
        let statement = Statement::takeover(notes(), id(from), key(by).public(), after, at(second));
        statement.sign(&key(by)).verify().unwrap()
    }

    fn renews(from: u8, to: u8, second: i64) -> Verified {
        renewal(&key(from), &key(to), at(second)).verify().unwrap()
    }

    fn leads(statements: &[Verified]) -> Vec<InstanceId> {
        line(&notes(), id(1), statements).into_iter().map(|reign| reign.instance).collect()
    }

    #[test]
    fn an_heir_takes_over_and_nobody_else() {
        let (appointment, takeover) = (appoints(1, &[2], 1, 10), takes(1, 2, 7, 20));
        let line = line(&notes(), id(1), [&takeover, &appointment]);
        assert_eq!((line[0].until, line[1].instance, line[1].since), (Some(7), id(2), Some(at(20))));
        assert_eq!(stands_beside(&line, &id(1), 7), Some(false));
        assert_eq!(stands_beside(&line, &id(1), 8), Some(true));
        assert_eq!(stands_beside(&line, &id(2), 8), Some(false));
        assert_eq!(stands_beside(&line, &id(3), 8), None);
        // Not appointed; appointed by somebody without a say; appointed too late; withdrawn before.
        assert_eq!(leads(&[takes(1, 3, 7, 20), appointment.clone()]), [id(1)]);
        assert_eq!(leads(&[takes(1, 3, 7, 20), appoints(3, &[3], 1, 10)]), [id(1)]);
        assert_eq!(leads(&[takes(1, 2, 7, 9), appointment.clone()]), [id(1)]);
        assert_eq!(leads(&[takeover.clone(), appointment.clone(), appoints(1, &[], 2, 15)]), [id(1)]);
        // What a former leader says afterwards changes nothing.
        assert_eq!(leads(&[takeover, appointment, appoints(1, &[], 2, 21)]), [id(1), id(2)]);
    }

    #[test]
    fn of_two_heirs_the_earlier_one_leads_and_a_return_is_possible() {
        let both = appoints(1, &[2, 3], 1, 10);
        let (second, third) = (takes(1, 2, 7, 21), takes(1, 3, 6, 20));
        assert_eq!(leads(&[second.clone(), third.clone(), both.clone()]), [id(1), id(3)]);
        let back = [appoints(3, &[1], 1, 30), takes(3, 1, 9, 40)];
        let all = [both, second, third, back[0].clone(), back[1].clone()];
        assert_eq!(leads(&all), [id(1), id(3), id(1)]);
    }

    #[test]
    fn a_renewed_key_leads_on() {
        let statements = [renews(1, 4, 10), appoints(4, &[2], 1, 20), takes(4, 2, 3, 30)];
        assert_eq!(leads(&statements), [id(1), id(4), id(2)]);
        assert_eq!(renewed(id(1), &statements), id(4));
        let forged = SignedStatement { countersignature: None, ..statements[0].signed.clone() };
        assert!(forged.verify().is_err());
    }

    #[test]
    fn any_changed_byte_is_refused() {
        let signed = takes(1, 2, 7, 20).signed;
        for at in 0..signed.statement.len() {
            let mut bytes = signed.statement.clone().into_bytes();
            bytes[at] ^= 1;
            let Ok(statement) = String::from_utf8(bytes) else { continue };
            assert!(SignedStatement { statement, ..signed.clone() }.verify().is_err());
        }
    }

    proptest! {
        #[test]
        fn the_order_of_statements_does_not_matter(mut picks in proptest::collection::vec((0u8..3, 1u8..5, 1u8..5, 0i64..40), 0..12), seed: u64) {
            let make = |(kind, a, b, second): &(u8, u8, u8, i64)| match kind {
                0 => appoints(*a, &[*b], *second as u64 + 1, *second),
                1 => takes(*a, *b, *second as u64, *second),
                _ => renews(*a, *b, *second),
            };
            let forth = leads(&picks.iter().map(make).collect::<Vec<_>>());
            let len = picks.len();
            if len > 0 {
                picks.rotate_left(seed as usize % len);
            }
            picks.reverse();
            prop_assert_eq!(leads(&picks.iter().map(make).collect::<Vec<_>>()), forth);
        }

        #[test]
        fn no_text_makes_it_panic(statement: String) {
            let signature = key(1).sign("x", b"");
            let signed = SignedStatement { statement, signature, countersignature: None };
            prop_assert!(signed.verify().is_err());
        }
    }
}
