//! Renewed keys: an instance that has another envelope key, or goes on under another identity, stays the same peer.
//!
//! It says so by its identity document: one with a higher version of the envelope key wins, and one with a chain of renewals from a
//! known key to another one moves the peer, with its name, rights and cursor, to the new id. Who was revoked stays revoked: a chain
//! that begins at such a peer leads nowhere.

use crate::domain::id::InstanceId;
use crate::domain::identity::{Identity, SignedIdentity};
use crate::domain::peer::Trust;
use crate::domain::succession::{Verified, renewed};
use crate::replicate::succession::is_false;
use crate::store::index::Peer;
use crate::store::{IndexError, Store};

/// What an identity document changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Renewed {
    /// It is a trusted peer's, and nothing in it is new.
    Nothing,
    /// A trusted peer has another envelope key.
    Envelope,
    /// A trusted peer goes on under this id.
    Identity(InstanceId),
    /// It is no trusted peer's, nor leads from one.
    Stranger,
}

/// Takes over what a verified identity document says of a trusted peer.
///
/// # Errors
/// [`IndexError`].
pub async fn receive(store: &Store, signed: &SignedIdentity, identity: &Identity) -> Result<Renewed, IndexError> {
    let peers = store.index.peers().await?;
    if let Some(peer) = peers.iter().find(|peer| peer.id == identity.instance) {
        return same(store, peer, signed, identity).await;
    }
    // Checked once, however many peers there are: anybody may show a document.
    let renewals = identity.verified_renewals();
    let leads_here = |known: &InstanceId| renewed(*known, &renewals) == identity.instance;
    let continues = |peer: &&Peer| matches!(peer.trust, Trust::Trusted(_)) && leads_here(&peer.id);
    let Some(peer) = peers.iter().find(continues) else { return Ok(Renewed::Stranger) };
    store.index.renew_peer(&peer.id, &identity.instance, signed).await?;
    let renewals: Vec<Verified> = renewals.into_iter().filter(|renewal| !is_false(store, renewal)).collect();
    store.index.add_statements(&renewals).await?;
    tracing::warn!(peer.id = %identity.instance, former = %peer.id, "a peer goes on under another key");
    Ok(Renewed::Identity(identity.instance))
}

async fn same(store: &Store, peer: &Peer, signed: &SignedIdentity, identity: &Identity) -> Result<Renewed, IndexError> {
    if !matches!(peer.trust, Trust::Trusted(_)) {
        return Ok(Renewed::Stranger);
    }
    let known = peer.identity.verify(Some(&peer.id)).ok();
    // A lower version is an old copy; the same version has the same key.
    if known.is_some_and(|known| known.key_version >= identity.key_version) {
        return Ok(Renewed::Nothing);
    }
    // The document alone: whoever is revoked at this moment stays revoked (R6).
    store.index.renew_peer(&peer.id, &peer.id, signed).await?;
    tracing::info!(peer.id = %peer.id, version = identity.key_version, "a peer has another envelope key");
    Ok(Renewed::Envelope)
}
