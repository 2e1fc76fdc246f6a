//! The recovery sheet: what to keep on paper, for the day on which the machine is gone.
//!
//! What stands on it is of no use without the recovery key, which is on it only if somebody gives it: it is kept nowhere here.

mod steps; // what to do, step by step

use jiff::Timestamp;
use zeroize::Zeroizing;

use super::create::moment;
use super::select::{self, SelectError};
use crate::domain::crypto::recovery::{RecoveryError, RecoveryKey};
use crate::domain::escrow::papers;
use crate::domain::peer::fingerprint_words;
use crate::domain::preset::Preset;
use crate::store::index::Collection;
use crate::store::{EscrowFileError, IndexError, Store, StoreError, blocking};

pub use steps::{Step, steps};

/// What stands on the paper.
pub struct Sheet {
    /// What the instance is called.
    pub name: String,
    /// Which instance.
    pub instance: String,
    /// Eight words that stand for it.
    pub fingerprint: String,
    /// The machine.
    pub host: String,
    /// Where the home is on it.
    pub home: String,
    /// When this was put together.
    pub made: Timestamp,
    /// The beginning of the name of the recovery key.
    pub key_id: String,
    /// The recovery key itself, if it was given.
    pub key: Option<Zeroizing<String>>,
    /// What is backed up.
    pub collections: Vec<OfCollection>,
    /// Who else may have copies.
    pub peers: Vec<String>,
    /// Where copies go.
    pub targets: Vec<String>,
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sheet").field("name", &self.name).field("made", &self.made).finish_non_exhaustive()
    }
}

/// What stands there of a collection.
#[derive(Debug)]
pub struct OfCollection {
    /// What it is called.
    pub name: String,
    /// Where its folders are.
    pub folders: Vec<String>,
    /// What it is.
    pub about: Option<String>,
    /// The preset of its application.
    pub preset: Option<String>,
    /// The newest snapshot, in words.
    pub newest: Option<String>,
    /// Secrets of the application, sealed.
    pub secrets: Vec<OfSecret>,
    /// Secrets of which nothing can be printed: a sentence each, with why.
    pub without: Vec<String>,
}

/// A secret, sealed for the recovery key.
#[derive(Debug)]
pub struct OfSecret {
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub what: Option<String>,
    /// Where the application looks for it.
    pub place: Option<String>,
    /// Since when it is in use.
    pub since: Timestamp,
    /// The beginning of its fingerprint.
    pub fingerprint: String,
    /// Its text in pieces, each short enough for a code that a phone reads.
    pub codes: Vec<String>,
}

/// Why there is no sheet.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// No such collection.
    #[error(transparent)]
    Select(#[from] SelectError),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is known of targets.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The secrets.
    #[error("the stored secrets cannot be used")]
    Escrow(#[from] EscrowFileError),
    /// What was given as the recovery key is none.
    #[error(transparent)]
    NoKey(#[from] RecoveryError),
    /// It is another instance's.
    #[error("this recovery key is another instance's: nothing was printed")]
    AnothersKey,
}

/// The recovery key that is to be printed: it has to be this instance's.
///
/// # Errors
/// [`SheetError::AnothersKey`].
pub fn own_key(store: &Store, key: RecoveryKey) -> Result<RecoveryKey, SheetError> {
    match key.recipient() == store.keys.recovery {
        true => Ok(key),
        false => Err(SheetError::AnothersKey),
    }
}

/// Puts together what stands on it: of these collections, or of all if none is named.
///
/// # Errors
/// [`SheetError`].
pub async fn gather(
    store: &Store,
    names: &[String],
    key: Option<&RecoveryKey>,
    now: Timestamp,
) -> Result<Sheet, SheetError> {
    let mut wanted = Vec::new();
    for name in names {
        wanted.push(select::collection(store, name).await?);
    }
    if wanted.is_empty() {
        wanted = store.index.collections().await?;
    }
    let mut newest = Vec::new();
    for collection in &wanted {
        let latest = store.index.latest(&collection.id, false).await?;
        newest.push(
            latest.map(|latest| format!("{}@{} of {}", collection.name, latest.sequence, moment(latest.created_at))),
        );
    }
    let peers = store.index.peers().await?.into_iter().map(|peer| peer.name).collect();
    let recipient = store.keys.recovery.id();
    let (in_store, for_whom) = (store.clone(), recipient.clone());
    let reading = move || {
        let of = |(collection, newest)| of_collection(&in_store, collection, newest, &for_whom);
        let collections = wanted.iter().zip(newest).map(of).collect::<Result<Vec<_>, _>>()?;
        let targets = in_store.targets()?.into_iter().map(|target| target.location.to_string()).collect();
        let home = in_store.home.root();
        let home = home.canonicalize().unwrap_or_else(|_| home.to_owned()).display().to_string();
        Ok::<_, SheetError>((collections, targets, home))
    };
    let (collections, targets, home) = blocking(reading).await?;
    let instance = store.keys.instance();
    Ok(Sheet {
        name: store.keys.name.clone(),
        instance: instance.to_string(),
        fingerprint: fingerprint_words(&instance).join(" "),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        home,
        made: now,
        key_id: recipient.chars().take(8).collect(),
        key: key.map(RecoveryKey::to_text),
        collections,
        peers,
        targets,
    })
}

/// Reads files.
fn of_collection(
    store: &Store,
    collection: &Collection,
    newest: Option<String>,
    recipient: &str,
) -> Result<OfCollection, EscrowFileError> {
    let settings = collection.settings.as_ref();
    let application = settings.and_then(|settings| settings.application.as_ref());
    let preset: Option<Preset> = application.and_then(|application| store.preset(&application.preset).ok());
    let place = |name: &str| preset.iter().flat_map(|preset| &preset.secrets).find(|secret| secret.name == name);
    let mut of = OfCollection {
        name: collection.name.clone(),
        folders: settings.iter().flat_map(|s| &s.roots).map(|root| root.path.display().to_string()).collect(),
        about: preset.as_ref().map(|preset| preset.about.clone()).filter(|about| !about.is_empty()),
        preset: preset.as_ref().map(|preset| preset.name.clone()),
        newest,
        secrets: Vec::new(),
        without: Vec::new(),
    };
    let escrows = store.escrows(&collection.id)?;
    for escrow in &escrows {
        for (secret, codes) in papers(&escrow.document, recipient) {
            if of.secrets.iter().any(|known| known.name == secret.name) {
                continue;
            }
            let known = place(&secret.name);
            of.secrets.push(OfSecret {
                name: secret.name.clone(),
                what: known.map(|known| known.what.clone()),
                place: known.map(|known| known.files.join(", ")),
                since: secret.since,
                fingerprint: secret.fingerprint.short(),
                codes,
            });
        }
        for name in &escrow.document.elsewhere {
            of.without.push(format!("{name}: you keep it elsewhere. Write down where:"));
        }
    }
    let is_known = |name: &str| {
        of.secrets.iter().any(|secret| secret.name == name)
            || escrows.iter().any(|escrow| escrow.document.elsewhere.iter().any(|known| known == name))
    };
    let missing =
        preset.iter().flat_map(|preset| &preset.secrets).filter(|secret| secret.required && !is_known(&secret.name));
    let missing: Vec<String> = missing
        .map(|secret| {
            format!(
                "{} ({}): not stored. 'bulbil secret add {} {}' stores it; then print this again",
                secret.name, secret.what, of.name, secret.name
            )
        })
        .collect();
    of.without.extend(missing);
    Ok(of)
}
