//! Beside an Axon BBS on the same machine: its database, its chunks, its key.
//!
//! Goals: everything that the BBS has comes onto the shelf, and into a snapshot, while it runs, and nothing is written in its folder;
//! applets go back into a stopped one in one transaction, after its database was copied. Versions differ: tables are found by their
//! model, columns that are missing count as empty, those that nobody knows are kept.
//!
//! Non-goals: its media folder (avatars), and its program. The BBS's private key is used to open envelopes, and kept nowhere.

mod belongs; // which BBS a collection is of
mod look; // at its chunks, once they are here
mod place; // where an installation has its things
mod placing; // chunks of applets that go back
mod put; // applets back into a stopped one
mod records; // rows as records
pub mod returning; // what goes back
mod rows; // rows of applets that go back
mod schema; // tables and their values
mod take; // from an installation onto the shelf

use std::fmt;
use std::path::PathBuf;

use zeroize::Zeroizing;

pub use belongs::Belongs;
pub use place::{Options, Place, PlaceError};
pub use put::{PutBack, PutReport};
pub use records::{TABLES, Unread, rooms};
pub use take::{TakeOver, TakeReport};

use crate::domain::axon::fernet::FernetKey;
use crate::domain::axon::private::PrivateKey;
use crate::store::foreign::ForeignError;
use crate::store::{ChunkStoreError, IndexError, Store};
use schema::Schema;

/// Why an installation cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// It has not what belongs to one.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// Its database.
    #[error(transparent)]
    Database(#[from] ForeignError),
    /// It is another program's.
    #[error("the database {} is not that of an Axon BBS: it has no table of {missing}", path.display())]
    NotAxon {
        /// Which one.
        path: PathBuf,
        /// What it lacks.
        missing: &'static str,
    },
    /// It has never run.
    #[error("the Axon BBS has no key of its own yet: start it once, so that it makes one")]
    NoKey,
    /// Its key does not open.
    #[error(
        "the SECRET_KEY in {looked} does not open this Axon BBS's private key: it is that of another installation, or it was changed since. Name a file that has the right one with --secret-key-file"
    )]
    WrongSecretKey {
        /// Where it was found.
        looked: String,
    },
    /// The collection is not its.
    #[error(
        "the collection {collection} has the rows of {whose}, and two are not mixed: give this one a collection of its own with --collection OTHER. If it is the same BBS and got a new key, or takes that one's place, give --take-over. Nothing was changed"
    )]
    OfAnother {
        /// Which collection.
        collection: String,
        /// Of whom, in words.
        whose: String,
    },
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// What is known cannot be read.
    #[error(transparent)]
    Library(#[from] super::library::LibraryError),
    /// Chunks cannot be kept.
    #[error(transparent)]
    Chunks(#[from] ChunkStoreError),
    /// A key of ours.
    #[error(transparent)]
    Key(#[from] crate::domain::axon::key::KeyError),
    /// A folder of it.
    #[error(transparent)]
    Dir(#[from] crate::store::dir::DirError),
    /// It runs.
    #[error(
        "the Axon BBS is running: process {pid} ({name}) has its database open. Stop it, and try again; --force tries it all the same"
    )]
    Running {
        /// Which process.
        pid: u32,
        /// What it is called.
        name: String,
    },
    /// This version has no such thing.
    #[error("this version of the BBS has no table of {model}, which is needed: nothing was changed")]
    NoTable {
        /// Of which model.
        model: &'static str,
    },
    /// It was stopped.
    #[error("stopped; what was taken over until then is kept, and the same command goes on from there")]
    Cancelled,
    /// A thread died.
    #[error("a part of the work died unexpectedly. This is a bug in bulbil")]
    Died,
}

/// An installation that was read.
pub struct Installation {
    place: Place,
    schema: Schema,
    key: PrivateKey,
}

impl fmt::Debug for Installation {
    /// Without what is in it: password hashes, keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Installation({})", self.place.database.display())
    }
}

impl Installation {
    /// Reads the whole database, as of one moment, and opens the key of the instance.
    ///
    /// # Errors
    /// [`InstallError`].
    pub async fn open(store: &Store, place: Place) -> Result<Self, InstallError> {
        let tables = store.read_foreign(&place.database, &records::is_kept).await?;
        let schema = Schema { tables };
        let key = open_key(&schema, &place)?;
        Ok(Self { place, schema, key })
    }

    /// The key of the instance, to open what was made for it.
    pub fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// Names of models of which this version has no table.
    pub fn missing(&self) -> Vec<&'static str> {
        self.schema.missing()
    }
}

/// The key of the local instance, under SECRET_KEY.
fn open_key(schema: &Schema, place: &Place) -> Result<PrivateKey, InstallError> {
    for model in ["user", "trustedinstance", "applet"] {
        if schema.table(model).is_none() {
            return Err(InstallError::NotAxon { path: place.database.clone(), missing: model });
        }
    }
    let sealed = |row: &schema::RowOf<'_>| row.text(&["encrypted_private_key"]).filter(|token| !token.is_empty());
    let mut tokens: Vec<(bool, String)> = schema
        .rows("trustedinstance")
        .filter_map(|row| Some((row.flag(&["is_trusted_peer"]), sealed(&row)?)))
        .collect();
    tokens.sort();
    if tokens.is_empty() {
        return Err(InstallError::NoKey);
    }
    for (_, secret) in &place.secrets {
        let Ok(fernet) = FernetKey::from_secret_key(secret) else { continue };
        for (_, token) in &tokens {
            let Ok(pem) = fernet.open(token) else { continue };
            let text = Zeroizing::new(String::from_utf8_lossy(&pem).into_owned());
            if let Ok(key) = PrivateKey::from_pem(&text) {
                return Ok(key);
            }
        }
    }
    let mut looked: Vec<String> = place.secrets.iter().map(|(path, _)| path.display().to_string()).collect();
    looked.dedup();
    Err(InstallError::WrongSecretKey { looked: looked.join(" and ") })
}
