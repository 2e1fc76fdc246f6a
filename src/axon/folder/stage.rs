//! A folder that is made under another name, and gets its own when it is whole and durable. What a kill leaves goes with the next
//! one in the same place.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::monitor::Monitor;
use crate::store::dir::{Access, Dir, DirError};

/// What such a folder is called until then.
const UNFINISHED: &str = ".bulbil-unfinished-";

/// Two of one process are two.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A folder on its way. Dropped before [`Self::finish`], it is removed.
#[derive(Debug)]
pub struct Stage {
    parent: Dir,
    name: String,
    dir: Dir,
    finished: bool,
}

impl Stage {
    /// Makes one in `parent`, and removes what killed ones left there; what cannot be removed, as somebody else's, is a notice for
    /// `monitor` and stays. `access`: who may enter it.
    ///
    /// # Errors
    /// [`DirError`].
    pub fn begin(parent: Dir, access: Access, monitor: &dyn Monitor) -> Result<Self, DirError> {
        for left in parent.names()?.into_iter().filter(|name| name.starts_with(UNFINISHED)) {
            // Somebody may be at work in it right now.
            let Ok(dir) = parent.enter(&left) else { continue };
            let removed = dir.hold().and_then(|free| if free { parent.remove(&left) } else { Ok(()) });
            if let Err(cause) = removed {
                monitor.notice(&format!("what an earlier run left cannot be removed, and takes up space: {cause}"));
            }
        }
        loop {
            let name = format!("{UNFINISHED}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
            let dir = parent.make(&name, access)?;
            // Before it was held, somebody may have taken it for what a kill left.
            if dir.hold()? && parent.has(&name)? {
                return Ok(Self { parent, name, dir, finished: false });
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_left_goes_and_what_is_being_made_stays() {
        let temp = tempfile::tempdir().unwrap();
        let begin =
            || Stage::begin(Dir::open(temp.path()).unwrap(), Access::Usual, &crate::monitor::Tally::default()).unwrap();
        let killed = temp.path().join(format!("{UNFINISHED}7-0"));
        std::fs::create_dir_all(killed.join("deep")).unwrap();
        let (one, other) = (begin(), begin());
        assert!(!killed.exists());
        one.dir().write("a", b"a", Access::Usual).unwrap();
        drop(other);
        std::fs::create_dir(temp.path().join("empty")).unwrap();
        std::fs::create_dir_all(temp.path().join("full/x")).unwrap();
        assert!(matches!(begin().finish("full"), Err(DirError::Exists(_))));
        one.finish("empty").unwrap();
        assert_eq!(Dir::open(temp.path()).unwrap().names().unwrap(), ["empty", "full"]);
        assert!(temp.path().join("empty/a").exists());
    }
}
