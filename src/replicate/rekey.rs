//! Envelopes, just in time: a snapshot's key, wrapped for the key that the caller has now (R3).
//!
//! The snapshot's key is kept sealed under the master key, so that one envelope costs one symmetric opening and one public-key
//! operation, and never a private one (R4). Many are made at once, on all cores, off the request handlers' threads, and no
//! more at a time than there are cores, whoever asks. Nothing that is made is kept.

use std::sync::Arc;

use serde::Deserialize;

use super::serve::{Guest, Serve, ServeError};
use crate::domain::crypto::keywrap::Wrapper;
use crate::domain::envelope::{Envelope, VAULT};
use crate::domain::id::ManifestId;
use crate::domain::manifest::MAX_BYTES;
use crate::domain::peer::Role;
use crate::domain::wire::messages::{EnvelopeAnswer, EnvelopeStatus};
use crate::store::Store;
use crate::store::blocking;

/// Fewer than this are not worth another thread.
const SLICE: usize = 32;

/// Envelopes for a guest, in the order of `ids`. A mirror gets none; what it may not see, and what has no key here, looks
/// like what does not exist (R12).
///
/// # Errors
/// [`ServeError`]. When the future is dropped, slices that were begun are finished and thrown away.
pub async fn envelopes(serve: &Serve, guest: &Guest, ids: &[ManifestId]) -> Result<Vec<EnvelopeAnswer>, ServeError> {
    let visible = match guest.rights.role {
        Role::Reader => serve.store().index.visible_manifests(&guest.rights, ids).await?,
        Role::Mirror => vec![false; ids.len()],
    };
    // A key that cannot wrap was refused when the identity document was read; if not, nobody can have an envelope.
    let Ok(wrapper) = guest.identity.envelope_key.wrapper() else {
        return Ok(ids.iter().map(|id| answer(*id, None)).collect());
    };
    let (wrapper, recipient) = (Arc::new(wrapper), Arc::<str>::from(guest.identity.envelope_key.id()));
    let wanted: Vec<(ManifestId, bool)> = ids.iter().copied().zip(visible).collect();
    let slices = wanted.chunks(SLICE).map(|slice| {
        let (slice, store) = (slice.to_vec(), serve.store().clone());
        let (wrapper, recipient, cores) = (Arc::clone(&wrapper), Arc::clone(&recipient), Arc::clone(&serve.cores));
        async move {
            let _core = cores.acquire_owned().await.expect("the semaphore is never closed");
            blocking(move || {
                let wrap = |(id, visible): &(ManifestId, bool)| {
                    answer(*id, visible.then(|| wrap(&store, id, &recipient, &wrapper)).flatten())
                };
                slice.iter().map(wrap).collect::<Vec<_>>()
            })
            .await
        }
    });
    Ok(futures_util::future::join_all(slices).await.concat())
}

fn answer(id: ManifestId, envelope: Option<Envelope>) -> EnvelopeAnswer {
    let status = if envelope.is_some() { EnvelopeStatus::Ok } else { EnvelopeStatus::Absent };
    EnvelopeAnswer { id, status, envelope }
}

/// The part of a manifest that is needed; reading the rest of a long one would cost more than wrapping.
#[derive(Deserialize)]
struct Commitment {
    commitment: String,
}

fn wrap(store: &Store, id: &ManifestId, recipient: &str, wrapper: &Wrapper) -> Option<Envelope> {
    let envelopes = store.manifests.load_envelopes(id);
    let envelopes = envelopes.inspect_err(|error| tracing::warn!(manifest.id = %id, %error, "no envelope")).ok()?;
    let vault = envelopes.iter().find(|envelope| envelope.algorithm == VAULT)?;
    let bytes = std::fs::read(store.manifests.path(id)).ok().filter(|bytes| bytes.len() <= MAX_BYTES)?;
    let head: Commitment = serde_json::from_slice(&bytes).ok()?;
    let key = vault.open_with_vault(id, &head.commitment, &store.keys.master);
    let key = key.inspect_err(|error| tracing::warn!(manifest.id = %id, %error, "no envelope")).ok()?;
    key.wrap_for(id, recipient, wrapper).ok()
}
