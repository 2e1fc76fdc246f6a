//! Telling a peer who leads which collection, and hearing what it knows: one request when something has changed, none otherwise.

use super::PullError;
use super::Puller;
use super::line::Line;
use crate::domain::peer::Trust;
use crate::domain::succession::SignedStatement;
use crate::replicate::call::CallError;
use crate::replicate::scope::effective;
use crate::replicate::succession::{digest, hear, nothing, visible};
use crate::store::index::Topic;

/// A request has room for so many bytes of statements; escaped they are longer.
const ROOM: usize = 80 << 10;

/// `theirs` stands for what the peer could tell. A peer of an earlier version knows nothing of it, and is not asked again.
pub(super) async fn exchange(puller: &Puller, line: &Line, theirs: Option<&str>) -> Result<(), PullError> {
    let store = &puller.store;
    let (collections, peers) = (store.index.collections().await?, store.index.peers().await?);
    let trust = peers.iter().find(|peer| peer.id == line.id).map(|peer| &peer.trust);
    let granted = match trust {
        Some(Trust::Trusted(granted)) => granted.clone(),
        _ => nothing(),
    };
    let rights = effective(&granted, &line.id, &store.keys.instance(), &collections, &peers);
    let ours = visible(store, &rights, &line.id).await?;
    let what = |theirs: Option<&str>, ours: Option<&str>| format!("{}/{}", theirs.unwrap_or("-"), ours.unwrap_or("-"));
    let now = what(theirs, digest(ours.iter().map(|statement| statement.id)).as_deref());
    if now == "-/-" || store.index.told(&line.id, Topic::Succession).await?.as_ref() == Some(&now) {
        return Ok(());
    }
    let mut heard = Vec::new();
    for statements in messages(ours.into_iter().map(|statement| statement.signed)) {
        heard = match line.ask(puller.caller.succession(&line.callee, statements)).await {
            Ok(heard) => heard,
            Err(PullError::Call { cause: CallError::NotFound, .. }) => {
                return Ok(store.index.note_told(&line.id, Topic::Succession, &now).await?);
            }
            Err(error) => return Err(error),
        };
    }
    hear(store, &heard, |_| true, &line.id).await?;
    // As it stands when both have heard: that is what the next page will show, if nothing else happens.
    let theirs = digest(heard.iter().map(SignedStatement::id));
    let ours = digest(visible(store, &rights, &line.id).await?.iter().map(|statement| statement.id));
    let told = what(theirs.as_deref(), ours.as_deref());
    Ok(store.index.note_told(&line.id, Topic::Succession, &told).await?)
}

/// As many messages as it takes; one without anything, if there is nothing to tell.
fn messages(statements: impl Iterator<Item = SignedStatement>) -> Vec<Vec<SignedStatement>> {
    let mut messages = vec![Vec::new()];
    let mut room = ROOM;
    for statement in statements {
        let size = statement.statement.len() + 512;
        if size > room {
            messages.push(Vec::new());
            room = ROOM;
        }
        room = room.saturating_sub(size);
        messages.last_mut().expect("there is one").push(statement);
    }
    messages
}
