//! What opens here of what came: with our own key, and with a recovery key that somebody gave.

use std::collections::HashMap;

use super::folder::CollectionFolder;
use super::import::ImportError;
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::envelope::{Envelope, HPKE_X25519, RSA_OAEP_256, SnapshotKey};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::manifest::SignedManifest;
use crate::store::incoming::readers_envelopes;
use crate::store::{IndexError, Store};

/// Keys that came, and what the collections are called in them.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Of which snapshots.
    pub(super) ids: Vec<ManifestId>,
    /// The name in the newest snapshot of each collection.
    names: HashMap<CollectionId, (u64, String)>,
}

/// Opens what opens of these snapshots, whose manifests are here, and keeps it.
pub(super) fn open_all(
    store: &Store,
    folder: &CollectionFolder,
    ids: &[ManifestId],
    recovery: Option<&RecoveryKey>,
) -> Result<Opened, ImportError> {
    let (mut opened, mut sidecars) = (Opened::default(), Vec::new());
    for id in ids {
        let (signed, kept) = store.manifests.load(id)?;
        // What stands in the folder may have more envelopes than what is here.
        let came = folder.manifest(id).ok().filter(|came| came.signature == signed.signature);
        let came: Vec<Envelope> = came.map(|came| came.envelopes).unwrap_or_default();
        let Some((key, envelope)) = open(store, &signed, came.iter().chain(&kept), recovery) else { continue };
        let Ok(private) = signed.manifest.open_private(&key) else { continue };
        let envelope = match envelope {
            Some(envelope) => envelope,
            None => {
                let ours = store.keys.envelope.recipient();
                key.wrap_for(id, &ours.id(), &ours.wrapper()?)?
            }
        };
        sidecars.push((*id, readers_envelopes(&store.keys, id, &key, Some(envelope), kept)?));
        opened.ids.push(*id);
        let newest = opened.names.entry(signed.manifest.collection).or_default();
        if signed.manifest.sequence >= newest.0 {
            *newest = (signed.manifest.sequence, private.name);
        }
    }
    store.manifests.save_all_envelopes(sidecars)?;
    Ok(opened)
}

impl Opened {
    /// Remembers that these keys are here, and what the collections are called.
    pub(super) async fn note(self, store: &Store) -> Result<u64, IndexError> {
        store.index.keys_arrived(&self.ids).await?;
        for (collection, (_, name)) in self.names {
            match store.index.learn_name(&collection, &name).await {
                // Its admin may call it what nobody could type here: then it keeps the name that it has.
                Ok(_) | Err(IndexError::BadName { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.ids.len() as u64)
    }
}

/// A snapshot's key, with the envelope for our own key, if it was that which opened.
fn open<'a>(
    store: &Store,
    signed: &SignedManifest,
    envelopes: impl Iterator<Item = &'a Envelope> + Clone,
    recovery: Option<&RecoveryKey>,
) -> Option<(SnapshotKey, Option<Envelope>)> {
    let (id, commitment) = (&signed.id, &signed.manifest.commitment);
    let ours = store.keys.envelope.recipient().id();
    for envelope in envelopes.clone().filter(|e| e.algorithm == RSA_OAEP_256 && e.recipient == ours) {
        if let Ok(key) = envelope.open_with(id, commitment, &store.keys.envelope) {
            return Some((key, Some(envelope.clone())));
        }
    }
    let recovery = recovery?;
    let theirs = recovery.recipient().id();
    let mut theirs = envelopes.filter(|e| e.algorithm == HPKE_X25519 && e.recipient == theirs);
    theirs.find_map(|envelope| envelope.open_with_recovery(id, commitment, recovery).ok()).map(|key| (key, None))
}
