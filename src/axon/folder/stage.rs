//! A folder that is made under another name, and gets its own when it is whole and durable. What a kill leaves goes with the next
//! one in the same place.

use super::dir::{Access, Dir, DirError};

/// What such a folder is called until then.
const UNFINISHED: &str = ".bulbil-unfinished-";

/// A folder on its way. Dropped before [`Self::finish`], it is removed.
#[derive(Debug)]
pub struct Stage {
    parent: Dir,
    name: String,
    dir: Dir,
    finished: bool,
}

impl Stage {
    /// Makes one in `parent`, and removes what killed ones left there. `access`: who may enter it.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn begin(parent: Dir, access: Access) -> Result<Self, DirError> {
        for left in parent.names()?.into_iter().filter(|name| name.starts_with(UNFINISHED)) {
            // Somebody may be at work in it right now.
            if let Ok(dir) = parent.enter(&left)
                && dir.hold()?
            {
                parent.remove(&left)?;
            }
        }
        let name = format!("{UNFINISHED}{}", std::process::id());
        let dir = parent.make(&name, access)?;
        dir.hold()?;
        Ok(Self { parent, name, dir, finished: false })
    }

    /// The folder.
    pub fn dir(&self) -> &Dir {
        &self.dir
    }

    /// Makes it durable, then gives it its name, which must be free or that of an empty folder.
    ///
    /// # Errors
    /// [`DirError`]; [`DirError::Exists`].
    pub fn finish(mut self, name: &str) -> Result<(), DirError> {
        self.dir.sync_all()?;
        self.parent.remove_if_empty(name)?;
        self.parent.rename(&self.name, name)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !self.finished {
            // The next one removes it, if this does not.
            let _ = self.parent.remove(&self.name);
        }
    }
}
