//! Sessions that are not to come back: what the preset names as such becomes a valid empty file.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::RecoverError;
use crate::domain::preset::Preset;

/// Empties the files below `folder` that the preset names; those that were there, relative to it. Nothing else is touched, and no link is
/// followed.
///
/// # Errors
/// [`RecoverError::NoSessions`] if the preset names none, [`RecoverError::Io`].
pub fn empty(preset: &Preset, folder: &Path) -> Result<Vec<PathBuf>, RecoverError> {
    if preset.sessions.is_empty() {
        return Err(RecoverError::NoSessions(preset.name.clone()));
    }
    let mut emptied = Vec::new();
    for file in &preset.sessions {
        let path = folder.join(file);
        let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        if !is_file || has_link_above(folder, Path::new(file)) {
            continue;
        }
        // A new file: another name of the old one keeps what it has.
        let mut new = path.as_os_str().to_owned();
        new.push(".bulbil-empty");
        let new = PathBuf::from(new);
        make_empty(&new, &path)?;
        fs::rename(&new, &path).map_err(|cause| RecoverError::io("empty", &path, cause))?;
        emptied.push(PathBuf::from(file));
    }
    Ok(emptied)
}

/// Makes an empty file that shall take the place of `live`, with its mode and its owner.
///
/// # Errors
/// [`RecoverError::Io`].
pub fn make_empty(staged: &Path, live: &Path) -> Result<(), RecoverError> {
    let fail = |cause| RecoverError::io("create", staged, cause);
    if let Some(parent) = staged.parent() {
        fs::create_dir_all(parent).map_err(fail)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(staged).map_err(fail)?;
    if let Ok(like) = fs::symlink_metadata(live)
        && like.is_file()
    {
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::fchown(&file, Some(like.uid()), Some(like.gid())).map_err(fail)?;
        }
        file.set_permissions(fs::Permissions::from_mode(like.mode() & 0o666)).map_err(fail)?;
    }
    file.sync_all().map_err(fail)
}

fn has_link_above(folder: &Path, file: &Path) -> bool {
    let mut at = folder.to_owned();
    file.parent().into_iter().flatten().any(|name| {
        at.push(name);
        at.is_symlink()
    })
}
