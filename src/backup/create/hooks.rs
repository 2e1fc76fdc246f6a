//! Commands before and after a backup, and the folder in which they may leave copies.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::CreateError;
use crate::domain::preset::{Hooks, Preset};
use crate::monitor::{Monitor, Problem};
use crate::source::command;
use crate::store::Store;
use crate::store::index::{Collection, CollectionSettings};

/// How long a command may take if nobody says.
const LIMIT: Duration = Duration::from_secs(600);

/// What runs around one backup. The folder goes with it.
pub struct Hooking {
    hooks: Hooks,
    folder: Option<PathBuf>,
    environment: Vec<(&'static str, OsString)>,
    collection: String,
    cancel: CancellationToken,
}

impl Hooking {
    /// The collection's own hooks, or those of its preset.
    ///
    /// # Errors
    /// [`CreateError::HookFolder`].
    pub fn new(
        store: &Store,
        collection: &Collection,
        settings: &CollectionSettings,
        preset: Option<&Preset>,
        cancel: &CancellationToken,
    ) -> Result<Self, CreateError> {
        let own = settings.application.as_ref().and_then(|application| application.hooks.clone());
        let hooks = own.or_else(|| preset.map(|preset| preset.hooks.clone())).unwrap_or_default();
        let needed = !hooks.is_empty() || preset.is_some_and(|preset| !preset.sqlite.is_empty());
        let folder = match needed {
            true => Some(
                // A command may go elsewhere: the folder has to be found from there.
                std::path::absolute(store.home.root().join("hook"))
                    .map_err(|cause| (store.home.root().to_owned(), cause))
                    .and_then(|folder| fresh(&folder))
                    .map_err(|(path, cause)| CreateError::HookFolder { path, cause })?,
            ),
            false => None,
        };
        let mut environment = vec![("BULBIL_COLLECTION", OsString::from(&collection.name))];
        environment.extend(folder.as_ref().map(|folder| ("BULBIL_HOOK_DIR", folder.into())));
        environment.extend(settings.roots.first().map(|root| ("BULBIL_FOLDER", root.path.clone().into())));
        Ok(Self { hooks, folder, environment, collection: collection.name.clone(), cancel: cancel.clone() })
    }

    /// Where copies of files may lie.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether a command runs before the backup.
    pub fn has_before(&self) -> bool {
        self.hooks.before.is_some()
    }

    /// Runs the command before. If it fails, the one after runs, too.
    ///
    /// # Errors
    /// [`CreateError::Hook`].
    pub async fn before(&self) -> Result<(), CreateError> {
        let Some(command) = self.hooks.before.clone() else { return Ok(()) };
        let done = self.run(command.clone(), self.cancel.clone()).await;
        let Err(cause) = done else { return Ok(()) };
        if let Some(after) = self.hooks.after.clone()
            && let Err(error) = self.run(after, CancellationToken::new()).await
        {
            tracing::warn!(collection = %self.collection, %error, "the command after a backup failed, too");
        }
        Err(CreateError::Hook { command, cause })
    }

    /// Runs the command after, whatever happened. Its failure is a problem of the backup.
    pub async fn after(&self, monitor: &dyn Monitor) {
        let Some(command) = self.hooks.after.clone() else { return };
        // It puts things right again that the one before has changed: a cancelled backup needs it, too.
        if let Err(error) = self.run(command.clone(), CancellationToken::new()).await {
            let message = format!("the command after the backup failed ({command}): {error}");
            monitor.problem(Problem { subject: self.collection.clone(), message });
        }
    }

    async fn run(&self, command: String, cancel: CancellationToken) -> Result<(), command::CommandError> {
        let environment = self.environment.clone();
        let limit = self.hooks.timeout_secs.map_or(LIMIT, Duration::from_secs);
        let run = tokio::task::spawn_blocking(move || command::run(&command, &environment, limit, &cancel));
        run.await.unwrap_or(Err(command::CommandError::Cancelled))
    }
}

impl Drop for Hooking {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder
            && let Err(error) = std::fs::remove_dir_all(folder)
        {
            tracing::warn!(%error, "the folder for a hook's files could not be removed");
        }
    }
}

/// An empty folder for its owner alone; what a killed backup left goes. Only one backup runs at a time.
fn fresh(folder: &Path) -> Result<PathBuf, (PathBuf, std::io::Error)> {
    use std::os::unix::fs::DirBuilderExt;
    let fail = |cause| (folder.to_owned(), cause);
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail(error)),
        _ => {}
    }
    std::fs::DirBuilder::new().mode(0o700).create(folder).map_err(fail)?;
    Ok(folder.to_owned())
}
