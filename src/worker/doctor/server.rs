//! Does the server run, is it this program's version, can peers come in, and does it start with the machine?

use std::fs;
use std::path::PathBuf;

use super::Finding;

const ABOUT: &str = "server";

/// What the server says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerState {
    /// None runs.
    Down,
    /// One is starting.
    Starting,
    /// One runs that does not answer, and why.
    Silent(String),
    /// One runs that cannot be asked from here, and why.
    Unasked(String),
    /// One runs.
    Running {
        /// Its version.
        version: String,
        /// Whether peers can come in.
        open: bool,
        /// How they come in, or why not.
        network: String,
        /// What Tor says of this machine's clock: nothing without Tor, `None` in it if the clock is right.
        clock: Option<Option<String>>,
    },
}

pub(super) fn look(server: &ServerState) -> Vec<Finding> {
    let (version, open, network) = match server {
        ServerState::Running { version, open, network, .. } => (version, *open, network),
        ServerState::Down => {
            let next =
                "'bulbil serve' makes backups when they are due, lets peers in and follows those that are trusted";
            return vec![Finding::warning(ABOUT, "does not run", next)];
        }
        ServerState::Starting => {
            let next = "wait a moment: it may be waiting for another command that uses this home's Tor";
            return vec![Finding::warning(ABOUT, "is starting", next)];
        }
        ServerState::Silent(why) => {
            let what = format!("runs, and does not answer: {why}");
            return vec![Finding::error(ABOUT, what, "stop it, and start it again")];
        }
        ServerState::Unasked(why) => {
            let what = format!("runs, and could not be asked: {why}");
            return vec![Finding::warning(ABOUT, what, "see what is said of permissions and keys below")];
        }
    };
    let here = env!("CARGO_PKG_VERSION");
    let runs = match version == here {
        true => Finding::ok(ABOUT, format!("runs, version {version}")),
        false => {
            let what = format!("is of version {version}, and this program of version {here}");
            Finding::warning(ABOUT, what, "start it again, so that it runs the program that is installed now")
        }
    };
    let way_in = match open {
        true => Finding::ok("peers come in", network),
        false => {
            let next = "a minute after the start this is normal; docs/tor.md says what it may be";
            Finding::warning("peers come in", network, next)
        }
    };
    vec![runs, way_in]
}

/// Whether a service manager has a unit for it that is switched on.
pub(super) fn starts_by_itself(units: &[PathBuf]) -> Option<Finding> {
    const ABOUT: &str = "start";
    if units.is_empty() {
        return None;
    }
    let is_unit = |entry: &fs::DirEntry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("bulbil") && name.ends_with(".service")
    };
    let wanted = |folder: &PathBuf| {
        let targets = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
        let wants = targets.filter(|entry| entry.file_name().to_string_lossy().ends_with(".wants"));
        wants
            .flat_map(|entry| fs::read_dir(entry.path()).into_iter().flatten().filter_map(Result::ok))
            .any(|e| is_unit(&e))
    };
    Some(match units.iter().any(wanted) {
        true => Finding::ok(ABOUT, "the server starts with this machine"),
        false => {
            let next =
                "'bulbil protect FOLDER --service' writes a unit and switches it on; docs/deploy.md has one to copy";
            Finding::note(ABOUT, "no unit of systemd starts the server with this machine", next)
        }
    })
}
