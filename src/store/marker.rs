//! The mark in a folder that may be a disk of its own (`chunks/`, `manifests/`): that it is this home's.
//!
//! When a mount fails, an empty folder shows in its place. Without a mark that looks as if everything were lost, and bringing it
//! back would fill the wrong disk. So nothing is written into a folder without its mark, and nothing that is not found there
//! counts as lost. A folder is marked when it is made, and one of an earlier version when something that the index knows is in it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::{Home, Keys, files};
use crate::domain::id::InstanceId;

/// The mark's name. Its text is `bulbil-home/1 <instance>`: the instance that the home was when it was written.
pub(super) const NAME: &str = ".bulbil-home";
pub(super) const VERSION: &str = "bulbil-home/1";

/// A folder is not the one that this home keeps its things in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} is not the folder that this home keeps its {what} in: {why}. Is its disk mounted? Nothing was changed. If what was there is gone for good, 'bulbil scrub --accept-loss' says so, and fetches what peers have", dir.display()
)]
pub struct Away {
    /// Which folder.
    pub dir: PathBuf,
    what: &'static str,
    why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Why {
    #[error("its mark (.bulbil-home) is missing")]
    Missing,
    #[error("its mark (.bulbil-home) is of another home")]
    Foreign,
    #[error("its mark (.bulbil-home) is damaged")]
    Damaged,
    #[error("its mark (.bulbil-home) cannot be read, {0}")]
    NotRead(String),
    #[error("{0}")]
    Bucket(String),
}

impl Away {
    /// A bucket that is not reached, or is another one.
    pub(super) fn of_bucket(address: String, why: String) -> Self {
        Self { dir: PathBuf::from(address), what: "chunks", why: Why::Bucket(why) }
    }

    /// Whether the folder may be marked if it turns out to be the right one.
    pub(super) fn may_be_marked(&self) -> bool {
        matches!(self.why, Why::Missing | Why::Damaged)
    }
}

/// The mark of one folder of a home.
#[derive(Debug, Clone)]
pub(super) struct Marker {
    dir: PathBuf,
    what: &'static str,
    owners: Vec<InstanceId>,
}

impl Marker {
    pub(super) fn of_chunks(home: &Home, keys: &Keys) -> Self {
        Self { dir: home.chunks(), what: "chunks", owners: keys.own_ids().collect() }
    }

    pub(super) fn of_manifests(home: &Home, keys: &Keys) -> Self {
        Self { dir: home.manifests(), what: "manifests", owners: keys.own_ids().collect() }
    }

    /// Whether the folder is this home's.
    pub(super) fn check(&self) -> Result<(), Away> {
        let why = match files::read_bounded(&self.path(), 256) {
            Ok(text) => match text.as_deref().and_then(parse) {
                Some(owner) if self.owners.contains(&owner) => return Ok(()),
                Some(_) => Why::Foreign,
                None => Why::Damaged,
            },
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Why::Missing,
            Err(error) => Why::NotRead(error.to_string()),
        };
        Err(Away { dir: self.dir.clone(), what: self.what, why })
    }

    /// Marks the folder as this home's; makes it if it is not there.
    pub(super) fn write(&self) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.dir)?;
        let owner = self.owners.first().expect("an instance has an id");
        files::write_atomically(&self.path(), format!("{VERSION} {owner}\n").as_bytes(), 0o600)
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn path(&self) -> PathBuf {
        self.dir.join(NAME)
    }
}

pub(super) fn parse(text: &[u8]) -> Option<InstanceId> {
    std::str::from_utf8(text).ok()?.trim().strip_prefix(VERSION)?.trim().parse().ok()
}
