//! This instance as Axon instances know it: an RSA key of 2,048 bits, made when it is first needed.

use crate::domain::axon::key::{KeyError, KeyName, PublicKey, Wrapper};
use crate::domain::axon::private::PrivateKey;
use crate::store::{Store, StoreError, fresh_axon_key};

/// The name and key with which this instance speaks to Axon instances.
#[derive(Debug)]
pub struct AxonInstance {
    /// Signs requests, and opens envelopes; not in a request handler (R4).
    pub private: PrivateKey,
    /// What admins of Axon instances enter.
    pub public: PublicKey,
    /// Its name in manifests.
    pub name: KeyName,
}

/// Why there is no key to speak with.
#[derive(Debug, thiserror::Error)]
pub enum InstanceError {
    /// The home cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is in the home is no key.
    #[error("keys/axon holds no usable RSA key: put keys/ back from a copy")]
    Key(#[from] KeyError),
}

impl AxonInstance {
    /// The instance's key; made now if there is none. Blocks for some 100 ms then.
    ///
    /// # Errors
    /// [`InstanceError`].
    pub fn load_or_make(store: &Store) -> Result<Self, InstanceError> {
        let der = match store.axon_key()? {
            Some(der) => der,
            None => {
                let der = fresh_axon_key();
                store.save_axon_key(&der)?;
                der
            }
        };
        Self::from_der(&der)
    }

    /// The instance's key, if it has one.
    ///
    /// # Errors
    /// [`InstanceError`].
    pub fn load(store: &Store) -> Result<Option<Self>, InstanceError> {
        store.axon_key()?.map(|der| Self::from_der(&der)).transpose()
    }

    fn from_der(der: &[u8]) -> Result<Self, InstanceError> {
        let private = PrivateKey::from_pkcs8_der(der)?;
        let public = private.public().clone();
        Ok(Self { name: public.name(), public, private })
    }

    /// Wraps keys for this instance itself.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn wrapper(&self) -> Result<Wrapper, KeyError> {
        self.public.wrapper()
    }
}
