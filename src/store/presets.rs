//! Presets: those that come with the program, and those of a user in `HOME/presets/NAME.toml`.

use std::path::PathBuf;

use super::Store;
use super::files::read_bounded;
use super::index::CollectionSettings;
use crate::domain::peer::is_plain_name;
use crate::domain::preset::{Preset, PresetError, builtin};

/// A preset is not longer, in bytes.
const MAX_BYTES: usize = 1 << 20;

/// Why there is no such preset.
#[derive(Debug, thiserror::Error)]
pub enum PresetsError {
    /// No such one.
    #[error("there is no preset {name:?}; there are: {}; an own one stands in {}", known.join(", "), place.display())]
    None {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
        /// Where an own one would stand.
        place: PathBuf,
    },
    /// It cannot be understood.
    #[error(transparent)]
    Preset(#[from] PresetError),
    /// It cannot be read.
    #[error("the preset {} cannot be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
}

impl Store {
    /// The names of all presets, and whether each is one of a user.
    ///
    /// # Errors
    /// [`PresetsError::Read`].
    pub fn preset_names(&self) -> Result<Vec<(String, bool)>, PresetsError> {
        let folder = self.home.root().join("presets");
        let mut own = Vec::new();
        match std::fs::read_dir(&folder) {
            Ok(entries) => {
                for entry in entries {
                    let entry = entry.map_err(|cause| PresetsError::Read { path: folder.clone(), cause })?;
                    let name = entry.file_name().to_string_lossy().strip_suffix(".toml").map(str::to_owned);
                    own.extend(name.filter(|name| is_plain_name(name)));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(cause) => return Err(PresetsError::Read { path: folder, cause }),
        }
        own.sort();
        let others = builtin::names().filter(|name| !own.iter().any(|own| own == name)).map(str::to_owned);
        let mut all: Vec<(String, bool)> = others.map(|name| (name, false)).collect();
        all.extend(own.into_iter().map(|name| (name, true)));
        Ok(all)
    }

    /// The document of a preset, as it is written: an own one before one that comes with the program.
    ///
    /// # Errors
    /// [`PresetsError`].
    pub fn preset_text(&self, name: &str) -> Result<String, PresetsError> {
        let path = self.home.root().join("presets").join(format!("{name}.toml"));
        let own = match is_plain_name(name) {
            true => match read_bounded(&path, MAX_BYTES) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                read => read.map_err(|cause| PresetsError::Read { path: path.clone(), cause })?,
            },
            false => None,
        };
        if let Some(bytes) = own {
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        }
        match builtin::text(name) {
            Some(text) => Ok(text.to_owned()),
            None => {
                let known = self.preset_names()?.into_iter().map(|(name, _)| name).collect();
                Err(PresetsError::None { name: name.to_owned(), known, place: path })
            }
        }
    }

    /// A preset.
    ///
    /// # Errors
    /// [`PresetsError`].
    pub fn preset(&self, name: &str) -> Result<Preset, PresetsError> {
        Ok(Preset::parse(name, &self.preset_text(name)?)?)
    }

    /// The rules of the application whose data a collection holds: `generic`, if it names none.
    ///
    /// # Errors
    /// [`PresetsError`].
    pub fn preset_of(&self, settings: Option<&CollectionSettings>) -> Result<Preset, PresetsError> {
        let application = settings.and_then(|settings| settings.application.as_ref());
        self.preset(application.map_or("generic", |application| application.preset.as_str()))
    }
}
