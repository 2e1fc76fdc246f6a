//! How an instance is let in, and how to join one.
//!
//! Host's side: an invite is redeemed once. The joiner proves that it knows the secret, which never travels; the host's proof
//! comes back. Why an invite is refused is written to the log; the stranger hears the same in every case. The same joiner may
//! ask again with the same invite (its answer may have been lost): it is told what it has, nothing more. Without an invite
//! an instance is noted as pending, a bounded number of them, until an admin decides. Whoever was revoked stays out until an
//! admin forgets it.
//!
//! Joiner's side: [`join`](super::join).

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::call::{CallError, Callee, PeerCaller};
use super::serve::{Serve, ServeError};
use crate::domain::audit::{Ending, Event, Who};
use crate::domain::crypto::discovery::{DiscoveryKey, DiscoveryRecipient};
use crate::domain::id::{InstanceId, InviteId};
use crate::domain::identity::Identity;
use crate::domain::invite::{Invite, InviteSecret};
use crate::domain::peer::{PeerAddress, Rights, Scope, Trust};
use crate::domain::wire::messages::{PairAnswer, PairInvite, PairOutcome, PairRequest, Proof, RightsSummary};
use crate::store::index::{Granted, InviteRow, NewInvite, Peer};
use crate::store::{IndexError, Store, entropy};

/// So many instances may wait for an admin's decision.
pub const MAX_PENDING: usize = 32;

/// Why a request to pair came to nothing. Except for [`PairError::TooManyPending`] the stranger is not told which.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// The invite is not good.
    #[error("an invite was refused: {0}")]
    Refused(Refusal),
    /// There are too many already.
    #[error("{MAX_PENDING} instances are waiting for a decision already: accept or remove some")]
    TooManyPending,
    /// The repository.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl From<IndexError> for PairError {
    fn from(error: IndexError) -> Self {
        PairError::Serve(error.into())
    }
}

/// What is wrong with an invite; for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such invite, or one whose secret cannot be opened.
    #[error("nobody knows it")]
    Unknown,
    /// The proof does not hold.
    #[error("its secret is not known to who shows it")]
    WrongProof,
    /// It was used, by somebody else.
    #[error("it was used before")]
    Used,
    /// Its time is over.
    #[error("it has expired")]
    Expired,
    /// This instance was revoked.
    #[error("the instance that shows it was revoked; remove that peer first if it shall come back")]
    Revoked,
}

/// What to do with an invite that is shown.
#[derive(Debug, Clone, PartialEq)]
enum Verdict {
    /// Use it up and let the instance in.
    Redeem,
    /// The instance was let in before: tell it again what it has.
    Repeat(Rights),
}

/// Decides about an invite. `proven`: the proof holds.
fn judge(row: Option<&InviteRow>, proven: bool, known: Option<&Trust>, now: Timestamp) -> Result<Verdict, Refusal> {
    let row = row.ok_or(Refusal::Unknown)?;
    match (proven, known) {
        (false, _) => Err(Refusal::WrongProof),
        (true, Some(Trust::Revoked)) => Err(Refusal::Revoked),
        (true, Some(Trust::Trusted(rights))) if row.used_at.is_some() => Ok(Verdict::Repeat(rights.clone())),
        _ if row.used_at.is_some() => Err(Refusal::Used),
        _ if row.expires_at <= now => Err(Refusal::Expired),
        _ => Ok(Verdict::Redeem),
    }
}

/// Makes an invite and keeps it. `address` is where this instance is reached; the key to find it, if it carries one, is for
/// whoever uses the invite alone.
///
/// # Errors
/// [`IndexError`].
pub async fn invite(
    store: &Store,
    address: PeerAddress,
    rights: Rights,
    expires_at: Timestamp,
) -> Result<Invite, IndexError> {
    let (id, secret) = {
        let rng = &mut entropy();
        (InviteId::random(rng), InviteSecret::random(rng))
    };
    let sealed_secret = store.keys.master.seal(&mut entropy(), &vault_place(&id), secret.secret().expose());
    let role = rights.role;
    let discovery = match &address {
        PeerAddress::Onion(onion) => onion.discovery().map(DiscoveryKey::recipient),
        PeerAddress::Direct(_) => None,
    };
    store.index.add_invite(&NewInvite { id, sealed_secret, rights, expires_at, discovery }).await?;
    Ok(Invite { id, address, instance: store.keys.instance(), secret, expires_at, role })
}

fn vault_place(id: &InviteId) -> Vec<u8> {
    [b"invite/".as_slice(), id.as_bytes()].concat()
}

/// Lets instances in, one at a time: so nobody is let in twice, and the number of pending ones holds.
#[derive(Debug)]
pub struct Pairing {
    serve: Serve,
    one_at_a_time: Mutex<()>,
}

impl Pairing {
    /// Pairs with this repository.
    pub fn new(serve: Serve) -> Self {
        Self { serve, one_at_a_time: Mutex::default() }
    }

    /// Handles a request to pair. `identity` is the request's document, verified, and its key has signed the request.
    ///
    /// # Errors
    /// [`PairError`].
    pub async fn pair(
        &self,
        request: &PairRequest,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<PairAnswer, PairError> {
        let _turn = self.one_at_a_time.lock().await;
        let store = self.serve.store();
        let known = store.index.peer(&identity.instance).await?;
        let outcome = match &request.invite {
            Some(shown) => self.redeem(shown, request, identity, known, now).await?,
            None => self.knock(request, identity, known, now).await?,
        };
        Ok(PairAnswer { identity: self.serve.identity(), outcome })
    }

    async fn redeem(
        &self,
        shown: &PairInvite,
        request: &PairRequest,
        identity: &Identity,
        known: Option<Peer>,
        now: Timestamp,
    ) -> Result<PairOutcome, PairError> {
        let store = self.serve.store();
        let row = store.index.invite(&shown.id).await?;
        let secret = row.as_ref().and_then(|row| {
            let plain = store.keys.master.open(&vault_place(&row.id), &row.sealed_secret).ok()?;
            InviteSecret::from_slice(&plain)
        });
        let (here, joiner) = (store.keys.instance(), identity.instance);
        let proven = secret.as_ref().is_some_and(|s| Proof::new(s.joining_proof(&here, &joiner)) == shown.proof);
        let verdict = judge(row.as_ref(), proven, known.as_ref().map(|peer| &peer.trust), now);
        let refused = |refusal: Refusal| {
            tracing::warn!(invite.id = %shown.id, peer.id = %joiner, why = %refusal, "refused to pair");
            PairError::Refused(refusal)
        };
        let rights = match verdict.map_err(refused)? {
            Verdict::Repeat(rights) => rights,
            Verdict::Redeem => {
                if !store.index.use_invite(&shown.id, now).await? {
                    return Err(refused(Refusal::Used));
                }
                let InviteRow { rights, discovery, .. } = row.ok_or_else(|| refused(Refusal::Unknown))?;
                let trust = Trust::Trusted(rights.clone());
                self.save(request, identity, known, trust, discovery, now).await?;
                tracing::info!(invite.id = %shown.id, peer.id = %joiner, "a peer was let in by invite");
                let event = Event {
                    who: Who::Peer { instance: joiner },
                    what: "pair".to_owned(),
                    subjects: vec![identity.name.clone()],
                    ending: Ending::Done,
                    why: None,
                };
                if let Err(error) = store.record(&event, now).await {
                    tracing::error!(%error, "the audit log was not written");
                }
                rights
            }
        };
        let proof = secret.map(|secret| Proof::new(secret.inviting_proof(&here, &joiner)));
        Ok(PairOutcome::Trusted { proof, rights: self.serve.summary(&joiner, &rights).await? })
    }

    async fn knock(
        &self,
        request: &PairRequest,
        identity: &Identity,
        known: Option<Peer>,
        now: Timestamp,
    ) -> Result<PairOutcome, PairError> {
        match known.as_ref().map(|peer| &peer.trust) {
            Some(Trust::Trusted(rights)) => {
                let rights = self.serve.summary(&identity.instance, rights).await?;
                return Ok(PairOutcome::Trusted { proof: None, rights });
            }
            // Whoever was revoked is not told so.
            Some(Trust::Pending | Trust::Revoked) => return Ok(PairOutcome::Pending),
            None => {}
        }
        let peers = self.serve.store().index.peers().await?;
        if peers.iter().filter(|peer| peer.trust == Trust::Pending).count() >= MAX_PENDING {
            return Err(PairError::TooManyPending);
        }
        self.save(request, identity, None, Trust::Pending, None, now).await?;
        tracing::info!(peer.id = %identity.instance, "an instance asks to be let in");
        Ok(PairOutcome::Pending)
    }

    async fn save(
        &self,
        request: &PairRequest,
        identity: &Identity,
        known: Option<Peer>,
        trust: Trust,
        discovery: Option<DiscoveryRecipient>,
        now: Timestamp,
    ) -> Result<(), PairError> {
        let index = &self.serve.store().index;
        let peer = match known {
            Some(peer) => {
                let discovery = discovery.or(peer.discovery);
                Peer { trust, identity: request.identity.clone(), discovery, ..peer }
            }
            None => {
                let taken: Vec<String> = index.peers().await?.into_iter().map(|peer| peer.name).collect();
                Peer {
                    id: identity.instance,
                    name: free_name(&identity.name, &identity.instance, &taken),
                    address: None,
                    trust,
                    identity: request.identity.clone(),
                    follow: false,
                    mirror: Scope::All,
                    granted: None,
                    cursor: None,
                    added_at: now,
                    last_contact_at: None,
                    last_error: None,
                    discovery,
                }
            }
        };
        Ok(index.save_peer(&peer).await?)
    }
}

/// What an instance calls itself, or with a part of its id if somebody else is called so already.
pub fn free_name(wanted: &str, id: &InstanceId, taken: &[String]) -> String {
    if taken.iter().all(|name| name != wanted) {
        return wanted.to_owned();
    }
    let short: String = wanted.chars().take(40).collect();
    let candidates = [format!("{short}-{}", id.short()), id.to_string()];
    candidates.into_iter().find(|name| !taken.contains(name)).unwrap_or_else(|| id.to_string())
}

/// Asks an instance to be let in without an invite. `None`: its admin will decide; ask again later.
///
/// # Errors
/// [`CallError`].
pub async fn knock(caller: &PeerCaller, host: &Callee) -> Result<Option<Granted>, CallError> {
    let (answer, _) = caller.pair(&host.address, &host.instance(), None).await?;
    Ok(match answer.outcome {
        PairOutcome::Pending => None,
        PairOutcome::Trusted { rights, .. } => Some(granted(&rights)),
    })
}

/// What was granted, as it is kept. A collection without a name, as a mirror sees it, is called by the beginning of its id.
pub fn granted(rights: &RightsSummary) -> Granted {
    let name = |c: &crate::domain::wire::messages::CollectionName| c.name.clone().unwrap_or_else(|| c.id.short());
    Granted {
        role: rights.role,
        onward: rights.onward,
        collections: Some(rights.collections.iter().map(name).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn row(used: bool) -> InviteRow {
        InviteRow {
            id: InviteId::from_slice(&[1; 16]).unwrap(),
            sealed_secret: Vec::new(),
            rights: Rights::none(),
            expires_at: at(100),
            used_at: used.then(|| at(50)),
            discovery: None,
        }
    }

    #[test]
    fn an_invite_is_good_once_until_it_expires_for_who_knows_its_secret() {
        let trusted = Trust::Trusted(Rights::none());
        assert_eq!(judge(Some(&row(false)), true, None, at(99)), Ok(Verdict::Redeem));
        assert_eq!(judge(Some(&row(false)), true, Some(&Trust::Pending), at(99)), Ok(Verdict::Redeem));
        assert_eq!(judge(Some(&row(false)), true, Some(&trusted), at(99)), Ok(Verdict::Redeem));
        assert_eq!(judge(Some(&row(false)), true, None, at(100)), Err(Refusal::Expired));
        assert_eq!(judge(Some(&row(false)), false, None, at(99)), Err(Refusal::WrongProof));
        assert_eq!(judge(Some(&row(true)), true, None, at(99)), Err(Refusal::Used));
        assert_eq!(judge(Some(&row(true)), false, Some(&trusted), at(99)), Err(Refusal::WrongProof));
        assert_eq!(judge(None, true, None, at(99)), Err(Refusal::Unknown));
    }

    #[test]
    fn an_answer_that_was_lost_is_repeated_to_the_same_instance_only() {
        let trusted = Trust::Trusted(Rights::none());
        assert_eq!(judge(Some(&row(true)), true, Some(&trusted), at(1000)), Ok(Verdict::Repeat(Rights::none())));
        assert_eq!(judge(Some(&row(true)), true, Some(&Trust::Pending), at(60)), Err(Refusal::Used));
    }

    #[test]
    fn r6_whoever_was_revoked_stays_out_and_wastes_no_invite() {
        assert_eq!(judge(Some(&row(false)), true, Some(&Trust::Revoked), at(99)), Err(Refusal::Revoked));
        assert_eq!(judge(Some(&row(true)), true, Some(&Trust::Revoked), at(99)), Err(Refusal::Revoked));
    }

    #[test]
    fn two_instances_of_one_name_stay_apart() {
        let id = InstanceId::from_slice(&[0xab; 32]).unwrap();
        assert_eq!(free_name("nas", &id, &[]), "nas");
        assert_eq!(free_name("nas", &id, &["nas".to_owned()]), "nas-abababab");
        let long = "n".repeat(64);
        assert!(crate::domain::peer::is_plain_name(&free_name(&long, &id, std::slice::from_ref(&long))));
    }
}
