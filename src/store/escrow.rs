//! `HOME/escrow/`: secrets of applications, apart from chunks and manifests. Nothing of it is served to anybody, or stands in a snapshot.
//!
//! One document for each collection and key of fingerprints: `<collection>-<key id>.json` (0600). Mostly a collection has one; a second one
//! came from elsewhere and does not open here.

use std::io::ErrorKind;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::{Store, StoreError, entropy, files, lock};
use crate::domain::crypto::recovery::RecoveryKey;
use crate::domain::escrow::{
    EscrowDocument, EscrowError, EscrowedSecret, Fingerprint, FingerprintKey, Keepers, MAX_DOCUMENT_BYTES,
};
use crate::domain::id::CollectionId;

const FOLDER: &str = "escrow";

/// Why what is kept cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EscrowFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is none, or a secret is none.
    #[error(transparent)]
    Escrow(#[from] EscrowError),
    /// There is no room for another one.
    #[error("too many secrets are kept: remove old ones with 'bulbil secret remove'")]
    Full,
    /// A file is damaged.
    #[error("{} is damaged: put it back from a copy of the home or from a portable backup ('bulbil import'), or move it away; then the secrets are stored again with the next backup", path.display())]
    Damaged {
        /// Which one.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: EscrowError,
    },
}

/// The secrets of a collection, and the key of their fingerprints where it opens here.
#[derive(Debug)]
pub struct Escrow {
    /// What is kept.
    pub document: EscrowDocument,
    /// Opens only what this instance may open.
    pub key: Option<FingerprintKey>,
}

impl Escrow {
    /// A value that this instance may open.
    ///
    /// # Errors
    /// [`EscrowError`].
    pub fn open(&self, secret: &EscrowedSecret, store: &Store) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
        secret.open_with_vault(&self.document.collection, &store.keys.master)
    }

    /// The secret with this fingerprint.
    pub fn with(&self, name: &str, fingerprint: &Fingerprint) -> Option<&EscrowedSecret> {
        self.document.secrets.iter().find(|secret| secret.name == name && secret.fingerprint == *fingerprint)
    }
}

impl Store {
    /// For whom secrets are sealed here.
    pub fn keepers(&self) -> Keepers<'_> {
        Keepers { master: &self.keys.master, recovery: &self.keys.recovery }
    }

    /// What is kept of a collection's secrets: first what opens here.
    ///
    /// # Errors
    /// [`EscrowFileError`].
    pub fn escrows(&self, collection: &CollectionId) -> Result<Vec<Escrow>, EscrowFileError> {
        let folder = self.home.root().join(FOLDER);
        let mut names = Vec::new();
        match std::fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(|cause| StoreError::io("read", &folder, cause))?;
                    let name = entry.file_name().to_string_lossy().into_owned();
                    if name.starts_with(&format!("{collection}-")) && name.ends_with(".json") {
                        names.push(name);
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(cause) => return Err(StoreError::io("read", &folder, cause).into()),
        }
        names.sort();
        let mut escrows = Vec::with_capacity(names.len());
        for name in names {
            let path = folder.join(name);
            let read = files::read_bounded(&path, MAX_DOCUMENT_BYTES);
            let bytes = read.map_err(|cause| StoreError::io("read", &path, cause))?.unwrap_or_default();
            let parsed = EscrowDocument::parse(&bytes).and_then(|document| match document.collection == *collection {
                true => Ok(document),
                false => Err(EscrowError::NotOne),
            });
            let document = match parsed {
                Ok(document) => document,
                Err(EscrowError::Newer(found)) => return Err(EscrowError::Newer(found).into()),
                Err(cause) => return Err(EscrowFileError::Damaged { path, cause }),
            };
            let key = document.open_fingerprint_key(&self.keys.master).ok();
            escrows.push(Escrow { document, key });
        }
        // Of several that open here the one that changed last is gone on with.
        let newest = |escrow: &Escrow| escrow.document.secrets.last().map(|secret| secret.since);
        escrows.sort_by_key(|escrow| (std::cmp::Reverse(escrow.key.is_some()), std::cmp::Reverse(newest(escrow))));
        Ok(escrows)
    }

    /// Changes what is kept of a collection's secrets; it is made if there is nothing yet. Durable on return. Blocks.
    ///
    /// # Errors
    /// [`EscrowFileError`], or what `change` says; nothing was changed then.
    pub fn change_escrow<T, E: From<EscrowFileError>>(
        &self,
        (collection, name): (&CollectionId, &str),
        change: impl FnOnce(&mut EscrowDocument, &FingerprintKey) -> Result<T, E>,
    ) -> Result<T, E> {
        let _turn = lock::lock_keys(&self.home).map_err(EscrowFileError::from)?;
        let known = self.escrows(collection)?.into_iter().next().and_then(|known| Some((known.document, known.key?)));
        let (mut document, key, before) = match known {
            Some((document, key)) => (document.clone(), key, Some(document)),
            None => {
                let of = (*collection, name);
                let made = EscrowDocument::new(&mut entropy(), of, self.keys.instance(), self.keepers());
                let (document, key) = made.map_err(EscrowFileError::from)?;
                (document, key, None)
            }
        };
        let changed = change(&mut document, &key)?;
        document.name = name.to_owned();
        document.instance = self.keys.instance();
        if before.as_ref() != Some(&document) {
            self.save_escrow(&document)?;
        }
        Ok(changed)
    }

    /// Keeps a document that came from elsewhere: what the recovery key opens. With that key it is opened for this instance, too. Answers
    /// how many secrets it has. Blocks.
    ///
    /// # Errors
    /// [`EscrowFileError`].
    pub fn keep_escrow(&self, came: &EscrowDocument, recovery: Option<&RecoveryKey>) -> Result<usize, EscrowFileError> {
        let _turn = lock::lock_keys(&self.home)?;
        let mut came = came.for_recovery_alone();
        let count = came.secrets.len();
        let mut known = self.escrows(&came.collection)?.into_iter();
        let before = known.find(|known| known.document.fingerprint_key_id == came.fingerprint_key_id);
        if let Some(recovery) = recovery {
            // Another instance's recovery key opens nothing of it, and it is kept all the same.
            match came.adopt(&mut entropy(), recovery, self.keepers()) {
                Ok(_) | Err(EscrowError::WrongRecoveryKey(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if let Some(key) = before.as_ref().and_then(|before| before.key.as_ref()) {
            // Anybody may have written into the folder from which it came: into what is in use here comes only what proves itself.
            let proves = |secret: &EscrowedSecret| {
                let value = secret.open_with_vault(&came.collection, &self.keys.master);
                value.is_ok_and(|value| key.of(&secret.name, &value) == secret.fingerprint)
            };
            let proven: Vec<bool> = came.secrets.iter().map(proves).collect();
            let mut proven = proven.into_iter();
            came.secrets.retain(|_| proven.next().unwrap_or(false));
            came.elsewhere.clear();
        }
        let document = match before.as_ref().map(|before| before.document.clone()) {
            Some(mut here) => {
                here.merge(came);
                here
            }
            None => came,
        };
        if before.map(|before| before.document).as_ref() != Some(&document) {
            self.save_escrow(&document)?;
        }
        Ok(count)
    }

    fn save_escrow(&self, document: &EscrowDocument) -> Result<(), EscrowFileError> {
        let folder = self.home.root().join(FOLDER);
        files::create_private_dir(&folder)
            .and_then(|()| files::sync_dir(self.home.root()))
            .map_err(|cause| StoreError::io("create", &folder, cause))?;
        let path = folder.join(format!("{}-{}.json", document.collection, document.fingerprint_key_id));
        let mut bytes = serde_json::to_vec_pretty(document).expect("a document has no maps with odd keys");
        bytes.push(b'\n');
        if bytes.len() > MAX_DOCUMENT_BYTES {
            return Err(EscrowFileError::Full);
        }
        let written = files::write_atomically(&path, &bytes, 0o600);
        written.map_err(|cause| StoreError::io("write", &path, cause).into())
    }
}
