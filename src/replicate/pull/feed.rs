//! Pages of a peer's feed: verified, saved as files, noted together with the cursor (R8, R11).

use std::collections::HashSet;
use std::time::Duration;

use super::holes::{self, When};
use super::line::Line;
use super::{Lie, PullError, Puller, succession};
use crate::domain::feed::{Change, Cursor, MAX_CHANGES, Page};
use crate::domain::id::ManifestId;
use crate::domain::manifest::SignedManifest;
use crate::store::blocking;
use crate::store::incoming::{Incoming, save_new};
use crate::store::{IndexError, ManifestFiles};

/// So many pages are read in one go.
const MAX_PAGES: usize = 1000;
pub(super) struct News {
    pub(super) new: Vec<ManifestId>,
    pub(super) caught_up: bool,
}

pub(super) async fn pull(puller: &Puller, line: &Line, mut wait: Duration) -> Result<News, PullError> {
    let known = puller.store.index.peer(&line.id).await?;
    let mut cursor = known.ok_or(IndexError::NoSuchPeer { id: line.id })?.cursor;
    let mut news = News { new: Vec::new(), caught_up: false };
    for _ in 0..MAX_PAGES {
        let page = line.ask(puller.caller.changes(&line.callee, cursor, MAX_CHANGES, wait)).await?;
        wait = Duration::ZERO;
        let (next, more, fingerprint) = (page.next, page.more, page.fingerprint);
        // First of all: whose snapshots count follows from it.
        match succession::exchange(puller, line, page.succession.as_deref()).await {
            Err(error @ PullError::Call { .. }) => {
                line.problem(format!("who leads which collection was not told: {error}"))
            }
            done => done?,
        }
        // A new feed (a restored or promoted peer) begins at its beginning: unless it is short, what we have is not read again.
        if let Some(known) = cursor.filter(|cursor| cursor.feed != next.feed && more) {
            tracing::info!(peer.id = %line.id, "the peer begins a new feed: comparing sets");
            let (new, head) = holes::fill(puller, line, fingerprint, Some(known), When::Always).await?;
            news.new.extend(new);
            if let Some(head) = head {
                puller.store.index.note_page(&line.id, &[], head).await?;
                cursor = Some(head);
                continue;
            }
        }
        if page.changes.len() > MAX_CHANGES || (more && cursor == Some(next)) {
            return Err(line.lied(Lie::Circles));
        }
        news.new.extend(apply(puller, line, page, cursor).await?);
        cursor = Some(next);
        if !more {
            news.caught_up = true;
            news.new.extend(holes::fill(puller, line, fingerprint, cursor, When::TheyDiffer).await?.0);
            break;
        }
    }
    Ok(news)
}

/// Applies a page; answers the snapshots that are new here. What is known already is passed over.
pub(super) async fn apply(
    puller: &Puller,
    line: &Line,
    page: Page,
    cursor: Option<Cursor>,
) -> Result<Vec<ManifestId>, PullError> {
    let index = &puller.store.index;
    let _turn = puller.shared.pages.lock().await;
    let mut incoming = Vec::new();
    for change in page.changes {
        // Tombstones delete nothing here: own retention decides.
        let Change::Manifest { id, manifest, signature, envelopes } = change else { continue };
        if index.snapshot(&id).await?.is_none() {
            incoming.push(Incoming { id, bytes: manifest.into_bytes(), signature, envelopes });
        }
    }
    if incoming.is_empty() {
        if cursor != Some(page.next) {
            index.note_page(&line.id, &[], page.next).await?;
        }
        return Ok(Vec::new());
    }
    let files = puller.store.manifests.clone();
    let saved = blocking(move || verify_and_save(&files, incoming)).await;
    let (signed, written) = saved.map_err(|error| match error {
        SaveError::Lie(lie) => line.lied(*lie),
        SaveError::File(error) => error.into(),
    })?;
    let noted = index.note_page(&line.id, &signed, page.next).await;
    // What the index does not name (a lying page, or something that was deleted here) leaves no file behind.
    let kept: HashSet<ManifestId> = noted.iter().flatten().copied().collect();
    let mut stray = Vec::new();
    for id in written {
        if !kept.contains(&id) && index.snapshot(&id).await?.is_none() {
            stray.push(id);
        }
    }
    let files = puller.store.manifests.clone();
    blocking(move || stray.iter().try_for_each(|id| files.remove(id))).await?;
    noted.map_err(|error| match error {
        IndexError::Fork { .. } | IndexError::ChunkElsewhere { .. } | IndexError::Contradiction { .. } => {
            line.lied(Lie::Page(error))
        }
        error => error.into(),
    })
}

enum SaveError {
    Lie(Box<Lie>),
    File(crate::store::ManifestFileError),
}

/// All manifests are verified before the first one is written. A file that is there already stays as it is, with its keys.
fn verify_and_save(
    files: &ManifestFiles,
    incoming: Vec<Incoming>,
) -> Result<(Vec<SignedManifest>, Vec<ManifestId>), SaveError> {
    let mut verified = Vec::with_capacity(incoming.len());
    for incoming in incoming {
        let id = incoming.id;
        verified.push(incoming.verify().map_err(|cause| SaveError::Lie(Box::new(Lie::Manifest { id, cause })))?);
    }
    let written = save_new(files, &verified).map_err(SaveError::File)?;
    Ok((verified.into_iter().map(|(signed, _)| signed).collect(), written))
}
