//! Other keys for this instance. Peers are told with the next sync.
//!
//! Killed in between, the instance has the old key or the new one, and is the same instance for its peers in either case.

use std::path::Path;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Home, Keys, Passphrase, Store, StoreError, blocking, fresh_envelope_key, lock, open_keys};

/// Which keys are replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotate {
    /// The key for which peers wrap envelopes.
    pub envelope: bool,
    /// The key that signs; the instance gets another id.
    pub identity: bool,
}

impl Store {
    /// Gives a home another envelope key, another identity, or both. Nobody else may be at work in it.
    ///
    /// # Errors
    /// [`StoreError::Busy`], [`StoreError::Io`], and what [`open`](Self::open) says.
    pub async fn rotate_keys(
        home: &Path,
        passphrase: Option<Passphrase>,
        which: Rotate,
        now: Timestamp,
    ) -> Result<Self, StoreError> {
        let home = Home::open(home)?;
        let _backup = lock::lock_backup(&home)?;
        let _server = lock::lock_server(&home, None)?;
        let keys = open_keys(&home, passphrase).await?;
        rotated(home, keys, which, now).await
    }

    /// The same for the keys that are open here, which needs no passphrase. What this store knows of keys is out of date afterwards.
    ///
    /// # Errors
    /// See [`rotate_keys`](Self::rotate_keys).
    pub async fn rotate(&self, which: Rotate, now: Timestamp) -> Result<Self, StoreError> {
        let home = self.home.clone();
        let _backup = lock::lock_backup(&home)?;
        let _server = lock::lock_server(&home, None)?;
        let (known, at) = (Arc::clone(&self.keys), home.clone());
        let keys = blocking(move || known.read_again(&at)).await?;
        rotated(home, keys, which, now).await
    }
}

async fn rotated(home: Home, mut keys: Keys, which: Rotate, now: Timestamp) -> Result<Store, StoreError> {
    let at = home.clone();
    let rotate = move || {
        if which.envelope {
            keys = keys.renew_envelope(&at, fresh_envelope_key())?;
        }
        if which.identity {
            keys = keys.renew_identity(&at, now)?;
        }
        Ok::<_, StoreError>(keys)
    };
    let keys = Arc::new(blocking(rotate).await?);
    Store::with_keys(home, keys).await
}
