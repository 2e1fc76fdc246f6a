//! Succession between instances: naming heirs, taking over, and telling each other.
//!
//! Statements prove themselves, so they may come from anybody; a peer is told those about collections that it may see or once led
//! (R12). Each page of the feed carries a digest of what there is to tell; only when that changes is there a request more.
//!
//! A former leader that comes back hears of it from its heir, which goes on pulling from it: from then on it makes no snapshots of
//! the collection, and what it made in between is pulled like all others and kept, beside the line. So nothing is lost on either
//! side.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::domain::id::{CollectionId, InstanceId, StatementId};
use crate::domain::peer::{Rights, Role, Scope, Trust};
use crate::domain::succession::{
    Former, MAX_HEIRS, MAX_STATEMENTS, SignedStatement, Statement, Succession, Verified, appointed, heirs_now,
    is_renewal_of,
};
use crate::store::index::{Collection, CollectionSettings, Peer, Snapshot, Succeeded};
use crate::store::{IndexError, Store};

/// Why nobody takes over, or is named an heir.
#[derive(Debug, thiserror::Error)]
pub enum SuccessionError {
    /// The collection is led from here.
    #[error("this instance leads collection {0:?} already: there is nothing to take over")]
    LeadsAlready(String),
    /// The collection is led by somebody else.
    #[error("collection {0:?} is led by another instance, and only who leads a collection names its heirs")]
    NotOurs(String),
    /// Nobody named this instance.
    #[error(
        "the instance that leads collection {0:?} has not appointed this one: there it takes 'bulbil peer appoint', and a sync here while that instance was well. Without that other peers would not follow; its data can be restored here and added as a new collection"
    )]
    NotAppointed(String),
    /// Nobody whom this instance trusts.
    #[error("peer {peer} is {state} here: only a trusted one can be an heir")]
    NotTrusted {
        /// Its name here.
        peer: String,
        /// What it is.
        state: &'static str,
    },
    /// It could not go on with what it cannot read.
    #[error("peer {peer} cannot read collection {collection}: an heir is a reader of it ('bulbil peer trust')")]
    NotReader {
        /// Its name here.
        peer: String,
        /// The collection.
        collection: String,
    },
    /// One more than there may be.
    #[error("a collection has at most {MAX_HEIRS} heirs: withdraw one first")]
    TooManyHeirs,
    /// Our own statement has no place any more.
    #[error(
        "who may take over collection {0:?} was changed too often under this instance's key, so nothing was changed: replace the key with 'bulbil rotate-key identity', then say it again"
    )]
    NotKept(String),
    /// The repository.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What a takeover means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Who led until now.
    pub from: InstanceId,
    /// Number of the last snapshot of it that is known here.
    pub after: u64,
    /// Since when this instance leads.
    pub at: Timestamp,
}

/// Names a peer an heir of a collection that is led from here, or one no more.
///
/// # Errors
/// [`SuccessionError`].
pub async fn set_heir(
    store: &Store,
    collection: &Collection,
    peer: &Peer,
    is_heir: bool,
    now: Timestamp,
) -> Result<(), SuccessionError> {
    if collection.origin != store.keys.instance() {
        return Err(SuccessionError::NotOurs(collection.name.clone()));
    }
    let mut named = heirs(store, collection).await?;
    if is_heir {
        let Trust::Trusted(rights) = &peer.trust else {
            return Err(SuccessionError::NotTrusted { peer: peer.name.clone(), state: peer.trust.word() });
        };
        if rights.role != Role::Reader || !rights.scope.includes(&collection.id) {
            let (peer, collection) = (peer.name.clone(), collection.name.clone());
            return Err(SuccessionError::NotReader { peer, collection });
        }
        named.insert(peer.id);
    } else {
        named.remove(&peer.id);
    }
    appoint(store, collection, named, now).await
}

/// Names the heirs of a collection that is led from here; whoever was named before and is not among them is one no more.
///
/// # Errors
/// [`SuccessionError`].
pub async fn appoint(
    store: &Store,
    collection: &Collection,
    heirs: BTreeSet<InstanceId>,
    now: Timestamp,
) -> Result<(), SuccessionError> {
    let here = store.keys.instance();
    if collection.origin != here {
        return Err(SuccessionError::NotOurs(collection.name.clone()));
    }
    if heirs.len() > MAX_HEIRS {
        return Err(SuccessionError::TooManyHeirs);
    }
    say(store, collection, heirs, now).await
}

async fn say(
    store: &Store,
    collection: &Collection,
    heirs: BTreeSet<InstanceId>,
    now: Timestamp,
) -> Result<(), SuccessionError> {
    let here = store.keys.instance();
    let statements = store.index.statements().await?;
    let number = match appointed(&collection.id, &here, &statements) {
        Some((_, known)) if *known == heirs => return Ok(()),
        // What was said under a former key holds until something is said under this one.
        None if heirs.is_empty() && store.keys.renewals.is_empty() => return Ok(()),
        Some((number, _)) => number + 1,
        None => 1,
    };
    let former = match number {
        1 => former(store, collection, &statements).await?,
        _ => None,
    };
    let key = &store.keys.identity;
    let signed = Statement::appointment(collection.id, key.public(), heirs, number, now, former).sign(key);
    let statement = signed.verify().map_err(|_| SuccessionError::NotKept(collection.name.clone()))?;
    let id = statement.id;
    store.index.add_statements(&[statement]).await?;
    let kept = store.index.statements().await?;
    match kept.iter().any(|statement| statement.id == id) {
        true => Ok(()),
        false => Err(SuccessionError::NotKept(collection.name.clone())),
    }
}

/// What this instance said and made about a collection under the key before this one, if there was one.
async fn former(store: &Store, collection: &Collection, statements: &[Verified]) -> Result<Option<Former>, IndexError> {
    let Some(before) = store.keys.renewals.last().map(|renewal| renewal.statement.signer()) else { return Ok(None) };
    let said = statements.iter().filter(|verified| {
        let statement = &verified.statement;
        matches!(statement, Statement::Appointment { .. })
            && statement.collection() == Some(collection.id)
            && statement.signer() == before
    });
    let made = store.index.snapshots(Some(&collection.id)).await?;
    let in_line = made.iter().filter(|snapshot| snapshot.instance == before && !snapshot.beside);
    let last = in_line.map(|snapshot| snapshot.sequence).max().unwrap_or(0);
    Ok(Some(Former { last, appointments: said.map(|verified| verified.id).collect() }))
}

/// Who is named an heir of a collection by whoever leads it now.
///
/// # Errors
/// [`IndexError`].
pub async fn heirs(store: &Store, collection: &Collection) -> Result<BTreeSet<InstanceId>, IndexError> {
    let statements = store.index.statements().await?;
    Ok(heirs_now(&collection.id, &collection.line, &statements).cloned().unwrap_or_default())
}

/// Names an instance an heir no more, of all collections that are led from here. Answers how many there were.
///
/// # Errors
/// [`SuccessionError`].
pub async fn withdraw(store: &Store, heir: &InstanceId, now: Timestamp) -> Result<u64, SuccessionError> {
    let mut withdrawn = 0;
    for collection in store.index.collections().await? {
        if collection.origin != store.keys.instance() {
            continue;
        }
        let named = heirs(store, &collection).await?;
        // Under a former key, too.
        let statements = store.index.statements().await?;
        let is_heir = |named: &InstanceId| is_renewal_of(heir, *named, &statements);
        let left: BTreeSet<InstanceId> = named.iter().copied().filter(|named| !is_heir(named)).collect();
        if left.len() < named.len() {
            appoint(store, &collection, left, now).await?;
            withdrawn += 1;
        }
    }
    Ok(withdrawn)
}

/// Says under this instance's key of now who the heirs are, where it has gone on from another key and has not done so yet: for each
/// collection that is or was led from here, if there are heirs or not, since from then on nobody can say anything under the former
/// key. Does nothing otherwise, so that it goes on after a kill. Answers for how many collections with heirs.
///
/// # Errors
/// [`SuccessionError`].
pub async fn renew_appointments(store: &Store, now: Timestamp) -> Result<u64, SuccessionError> {
    let mut renewed = 0;
    if store.keys.renewals.is_empty() {
        return Ok(renewed);
    }
    let here = store.keys.instance();
    for collection in store.index.collections().await? {
        let statements = store.index.statements().await?;
        let led = collection.line.iter().any(|reign| store.keys.is_ours(&reign.instance));
        if !led || appointed(&collection.id, &here, &statements).is_some() {
            continue;
        }
        let heirs = match collection.origin == here {
            true => heirs_now(&collection.id, &collection.line, &statements).cloned().unwrap_or_default(),
            false => BTreeSet::new(),
        };
        renewed += u64::from(!heirs.is_empty());
        say(store, &collection, heirs, now).await?;
    }
    Ok(renewed)
}

/// Makes this instance the leader of a collection: it backs up `settings` from now on, under a new feed, and its snapshots follow
/// the last one of its predecessor that is known here. In one transaction.
///
/// # Errors
/// [`SuccessionError`]; nothing is changed then.
pub async fn promote(
    store: &Store,
    collection: &Collection,
    settings: &CollectionSettings,
    now: Timestamp,
) -> Result<Promotion, SuccessionError> {
    let (here, from) = (store.keys.instance(), collection.origin);
    if from == here {
        return Err(SuccessionError::LeadsAlready(collection.name.clone()));
    }
    let statements = store.index.statements().await?;
    if !is_appointed(&here, collection, &statements) {
        return Err(SuccessionError::NotAppointed(collection.name.clone()));
    }
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let last_of = |counts: &dyn Fn(&Snapshot) -> bool| {
        snapshots.iter().filter(|snapshot| counts(snapshot)).map(|snapshot| snapshot.sequence).max().unwrap_or(0)
    };
    let after = last_of(&|snapshot| !snapshot.beside);
    // What it made astray stays beside the line.
    let first = after.max(last_of(&|snapshot| snapshot.instance == here)).saturating_add(1);
    let at = not_before(now, &statements, collection);
    let key = &store.keys.identity;
    let signed = Statement::takeover(collection.id, from, key.public(), after, at, first).sign(key);
    store.index.take_over(&signed.verify().expect("it was signed just now"), settings).await.map_err(|error| {
        match error {
            IndexError::NotEntitled => SuccessionError::NotAppointed(collection.name.clone()),
            error => error.into(),
        }
    })?;
    tracing::warn!(collection.id = %collection.id, former = %from, after, "this instance leads the collection from now on");
    Ok(Promotion { from, after, at })
}

/// Whether this instance may take a collection over: whoever leads it appointed it.
///
/// # Errors
/// [`IndexError`].
pub async fn may_take_over(store: &Store, collection: &Collection) -> Result<bool, IndexError> {
    Ok(is_appointed(&store.keys.instance(), collection, &store.index.statements().await?))
}

fn is_appointed(here: &InstanceId, collection: &Collection, statements: &[Verified]) -> bool {
    let named = heirs_now(&collection.id, &collection.line, statements);
    named.is_some_and(|heirs| heirs.iter().any(|heir| is_renewal_of(here, *heir, statements)))
}

/// Clocks differ: a takeover is not earlier than the appointment that it rests on, nor than the reign that it ends.
fn not_before(now: Timestamp, statements: &[Verified], collection: &Collection) -> Timestamp {
    let appointments = statements.iter().filter_map(|verified| match &verified.statement {
        Statement::Appointment { collection: about, at, .. } if *about == collection.id => Some(*at),
        _ => None,
    });
    let since = collection.line.iter().filter_map(|reign| reign.since);
    let latest = appointments.chain(since).max();
    let behind = |at: Timestamp| at.checked_add(SignedDuration::from_nanos(1)).unwrap_or(at);
    latest.map_or(now, |latest| now.max(behind(latest)))
}

/// What an instance with these (narrowed) rights is told: statements about collections that it may see or once led, and renewals
/// of whoever led those, or of this instance.
///
/// # Errors
/// [`IndexError`].
pub async fn visible(store: &Store, rights: &Rights, peer: &InstanceId) -> Result<Vec<Verified>, IndexError> {
    let mut statements = store.index.statements().await?;
    if statements.is_empty() {
        return Ok(statements);
    }
    let collections = store.index.collections().await?;
    let mut seen = Vec::new();
    for collection in &collections {
        let succession = succession(collection, &statements);
        if rights.scope.includes(&collection.id) || succession.members.contains(peer) {
            seen.push(succession);
        }
    }
    statements.retain(|verified| {
        let of_us = matches!(&verified.statement, Statement::Renewal { to, .. } if store.keys.is_ours(&to.instance()));
        of_us || seen.iter().any(|succession| succession.concerns(&verified.statement))
    });
    let rests_on = seen.iter().flat_map(|succession| succession.rests_on.iter().copied()).collect();
    Ok(shortened(statements, &rests_on))
}

/// No more than fit into a message: what the lines rest on first, then of each signer the newest.
fn shortened(mut statements: Vec<Verified>, rests_on: &BTreeSet<StatementId>) -> Vec<Verified> {
    statements.sort_by_key(|verified| (Reverse(verified.statement.at()), verified.id));
    let mut of_signer: BTreeMap<(Option<CollectionId>, InstanceId), usize> = BTreeMap::new();
    let rank = |verified: &Verified| {
        let nth = of_signer.entry((verified.statement.collection(), verified.statement.signer())).or_default();
        *nth += 1;
        if rests_on.contains(&verified.id) { 0 } else { *nth }
    };
    let ranks: BTreeMap<StatementId, usize> = {
        let mut rank = rank;
        statements.iter().map(|verified| (verified.id, rank(verified))).collect()
    };
    statements.sort_by_key(|verified| ranks[&verified.id]);
    if statements.len() > MAX_STATEMENTS {
        tracing::warn!(
            statements = statements.len(),
            "not all statements of succession fit into a message: older ones are not told"
        );
        statements.truncate(MAX_STATEMENTS);
    }
    statements
}

fn succession(collection: &Collection, statements: &[Verified]) -> Succession {
    let founder = collection.line.first().map_or(collection.origin, |reign| reign.instance);
    Succession::of(&collection.id, founder, statements)
}

/// What stands for a set of statements: SHA-256 of their sorted ids, the first half of it in hex. Nothing stands for none.
pub fn digest(statements: impl IntoIterator<Item = StatementId>) -> Option<String> {
    let ids: BTreeSet<StatementId> = statements.into_iter().collect();
    let mut hash = Sha256::new();
    ids.iter().for_each(|id| hash.update(id.as_bytes()));
    (!ids.is_empty()).then(|| data_encoding::HEXLOWER.encode(&hash.finalize()[..16]))
}

/// Takes over what a peer tells: what holds and is about collections that it may see, once led, or that it lets us see. What does
/// not hold is passed over.
///
/// # Errors
/// [`IndexError`].
pub async fn hear(
    store: &Store,
    told: &[SignedStatement],
    may_tell: impl Fn(&CollectionId) -> bool,
    peer: &InstanceId,
) -> Result<Succeeded, IndexError> {
    let known: BTreeSet<StatementId> = store.index.statements().await?.iter().map(|statement| statement.id).collect();
    let new = told.iter().take(MAX_STATEMENTS).filter(|signed| !known.contains(&signed.id()));
    let verified = new.filter_map(|signed| {
        let verified = signed.verify();
        let verified = verified.inspect_err(|error| tracing::warn!(peer.id = %peer, %error, "a statement was ignored"));
        verified.ok()
    });
    let verified = verified.filter(|verified| verified.statement.collection().is_none_or(|about| may_tell(&about)));
    let verified: Vec<Verified> = verified.filter(|verified| !is_false(store, verified)).collect();
    let before = store.index.collections().await?;
    let succeeded = store.index.add_statements(&verified).await?;
    for (id, leader) in &succeeded.led_by {
        let ours = before.iter().any(|collection| collection.id == *id && collection.origin == store.keys.instance());
        if ours {
            tracing::warn!(collection.id = %id, leader = %leader, "another instance leads this collection now: no snapshots of it are made here any more");
        } else {
            tracing::info!(collection.id = %id, leader = %leader, "another instance leads this collection now");
        }
    }
    Ok(succeeded)
}

/// Whether a renewal of this instance's own key was made by somebody else, who has had the key.
pub fn is_false(store: &Store, verified: &Verified) -> bool {
    let false_one = store.keys.disown(verified);
    if false_one {
        tracing::error!(
            "somebody who has had this instance's key says that it goes on under another one: that is not believed here. Tell the admins of its peers; they can revoke that instance"
        );
    }
    false_one
}

/// Which collections a guest may tell us of: those that it may see, and those of which it is a member.
///
/// # Errors
/// [`IndexError`].
pub async fn may_tell(store: &Store, rights: &Rights, peer: &InstanceId) -> Result<BTreeSet<CollectionId>, IndexError> {
    let statements = store.index.statements().await?;
    let mut collections = store.index.collections().await?;
    collections.retain(|collection| {
        rights.scope.includes(&collection.id) || succession(collection, &statements).members.contains(peer)
    });
    Ok(collections.iter().map(|collection| collection.id).collect())
}

/// Rights to see nothing: for asking what a peer that has none may be told.
pub fn nothing() -> Rights {
    Rights { scope: Scope::Only(BTreeSet::new()), ..Rights::none() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::crypto::secret::Secret;
    use crate::domain::crypto::sign::IdentityKey;

    #[test]
    fn of_more_than_fits_what_counts_and_what_is_newest_is_told() {
        let key = |n: u8| IdentityKey::from_seed(&Secret::from_bytes([n; 32]));
        let id = CollectionId::from_slice(&[5; CollectionId::LEN]).unwrap();
        let at = |second: u64| Timestamp::from_second(second as i64).unwrap();
        let appoints = |by: u8, number: u64, second: u64| {
            let statement = Statement::appointment(id, key(by).public(), BTreeSet::new(), number, at(second), None);
            statement.sign(&key(by)).verify().unwrap()
        };
        let many = (1..=300).map(|number| appoints(1, number, 1000 + number));
        let (counts, of_another) = (appoints(1, 999, 1), appoints(2, 1, 2));
        let all = [counts.clone(), of_another.clone()].into_iter().chain(many).collect();
        let told = shortened(all, &BTreeSet::from([counts.id]));
        assert_eq!(told.len(), MAX_STATEMENTS);
        for wanted in [counts.id, of_another.id, appoints(1, 300, 1300).id, appoints(1, 100, 1100).id] {
            assert!(told.iter().any(|statement| statement.id == wanted));
        }
        assert!(!told.iter().any(|statement| statement.id == appoints(1, 1, 1001).id));
    }
}
