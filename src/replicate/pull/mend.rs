//! Brings back manifests whose files were damaged or lost: from what is still here, and from any trusted peer that has them.
//!
//! What still opens is kept: a snapshot's key that lies here under the master key stays, whatever happened to the rest. What
//! comes from a peer is compared with its name and signature before it is written.

use std::collections::HashMap;

use super::line::Line;
use super::{Lie, PullError, Puller, keys};
use crate::domain::envelope::{Envelope, HPKE_X25519, SnapshotKey, VAULT};
use crate::domain::feed::Change;
use crate::domain::id::ManifestId;
use crate::domain::manifest::SignedManifest;
use crate::domain::reconcile::{Salt, SaltedId};
use crate::domain::wire::messages::MAX_IDS;
use crate::store::blocking;
use crate::store::incoming::recovery_only;
use crate::store::manifests::{Looked, Part};
use crate::store::{ManifestFileError, Store, entropy};

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Mended {
    pub(super) healed: u64,
    pub(super) left: u64,
}

/// What is damaged or lost now.
pub(super) async fn wanted(puller: &Puller) -> Result<Vec<ManifestId>, PullError> {
    let mut wanted = puller.store.lost_manifests().await?;
    for id in puller.shared.damaged() {
        if !wanted.contains(&id) && puller.store.index.snapshot(&id).await?.is_some() {
            wanted.push(id);
        }
    }
    Ok(wanted)
}

/// Mends these, first without and then with peers.
pub(super) async fn mend(puller: &Puller, wanted: Vec<ManifestId>, lines: &[Line]) -> Result<Mended, PullError> {
    let before = wanted.len() as u64;
    let mut left = {
        let _turn = puller.shared.pages.lock().await;
        let store = puller.store.clone();
        blocking(move || {
            let left = wanted.into_iter().map(|id| Ok((id, mend_here(&store, &id)?)));
            left.collect::<Result<HashMap<_, _>, ManifestFileError>>()
        })
        .await?
    };
    left.retain(|id, mended| {
        puller.shared.note_damaged(id, !*mended);
        !*mended
    });
    let mut left: Vec<ManifestId> = left.into_keys().collect();
    for line in lines {
        if left.is_empty() {
            break;
        }
        // One that fails, or is of a version that cannot answer, is no help; the others are.
        match from_peer(puller, line, &mut left).await {
            Err(error @ (PullError::Call { .. } | PullError::Lied { .. })) => line.problem(error.to_string()),
            done => done?,
        }
    }
    Ok(Mended { healed: before - left.len() as u64, left: left.len() as u64 })
}

async fn from_peer(puller: &Puller, line: &Line, left: &mut Vec<ManifestId>) -> Result<(), PullError> {
    let salt = Salt::random(&mut entropy());
    let mut without_key = Vec::new();
    for batch in left.clone().chunks(MAX_IDS) {
        let mut asked: Vec<SaltedId> = batch.iter().map(|id| salt.hide(id)).collect();
        // An answer may be cut short when it is long: what did not come is asked for again, as long as anything comes.
        while !asked.is_empty() {
            let changes = line.ask(puller.caller.manifests(&line.callee, salt, &asked)).await?;
            let come = asked.len();
            for change in changes {
                let Change::Manifest { id, manifest, signature, envelopes } = change else { continue };
                if !asked.contains(&salt.hide(&id)) {
                    continue;
                }
                let signed = SignedManifest::verify(id, manifest.into_bytes(), signature)
                    .map_err(|cause| line.lied(Lie::Manifest { id, cause }))?;
                let has_key = {
                    let _turn = puller.shared.pages.lock().await;
                    let (store, envelopes) = (puller.store.clone(), recovery_only(envelopes));
                    blocking(move || put_back(&store, &signed, envelopes)).await?
                };
                if !has_key {
                    puller.store.index.keys_lost(&[id]).await?;
                    without_key.push(id);
                }
                puller.shared.note_damaged(&id, false);
                asked.retain(|other| *other != salt.hide(&id));
                left.retain(|other| *other != id);
            }
            if asked.len() == come {
                break;
            }
        }
    }
    if !without_key.is_empty() {
        keys::pull(puller, line, &without_key).await?;
    }
    Ok(())
}

/// Puts a manifest that came from a peer in its place, with all that still opens here; answers whether its key is here.
fn put_back(store: &Store, signed: &SignedManifest, theirs: Vec<Envelope>) -> Result<bool, ManifestFileError> {
    let looked = store.manifests.look(&signed.id);
    let key = vault_key(store, signed, &looked.envelopes);
    let envelopes = match looked.faults.iter().any(|(part, _)| *part == Part::Sidecar) {
        false => looked.envelopes,
        true => envelopes(store, signed, key.as_ref(), theirs),
    };
    store.manifests.replace(signed, &envelopes, &looked.faults, &store.home.quarantine())?;
    Ok(key.is_some())
}

/// Mends a manifest with what is here; answers whether nothing is wrong with it any more.
fn mend_here(store: &Store, id: &ManifestId) -> Result<bool, ManifestFileError> {
    let looked = store.manifests.look(id);
    if looked.faults.is_empty() {
        return Ok(true);
    }
    let Some(signed) = signed_again(store, id, &looked) else { return Ok(false) };
    // Somebody else's envelopes cannot be checked here: a peer may have better ones.
    let recovery = store.keys.recovery.id();
    let foreign = |envelope: &Envelope| envelope.algorithm == HPKE_X25519 && envelope.recipient != recovery;
    let Some(key) = vault_key(store, &signed, &looked.envelopes) else { return Ok(false) };
    if looked.envelopes.iter().any(foreign) {
        return Ok(false);
    }
    let envelopes = envelopes(store, &signed, Some(&key), Vec::new());
    store.manifests.replace(&signed, &envelopes, &looked.faults, &store.home.quarantine())?;
    Ok(true)
}

/// The manifest, if its bytes are here, with its signature or, if it is our own, signed again.
fn signed_again(store: &Store, id: &ManifestId, looked: &Looked) -> Option<SignedManifest> {
    let bytes = looked.document.as_ref()?;
    let kept = looked.signature.and_then(|kept| SignedManifest::verify(*id, bytes.clone(), kept).ok());
    kept.or_else(|| SignedManifest::sign_again(*id, bytes.clone(), &store.keys.identity).ok())
}

fn vault_key(store: &Store, signed: &SignedManifest, envelopes: &[Envelope]) -> Option<SnapshotKey> {
    let mut vaults = envelopes.iter().filter(|envelope| envelope.algorithm == VAULT);
    let open = |envelope: &Envelope| {
        envelope.open_with_vault(&signed.id, &signed.manifest.commitment, &store.keys.master).ok()
    };
    vaults.find_map(open)
}

/// New envelopes for ourselves, and those for others that came from a peer.
fn envelopes(
    store: &Store,
    signed: &SignedManifest,
    key: Option<&SnapshotKey>,
    mut theirs: Vec<Envelope>,
) -> Vec<Envelope> {
    let mut all = Vec::new();
    if let Some(key) = key {
        all.push(key.wrap_for_vault(&mut entropy(), &signed.id, &store.keys.master));
        if let Ok(recovery) = key.wrap_for_recovery(&mut entropy(), &signed.id, &store.keys.recovery) {
            theirs.retain(|other| other.recipient != recovery.recipient);
            all.push(recovery);
        }
    }
    all.append(&mut theirs);
    all
}
