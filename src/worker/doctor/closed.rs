//! A home that does not open: others can reach its keys, or something in it is missing or damaged. What can be looked at all the same,
//! and what to do so that the rest can be.

use std::path::PathBuf;

use super::Finding;
use super::keys::permissions;
use super::room::{Growth, disks};
use super::server::{self, ServerState};
use crate::monitor::with_causes;
use crate::store::{Home, IndexError, StoreError};

/// What a finding on the index is about.
pub(super) const INDEX: &str = "index";

/// What is known of a home whose store does not open.
#[derive(Debug)]
pub struct Closed<'a> {
    /// The home.
    pub home: &'a Home,
    /// Why it does not open.
    pub why: &'a StoreError,
    /// What the server says.
    pub server: ServerState,
    /// Folders in which units of a service manager stand.
    pub units: Vec<PathBuf>,
}

impl Closed<'_> {
    /// Looks at what there is to be seen.
    pub fn of_everything(&self) -> Vec<Finding> {
        let mut findings = server::look(&self.server);
        findings.extend(server::starts_by_itself(&self.units));
        findings.extend(disks(self.home, &Growth::default()));
        findings.extend(permissions(self.home));
        findings.push(why(self.why));
        findings
    }

    /// Looks only whether the server runs, and peers can come in.
    pub fn of_server(&self) -> Vec<Finding> {
        let mut findings = server::look(&self.server);
        findings.push(why(self.why));
        findings
    }
}

/// Why it does not open, and what helps.
pub(super) fn why(error: &StoreError) -> Finding {
    let rest = "collections, copies and schedules are looked at once that is right";
    let what = with_causes(error);
    match error {
        StoreError::KeysReadable { .. } => {
            let what = format!("not opened as long as others can reach them; {rest}");
            Finding::error("keys", what, "say 'chmod' as above, then 'bulbil doctor' again")
        }
        StoreError::KeysMissing { .. } | StoreError::KeysDamaged { .. } => {
            let next = "put keys/ back from a copy, or recover with 'bulbil rescue' and the recovery key";
            Finding::error("keys", format!("{what}; {rest}"), next)
        }
        StoreError::Index(error) => index(error),
        _ => Finding::error("home", what, "is its disk there, and may this user read and write it?"),
    }
}

/// What is wrong with the index, and what helps.
pub(super) fn index(error: &IndexError) -> Finding {
    let next = match error {
        IndexError::Missing | IndexError::Damaged(_) => {
            "'bulbil rebuild' makes it anew from keys/, manifests/ and chunks/; stop the server before, if one runs"
        }
        IndexError::Newer => "use the newer bulbil that made it, or 'bulbil rebuild'",
        IndexError::Locked(_) => "try again when the other process is done",
        IndexError::NoSpace(_) => "free some space on the disk of the home",
        _ => "check the disk and the permissions of the home; 'bulbil rebuild' makes the index anew",
    };
    Finding::error(INDEX, with_causes(error), next)
}
