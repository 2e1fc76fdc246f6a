//! Where something is written to: the path as it will be, and what must not be written over.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// In a folder with a file of this name is a portable backup, or a target's copies.
pub const PORTABLE: &str = "backup_manifest.json";

/// A folder that nothing else may be mixed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precious {
    /// A home of Bulbil.
    Home,
    /// A portable backup.
    Portable,
}

impl Precious {
    /// What a folder is by what lies in it.
    pub fn of(folder: &Path) -> Option<Self> {
        let is_home = fs::read(folder.join("version")).is_ok_and(|text| text.starts_with(b"bulbil-home/"))
            || folder.join("keys").is_dir() && folder.join("index.db").is_file();
        match is_home {
            true => Some(Self::Home),
            false => folder.join(PORTABLE).is_file().then_some(Self::Portable),
        }
    }

    /// Whether a path is one, or lies in one, once what is missing of it was made.
    pub fn holds(self, path: &Path) -> bool {
        real(path).unwrap_or_else(|_| path.to_owned()).ancestors().any(|above| Self::of(above) == Some(self))
    }

    /// The first such folder at `path` or somewhere below. Links are not followed; nothing there is none.
    ///
    /// # Errors
    /// If a folder cannot be looked into: then nobody knows.
    pub fn below(path: &Path) -> io::Result<Option<(PathBuf, Self)>> {
        let mut folders = vec![path.to_owned()];
        while let Some(folder) = folders.pop() {
            match folder.symlink_metadata() {
                Ok(found) if found.is_dir() => {}
                Ok(_) => continue,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            }
            if let Some(precious) = Self::of(&folder) {
                return Ok(Some((folder, precious)));
            }
            for entry in fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push(entry.path());
                }
            }
        }
        Ok(None)
    }
}

/// The path from the root on, without links and `..`. What is not there yet will be folders, so that `..` leads out of them again.
///
/// # Errors
/// If there is no current folder that a relative path could begin at.
pub fn real(path: &Path) -> io::Result<PathBuf> {
    let mut real = PathBuf::new();
    for part in std::path::absolute(path)?.components() {
        match part {
            // There is no link in what was walked so far: the folder above is the one that it says.
            Component::ParentDir => {
                real.pop();
            }
            Component::CurDir => {}
            part => {
                real.push(AsRef::<OsStr>::as_ref(&part));
                if let Ok(followed) = real.canonicalize() {
                    real = followed;
                }
            }
        }
    }
    Ok(real)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_what_it_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        fs::create_dir_all(here.join("home/chunks")).unwrap();
        fs::create_dir_all(here.join("elsewhere/deep")).unwrap();
        std::os::unix::fs::symlink(here.join("elsewhere/deep"), here.join("link")).unwrap();
        for (path, wanted) in [
            ("home", "home"),
            ("missing/../home", "home"),
            ("missing/more/../../home/./new", "home/new"),
            ("missing/../../..", "../.."),
            ("link/../new", "elsewhere/new"),
            ("link/new/../../other", "elsewhere/other"),
        ] {
            let wanted =
                if wanted == "../.." { here.parent().unwrap().parent().unwrap().to_owned() } else { here.join(wanted) };
            assert_eq!(real(&here.join(path)).unwrap(), wanted, "{path}");
        }
        fs::write(here.join("home/version"), "bulbil-home/1\n").unwrap();
        fs::write(here.join("elsewhere/deep").join(PORTABLE), "{}").unwrap();
        for (path, home, portable) in
            [("missing/../home/new", true, false), ("link/new", false, true), ("elsewhere", false, false)]
        {
            let path = here.join(path);
            assert_eq!((Precious::Home.holds(&path), Precious::Portable.holds(&path)), (home, portable), "{path:?}");
        }
        let found = Precious::below(&here.join("elsewhere")).unwrap();
        assert_eq!(found, Some((here.join("elsewhere/deep"), Precious::Portable)));
        assert_eq!(Precious::below(&here.join("link")).unwrap(), None);
    }
}
