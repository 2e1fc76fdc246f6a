//! Which BBS a collection's rows are of. Two that are backed up from one home stay apart: numbers of rows, and names, are one BBS's.

use std::collections::BTreeSet;

use super::InstallError;
use crate::axon::library::{INSTALLATION, Library, SOURCE, installation_key, source_of};
use crate::domain::axon::export::APPLET;
use crate::domain::axon::json::Value;
use crate::domain::axon::key::PublicKey;
use crate::domain::axon::uuid::Uuid;
use crate::store::Store;
use crate::store::axon::AxonShelf;

/// Whether the rows of a collection are those of one BBS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Belongs {
    /// They are.
    Its,
    /// There are none yet, or they came before it was noted whose they are.
    Unknown,
    /// They are another one's; which, in words.
    AnothersWhich(String),
}

impl Belongs {
    /// Looks whose rows the shelf has; `key`: that of the BBS.
    ///
    /// # Errors
    /// [`InstallError`], if the index cannot be read.
    pub async fn find(store: &Store, shelf: &AxonShelf, key: &PublicKey) -> Result<Self, InstallError> {
        let Some(record) = shelf.records(SOURCE).await?.pop() else { return Ok(Self::Unknown) };
        let Some(source) = source_of(&record) else { return Ok(Self::Unknown) };
        if source == INSTALLATION {
            return Ok(match installation_key(&record) {
                None => Self::Unknown,
                Some(known) if known == *key => Self::Its,
                Some(_) => Self::AnothersWhich("an Axon BBS on this machine that has another key".to_owned()),
            });
        }
        let peers = store.index.axon_peers().await?;
        let is_it = peers.iter().any(|peer| peer.name == source && peer.public_key == *key);
        Ok(if is_it { Self::Its } else { Self::AnothersWhich(format!("the peer {source}, which has another key")) })
    }

    /// The ids of applets that are the BBS's own, by its rows; none if it is not known that they are its.
    pub fn own_applets(&self, library: &Library) -> BTreeSet<Uuid> {
        let rows = library.config.get(APPLET).filter(|_| *self == Self::Its);
        let id = |pk: &Value| match pk {
            Value::Text(id) => id.as_str()?.parse().ok(),
            _ => None,
        };
        rows.into_iter().flatten().filter_map(|row| id(&row.pk)).collect()
    }
}
