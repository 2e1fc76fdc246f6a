//! Who is a peer, and what it may have: as the owner of this instance says.

use jiff::Timestamp;

use super::call::{CallError, Callee, PeerCaller};
use super::exposure::{Exposure, exposure};
use super::pair::{free_name, knock};
use super::succession::{SuccessionError, withdraw};
use crate::domain::id::{CollectionId, InstanceId};
use crate::domain::identity::{IdentityError, SignedIdentity};
use crate::domain::limits::Limits;
use crate::domain::peer::{PeerAddress, Rights, Role, Scope, Trust, fingerprint_words};
use crate::domain::words::bytes;
use crate::store::index::{Granted, Peer};
use crate::store::{IndexError, Store};

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The words of another instance.
    #[error(
        "these are not the words of peer {name}: either they were misread, or somebody else stands at this address. Nothing was changed. What is shown there: {shown}"
    )]
    OtherWords {
        /// The peer.
        name: String,
        /// Its words.
        shown: String,
    },
    /// Nobody compared anything.
    #[error("compare the fingerprint words of peer {name} with its admin first, and send them along: {shown}")]
    NotCompared {
        /// The peer.
        name: String,
        /// Its words.
        shown: String,
    },
    /// It cannot be called.
    #[error("peer {0} cannot be followed: its address is not known")]
    NoAddress(String),
    /// It is not trusted.
    #[error("peer {name} cannot be pulled from: it is {state}")]
    NotTrusted {
        /// The peer.
        name: String,
        /// What it is.
        state: &'static str,
    },
    /// Ourselves.
    #[error("that is this very instance: a peer is another one")]
    Ourselves,
    /// An older key than the one that is known.
    #[error(
        "the instance shows an envelope key of version {shown}, older than version {known} that it showed before: it may have been set back to an old copy, or somebody replays an old answer. Nothing was changed"
    )]
    OlderKey {
        /// What is shown now.
        shown: u64,
        /// What is known.
        known: u64,
    },
    /// A key that nobody announced.
    #[error(
        "the instance shows another envelope key under the same version: ask its admin what happened. Nothing was changed"
    )]
    OtherKey,
    /// It does not answer, or not as it should.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What is kept of it.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It was an heir, and that could not be taken back.
    #[error(transparent)]
    Succession(#[from] SuccessionError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// The words by which two admins compare what they see.
pub fn words(id: &InstanceId) -> String {
    fingerprint_words(id).join(" ")
}

/// Compares words as they were typed.
///
/// # Errors
/// [`TrustError::OtherWords`].
pub fn compare(typed: &str, peer: &Peer) -> Result<(), TrustError> {
    let typed: Vec<String> = typed.split_whitespace().map(str::to_lowercase).collect();
    if typed == fingerprint_words(&peer.id) {
        return Ok(());
    }
    Err(TrustError::OtherWords { name: peer.name.clone(), shown: words(&peer.id) })
}

/// Lets a peer in, or changes what it may have. Whoever calls has compared the words.
///
/// # Errors
/// [`TrustError::NoAddress`], if it is to be followed.
pub async fn trust(store: &Store, peer: Peer, wanted: Rights, follow: bool) -> Result<Peer, TrustError> {
    let nothing = matches!(&wanted.scope, Scope::Only(ids) if ids.is_empty());
    let rights = if nothing { Rights::none() } else { wanted };
    if follow && peer.address.is_none() {
        return Err(TrustError::NoAddress(peer.name));
    }
    let trusted = Peer { trust: Trust::Trusted(rights), follow, ..peer };
    store.index.save_peer(&trusted).await?;
    Ok(trusted)
}

/// What became of a peer that was shut out.
#[derive(Debug)]
pub struct Revoked {
    /// Of so many collections it was an heir.
    pub withdrawn: u64,
    /// What it has, and keeps.
    pub exposure: Exposure,
}

/// Shuts a peer out: takes effect on its next request, and ends its open streams (R6).
///
/// # Errors
/// [`TrustError`].
pub async fn revoke(store: &Store, peer: &Peer, now: Timestamp) -> Result<Revoked, TrustError> {
    store.index.save_peer(&Peer { trust: Trust::Revoked, follow: false, ..peer.clone() }).await?;
    let withdrawn = withdraw(store, &peer.id, now).await?;
    // With the rights that it had.
    Ok(Revoked { withdrawn: withdrawn as u64, exposure: exposure(store, peer).await? })
}

/// Follows a peer, or no longer; and of which collections the chunks are fetched.
///
/// # Errors
/// [`TrustError`].
pub async fn follow(store: &Store, peer: Peer, follow: bool, mirror: Scope) -> Result<Peer, TrustError> {
    if follow && !matches!(peer.trust, Trust::Trusted(_)) {
        return Err(TrustError::NotTrusted { state: peer.trust.word(), name: peer.name });
    }
    if follow && peer.address.is_none() {
        return Err(TrustError::NoAddress(peer.name));
    }
    let changed = Peer { follow, mirror, ..peer };
    store.index.save_peer(&changed).await?;
    Ok(changed)
}

/// Notes an instance as pending, and makes itself known there. One that is known gets the address.
///
/// # Errors
/// [`TrustError`].
pub async fn note(
    store: &Store,
    caller: &PeerCaller,
    url: PeerAddress,
    name: Option<String>,
    now: Timestamp,
) -> Result<Peer, TrustError> {
    let (signed, identity) = caller.identity(&url, None).await?;
    if identity.instance == store.keys.instance() {
        return Err(TrustError::Ourselves);
    }
    let known = store.index.peer(&identity.instance).await?;
    let callee = Callee { address: url.clone(), key: identity.identity_key };
    let granted = knock(caller, &callee).await?;
    let peer = match known {
        Some(peer) => Peer {
            name: name.unwrap_or(peer.name),
            address: Some(url),
            identity: newer(&peer.identity, signed, identity.key_version)?,
            granted: granted.or(peer.granted),
            ..peer
        },
        None => {
            let taken: Vec<String> = store.index.peers().await?.into_iter().map(|peer| peer.name).collect();
            Peer {
                id: identity.instance,
                name: name.unwrap_or_else(|| free_name(&identity.name, &identity.instance, &taken)),
                address: Some(url),
                trust: Trust::Pending,
                identity: signed,
                follow: false,
                mirror: Scope::All,
                granted,
                cursor: None,
                added_at: now,
                last_contact_at: None,
                last_error: None,
                discovery: None,
            }
        }
    };
    store.index.save_peer(&peer).await?;
    Ok(peer)
}

/// The keys for which envelopes are made, before and after a peer was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refreshed {
    /// Name and version of the one that was known.
    pub before: (String, u64),
    /// Name and version of the one that it has.
    pub after: (String, u64),
}

impl Refreshed {
    /// Whether it is another one.
    pub fn is_new(&self) -> bool {
        self.before.0 != self.after.0
    }
}

/// Asks a peer for its identity document, and keeps it if its envelope key is newer.
///
/// # Errors
/// [`TrustError`]. Nothing is changed then.
pub async fn refresh_key(store: &Store, caller: &PeerCaller, peer: &Peer) -> Result<Refreshed, TrustError> {
    let before = peer.identity.verify(Some(&peer.id))?;
    let address = peer.address.as_ref().ok_or_else(|| TrustError::NoAddress(peer.name.clone()))?;
    let (signed, after) = caller.identity(address, Some(&peer.id)).await?;
    let identity = newer(&peer.identity, signed, after.key_version)?;
    let refreshed = Refreshed {
        before: (before.envelope_key.id(), before.key_version),
        after: (after.envelope_key.id(), after.key_version),
    };
    if refreshed.is_new() {
        if after.key_version <= before.key_version {
            return Err(TrustError::OtherKey);
        }
        store.index.save_peer(&Peer { identity, ..peer.clone() }).await?;
    }
    Ok(refreshed)
}

/// The newer of two identity documents of one instance.
///
/// # Errors
/// [`TrustError::OlderKey`], if what is shown is older than what is known.
pub fn newer(known: &SignedIdentity, shown: SignedIdentity, version: u64) -> Result<SignedIdentity, TrustError> {
    let before = known.verify(None)?.key_version;
    if version < before {
        return Err(TrustError::OlderKey { shown: version, known: before });
    }
    Ok(shown)
}

/// Rights in words.
///
/// # Errors
/// If the index cannot be read.
pub async fn rights_in_words(store: &Store, rights: &Rights) -> Result<String, IndexError> {
    let Some(what) = scope_in_words(store, &rights.scope).await? else { return Ok("nothing".to_owned()) };
    let Limits { rate, quota, hours } = rights.limits;
    let rate = rate.map(|rate| format!(", at most {} a second", bytes(rate))).unwrap_or_default();
    let quota = quota.map(|quota| format!(", at most {} a month", bytes(quota))).unwrap_or_default();
    let hours = hours.map(|hours| format!(", chunks only {hours} UTC")).unwrap_or_default();
    Ok(format!("{}{rate}{quota}{hours}", phrase(&what, rights.role, rights.onward, rights.from)))
}

/// What a peer lets us have, in words.
pub fn granted_in_words(granted: &Granted) -> String {
    let what = match granted.collections.as_deref() {
        None => "all collections".to_owned(),
        Some([]) => return "nothing yet".to_owned(),
        Some(names) => names.join(", "),
    };
    phrase(&what, granted.role, granted.onward, None)
}

/// What is mirrored from a peer, in words.
///
/// # Errors
/// If the index cannot be read.
pub async fn mirrored_in_words(store: &Store, peer: &Peer) -> Result<String, IndexError> {
    let what = if peer.follow { scope_in_words(store, &peer.mirror).await? } else { None };
    Ok(what.unwrap_or_else(|| "nothing".to_owned()))
}

/// The names of collections; nothing if there are none.
async fn scope_in_words(store: &Store, scope: &Scope) -> Result<Option<String>, IndexError> {
    Ok(match scope {
        Scope::All => Some("all collections".to_owned()),
        Scope::Only(ids) | Scope::Guest { granted: ids, .. } if ids.is_empty() => None,
        Scope::Only(ids) | Scope::Guest { granted: ids, .. } => {
            let known = store.index.collections().await?;
            let name =
                |id: &CollectionId| known.iter().find(|c| c.id == *id).map_or_else(|| id.short(), |c| c.name.clone());
            Some(ids.iter().map(name).collect::<Vec<_>>().join(", "))
        }
    })
}

fn phrase(what: &str, role: Role, onward: bool, from: Option<Timestamp>) -> String {
    let can = match role {
        Role::Reader => "to read",
        Role::Mirror => "to keep without reading",
    };
    let onward = if onward { ", and to serve onward" } else { "" };
    let from = from.map(|from| format!(", from {from} on")).unwrap_or_default();
    format!("{what} {can}{onward}{from}")
}
