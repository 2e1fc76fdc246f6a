//! Who can read the home and its keys, whether the recovery key is known to be at hand, and what an application needs beside its data.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::SignedDuration;

use super::{Examination, Finding};
use crate::backup::escrow;
use crate::domain::audit::Ending;
use crate::store::{Home, StoreError};

/// After this time a key on paper is worth another look.
const LONG: SignedDuration = SignedDuration::from_hours(24 * 366);
/// So many entries of the audit log are looked at.
const ENTRIES: usize = 100_000;

pub(super) async fn look(of: &Examination<'_>) -> Result<Vec<Finding>, StoreError> {
    let mut findings = permissions(&of.store.home);
    if let Err(error @ StoreError::AccessDamaged { .. }) = of.store.admission() {
        let next = "remove keys/access, then 'bulbil password set', and 'bulbil token create' for each program";
        findings.push(Finding::error("access", crate::monitor::with_causes(&error), next));
    }
    findings.push(recovery_key(of).await?);
    for collection in of.store.index.collections().await? {
        let settings = collection.settings.as_ref().filter(|settings| !settings.roots.is_empty());
        let application = settings.and_then(|settings| settings.application.as_ref());
        let Some(preset) = application.and_then(|application| of.store.preset(&application.preset).ok()) else {
            continue;
        };
        let name = &collection.name;
        match escrow::missing(of.store, &collection, &preset) {
            Ok(missing) => findings.extend(missing.into_iter().map(|secret| {
                let what = format!("{} ({}) {}, and is stored nowhere here", secret.name, secret.what, secret.why);
                let next = format!(
                    "'bulbil secret add {name} {0}' stores it under the recovery key; 'bulbil secret elsewhere {name} {0}' says that you keep it elsewhere",
                    secret.name
                );
                Finding::error(name, what, next)
            })),
            Err(error) => {
                let what = format!("its stored secrets cannot be read: {}", crate::monitor::with_causes(&error));
                findings.push(Finding::error(name, what, "'bulbil secret list' shows them"));
            }
        }
    }
    Ok(findings)
}

/// The home belongs to one user, and nobody else looks into it.
pub(super) fn permissions(home: &Home) -> Vec<Finding> {
    const ABOUT: &str = "permissions";
    let (root, keys) = (home.root(), home.keys());
    let mut findings = Vec::new();
    let mut open = |path: &Path| {
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        let (mode, shown) = (metadata.mode() & 0o777, path.display());
        if mode & 0o077 != 0 {
            let what = format!("others can reach {shown} (mode {mode:03o})");
            findings.push(Finding::error(ABOUT, what, format!("chmod go= '{shown}'")));
        }
        if metadata.uid() != rustix::process::geteuid().as_raw() && !rustix::process::geteuid().is_root() {
            let what = format!("{shown} belongs to another user than the one who asks");
            findings.push(Finding::warning(ABOUT, what, "run bulbil as the user who owns the home"));
        }
    };
    open(root);
    open(&keys);
    for entry in fs::read_dir(&keys).into_iter().flatten().filter_map(Result::ok) {
        open(&entry.path());
    }
    if findings.is_empty() {
        findings.push(Finding::ok(ABOUT, "nobody else can reach the home and its keys"));
    }
    findings
}

/// Whether somebody has shown that the recovery key is at hand: what it opened stands in the audit log.
async fn recovery_key(of: &Examination<'_>) -> Result<Finding, StoreError> {
    const ABOUT: &str = "recovery key";
    let next = "'bulbil recovery sheet --recovery-key-file FILE --output sheet.html' compares what you have with this home's, and prints what to do when the disk has died";
    let entries = of.store.audit(ENTRIES).await?;
    let tried = entries.iter().rev().find(|entry| entry.what == "recovery-key" && entry.ending == Ending::Done);
    Ok(match tried {
        Some(entry) if of.now.duration_since(entry.at) <= LONG => {
            Finding::ok(ABOUT, format!("was last used {}", of.ago(entry.at)))
        }
        Some(entry) => Finding::note(ABOUT, format!("was last used {}: is it still at hand?", of.ago(entry.at)), next),
        None => Finding::note(ABOUT, "was never used here: is what you wrote down right?", next),
    })
}
