//! Keys that have changed: ours, which a peer is shown once, and a peer's, whose document proves that it is still the same.

use super::line::Line;
use super::{PullError, Puller};
use crate::replicate::call::CallError;
use crate::replicate::renew::receive;
use crate::store::index::{Peer, Topic};

/// Shows the peer our identity document if our keys have changed since it saw it last. A peer of an earlier version cannot take
/// it: its admin runs 'bulbil peer refresh-key'.
pub(super) async fn show(puller: &Puller, line: &Line) -> Result<(), PullError> {
    let Some(generation) = puller.caller.generation() else { return Ok(()) };
    let index = &puller.store.index;
    if index.told(&line.id, Topic::Keys).await?.as_ref() == Some(&generation) {
        return Ok(());
    }
    match line.ask(puller.caller.show_identity(&line.callee)).await {
        Ok(()) | Err(PullError::Call { cause: CallError::NotFound, .. }) => {}
        Err(error) => return Err(error),
    }
    Ok(index.note_told(&line.id, Topic::Keys, &generation).await?)
}

/// The peer as it is now, if whoever answers at its address proves to be the same instance under another key.
pub(super) async fn follow(puller: &Puller, peer: &Peer) -> Result<Option<Peer>, PullError> {
    let Some(address) = &peer.address else { return Ok(None) };
    let Ok((signed, identity)) = puller.caller.identity(address, None).await else { return Ok(None) };
    if !identity.continues(&peer.id) {
        return Ok(None);
    }
    receive(&puller.store, &signed, &identity).await?;
    Ok(puller.store.index.peer(&identity.instance).await?)
}
