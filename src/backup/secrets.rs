//! The stored secrets of a collection's application, as people see and change them. How they are kept beside backups: [`super::escrow`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::escrow::{self, MissingSecret};
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::escrow::{EscrowError, EscrowedSecret, Fingerprint, SecretForm};
use crate::domain::peer::is_plain_name;
use crate::domain::preset::{Preset, SecretPlace};
use crate::store::index::Collection;
use crate::store::{EscrowFileError, IndexError, Store, blocking};

/// Why a secret is not listed, opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Of a collection that another instance leads.
    #[error("collection {0:?} belongs to another instance: its secrets are stored there")]
    NotOurs(String),
    /// None fits.
    #[error("no such secret of {0} is stored: 'bulbil secret list' lists those that are")]
    NoSuch(String),
    /// Snapshots need it.
    #[error(
        "it belongs to snapshots {} of {collection}: what is sealed with it in them would open no more. --force removes it all the same",
        ranges(.snapshots)
    )]
    Needed {
        /// Of which collection.
        collection: String,
        /// Their numbers.
        snapshots: Vec<u64>,
    },
    /// It cannot be called so.
    #[error("{0:?} is no name for a secret: use letters, digits, '-', '_' and '.'")]
    BadName(String),
    /// What is stored cannot be used.
    #[error(transparent)]
    Stored(#[from] EscrowFileError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

impl From<EscrowError> for SecretsError {
    fn from(error: EscrowError) -> Self {
        Self::Stored(error.into())
    }
}

/// A stored secret, and what is known of it. Its value is sealed.
#[derive(Debug, Clone)]
pub struct StoredSecret {
    /// What is stored.
    pub secret: EscrowedSecret,
    /// Whether it is the one in use, and no earlier one.
    pub in_use: bool,
    /// Whether this instance may open it. Otherwise it came from elsewhere, and its recovery key does.
    pub opens_here: bool,
    /// Numbers of the snapshots to which it belongs.
    pub snapshots: Vec<u64>,
}

/// A document of secrets. Mostly a collection has one; a second one came from elsewhere.
#[derive(Debug, Clone)]
pub struct Kept {
    /// By name, the newest first.
    pub stored: Vec<StoredSecret>,
    /// Names of those that somebody keeps elsewhere.
    pub elsewhere: Vec<String>,
}

/// All that is stored of a collection's secrets: first what opens here.
///
/// # Errors
/// [`SecretsError`].
pub async fn list(store: &Store, collection: &Collection) -> Result<Vec<Kept>, SecretsError> {
    let users = users(store, collection).await?;
    let (in_store, id) = (store.clone(), collection.id);
    let escrows = blocking(move || in_store.escrows(&id)).await?;
    let kept = escrows.into_iter().map(|escrow| {
        let (document, opens_here) = (&escrow.document, escrow.key.is_some());
        let stored = |secret: &EscrowedSecret| StoredSecret {
            in_use: document.current(&secret.name) == Some(secret),
            opens_here,
            snapshots: users.get(&(secret.name.clone(), secret.fingerprint)).cloned().unwrap_or_default(),
            secret: secret.clone(),
        };
        let mut stored: Vec<StoredSecret> = document.secrets.iter().map(stored).collect();
        stored.sort_by(|a, b| a.secret.name.cmp(&b.secret.name).then(b.secret.since.cmp(&a.secret.since)));
        Kept { stored, elsewhere: document.elsewhere.clone() }
    });
    Ok(kept.collect())
}

type Users = BTreeMap<(String, Fingerprint), Vec<u64>>;

/// Numbers of the snapshots to which each secret belongs.
async fn users(store: &Store, collection: &Collection) -> Result<Users, IndexError> {
    let captures = store.index.captures(&collection.id).await?;
    let mut users = Users::new();
    for snapshot in store.index.snapshots(Some(&collection.id)).await? {
        let capture = captures.iter().find(|(id, _)| *id == snapshot.id).map(|(_, capture)| capture);
        for mark in capture.iter().flat_map(|capture| &capture.secrets) {
            users.entry((mark.name.clone(), mark.fingerprint)).or_default().push(snapshot.sequence);
        }
    }
    users.values_mut().for_each(|numbers| numbers.sort_unstable());
    Ok(users)
}

/// Numbers as people say them: `1-4, 7`.
pub fn ranges(numbers: &[u64]) -> String {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, end)) if *end + 1 >= *number => *end = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    let one = |(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// What the collection's preset says of secrets.
fn preset(store: &Store, collection: &Collection) -> Option<Preset> {
    let application = collection.settings.as_ref().and_then(|settings| settings.application.as_ref())?;
    store.preset(&application.preset).ok()
}

/// The secrets of which the collection's preset knows.
pub fn known(store: &Store, collection: &Collection) -> Vec<SecretPlace> {
    preset(store, collection).map(|preset| preset.secrets).unwrap_or_default()
}

/// What a secret of this name is in the application, if the collection's preset says.
pub fn known_form(store: &Store, collection: &Collection, name: &str) -> Option<SecretForm> {
    let place = known(store, collection).into_iter().find(|place| place.name == name)?;
    Some(if place.whole_file { SecretForm::File } else { SecretForm::Variable })
}

/// Leaves out the line breaks at the end: a variable has none, and a file or a pipe with its value mostly has one.
pub fn trim_end(value: &mut Vec<u8>) {
    while value.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        value.pop();
    }
}

/// The secrets without which a collection's data is of little use, and of which nothing is known. Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn missing(store: &Store, collection: &Collection) -> Result<Vec<MissingSecret>, EscrowFileError> {
    // What was imported only has no folders, and no application beside it.
    let is_live = collection.settings.as_ref().is_some_and(|settings| !settings.roots.is_empty());
    let preset = preset(store, collection).filter(|_| is_live);
    preset.map_or_else(|| Ok(Vec::new()), |preset| escrow::missing(store, collection, &preset))
}

/// Whether its secrets are stored here.
///
/// # Errors
/// [`SecretsError::NotOurs`].
pub fn own(collection: &Collection) -> Result<(), SecretsError> {
    match collection.settings {
        Some(_) => Ok(()),
        None => Err(SecretsError::NotOurs(collection.name.clone())),
    }
}

/// Stores a value that somebody gives. Answers its fingerprint, and whether it is another one than before.
///
/// # Errors
/// [`SecretsError`].
pub async fn add(
    store: &Store,
    collection: &Collection,
    (name, form, value): (String, SecretForm, Zeroizing<Vec<u8>>),
    now: Timestamp,
) -> Result<(Fingerprint, bool), SecretsError> {
    own(collection)?;
    let (store, of) = (store.clone(), collection.clone());
    Ok(blocking(move || escrow::add(&store, &of, (&name, form, &value), now)).await?)
}

/// A value: of the newest secret with this name, and this fingerprint or the beginning of it if one is given. By the recovery key, or by
/// this instance's own. Blocks.
///
/// # Errors
/// [`SecretsError`].
pub fn open(
    store: &Store,
    collection: &Collection,
    (name, fingerprint): (&str, Option<&str>),
    recovery: Option<&RecoveryKey>,
) -> Result<(EscrowedSecret, Zeroizing<Vec<u8>>), SecretsError> {
    let mut refused = None;
    for escrow in store.escrows(&collection.id)? {
        let fits = |secret: &&EscrowedSecret| secret.name == name && fits(&secret.fingerprint, fingerprint);
        let Some(secret) = escrow.document.secrets.iter().rfind(fits) else { continue };
        let opened = match recovery {
            Some(key) => secret.open_with_recovery(&collection.id, key),
            None => escrow.open(secret, store),
        };
        match opened {
            Ok(value) => return Ok((secret.clone(), value)),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.map_or_else(|| SecretsError::NoSuch(collection.name.clone()), SecretsError::from))
}

/// Whether it begins with these digits.
pub fn fits(fingerprint: &Fingerprint, digits: Option<&str>) -> bool {
    digits.is_none_or(|digits| !digits.is_empty() && fingerprint.to_string().starts_with(&digits.to_lowercase()))
}

/// Forgets the secrets of this name, or those of them whose fingerprint begins so; with `force` also what snapshots need. Answers which.
///
/// # Errors
/// [`SecretsError`]; nothing was forgotten then.
pub async fn remove(
    store: &Store,
    collection: &Collection,
    (name, fingerprint): (&str, Option<&str>),
    force: bool,
) -> Result<Vec<Fingerprint>, SecretsError> {
    own(collection)?;
    let users = users(store, collection).await?;
    let (store, of) = (store.clone(), collection.clone());
    let (name, fingerprint) = (name.to_owned(), fingerprint.map(str::to_owned));
    let forget = move || {
        store.change_escrow((&of.id, &of.name), |document, _| {
            let goes =
                |secret: &EscrowedSecret| secret.name == name && fits(&secret.fingerprint, fingerprint.as_deref());
            let going: Vec<Fingerprint> =
                document.secrets.iter().filter(|secret| goes(secret)).map(|secret| secret.fingerprint).collect();
            if going.is_empty() {
                return Err(SecretsError::NoSuch(of.name.clone()));
            }
            let needing = going.iter().flat_map(|fingerprint| users.get(&(name.clone(), *fingerprint)));
            let mut snapshots: Vec<u64> = needing.flatten().copied().collect();
            snapshots.sort_unstable();
            if !snapshots.is_empty() && !force {
                return Err(SecretsError::Needed { collection: of.name.clone(), snapshots });
            }
            document.secrets.retain(|secret| !goes(secret));
            Ok(going)
        })
    };
    blocking(forget).await
}

/// Says that a secret is kept elsewhere, or is not any more. Answers whether a value of it is stored here.
///
/// # Errors
/// [`SecretsError`].
pub async fn elsewhere(
    store: &Store,
    collection: &Collection,
    name: &str,
    is_elsewhere: bool,
) -> Result<bool, SecretsError> {
    own(collection)?;
    if !is_plain_name(name) {
        return Err(SecretsError::BadName(name.to_owned()));
    }
    let (store, of, name) = (store.clone(), collection.clone(), name.to_owned());
    let change = move || {
        store.change_escrow((&of.id, &of.name), |document, _| {
            document.elsewhere.retain(|known| *known != name);
            if is_elsewhere {
                document.elsewhere.push(name.clone());
            }
            Ok(document.current(&name).is_some())
        })
    };
    blocking(change).await
}

#[cfg(test)]
mod tests {
    #[test]
    fn numbers_in_a_row_are_said_together() {
        assert_eq!(super::ranges(&[1, 2, 3, 5, 7, 8]), "1-3, 5, 7-8");
        assert_eq!(super::ranges(&[]), "");
    }
}
