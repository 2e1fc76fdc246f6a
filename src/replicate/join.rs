//! Joining another instance, by the line that it made: an invite.
//!
//! The host's identity, its signature and its proof that it knows the invite's secret are checked before anything is saved.

use jiff::Timestamp;

use super::call::{CallError, PeerCaller};
use super::pair::{free_name, granted};
use crate::domain::invite::Invite;
use crate::domain::peer::{Rights, Scope, Trust};
use crate::domain::wire::messages::{PairInvite, PairOutcome, Proof};
use crate::store::index::Peer;
use crate::store::{IndexError, Store};

/// Why joining came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The call.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The host does not know the secret.
    #[error("the host does not know the invite's secret: somebody else answers at this address. Ask for a new invite")]
    NotTheHost,
    /// The host did not take the invite as one.
    #[error(
        "the host did not accept the invite but put this instance on its list of pending ones: let its admin accept it"
    )]
    Pending,
    /// The invite is one's own.
    #[error("this invite was made by this very instance: use it on the machine that shall join")]
    Own,
    /// It is too late.
    #[error("the invite expired at {0:.0}: ask for a new one ('bulbil invite' on the other machine)")]
    Expired(Timestamp),
    /// Somebody shut its host out.
    #[error("the instance that made this invite was revoked here: 'bulbil peer remove' forgets it, then try again")]
    Revoked,
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// Refuses an invite that nobody redeems any more.
///
/// # Errors
/// [`JoinError::Expired`].
pub fn in_time(invite: &Invite, now: Timestamp) -> Result<(), JoinError> {
    if now < invite.expires_at { Ok(()) } else { Err(JoinError::Expired(invite.expires_at)) }
}

/// The host of an invite, if it was joined before.
///
/// # Errors
/// [`IndexError`].
pub async fn joined(store: &Store, invite: &Invite) -> Result<Option<Peer>, IndexError> {
    let peer = store.index.peer(&invite.instance).await?;
    Ok(peer.filter(|peer| matches!(peer.trust, Trust::Trusted(_)) && peer.address.is_some()))
}

/// What became of an invite.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its host, as it is kept here from now on.
    pub peer: Peer,
    /// The invite was used before, by this instance.
    pub again: bool,
}

/// Redeems an invite and keeps its host as a peer that is followed. One that was joined before stays joined, whatever has become of the
/// invite.
///
/// # Errors
/// [`JoinError`]. Dropped or failed in between, it can be done again with the same invite.
pub async fn accept(store: &Store, caller: &PeerCaller, invite: &Invite) -> Result<Accepted, JoinError> {
    let known = store.index.peer(&invite.instance).await?;
    if known.as_ref().is_some_and(|peer| peer.trust == Trust::Revoked) {
        return Err(JoinError::Revoked);
    }
    let before = joined(store, invite).await?;
    if before.is_none() {
        in_time(invite, caller.now())?;
    }
    let new = match (join(caller, invite).await, before) {
        (Ok(new), _) => new,
        (Err(JoinError::Call(CallError::Refused { .. })), Some(peer)) => return Ok(Accepted { peer, again: true }),
        (Err(error), _) => return Err(error),
    };
    let peer = match known {
        Some(known) => Peer {
            name: known.name,
            trust: match known.trust {
                Trust::Pending => new.trust,
                trusted => trusted,
            },
            added_at: known.added_at,
            cursor: known.cursor,
            ..new
        },
        None => {
            let taken: Vec<String> = store.index.peers().await?.into_iter().map(|peer| peer.name).collect();
            Peer { name: free_name(&new.name, &new.id, &taken), ..new }
        }
    };
    store.index.save_peer(&peer).await?;
    Ok(Accepted { peer, again: false })
}

/// Redeems an invite. The peer that comes back is checked and not saved yet; what is known of it already is up to the caller.
///
/// # Errors
/// [`JoinError`]. Dropped or failed in between, it can be done again with the same invite.
pub async fn join(caller: &PeerCaller, invite: &Invite) -> Result<Peer, JoinError> {
    let (here, host) = (caller.instance(), invite.instance);
    if here == host {
        return Err(JoinError::Own);
    }
    let proof = Proof::new(invite.secret.joining_proof(&host, &here));
    let shown = Some(PairInvite { id: invite.id, proof });
    let (answer, identity) = caller.pair(&invite.address, &host, shown).await?;
    match answer.outcome {
        PairOutcome::Pending => Err(JoinError::Pending),
        PairOutcome::Trusted { proof, rights } => {
            if proof != Some(Proof::new(invite.secret.inviting_proof(&host, &here))) {
                return Err(JoinError::NotTheHost);
            }
            Ok(Peer {
                id: host,
                name: identity.name,
                address: Some(invite.address.clone()),
                trust: Trust::Trusted(Rights::none()),
                identity: answer.identity,
                follow: true,
                mirror: Scope::All,
                granted: Some(granted(&rights)),
                cursor: None,
                added_at: caller.now(),
                last_contact_at: None,
                last_error: None,
                discovery: None,
            })
        }
    }
}
