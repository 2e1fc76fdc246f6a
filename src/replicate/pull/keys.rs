//! Keys for what we may read: envelopes for our own key, opened, checked (R5) and kept under the master key.

use std::collections::HashMap;

use super::error::KeyTrouble;
use super::line::Line;
use super::{PullError, Puller};
use crate::domain::envelope::{Envelope, RSA_OAEP_256};
use crate::domain::id::{CollectionId, ManifestId};
use crate::domain::wire::messages::{EnvelopeAnswer, MAX_IDS};
use crate::store::blocking;
use crate::store::incoming::readers_envelopes;
use crate::store::{IndexError, Store};

/// Fewer than this are not worth another thread: opening one takes about a millisecond.
const SLICE: usize = 64;

#[derive(Default)]
pub(super) struct Got {
    pub(super) keys: u64,
    pub(super) without: Vec<ManifestId>,
}

/// A snapshot whose key is here now.
struct Opened {
    id: ManifestId,
    collection: CollectionId,
    sequence: u64,
    name: String,
}

/// Asks for keys of all snapshots that have none, except for those that this peer did not give a short time ago.
pub(super) async fn pull_missing(puller: &Puller, line: &Line) -> Result<u64, PullError> {
    let mut ids = puller.store.index.without_key().await?;
    puller.shared.retain_present_keys(&line.id, &mut ids);
    let got = pull(puller, line, &ids).await?;
    Ok(got.keys)
}

/// Asks for keys of these snapshots.
pub(super) async fn pull(puller: &Puller, line: &Line, ids: &[ManifestId]) -> Result<Got, PullError> {
    let mut got = Got::default();
    let mut names: HashMap<CollectionId, (u64, String)> = HashMap::new();
    for batch in ids.chunks(MAX_IDS) {
        let answers = line.ask(puller.caller.envelopes(&line.callee, batch)).await?;
        let (mut here, mut without, mut fatal) = (Vec::new(), Vec::new(), None);
        for opened in open_all(&puller.store, answers).await {
            match opened {
                Ok(opened) => {
                    here.push(opened.id);
                    got.keys += 1;
                    let newest = names.entry(opened.collection).or_default();
                    if opened.sequence > newest.0 {
                        *newest = (opened.sequence, opened.name);
                    }
                }
                Err((_, Some(KeyTrouble::Fatal(error)))) => fatal = fatal.or(Some(*error)),
                Err((id, trouble)) => {
                    if let Some(trouble) = trouble {
                        line.problem(trouble.to_string());
                    }
                    without.push(id);
                }
            }
        }
        puller.store.index.keys_arrived(&here).await?;
        if let Some(error) = fatal {
            return Err(error);
        }
        puller.shared.note_absent_keys(&line.id, without.iter().copied());
        got.without.append(&mut without);
    }
    for (collection, (_, name)) in names {
        match puller.store.index.learn_name(&collection, &name).await {
            // Its admin may call it what nobody could type here: then it keeps the name that it has.
            Ok(_) | Err(IndexError::BadName { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(got)
}

type Tried = Result<Opened, (ManifestId, Option<KeyTrouble>)>;

/// Opens envelopes on all cores, never on the executor (R4).
async fn open_all(store: &Store, answers: Vec<EnvelopeAnswer>) -> Vec<Tried> {
    let mut slices = Vec::new();
    let mut answers = answers.into_iter().peekable();
    while answers.peek().is_some() {
        let (slice, store): (Vec<EnvelopeAnswer>, Store) = (answers.by_ref().take(SLICE).collect(), store.clone());
        slices.push(blocking(move || open_slice(&store, slice)));
    }
    futures_util::future::join_all(slices).await.into_iter().flatten().collect()
}

/// Opens some, and saves what came of them together.
fn open_slice(store: &Store, answers: Vec<EnvelopeAnswer>) -> Vec<Tried> {
    let mut sidecars = Vec::new();
    let mut tried = Vec::with_capacity(answers.len());
    for EnvelopeAnswer { id, envelope, .. } in answers {
        tried.push(match envelope.map(|envelope| open(store, id, envelope)) {
            None => Err((id, None)),
            Some(Err(trouble)) => Err((id, Some(trouble))),
            Some(Ok((opened, envelopes))) => {
                sidecars.push((id, envelopes));
                Ok(opened)
            }
        });
    }
    if let Err(error) = store.manifests.save_all_envelopes(sidecars) {
        let mut error = Some(error);
        for one in &mut tried {
            let Ok(Opened { id, .. }) = one else { continue };
            let trouble = error.take().map(|error| KeyTrouble::Fatal(Box::new(error.into())));
            *one = Err((*id, trouble));
        }
    }
    tried
}

/// Opens an envelope and checks its key. Answers what is to be kept of it: under the master key, as it came, and for the recovery
/// keys.
fn open(store: &Store, id: ManifestId, envelope: Envelope) -> Result<(Opened, Vec<Envelope>), KeyTrouble> {
    let fatal = |error: PullError| KeyTrouble::Fatal(Box::new(error));
    let ours = store.keys.envelope.recipient().id();
    if envelope.algorithm != RSA_OAEP_256 || envelope.recipient != ours {
        return Err(KeyTrouble::OtherKey(id));
    }
    let (signed, kept) = store.manifests.load(&id).map_err(|error| fatal(error.into()))?;
    let manifest = &signed.manifest;
    let key = envelope.open_with(&id, &manifest.commitment, &store.keys.envelope);
    let key = key.map_err(|cause| KeyTrouble::Envelope { id, cause })?;
    let private = manifest.open_private(&key).map_err(|cause| KeyTrouble::Manifest { id, cause })?;
    let envelopes = readers_envelopes(&store.keys, &id, &key, Some(envelope), kept);
    let envelopes = envelopes.map_err(|error| fatal(error.into()))?;
    let opened = Opened { id, collection: manifest.collection, sequence: manifest.sequence, name: private.name };
    Ok((opened, envelopes))
}
