//! Collections of folders: added, and their folders changed.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::domain::chunk::Padding;
use crate::domain::id::CollectionId;
use crate::domain::peer::is_plain_name;
use crate::domain::preset::Preset;
use crate::domain::target::Location;
use crate::source::parts::{exists, parts};
use crate::source::{ExcludeError, Excludes};
use crate::store::index::{Application, Collection, CollectionKind, CollectionSettings, NewCollection, Root};
use crate::store::place::Precious;
use crate::store::{IndexError, PresetsError, Store, StoreError, entropy};

/// Words that stand where names of collections do.
const RESERVED: [&str; 2] = ["all", "none"];

/// Why a collection is not added, or not changed.
#[derive(Debug, thiserror::Error)]
pub enum CollectionError {
    /// No name.
    #[error("{0:?} is no name for a collection: use 1 to 64 letters, digits, '-', '_' and '.'")]
    Name(String),
    /// A word that means something else where names of collections stand.
    #[error(
        "a collection cannot be called {0:?}: where collections are named, that word means something else. Choose another"
    )]
    Reserved(String),
    /// A pattern that is none.
    #[error(transparent)]
    Excludes(#[from] ExcludeError),
    /// A preset whose own pattern is none.
    #[error("the preset {name:?} has a wrong value")]
    PresetValue {
        /// Which one.
        name: String,
        /// What is wrong with it.
        #[source]
        cause: ExcludeError,
    },
    /// No such preset, or one that cannot be used.
    #[error(transparent)]
    Preset(#[from] PresetsError),
    /// A preset of an application whose parts are found in one folder.
    #[error("the preset {0} is for one folder, the application's: its parts are found in there")]
    OneFolder(String),
    /// Not a folder.
    #[error("{} is no folder: name the application's folder", .0.display())]
    NoFolder(PathBuf),
    /// A part of what is to be named.
    #[error("{} is only a part of the application's folder: name {}, so that what is in {others} is backed up, too", folder.display(), parent.display())]
    OnlyPart {
        /// What was named.
        folder: PathBuf,
        /// What is to be named.
        parent: PathBuf,
        /// What else is in there.
        others: String,
    },
    /// Another application's, or none.
    #[error("{} is not the folder of such an application: it has no {part:?} ({what})", folder.display())]
    NotOfApplication {
        /// What was named.
        folder: PathBuf,
        /// What is missing.
        part: String,
        /// What that is.
        what: String,
    },
    /// It is not there, or cannot be read.
    #[error("{} cannot be backed up: is the path right?", path.display())]
    Path {
        /// What was named.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A device, or such.
    #[error("{} is neither a folder nor a file: name the folder it is in", .0.display())]
    Kind(PathBuf),
    /// One in the other.
    #[error("{} and {} overlap: name the outer one only", .0.display(), .1.display())]
    Overlap(PathBuf, PathBuf),
    /// Keys would get into a backup.
    #[error("{} belongs to a bulbil home: its keys must not get into a backup", .0.display())]
    Home(PathBuf),
    /// Each copy would be in the next backup.
    #[error("target {target:?} lies in {}: what is copied there would be in the next backup, and in the next copy; name folders beside it", path.display())]
    Target {
        /// What was named.
        path: PathBuf,
        /// The target.
        target: String,
    },
    /// The home cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It has no folders.
    #[error("collection {0:?} is of an Axon BBS: it has no folders")]
    Axon(String),
    /// The index.
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// What is to be added.
#[derive(Debug, Clone, Default)]
pub struct NewFolders {
    /// Its name.
    pub name: String,
    /// Folders and files.
    pub folders: Vec<PathBuf>,
    /// Of those, which are called otherwise in snapshots: the name, and the path.
    pub names: Vec<(String, PathBuf)>,
    /// What is left out.
    pub excludes: Vec<String>,
    /// The preset of its application.
    pub preset: Option<String>,
    /// How hard it is compressed; see [`CollectionSettings::level`].
    pub level: Option<i32>,
    /// Sealed chunks are padded.
    pub padding: bool,
}

/// Adds a collection of folders; and by which preset it is understood.
///
/// # Errors
/// [`CollectionError`].
pub async fn add(store: &Store, new: NewFolders) -> Result<(Collection, Option<Preset>), CollectionError> {
    if !is_plain_name(&new.name) {
        return Err(CollectionError::Name(new.name));
    }
    if RESERVED.contains(&new.name.as_str()) {
        return Err(CollectionError::Reserved(new.name));
    }
    Excludes::new(&new.excludes)?;
    let preset = new.preset.as_deref().map(|name| choose(store, name, &new.folders)).transpose()?;
    let mut roots = roots(&new.folders)?;
    for (name, path) in new.names {
        let taken = roots.iter().any(|root| root.name == name);
        if let Some(root) = roots.iter_mut().find(|root| path.canonicalize().is_ok_and(|path| path == root.path))
            && !taken
        {
            root.name = name;
        }
    }
    outside_of_home(&roots, store)?;
    let settings = CollectionSettings {
        roots,
        excludes: new.excludes,
        level: new.level.unwrap_or(DEFAULT_LEVEL),
        padding: if new.padding { Padding::Padme } else { Padding::None },
        kind: CollectionKind::Directory,
        application: preset.as_ref().map(|preset| Application { preset: preset.name.clone(), hooks: None }),
    };
    let id = CollectionId::random(&mut entropy());
    let new = NewCollection { id, name: new.name, origin: store.keys.instance(), settings: Some(settings) };
    Ok((store.index.add_collection(&new).await?, preset))
}

/// Compression, if nobody says how hard: zstd's level 3.
pub const DEFAULT_LEVEL: i32 = 3;

/// Folders in place of those of before. One alone keeps its name in the tree; snapshots of archives have the collection's.
///
/// # Errors
/// [`CollectionError`].
pub fn moved(
    settings: &CollectionSettings,
    folders: &[PathBuf],
    name: &str,
    store: &Store,
) -> Result<Vec<Root>, CollectionError> {
    if settings.kind != CollectionKind::Directory {
        return Err(CollectionError::Axon(name.to_owned()));
    }
    let mut roots = roots(folders)?;
    outside_of_home(&roots, store)?;
    if let [root] = roots.as_mut_slice() {
        match settings.roots.as_slice() {
            [] => root.name = name.to_owned(),
            [before] => root.name = before.name.clone(),
            _ => {}
        }
    }
    Ok(roots)
}

/// The preset for these folders: the one that is named, or the one that it names for what is there.
///
/// # Errors
/// [`CollectionError`], if there is none, or the folder is not the application's.
pub fn choose(store: &Store, name: &str, folders: &[PathBuf]) -> Result<Preset, CollectionError> {
    let mut preset = store.preset(name)?;
    let other = preset.instead.iter().find(|other| folders.iter().any(|folder| exists(folder, &other.when)));
    if let Some(other) = other {
        preset = store.preset(&other.preset)?;
    }
    let value = |cause| CollectionError::PresetValue { name: preset.name.clone(), cause };
    Excludes::new(&preset.patterns()).map_err(value)?;
    if preset.parts.is_empty() {
        return Ok(preset);
    }
    let [folder] = folders else { return Err(CollectionError::OneFolder(preset.name)) };
    if !folder.is_dir() {
        return Err(CollectionError::NoFolder(folder.clone()));
    }
    let missing = parts(&preset, folder).missing;
    if let Some(part) = missing.first() {
        if let Some(parent) = parent_with(&preset, folder) {
            let others: Vec<&str> = preset.parts.iter().skip(1).map(|part| part.path.as_str()).collect();
            return Err(CollectionError::OnlyPart { folder: folder.clone(), parent, others: others.join(", ") });
        }
        let (part, what) = (part.path.clone(), part.what.clone());
        return Err(CollectionError::NotOfApplication { folder: folder.clone(), part, what });
    }
    Ok(preset)
}

/// The folder above, if `folder` is one of its parts.
pub fn parent_with(preset: &Preset, folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    folder
        .ancestors()
        .skip(1)
        .find(|above| {
            let below = folder.strip_prefix(above).ok().and_then(Path::to_str);
            below.is_some_and(|below| preset.parts.iter().any(|part| part.path == below))
        })
        .map(Path::to_owned)
}

fn outside_of_home(roots: &[Root], store: &Store) -> Result<(), CollectionError> {
    let home = store.home.root();
    let home = home.canonicalize().map_err(|cause| CollectionError::Path { path: home.to_owned(), cause })?;
    // Nor do another one's.
    let inside = |root: &&Root| root.path.starts_with(&home) || Precious::Home.holds(&root.path);
    if let Some(root) = roots.iter().find(inside) {
        return Err(CollectionError::Home(root.path.clone()));
    }
    for target in store.targets()? {
        let Location::Folder(folder) = &target.location else { continue };
        let folder = folder.canonicalize().unwrap_or_else(|_| folder.clone());
        if let Some(root) = roots.iter().find(|root| folder.starts_with(&root.path)) {
            return Err(CollectionError::Target { path: root.path.clone(), target: target.name });
        }
    }
    Ok(())
}

/// Absolute paths with unique names in the tree.
fn roots(paths: &[PathBuf]) -> Result<Vec<Root>, CollectionError> {
    let mut roots: Vec<Root> = Vec::new();
    for path in paths {
        let fail = |cause| CollectionError::Path { path: path.clone(), cause };
        let absolute = std::fs::canonicalize(path).map_err(fail)?;
        let kind = std::fs::metadata(&absolute).map_err(fail)?;
        if !kind.is_dir() && !kind.is_file() {
            return Err(CollectionError::Kind(path.clone()));
        }
        for other in &roots {
            if absolute.starts_with(&other.path) || other.path.starts_with(&absolute) {
                return Err(CollectionError::Overlap(absolute, other.path.clone()));
            }
        }
        let base = escaped_name(&absolute);
        let taken = |name: &str| roots.iter().any(|root| root.name == name);
        let name = (1..)
            .map(|n| if n == 1 { base.clone() } else { format!("{base}-{n}") })
            .find(|name| !taken(name))
            .expect("there are more numbers than roots");
        roots.push(Root { name, path: absolute });
    }
    Ok(roots)
}

/// The last name of a path; bytes that are not UTF-8, and `%`, become `%XX`.
fn escaped_name(path: &Path) -> String {
    let Some(name) = path.file_name() else { return "root".to_owned() };
    let mut out = String::new();
    for chunk in name.as_bytes().utf8_chunks() {
        out.push_str(&chunk.valid().replace('%', "%25"));
        for byte in chunk.invalid() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
