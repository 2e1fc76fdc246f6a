//! Where a container engine keeps volumes, and what of a container is on one: as `docker` or `podman` says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;

/// Engines, in the order in which they are tried.
const ENGINES: [&str; 2] = ["docker", "podman"];
/// Places in a container that hold nothing worth keeping.
const PASSING: [&str; 9] =
    ["/tmp", "/var/tmp", "/run", "/var/run", "/var/log", "/var/cache", "/root/.cache", "/root/.npm", "/dev"];

/// Why an engine did not say it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// There is none.
    #[error("neither docker nor podman is here: install one, or name the folder itself")]
    None,
    /// It failed.
    #[error("'{command}' failed: {said}")]
    Failed {
        /// What was run.
        command: String,
        /// What it said.
        said: String,
    },
    /// It could not be run.
    #[error("'{command}' cannot be run: {cause}")]
    Run {
        /// What was to be run.
        command: String,
        /// What the system said.
        cause: std::io::Error,
    },
    /// Its answer is none.
    #[error("'{command}' gave an answer that is not understood: {cause}")]
    Answer {
        /// What was run.
        command: String,
        /// What is wrong.
        cause: serde_json::Error,
    },
    /// There is no such thing.
    #[error("'{0}' knows nothing of it")]
    Nothing(String),
}

/// Something that is mounted into a container.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Mount {
    /// `volume`, `bind`, `tmpfs` …
    #[serde(rename = "Type")]
    pub kind: String,
    /// The volume's name.
    #[serde(rename = "Name", default)]
    pub name: String,
    /// Where it is on the host.
    #[serde(rename = "Source", default)]
    pub source: PathBuf,
    /// Where it is in the container.
    #[serde(rename = "Destination")]
    pub destination: PathBuf,
}

impl Mount {
    /// Whether what is in it outlives the container.
    pub fn is_kept(&self) -> bool {
        matches!(self.kind.as_str(), "volume" | "bind")
    }
}

/// What an engine says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// The folder that its program runs in.
    pub folder: PathBuf,
    /// What changed in it since it was made, that is on no mount; the deepest paths only.
    pub changed: Vec<PathBuf>,
}

impl Container {
    /// What is mounted at a path in it, or above.
    pub fn mount_of(&self, path: &Path) -> Option<&Mount> {
        let above = self.mounts.iter().filter(|mount| path.starts_with(&mount.destination));
        above.max_by_key(|mount| mount.destination.components().count())
    }
}

/// A container engine's command.
#[derive(Debug, Clone, Copy)]
pub struct Engine(&'static str);

impl Engine {
    /// The first one that is there. Blocks.
    ///
    /// # Errors
    /// [`EngineError::None`].
    pub fn find() -> Result<Self, EngineError> {
        let is_there = |name: &&&str| {
            let tried = Command::new(name).arg("--version").stdin(Stdio::null()).output();
            tried.is_ok()
        };
        ENGINES.iter().find(is_there).map(|name| Self(name)).ok_or(EngineError::None)
    }

    /// Where a volume is on this machine. Blocks.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn volume(self, name: &str) -> Result<PathBuf, EngineError> {
        #[derive(Deserialize)]
        struct Volume {
            #[serde(rename = "Mountpoint")]
            mountpoint: PathBuf,
        }
        Ok(self.first::<Volume>(&["volume", "inspect", "--", name])?.mountpoint)
    }

    /// What it knows of a container. Blocks.
    ///
    /// # Errors
    /// [`EngineError`].
    pub fn container(self, name: &str) -> Result<Container, EngineError> {
        #[derive(Deserialize)]
        struct Config {
            #[serde(rename = "WorkingDir", default)]
            folder: PathBuf,
        }
        #[derive(Deserialize)]
        struct Inspected {
            #[serde(rename = "Mounts", default)]
            mounts: Vec<Mount>,
            #[serde(rename = "Config")]
            config: Config,
        }
        let Inspected { mounts, config } = self.first(&["container", "inspect", "--", name])?;
        let said = self.run(&["container", "diff", "--", name])?;
        // `A /path`, `C /path`, `D /path`: added, changed, deleted.
        let there = said.lines().filter_map(|line| line.strip_prefix("A ").or(line.strip_prefix("C ")));
        let mut paths: Vec<PathBuf> = there.map(PathBuf::from).collect();
        paths.sort();
        // A folder counts as changed when something in it does.
        let deepest =
            (0..paths.len()).filter(|at| !paths.get(at + 1).is_some_and(|next| next.starts_with(&paths[*at])));
        let deepest: Vec<PathBuf> = deepest.map(|at| paths[at].clone()).collect();
        let folder = if config.folder.as_os_str().is_empty() { PathBuf::from("/") } else { config.folder };
        let mut container = Container { mounts, folder, changed: Vec::new() };
        let passing = |path: &PathBuf| PASSING.iter().any(|place| path.starts_with(place));
        container.changed =
            deepest.into_iter().filter(|path| !passing(path) && container.mount_of(path).is_none()).collect();
        Ok(container)
    }

    fn first<T: for<'de> Deserialize<'de>>(self, args: &[&str]) -> Result<T, EngineError> {
        let said = self.run(args)?;
        let all: Result<Vec<T>, _> = serde_json::from_str(&said);
        let all = all.map_err(|cause| EngineError::Answer { command: self.command(args), cause })?;
        all.into_iter().next().ok_or_else(|| EngineError::Nothing(self.command(args)))
    }

    fn command(self, args: &[&str]) -> String {
        format!("{} {}", self.0, args.join(" "))
    }

    fn run(self, args: &[&str]) -> Result<String, EngineError> {
        let done = Command::new(self.0).args(args).stdin(Stdio::null()).output();
        let done = done.map_err(|cause| EngineError::Run { command: self.command(args), cause })?;
        if !done.status.success() {
            let said = String::from_utf8_lossy(&done.stderr).trim().to_owned();
            return Err(EngineError::Failed { command: self.command(args), said });
        }
        Ok(String::from_utf8_lossy(&done.stdout).into_owned())
    }
}
