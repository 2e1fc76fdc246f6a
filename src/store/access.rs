//! What lets somebody in on the admin plane: `keys/access`, sealed JSON.
//!
//! A file of its own and not the index: the index may be lost and made anew, and then nobody may be let in who was not before, nor be
//! kept out who was. Sealed, since a password's hash and what makes one-time codes are worth stealing.

use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Store, StoreError, lock};
use crate::domain::access::{Admission, AdmissionError};

const FILE: &str = "access";
const FORMAT: &str = "bulbil-access/1";

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    #[serde(flatten)]
    admission: Admission,
}

/// Why what lets somebody in was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// It cannot be.
    #[error(transparent)]
    Refused(#[from] AdmissionError),
    /// It cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which version of the file is there: another one has another stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionStamp(Option<(u64, i64, i64, u64)>);

impl Store {
    /// What lets somebody in; nothing before something was set.
    ///
    /// # Errors
    /// [`StoreError::AccessDamaged`], [`StoreError::NewerHome`], [`StoreError::Io`].
    pub fn admission(&self) -> Result<Admission, StoreError> {
        let path = || self.home.keys().join(FILE);
        let plain = self.keys.load_sealed(&self.home, FILE).map_err(|error| match error {
            StoreError::KeysDamaged { path } => StoreError::AccessDamaged { path },
            error => error,
        })?;
        let Some(plain) = plain else { return Ok(Admission::default()) };
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let damaged = |_| StoreError::AccessDamaged { path: path() };
        let head: Head = serde_json::from_slice(&plain).map_err(damaged)?;
        if head.format != FORMAT {
            return Err(StoreError::NewerHome { path: path(), found: head.format });
        }
        let document: Document = serde_json::from_slice(&plain).map_err(damaged)?;
        Ok(document.admission)
    }

    /// Which version is there now; costs a look at the file's attributes.
    pub fn admission_stamp(&self) -> AdmissionStamp {
        let metadata = std::fs::metadata(self.home.keys().join(FILE)).ok();
        AdmissionStamp(metadata.map(|of| (of.ino(), of.mtime(), of.mtime_nsec(), of.len())))
    }

    /// Changes what lets somebody in, alone among all processes of this home; durable on return. If `change` fails, nothing is written.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn change_admission<T>(
        &self,
        change: impl FnOnce(&mut Admission) -> Result<T, AdmissionError>,
    ) -> Result<T, AccessError> {
        let _turn = lock::lock_keys(&self.home)?;
        let mut admission = self.admission()?;
        let done = change(&mut admission)?;
        let document = Document { format: FORMAT.to_owned(), admission };
        let plain = Zeroizing::new(serde_json::to_vec(&document).expect("there are no maps with odd keys"));
        self.keys.save_sealed(&self.home, FILE, &plain)?;
        Ok(done)
    }
}
