//! Finding holes: snapshots that a peer has and we lack although its feed told us nothing of them any more (a restored or
//! promoted peer begins a new feed; a repository may lose files).
//!
//! Each page carries a fingerprint of all that the peer lets us see. When ours differs, both sets are reconciled: a few small
//! messages, however many snapshots there are. That a difference is not ours to mend (we have more, or keep what the peer
//! deleted) is remembered, so that it costs nothing until something changes; after a week it is looked at again.

use std::collections::{BTreeSet, HashSet};

use jiff::SignedDuration;

use super::feed::apply;
use super::line::Line;
use super::{Lie, PullError, Puller};
use crate::domain::feed::{Change, Cursor, Fingerprint, MAX_PAGE_BYTES, Page};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::reconcile::{MAX_MESSAGE_BYTES, MAX_ROUNDS, Salt, SaltedId, SaltedSet};
use crate::domain::wire::messages::{MAX_IDS, ReconcileAnswer};
use crate::replicate::call::CallError;
use crate::store::blocking;
use crate::store::entropy;
use crate::store::index::{Collection, Compared};

/// A difference that is known is looked at again after this time.
const AGAIN: SignedDuration = SignedDuration::from_hours(7 * 24);

/// When sets are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    /// If the fingerprints differ, and it is not known why.
    TheyDiffer,
    /// In any case: the peer's feed is another one.
    Always,
}

/// Compares what the peer lets us see with what we have, and gets what is missing. Answers what was new, and where its feed
/// goes on for who has all that, if the sets were compared.
pub(super) async fn fill(
    puller: &Puller,
    line: &Line,
    theirs: Fingerprint,
    cursor: Option<Cursor>,
    when: When,
) -> Result<(Vec<ManifestId>, Option<Cursor>), PullError> {
    let index = &puller.store.index;
    let known = index.compared(&line.id).await?;
    if when == When::TheyDiffer && nothing_to_do(puller, line, theirs, known).await? {
        return Ok((Vec::new(), None));
    }
    // Only what the peer shows us is told and compared.
    let config = line.ask(puller.caller.config(&line.callee)).await?;
    let scope: BTreeSet<CollectionId> = config.collections.iter().map(|collection| collection.id).collect();
    let mut found = (Vec::new(), None);
    if when == When::Always || fingerprint(puller, &scope).await? != theirs {
        found = reconcile(puller, line, &scope, cursor).await?;
    }
    let ours = fingerprint(puller, &scope).await?;
    index.note_compared(&line.id, &Compared { scope, theirs, ours, at: puller.caller.now() }).await?;
    if !found.0.is_empty() {
        tracing::info!(peer.id = %line.id, snapshots = found.0.len(), "holes were filled");
    }
    Ok(found)
}

/// Whether the sets are the same, or differ in what is known and not ours to mend.
async fn nothing_to_do(
    puller: &Puller,
    line: &Line,
    theirs: Fingerprint,
    known: Option<Compared>,
) -> Result<bool, PullError> {
    if let Some(known) = known {
        let ours = fingerprint(puller, &known.scope).await?;
        let settled = (known.theirs, known.ours) == (theirs, ours);
        let fresh = puller.caller.now().duration_since(known.at) < AGAIN;
        return Ok(ours == theirs || (settled && fresh));
    }
    // Before it was ever asked: most peers show us what is theirs, or all that is not ours.
    let (collections, here) = (puller.store.index.collections().await?, puller.store.keys.instance());
    let of = |wanted: &dyn Fn(&Collection) -> bool| -> BTreeSet<CollectionId> {
        collections.iter().filter(|collection| wanted(collection)).map(|collection| collection.id).collect()
    };
    for scope in [of(&|collection| collection.origin == line.id), of(&|collection| collection.origin != here)] {
        if fingerprint(puller, &scope).await? == theirs {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn fingerprint(puller: &Puller, scope: &BTreeSet<CollectionId>) -> Result<Fingerprint, PullError> {
    Ok(puller.store.index.known_fingerprint(scope).await?)
}

/// All that was ever known here of these collections, what was deleted here included: it is not wanted again.
async fn ids(puller: &Puller, scope: &BTreeSet<CollectionId>) -> Result<Vec<ManifestId>, PullError> {
    Ok(puller.store.index.known_ids(scope).await?)
}

async fn reconcile(
    puller: &Puller,
    line: &Line,
    scope: &BTreeSet<CollectionId>,
    cursor: Option<Cursor>,
) -> Result<(Vec<ManifestId>, Option<Cursor>), PullError> {
    let salt = Salt::random(&mut entropy());
    let ours = ids(puller, scope).await?;
    let set = blocking(move || SaltedSet::new(salt, &ours)).await;
    let malformed = |_| line.failed(CallError::Malformed(None));
    let (mut left, head) = {
        let (mut asking, first) = set.ask().map_err(malformed)?;
        let (mut wanted, mut head, mut next) = (HashSet::<SaltedId>::new(), None, Some(first));
        let mut rounds = 0;
        while let Some(message) = next.take() {
            rounds += 1;
            // So what is noted stays bounded, too (R13): a message has room for so many ids.
            if rounds > MAX_ROUNDS {
                return Err(line.lied(Lie::Circles));
            }
            let ReconcileAnswer { cursor, message } =
                line.ask(puller.caller.reconcile(&line.callee, salt, &message)).await?;
            head.get_or_insert(cursor);
            let answer = Some(message).filter(|message| message.len() <= MAX_MESSAGE_BYTES);
            let answer = answer.ok_or_else(|| line.failed(CallError::Malformed(None)))?;
            let (more, then) = asking.take(&answer).map_err(malformed)?;
            wanted.extend(more);
            next = then;
        }
        (wanted, head)
    };
    let mut new = Vec::new();
    while let Some(next) = cursor.or(head).filter(|_| !left.is_empty()) {
        let batch: HashSet<SaltedId> = left.iter().take(MAX_IDS).copied().collect();
        let asked: Vec<SaltedId> = batch.iter().copied().collect();
        let mut changes = line.ask(puller.caller.manifests(&line.callee, salt, &asked)).await?;
        changes.retain(|change| batch.contains(&salt.hide(&change.id())));
        let got: HashSet<SaltedId> = changes.iter().map(|change| salt.hide(&change.id())).collect();
        // Only a long answer is cut short. What does not come in another one is gone meanwhile.
        let cut_short = changes.iter().map(Change::manifest_bytes).sum::<usize>() >= MAX_PAGE_BYTES;
        left.retain(|id| if cut_short { !got.contains(id) } else { !batch.contains(id) });
        let page = Page { changes, next, more: true, fingerprint: Fingerprint::default(), succession: None };
        new.extend(apply(puller, line, page, cursor).await?);
    }
    Ok((new, head))
}
