//! Succession between instances: naming heirs, taking over, and telling each other.
//!
//! Statements prove themselves, so they may come from anybody; a peer is told those about collections that it may see or once led
//! (R12). Each page of the feed carries a digest of what there is to tell; only when that changes is there a request more.
//!
//! A former leader that comes back hears of it from its heir, which goes on pulling from it: from then on it makes no snapshots of
//! the collection, and what it made in between is pulled like all others and kept, beside the line. So nothing is lost on either
//! side.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};

use crate::domain::id::{CollectionId, InstanceId, StatementId};
use crate::domain::peer::{Rights, Scope};
use crate::domain::succession::{MAX_HEIRS, MAX_STATEMENTS, SignedStatement, Statement, Verified, appointed, renewed};
use crate::store::index::{Collection, CollectionSettings, Succeeded};
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
    /// One more than there may be.
    #[error("a collection has at most {MAX_HEIRS} heirs: withdraw one first")]
    TooManyHeirs,
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
    let statements = store.index.statements().await?;
    let number = match appointed(&collection.id, &here, &statements) {
        Some((_, known)) if *known == heirs => return Ok(()),
        None if heirs.is_empty() => return Ok(()),
        Some((number, _)) => number + 1,
        None => 1,
    };
    let key = &store.keys.identity;
    let signed = Statement::appointment(collection.id, key.public(), heirs, number, now).sign(key);
    let statement = signed.verify().expect("it was signed just now");
    store.index.add_statements(&[statement]).await?;
    Ok(())
}

/// Who is named an heir of a collection by whoever leads it now.
///
/// # Errors
/// [`IndexError`].
pub async fn heirs(store: &Store, collection: &Collection) -> Result<BTreeSet<InstanceId>, IndexError> {
    let statements = store.index.statements().await?;
    Ok(appointed(&collection.id, &collection.origin, &statements).map(|(_, heirs)| heirs.clone()).unwrap_or_default())
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
        let is_heir = |named: &InstanceId| named == heir || renewed(*named, &statements) == *heir;
        let left: BTreeSet<InstanceId> = named.iter().copied().filter(|named| !is_heir(named)).collect();
        if left.len() < named.len() {
            appoint(store, &collection, left, now).await?;
            withdrawn += 1;
        }
    }
    Ok(withdrawn)
}

/// Appoints the same heirs anew, after this instance's identity has changed from `former`: what the old key said counts no more.
/// Answers for how many collections.
///
/// # Errors
/// [`SuccessionError`].
pub async fn renew_appointments(store: &Store, former: &InstanceId, now: Timestamp) -> Result<u64, SuccessionError> {
    let statements = store.index.statements().await?;
    let mut renewed = 0;
    for collection in store.index.collections().await? {
        let heirs = appointed(&collection.id, former, &statements).map(|(_, heirs)| heirs.clone()).unwrap_or_default();
        if collection.origin == store.keys.instance() && !heirs.is_empty() {
            appoint(store, &collection, heirs, now).await?;
            renewed += 1;
        }
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
    if !appointed(&collection.id, &from, &statements).is_some_and(|(_, heirs)| heirs.contains(&here)) {
        return Err(SuccessionError::NotAppointed(collection.name.clone()));
    }
    let snapshots = store.index.snapshots(Some(&collection.id)).await?;
    let in_line = snapshots.iter().filter(|snapshot| !snapshot.beside);
    let after = in_line.map(|snapshot| snapshot.sequence).max().unwrap_or(0);
    let at = not_before(now, &statements, collection);
    let key = &store.keys.identity;
    let signed = Statement::takeover(collection.id, from, key.public(), after, at).sign(key);
    store.index.take_over(&signed.verify().expect("it was signed just now"), settings).await.map_err(|error| {
        match error {
            IndexError::NotEntitled => SuccessionError::NotAppointed(collection.name.clone()),
            error => error.into(),
        }
    })?;
    tracing::warn!(collection.id = %collection.id, former = %from, after, "this instance leads the collection from now on");
    Ok(Promotion { from, after, at })
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
    let led = |collection: &Collection| collection.line.iter().any(|reign| reign.instance == *peer);
    let seen: Vec<&Collection> = collections.iter().filter(|c| rights.scope.includes(&c.id) || led(c)).collect();
    let about: BTreeSet<CollectionId> = seen.iter().map(|collection| collection.id).collect();
    let leaders: BTreeSet<InstanceId> =
        seen.iter().flat_map(|collection| &collection.line).map(|reign| reign.instance).collect();
    statements.retain(|verified| match &verified.statement {
        Statement::Renewal { from, to, .. } => leaders.contains(&from.instance()) || store.keys.is_ours(&to.instance()),
        other => other.collection().is_some_and(|collection| about.contains(&collection)),
    });
    statements.truncate(MAX_STATEMENTS);
    Ok(statements)
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
    let verified = told.iter().take(MAX_STATEMENTS).filter_map(|signed| {
        let verified = signed.verify();
        let verified = verified.inspect_err(|error| tracing::warn!(peer.id = %peer, %error, "a statement was ignored"));
        verified.ok()
    });
    let verified: Vec<Verified> =
        verified.filter(|verified| verified.statement.collection().is_none_or(|about| may_tell(&about))).collect();
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

/// Which collections a guest may tell us of: those that it may see, and those that it led.
pub fn may_tell(collections: &[Collection], rights: &Rights, peer: &InstanceId) -> BTreeSet<CollectionId> {
    let led = |collection: &Collection| collection.line.iter().any(|reign| reign.instance == *peer);
    let included = |collection: &&Collection| rights.scope.includes(&collection.id) || led(collection);
    collections.iter().filter(included).map(|collection| collection.id).collect()
}

/// Rights to see nothing: for asking what a peer that has none may be told.
pub fn nothing() -> Rights {
    Rights { scope: Scope::Only(BTreeSet::new()), ..Rights::none() }
}
