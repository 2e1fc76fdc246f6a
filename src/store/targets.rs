//! Which targets there are: `keys/targets`, sealed JSON, with what lets us in.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Store, StoreError, lock};
use crate::domain::peer::is_plain_name;
use crate::domain::target::Target;

const FILE: &str = "targets";
const FORMAT: &str = "bulbil-targets/1";

#[derive(Serialize, Deserialize)]
struct Document {
    format: String,
    targets: Vec<Target>,
}

/// Held while something is copied to a target.
#[derive(Debug)]
pub struct TargetLock(#[expect(dead_code, reason = "it is held, not read")] std::fs::File);

impl Store {
    /// All targets, by name.
    ///
    /// # Errors
    /// [`StoreError::KeysDamaged`], [`StoreError::NewerHome`], [`StoreError::Io`].
    pub fn targets(&self) -> Result<Vec<Target>, StoreError> {
        let Some(plain) = self.keys.load_sealed(&self.home, FILE)? else { return Ok(Vec::new()) };
        let path = || self.home.keys().join(FILE);
        let document: Document =
            serde_json::from_slice(&plain).map_err(|_| StoreError::KeysDamaged { path: path() })?;
        if document.format != FORMAT {
            return Err(StoreError::NewerHome { path: path(), found: document.format });
        }
        Ok(document.targets)
    }

    /// Keeps a target, in place of one of the same name.
    ///
    /// # Errors
    /// [`StoreError::BadName`], and what [`targets`](Self::targets) says.
    pub fn put_target(&self, target: Target) -> Result<(), StoreError> {
        if !is_plain_name(&target.name) {
            return Err(StoreError::BadName { name: target.name });
        }
        self.change_targets(|targets| {
            targets.retain(|known| known.name != target.name);
            targets.push(target);
            targets.sort_by(|a, b| a.name.cmp(&b.name));
        })
    }

    /// Forgets a target; what is there stays.
    ///
    /// # Errors
    /// What [`targets`](Self::targets) says.
    pub fn drop_target(&self, name: &str) -> Result<(), StoreError> {
        self.change_targets(|targets| targets.retain(|known| known.name != name))
    }

    fn change_targets(&self, change: impl FnOnce(&mut Vec<Target>)) -> Result<(), StoreError> {
        let _turn = lock::lock_keys(&self.home)?;
        let mut targets = self.targets()?;
        change(&mut targets);
        let document = Document { format: FORMAT.to_owned(), targets };
        let plain = Zeroizing::new(serde_json::to_vec(&document).expect("targets have no maps with odd keys"));
        self.keys.save_sealed(&self.home, FILE, &plain)
    }

    /// Makes this process the only one of this home that writes to a target.
    ///
    /// # Errors
    /// [`StoreError::Busy`].
    pub fn lock_target(&self, name: &str) -> Result<TargetLock, StoreError> {
        lock::lock_named(&self.home, &format!("target-{name}")).map(TargetLock)
    }
}
