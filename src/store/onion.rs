//! The keys of this instance's onion services: its addresses, for ever.
//!
//! They are made when they are first needed, or brought along from C tor. Two services have two unrelated keys, so that
//! giving out one address never shows the other (R9).

use super::{Store, StoreError, entropy};
use crate::domain::crypto::onion::OnionKey;

/// Which onion service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnionName {
    /// For peers.
    Peer,
    /// For the admin.
    Admin,
}

/// Why a key does not become that of a service.
#[derive(Debug, thiserror::Error)]
pub enum OnionImportError {
    /// It is the key of the other one.
    #[error(
        "this is the key of this instance's other onion service: peers and admin have an address each, and neither shows the other"
    )]
    OtherService,
    /// There is one.
    #[error(
        "this instance has an onion address already, which peers may know: 'replace' gives it up (an export keeps a copy)"
    )]
    HasAddress,
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl OnionName {
    fn other(self) -> Self {
        match self {
            Self::Peer => Self::Admin,
            Self::Admin => Self::Peer,
        }
    }

    fn file(self) -> &'static str {
        match self {
            OnionName::Peer => "onion",
            OnionName::Admin => "onion-admin",
        }
    }
}

impl Store {
    /// The key of a service; drawn and kept if there is none yet.
    ///
    /// # Errors
    /// [`StoreError::KeysDamaged`], [`StoreError::Io`].
    pub fn onion_key(&self, name: OnionName) -> Result<OnionKey, StoreError> {
        if let Some(key) = self.known_onion_key(name)? {
            return Ok(key);
        }
        // Two commands may get here at once: one draws, and the other finds what was drawn.
        let _turn = super::lock::lock_keys(&self.home)?;
        if let Some(key) = self.known_onion_key(name)? {
            return Ok(key);
        }
        let key = OnionKey::random(&mut entropy());
        self.keys.save_sealed(&self.home, name.file(), key.secret().expose())?;
        Ok(key)
    }

    /// The key of a service, if there is one.
    ///
    /// # Errors
    /// See [`onion_key`](Self::onion_key).
    pub fn known_onion_key(&self, name: OnionName) -> Result<Option<OnionKey>, StoreError> {
        let damaged = || StoreError::KeysDamaged { path: self.home.keys().join(name.file()) };
        let Some(plain) = self.keys.load_sealed(&self.home, name.file())? else { return Ok(None) };
        OnionKey::from_slice(&plain).map(Some).map_err(|_| damaged())
    }

    /// Whether a key may become that of a service. Answers whether it is another one than now.
    ///
    /// # Errors
    /// [`OnionImportError`].
    pub fn check_onion_import(&self, name: OnionName, key: &OnionKey, replace: bool) -> Result<bool, OnionImportError> {
        let is_same = |known: OnionKey| known.public() == key.public();
        if self.known_onion_key(name.other())?.is_some_and(is_same) {
            return Err(OnionImportError::OtherService);
        }
        match self.known_onion_key(name)?.map(is_same) {
            Some(true) => Ok(false),
            Some(false) if !replace => Err(OnionImportError::HasAddress),
            Some(false) | None => Ok(true),
        }
    }

    /// Puts another key in its place. The address of before is lost, unless somebody has a copy of its key.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub fn replace_onion_key(&self, name: OnionName, key: &OnionKey) -> Result<(), StoreError> {
        let _turn = super::lock::lock_keys(&self.home)?;
        self.keys.save_sealed(&self.home, name.file(), key.secret().expose())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::TestStore;

    #[tokio::test]
    async fn an_address_is_made_once_and_stays() {
        let home = TestStore::new().await;
        let store = &home.store;
        assert!(store.known_onion_key(OnionName::Peer).unwrap().is_none());
        let first = store.onion_key(OnionName::Peer).unwrap().public();
        assert_eq!(store.onion_key(OnionName::Peer).unwrap().public(), first);
        assert_ne!(store.onion_key(OnionName::Admin).unwrap().public(), first);
        let other = OnionKey::random(&mut entropy());
        store.replace_onion_key(OnionName::Peer, &other).unwrap();
        assert_eq!(store.onion_key(OnionName::Peer).unwrap().public(), other.public());
        let path = store.home.keys().join("onion");
        let sealed = std::fs::read(&path).unwrap();
        assert!(!sealed.windows(32).any(|part| part == &other.secret().expose()[..32]), "it is sealed");
        std::fs::write(&path, &sealed[1..]).unwrap();
        assert!(matches!(store.onion_key(OnionName::Peer), Err(StoreError::KeysDamaged { .. })));
    }
}
