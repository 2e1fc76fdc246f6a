//! Looking whether a manifest's two files are what they were, and putting aside what is of no use any more.
//!
//! A file is put aside only if nobody can use it: its bytes are not what its name says, or they are no sidecar at all. One that
//! the disk does not give now may come back, and a sidecar of which only a part is wrong still opens what the rest opens: both
//! stay where they are until a whole copy takes their place, and even then the old file is kept in quarantine.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::{ManifestFileError, ManifestFiles, io as failed};
use crate::domain::envelope::Envelope;
use crate::domain::id::ManifestId;
use crate::domain::manifest::{
    MAX_BYTES, MAX_SIDECAR_BYTES, ManifestSignature, SIDECAR_FORMAT, Sidecar, SignedManifest,
};
use crate::store::files;

/// One of the two files of a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The manifest itself.
    Document,
    /// Its signature and envelopes.
    Sidecar,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is gone.
    Missing,
    /// It is not what it was, and of no use.
    Changed,
    /// A part of it is not what it was; the rest can be used.
    PartlyChanged,
    /// It could not be read, which says nothing of its bytes.
    NotRead(String),
}

/// What a look at a manifest's files found.
#[derive(Debug, Default)]
pub struct Looked {
    /// What is wrong; empty if all is well.
    pub faults: Vec<(Part, Fault)>,
    /// The bytes of both files, for who counts.
    pub bytes: u64,
    /// The manifest's bytes, if they are what its name says.
    pub document: Option<Vec<u8>>,
    /// The signature, if it can be read; it holds if the sidecar has no fault.
    pub signature: Option<ManifestSignature>,
    /// The envelopes, as far as they can be read.
    pub envelopes: Vec<Envelope>,
}

impl ManifestFiles {
    /// Reads both files of a manifest and compares them with what they should be. Changes nothing.
    pub fn look(&self, id: &ManifestId) -> Looked {
        let mut looked = Looked::default();
        match read(&self.path(id), MAX_BYTES) {
            Ok(Some(bytes)) => {
                looked.bytes += bytes.len() as u64;
                match ManifestId::of(&bytes) == *id {
                    true => looked.document = Some(bytes),
                    false => looked.faults.push((Part::Document, Fault::Changed)),
                }
            }
            Ok(None) => looked.faults.push((Part::Document, Fault::Changed)),
            Err(fault) => looked.faults.push((Part::Document, fault)),
        }
        let sidecar = match read(&self.sidecar_path(id), MAX_SIDECAR_BYTES) {
            Ok(bytes) => {
                looked.bytes += bytes.as_ref().map_or(0, Vec::len) as u64;
                let parsed = bytes.and_then(|bytes| serde_json::from_slice::<Sidecar>(&bytes).ok());
                parsed.filter(|sidecar| sidecar.format == SIDECAR_FORMAT).ok_or(Fault::Changed)
            }
            Err(fault) => Err(fault),
        };
        match sidecar {
            Ok(sidecar) => {
                let document = looked.document.clone();
                let holds = document.is_none_or(|bytes| SignedManifest::verify(*id, bytes, sidecar.signature).is_ok());
                if !holds || !sidecar.is_whole() {
                    looked.faults.push((Part::Sidecar, Fault::PartlyChanged));
                }
                looked.signature = Some(sidecar.signature);
                looked.envelopes = sidecar.envelopes;
            }
            Err(fault) => looked.faults.push((Part::Sidecar, fault)),
        }
        looked
    }

    /// Moves a file of a manifest into `quarantine`; what is not there is passed over.
    ///
    /// # Errors
    /// [`ManifestFileError::Io`]; then it is still where it was.
    pub fn put_aside(&self, id: &ManifestId, part: Part, quarantine: &Path) -> Result<(), ManifestFileError> {
        let (from, to) = self.aside(id, part, quarantine);
        // What cannot be read can only be renamed, and the quarantine may be on another disk.
        let mut beside = from.clone().into_os_string();
        beside.push(".unreadable");
        let moved = files::move_file(&from, &to).or_else(|_| std::fs::rename(&from, &beside));
        moved.map_err(|cause| failed("put aside", &from, cause))
    }

    /// Puts a whole copy in the place of what is damaged. What stood there goes into `quarantine` before.
    ///
    /// # Errors
    /// [`ManifestFileError`].
    pub fn replace(
        &self,
        signed: &SignedManifest,
        envelopes: &[Envelope],
        faults: &[(Part, Fault)],
        quarantine: &Path,
    ) -> Result<(), ManifestFileError> {
        for (part, fault) in faults {
            if *fault != Fault::Missing {
                self.put_aside(&signed.id, *part, quarantine)?;
            }
        }
        self.save(signed, envelopes)
    }

    fn aside(&self, id: &ManifestId, part: Part, quarantine: &Path) -> (PathBuf, PathBuf) {
        match part {
            Part::Document => (self.path(id), quarantine.join(format!("{id}.manifest"))),
            Part::Sidecar => (self.sidecar_path(id), quarantine.join(format!("{id}.sidecar"))),
        }
    }
}

/// Reads a file; `None` if it is too long to be what it should be.
fn read(path: &Path, max_bytes: usize) -> Result<Option<Vec<u8>>, Fault> {
    files::read_bounded(path, max_bytes).map_err(|error: io::Error| match error.kind() {
        ErrorKind::NotFound => Fault::Missing,
        _ => Fault::NotRead(error.to_string()),
    })
}
