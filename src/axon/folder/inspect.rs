//! A backup folder against itself: every file is read, every chunk compared, and nothing is taken.

use tokio_util::sync::CancellationToken;

use super::left::Part;
use super::read::{BackupFolder, Entry, FolderApplet, FolderError};
use crate::monitor::{Counter, Monitor, Problem};

/// What a folder has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Inspected {
    /// Names of applets of which nothing is wrong.
    pub whole: Vec<String>,
    /// Names of applets of which something is.
    pub damaged: Vec<String>,
    /// Chunks that its applets name.
    pub chunks: u64,
    /// Users' data.
    pub data: u64,
    /// Scores.
    pub scores: u64,
    /// Shared states.
    pub states: u64,
    /// It was stopped before the end.
    pub cancelled: bool,
}

/// Reads a folder, or the applets in it that `only` names. What is wrong is a problem for `monitor`. Blocks.
///
/// # Errors
/// [`FolderError`].
pub fn inspect(
    folder: &BackupFolder,
    only: Option<&str>,
    monitor: &dyn Monitor,
    cancel: &CancellationToken,
) -> Result<Inspected, FolderError> {
    let entries = folder.applets(only)?;
    for (subject, message) in folder.lost(&entries, only) {
        monitor.problem(Problem { subject, message });
    }
    monitor.task("checking applets", Counter::Entries, Some(entries.len() as u64));
    let mut found = Inspected::default();
    for entry in entries {
        if cancel.is_cancelled() {
            found.cancelled = true;
            break;
        }
        let name = entry.name();
        let wrong = of_applet(entry, &mut found);
        let list = if wrong.is_empty() { &mut found.whole } else { &mut found.damaged };
        list.push(name.clone());
        for message in wrong {
            monitor.problem(Problem { subject: format!("applet {name}"), message });
        }
        monitor.add(Counter::Entries, 1);
    }
    Ok(found)
}

/// What is wrong with one.
fn of_applet(entry: Entry, found: &mut Inspected) -> Vec<String> {
    let FolderApplet { applet, code, data, faults } = match entry.applet {
        Ok(it) => it,
        Err(fault) => return vec![format!("it cannot be restored: {fault}")],
    };
    let mut wrong: Vec<String> = faults.iter().map(ToString::to_string).collect();
    found.data += applet.data.len() as u64;
    found.scores += applet.scores.len() as u64;
    found.states += u64::from(applet.state.is_some());
    let whose = applet.data.iter().map(|row| Part::Data(row.owner_username.to_string_lossy().into_owned()));
    for (part, item) in code.iter().map(|item| (Part::Code, item)).chain(whose.zip(&data)) {
        found.chunks += item.manifest.chunk_hashes().len() as u64;
        wrong.extend(item.amiss_when_read().map(|amiss| format!("{part}: {amiss}")));
    }
    wrong
}
