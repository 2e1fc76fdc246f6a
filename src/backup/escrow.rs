//! Secrets of an application that are not in its data: found beside it, kept apart from the data, and compared with what a snapshot knows.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::open::OpenSnapshot;
use crate::domain::content::Secrets;
use crate::domain::dotenv;
use crate::domain::escrow::{EscrowDocument, EscrowError, Fingerprint, FingerprintKey, MAX_SECRET_BYTES, SecretForm};
use crate::domain::id::CollectionId;
use crate::domain::manifest::SecretMark;
use crate::domain::preset::{Preset, SecretPlace};
use crate::monitor::{Monitor, Problem, with_causes};
use crate::store::index::Collection;
use crate::store::{Escrow, EscrowFileError, Store, entropy};

/// A file with variables is not longer, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What was found of a secret.
#[derive(Debug)]
pub enum Found {
    /// Its value.
    Value(Given),
    /// A file names it, and gives it no value.
    Empty(PathBuf),
    /// A file that may have it cannot be read.
    Unreadable(PathBuf, String),
    /// None of the files has it.
    Nowhere,
}

/// A value of a secret, and where it stands.
#[derive(Debug)]
pub struct Given {
    /// What the secret is called.
    pub name: String,
    /// Where it stands, for people.
    pub place: String,
    /// What it is.
    pub form: SecretForm,
    value: Zeroizing<Vec<u8>>,
}

/// What a backup did about the application's secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// Which ones were in use.
    #[serde(skip)]
    pub marks: Vec<SecretMark>,
    /// Names of those that were stored because they are new, or not what they were.
    pub stored: Vec<String>,
    /// Of these, those of which another value was stored before.
    pub changed: Vec<String>,
    /// Those without which the data is of no use, and of which nothing is known.
    pub missing: Vec<MissingSecret>,
    /// Those of which a value is stored, and that were not found where they should be: a sentence each.
    pub lost: Vec<String>,
}

/// A secret that is needed and not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingSecret {
    /// Of which collection.
    #[serde(skip)]
    pub collection: String,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub what: String,
    /// Why it is not there: a part of a sentence.
    pub why: String,
}

impl MissingSecret {
    /// What is wrong, and what to do.
    pub fn in_words(&self) -> String {
        let Self { collection, name, what, why } = self;
        format!(
            "{name} ({what}) {why}: without it the data is of little use, and it is stored nowhere here. 'bulbil secret add {collection} {name}' \
             stores it under the recovery key; 'bulbil secret elsewhere {collection} {name}' says that you keep it elsewhere"
        )
    }
}

/// A secret that is not the one which belongs to a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differs {
    /// What it is called.
    pub name: String,
    /// The one that belongs to the snapshot.
    pub snapshot: Fingerprint,
    /// The one that was found.
    pub found: Fingerprint,
    /// Where.
    pub place: String,
    /// Whether the right one is stored here.
    pub is_stored: bool,
}

impl Differs {
    /// What is wrong, and what to do.
    pub fn in_words(&self, collection: &str) -> String {
        let Self { name, snapshot, found, place, is_stored } = self;
        let help = match is_stored {
            true => format!(
                "'bulbil secret show {collection} {name} --fingerprint {}' gives the right one",
                snapshot.short()
            ),
            false => "the right one is not stored here".to_owned(),
        };
        format!(
            "{name} in {place} is another one ({}) than the one that belongs to the snapshot ({}): what is sealed with it will not open; {help}",
            found.short(),
            snapshot.short()
        )
    }
}

/// Looks for the secrets of a preset beside the application's data.
pub fn look(preset: &Preset, folders: &[PathBuf]) -> Vec<(SecretPlace, Found)> {
    preset.secrets.iter().map(|place| (place.clone(), look_for(place, folders))).collect()
}

fn look_for(place: &SecretPlace, folders: &[PathBuf]) -> Found {
    let mut found = Found::Nowhere;
    for path in folders.iter().flat_map(|folder| place.files.iter().map(|file| folder.join(file))) {
        let given = |form, value| Given { name: place.name.clone(), place: path.display().to_string(), form, value };
        let read = if place.whole_file { whole(&path) } else { variable(&path, &place.name) };
        match read {
            Ok(Some(value)) if !value.iter().all(u8::is_ascii_whitespace) => {
                let form = if place.whole_file { SecretForm::File } else { SecretForm::Variable };
                return Found::Value(given(form, value));
            }
            Ok(Some(_)) => found = Found::Empty(path),
            Ok(None) => {}
            Err(error) if matches!(found, Found::Nowhere) => found = Found::Unreadable(path, error.to_string()),
            Err(_) => {}
        }
    }
    found
}

fn whole(path: &Path) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    bytes(path, MAX_SECRET_BYTES as u64)
}

fn variable(path: &Path, name: &str) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let Some(bytes) = bytes(path, MAX_FILE_BYTES)? else { return Ok(None) };
    let not_text = |_| std::io::Error::new(ErrorKind::InvalidData, "it is no text in UTF-8");
    let text = std::str::from_utf8(&bytes).map_err(not_text)?;
    Ok(dotenv::parse(text).remove(name).map(|value| Zeroizing::new(value.as_bytes().to_vec())))
}

/// The content of a file, if there is one; a pipe is not waited for.
fn bytes(path: &Path, limit: u64) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let nonblock = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).expect("it is one small bit");
    let file = match File::options().read(true).custom_flags(nonblock).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is no file"));
    }
    // Room for all of it at once: a vector that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(limit as usize + 1));
    file.take(limit + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 > limit {
        true => Err(std::io::Error::new(ErrorKind::FileTooLarge, "it is too long for this")),
        false => Ok(Some(bytes)),
    }
}

/// The values that stand in a file of variables.
///
/// # Errors
/// If it cannot be read, or is no text.
pub fn given_in_file(path: &Path) -> std::io::Result<Vec<Given>> {
    let bytes = bytes(path, MAX_FILE_BYTES)?.ok_or(ErrorKind::NotFound)?;
    let not_text = |_| std::io::Error::new(ErrorKind::InvalidData, "it is no text in UTF-8");
    let all = dotenv::parse(std::str::from_utf8(&bytes).map_err(not_text)?).into_iter();
    let given = |(name, value): (String, Zeroizing<String>)| Given {
        name,
        place: path.display().to_string(),
        form: SecretForm::Variable,
        value: Zeroizing::new(value.as_bytes().to_vec()),
    };
    Ok(all.map(given).collect())
}

/// The values that stand beside an application's data.
pub fn given_beside(preset: &Preset, folders: &[PathBuf]) -> Vec<Given> {
    let found = look(preset, folders).into_iter().map(|(_, found)| found);
    found.filter_map(|found| if let Found::Value(given) = found { Some(given) } else { None }).collect()
}

/// Stores the secrets that stand beside a collection's data, as far as they are new, and says which ones are in use. Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn note(
    store: &Store,
    collection: &Collection,
    preset: Option<&Preset>,
    now: Timestamp,
) -> Result<Noted, EscrowFileError> {
    let found = preset.map(|preset| look(preset, &folders(collection))).unwrap_or_default();
    let mut noted = Noted::default();
    let any_value = found.iter().any(|(_, found)| matches!(found, Found::Value(_)));
    if any_value {
        let keep =
            |document: &mut EscrowDocument, key: &FingerprintKey| keep(store, document, key, &found, now, &mut noted);
        store.change_escrow((&collection.id, &collection.name), keep)?;
    }
    let known = store.escrows(&collection.id)?.into_iter().next();
    for name in known.iter().flat_map(|known| known.document.names()) {
        if let (Some(known), false) = (&known, noted.marks.iter().any(|mark| mark.name == name))
            && let Some(current) = known.document.current(name).filter(|_| known.key.is_some())
        {
            noted.marks.push(SecretMark { name: name.to_owned(), fingerprint: current.fingerprint });
        }
    }
    noted.marks.sort_by(|a, b| a.name.cmp(&b.name));
    noted.lost = lost_of(&found, known.as_ref());
    noted.missing = missing_of(&collection.name, &found, |name| {
        known.iter().any(|known| known.document.elsewhere.iter().any(|other| other == name))
            || noted.marks.iter().any(|mark| mark.name == name)
    });
    Ok(noted)
}

/// Secrets of which a value is stored, and that are empty, or not to be read, beside the data; or that were in a file there, and are not.
fn lost_of(found: &[(SecretPlace, Found)], known: Option<&Escrow>) -> Vec<String> {
    let is_stored = |name: &str| known.is_some_and(|known| known.document.current(name).is_some());
    let lost = found.iter().filter(|(place, _)| is_stored(&place.name)).filter_map(|(place, found)| {
        let name = &place.name;
        match found {
            Found::Empty(path) => Some(format!("{name} is empty in {}", path.display())),
            Found::Unreadable(path, why) => {
                Some(format!("{name} may be in {}, which cannot be read ({why})", path.display()))
            }
            Found::Value(_) | Found::Nowhere => None,
        }
    });
    lost.collect()
}

/// Stored secrets that the application needs and that are not beside its data. Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn not_beside(
    store: &Store,
    preset: &Preset,
    collection: &CollectionId,
    folders: &[PathBuf],
) -> Result<Vec<String>, EscrowFileError> {
    let known = store.escrows(collection)?;
    let is_stored = |name: &str| known.iter().any(|known| known.document.current(name).is_some());
    let found = look(preset, folders).into_iter();
    let gone =
        found.filter(|(place, found)| place.required && is_stored(&place.name) && !matches!(found, Found::Value(_)));
    Ok(gone.map(|(place, _)| place.name).collect())
}

/// The secrets without which a collection's data is of little use, and of which nothing is known. Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn missing(store: &Store, collection: &Collection, preset: &Preset) -> Result<Vec<MissingSecret>, EscrowFileError> {
    let folders = folders(collection);
    let known = store.escrows(&collection.id)?;
    let is_known = |name: &str| {
        known.iter().any(|known| {
            known.document.current(name).is_some() || known.document.elsewhere.iter().any(|other| other == name)
        })
    };
    Ok(missing_of(&collection.name, &look(preset, &folders), is_known))
}

fn folders(collection: &Collection) -> Vec<PathBuf> {
    collection.settings.iter().flat_map(|settings| &settings.roots).map(|root| root.path.clone()).collect()
}

fn missing_of(collection: &str, found: &[(SecretPlace, Found)], is_known: impl Fn(&str) -> bool) -> Vec<MissingSecret> {
    let missing =
        found.iter().filter(|(place, _)| place.required && !is_known(&place.name)).filter_map(|(place, found)| {
            let why = match found {
                Found::Value(_) => return None,
                Found::Empty(path) => format!("is empty in {}", path.display()),
                Found::Unreadable(path, why) => format!("may be in {}, which cannot be read ({why})", path.display()),
                Found::Nowhere => format!("is in none of {}", place.files.join(", ")),
            };
            let (collection, name, what) = (collection.to_owned(), place.name.clone(), place.what.clone());
            Some(MissingSecret { collection, name, what, why })
        });
    missing.collect()
}

fn keep(
    store: &Store,
    document: &mut EscrowDocument,
    key: &FingerprintKey,
    found: &[(SecretPlace, Found)],
    now: Timestamp,
    noted: &mut Noted,
) -> Result<(), EscrowFileError> {
    for (_, found) in found {
        let Found::Value(Given { name, form, value, .. }) = found else { continue };
        let fingerprint = match document.elsewhere.contains(name) {
            true => key.of(name, value),
            false => {
                let had_one = document.secrets.iter().any(|secret| secret.name == *name);
                let put = (name.as_str(), *form, value.as_slice());
                let (fingerprint, is_new) = document.put(&mut entropy(), put, (key, now), store.keepers())?;
                if is_new {
                    noted.stored.push(name.clone());
                    noted.changed.extend(had_one.then(|| name.clone()));
                }
                fingerprint
            }
        };
        noted.marks.push(SecretMark { name: name.clone(), fingerprint });
    }
    Ok(())
}

/// Looks whether what is stored of a collection's secrets opens, as far as this instance may open it. Blocks.
///
/// # Errors
/// [`EscrowFileError`]: it was changed, or cut off.
pub fn verify(store: &Store, collection: &CollectionId) -> Result<(), EscrowFileError> {
    for escrow in store.escrows(collection)?.iter().filter(|escrow| escrow.key.is_some()) {
        for secret in &escrow.document.secrets {
            escrow.open(secret, store)?;
        }
    }
    Ok(())
}

/// The stored secrets that open what a snapshot holds: those that belonged to it, and otherwise those in use. Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn stored(store: &Store, collection: &CollectionId, marks: &[SecretMark]) -> Result<Secrets, EscrowFileError> {
    let escrows: Vec<Escrow> = store.escrows(collection)?.into_iter().filter(|escrow| escrow.key.is_some()).collect();
    let mut secrets = Secrets::new();
    for escrow in escrows.iter().rev() {
        for name in escrow.document.names() {
            let mut belonging = marks.iter().filter(|mark| mark.name == name);
            let belongs = belonging.find_map(|mark| escrow.with(name, &mark.fingerprint));
            // Another copy may have the one that belongs to it.
            let is_known = escrows.iter().any(|other| {
                marks.iter().any(|mark| mark.name == name && other.with(name, &mark.fingerprint).is_some())
            });
            let secret = belongs.or_else(|| escrow.document.current(name).filter(|_| !is_known));
            let Some(secret) = secret.filter(|secret| secret.form == SecretForm::Variable) else { continue };
            let value = escrow.open(secret, store)?;
            if let Ok(text) = std::str::from_utf8(&value) {
                secrets.insert(name.to_owned(), Zeroizing::new(text.to_owned()));
            }
        }
    }
    Ok(secrets)
}

/// Like [`stored`]; that they cannot be had is a problem on `monitor`. Blocks.
pub fn stored_or_none(
    store: &Store,
    collection: &CollectionId,
    marks: &[SecretMark],
    monitor: &dyn Monitor,
) -> Secrets {
    stored(store, collection, marks).unwrap_or_else(|error| {
        let message = format!("the stored secrets cannot be used: {}", with_causes(&error));
        monitor.problem(Problem { subject: "secrets".to_owned(), message });
        Secrets::new()
    })
}

/// Which of these values are not those that belong to the snapshot. Where the key of the fingerprints is not here, nothing can be said.
/// Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn compare(store: &Store, open: &OpenSnapshot, given: &[Given]) -> Result<Vec<Differs>, EscrowFileError> {
    let marks = open.private.capture.iter().flat_map(|capture| &capture.secrets);
    let mut differing = Vec::new();
    let escrows = store.escrows(&open.collection())?;
    for mark in marks {
        let key = escrows.iter().filter_map(|escrow| escrow.key.as_ref());
        let Some(key) = key.into_iter().find(|key| key.id() == mark.fingerprint.key_id()) else { continue };
        for given in given.iter().filter(|given| given.name == mark.name) {
            let found = key.of(&given.name, &given.value);
            if found != mark.fingerprint {
                differing.push(Differs {
                    name: mark.name.clone(),
                    snapshot: mark.fingerprint,
                    found,
                    place: given.place.clone(),
                    is_stored: escrows.iter().any(|escrow| escrow.with(&mark.name, &mark.fingerprint).is_some()),
                });
            }
        }
    }
    Ok(differing)
}

/// Stores a value that somebody gives. Answers its fingerprint, and whether it is another one than before. Blocks.
///
/// # Errors
/// [`EscrowFileError`].
pub fn add(
    store: &Store,
    collection: &Collection,
    (name, form, value): (&str, SecretForm, &[u8]),
    now: Timestamp,
) -> Result<(Fingerprint, bool), EscrowFileError> {
    // Nothing is made for a value that is refused.
    if value.iter().all(u8::is_ascii_whitespace) {
        return Err(EscrowError::Empty(name.to_owned()).into());
    }
    store.change_escrow((&collection.id, &collection.name), |document, key| {
        document.elsewhere.retain(|known| known != name);
        Ok(document.put(&mut entropy(), (name, form, value), (key, now), store.keepers())?)
    })
}
