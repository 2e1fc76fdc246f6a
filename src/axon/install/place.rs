//! Where an installation has its things: SECRET_KEY, the database, the chunks.

use std::fmt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

/// Longest file that is looked into for settings, in bytes.
const MAX_SETTINGS: u64 = 1 << 20;
/// Where a database is, if the settings do not say it.
const DATABASES: [&str; 3] = ["data/axon_bbs.sqlite3", "db.sqlite3", "data/db.sqlite3"];
/// Names in `.env` that may say where the database is.
const DATABASE_NAMES: [&str; 6] =
    ["DATABASE_URL", "DATABASE_PATH", "DATABASE_NAME", "DB_PATH", "DB_NAME", "SQLITE_PATH"];
/// Where the chunks are.
const CHUNKS: &str = "data/bitsync_chunks";

/// Where an admin says that something is, other than usual.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The database.
    pub database: Option<PathBuf>,
    /// The folder of chunks.
    pub chunks: Option<PathBuf>,
    /// A file with SECRET_KEY, alone or in a line like that of `.env`.
    pub secret_key_file: Option<PathBuf>,
}

/// An installation.
pub struct Place {
    /// The folder.
    pub root: PathBuf,
    /// Its database.
    pub database: PathBuf,
    /// Its chunks.
    pub chunks: PathBuf,
    /// What may be its SECRET_KEY, and where it stands.
    pub secrets: Vec<(PathBuf, Zeroizing<String>)>,
}

impl fmt::Debug for Place {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Place({}, {})", self.database.display(), self.chunks.display())
    }
}

/// Why it is none.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Not there.
    #[error("there is no folder {}", .0.display())]
    NoFolder(PathBuf),
    /// No database.
    #[error("there is no database of an Axon BBS in {}: looked for {looked}; name it with --database", root.display())]
    NoDatabase {
        /// Where.
        root: PathBuf,
        /// For what.
        looked: String,
    },
    /// The settings name another one, which cannot be read. What they say is not shown: passwords stand in it.
    #[error("{}/.env says with {name} which database the Axon BBS has, and that is no SQLite database that can be read here; name it with --database", root.display())]
    NamedDatabase {
        /// Where.
        root: PathBuf,
        /// By which name.
        name: &'static str,
    },
    /// No SECRET_KEY.
    #[error("there is no SECRET_KEY in {}: neither .env nor a settings.py has one; name a file that has it with --secret-key-file", .0.display())]
    NoSecretKey(PathBuf),
    /// A pipe, a folder, a device: nothing that is opened.
    #[error("{} is no regular file, and is not opened: settings, keys and databases are files", .0.display())]
    NoFile(PathBuf),
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
}

impl Place {
    /// Looks at an installation.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn find(root: &Path, options: &Options) -> Result<Self, PlaceError> {
        if !root.is_dir() {
            return Err(PlaceError::NoFolder(root.to_owned()));
        }
        let env = text(&root.join(".env"))?.unwrap_or_default();
        let chunks = options.chunks.clone().unwrap_or_else(|| root.join(CHUNKS));
        Ok(Self {
            database: database(root, options, &env)?,
            chunks,
            secrets: secrets(root, options, &env)?,
            root: root.to_owned(),
        })
    }
}

fn database(root: &Path, options: &Options, env: &str) -> Result<PathBuf, PlaceError> {
    if let Some(named) = &options.database {
        return Ok(named.clone());
    }
    if let Some((name, said)) = DATABASE_NAMES.iter().find_map(|name| Some((*name, value(env, name)?))) {
        // What it says counts: another file may lie about that was the database once.
        let path = said.strip_prefix("sqlite://").map_or(said.as_str(), |rest| rest.strip_prefix('/').unwrap_or(rest));
        let path = root.join(path.split('?').next().unwrap_or_default());
        return match is_database(&path) {
            true => Ok(path),
            false => Err(PlaceError::NamedDatabase { root: root.to_owned(), name }),
        };
    }
    // Behind a name that is looked for there may be anything.
    if let Some(other) = DATABASES.iter().map(|name| root.join(name)).find(|path| is_no_file(path)) {
        return Err(PlaceError::NoFile(other));
    }
    let usual = DATABASES.iter().map(|name| root.join(name));
    let mut found: Vec<PathBuf> = usual.filter(|path| is_database(path)).collect();
    if found.is_empty() {
        for folder in [root.to_owned(), root.join("data")] {
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let named =
                |path: &PathBuf| path.extension().is_some_and(|end| end == "sqlite3" || end == "db" || end == "sqlite");
            let mut here: Vec<PathBuf> = entries.filter(named).filter(|path| is_database(path)).collect();
            here.sort();
            found.extend(here);
        }
    }
    // One that cannot be read is said to be so when it is.
    let there = || DATABASES.iter().map(|name| root.join(name)).find(|path| path.exists());
    found.into_iter().next().or_else(there).ok_or_else(|| PlaceError::NoDatabase {
        root: root.to_owned(),
        looked: format!("{}, *.sqlite3", DATABASES.join(", ")),
    })
}

/// Whether something is there, and it would perhaps be waited for when it is opened.
fn is_no_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| !found.is_file())
}

fn is_database(path: &Path) -> bool {
    use std::io::Read;
    let mut head = [0; 16];
    !is_no_file(path)
        && std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut head)).is_ok()
        && &head == b"SQLite format 3\0"
}

fn secrets(root: &Path, options: &Options, env: &str) -> Result<Vec<(PathBuf, Zeroizing<String>)>, PlaceError> {
    if let Some(file) = &options.secret_key_file {
        let said = text(file)?.ok_or_else(|| PlaceError::Io {
            path: file.clone(),
            cause: std::io::Error::from(std::io::ErrorKind::NotFound),
        })?;
        let mut found = in_settings(&said);
        found.extend(value(&said, "SECRET_KEY").map(Zeroizing::new));
        if found.is_empty() {
            found.push(Zeroizing::new(said.trim_end_matches(['\r', '\n']).to_owned()));
        }
        return Ok(found.into_iter().map(|secret| (file.clone(), secret)).collect());
    }
    let mut all: Vec<(PathBuf, Zeroizing<String>)> = Vec::new();
    all.extend(value(env, "SECRET_KEY").map(|secret| (root.join(".env"), Zeroizing::new(secret))));
    let folders = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut settings: Vec<PathBuf> = folders.map(|folder| folder.join("settings.py")).collect();
    settings.push(root.join("settings.py"));
    settings.sort();
    for path in settings {
        if let Some(said) = text(&path)? {
            all.extend(in_settings(&said).into_iter().map(|secret| (path.clone(), secret)));
        }
    }
    if all.is_empty() { Err(PlaceError::NoSecretKey(root.to_owned())) } else { Ok(all) }
}

/// A file as text; `None` if it is not there.
fn text(path: &Path) -> Result<Option<String>, PlaceError> {
    let io = |cause| PlaceError::Io { path: path.to_owned(), cause };
    match std::fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(PlaceError::NoFile(path.to_owned())),
        Ok(found) if found.len() <= MAX_SETTINGS => {}
        Ok(_) => return Ok(None),
        Err(_) => return Ok(None),
    }
    let bytes = std::fs::read(path).map_err(io)?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// The value of a name in a file like `.env`; the last one counts.
fn value(env: &str, name: &str) -> Option<String> {
    let of_line = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let rest = line.strip_prefix(name)?.trim_start().strip_prefix('=')?.trim();
        for quote in ['"', '\''] {
            if let Some(inner) = rest.strip_prefix(quote) {
                return inner.split_once(quote).map(|(inner, _)| inner.to_owned());
            }
        }
        Some(rest.split_once(" #").map_or(rest, |(value, _)| value).trim_end().to_owned())
    };
    env.lines().filter_map(of_line).next_back().filter(|value| !value.is_empty())
}

/// The texts in quotes behind `SECRET_KEY =` in a settings module: the last is the value, or what is taken where `.env` has none.
fn in_settings(python: &str) -> Vec<Zeroizing<String>> {
    let mut found = Vec::new();
    for line in python.lines() {
        let Some(rest) = line.strip_prefix("SECRET_KEY") else { continue };
        let Some(mut rest) = rest.trim_start().strip_prefix('=') else { continue };
        let mut last = None;
        while let Some(at) = rest.find(['"', '\'']) {
            let (quote, after) = rest[at..].split_at(1);
            let Some((inner, behind)) = after.split_once(quote) else { break };
            last = Some(inner.to_owned());
            rest = behind;
        }
        found.extend(last.filter(|text| text != "SECRET_KEY").map(Zeroizing::new));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_secret_is_not_printed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join(".env"), "SECRET_KEY=nobody-sees-this").unwrap();
        std::fs::write(temp.path().join("db.sqlite3"), "SQLite format 3\0").unwrap();
        let place = Place::find(temp.path(), &Options::default()).unwrap();
        assert_eq!(place.secrets[0].1.as_str(), "nobody-sees-this");
        assert!(!format!("{place:?}").contains("nobody-sees-this"));
        let schema = crate::axon::install::Schema { tables: Vec::new() };
        let key = include_str!("../../../tests/data/axon/1/keys/instance_a.pem");
        let key = crate::domain::axon::private::PrivateKey::from_pem(key).unwrap();
        let installation = crate::axon::install::Installation { place, schema, key };
        let printed = format!("{installation:?}");
        assert!(printed.contains("db.sqlite3") && !printed.contains("nobody-sees-this") && !printed.contains("tables"));
    }

    #[test]
    fn settings_are_found_as_people_write_them() {
        let env = "# x\nexport SECRET_KEY='a=b#c'\nONION_ADDRESS=x.onion # mine\nEMPTY=\n";
        assert_eq!(value(env, "SECRET_KEY").unwrap(), "a=b#c");
        assert_eq!(value(env, "ONION_ADDRESS").unwrap(), "x.onion");
        assert_eq!(value(env, "EMPTY"), None);
        assert_eq!(value(env, "SECRET"), None);
        let python = "SECRET_KEY = os.environ.get('SECRET_KEY', \"it's\")\nOTHER = 'x'\n";
        assert_eq!(in_settings(python).iter().map(|text| text.as_str()).collect::<Vec<_>>(), ["it's"]);
        assert!(in_settings("SECRET_KEY = os.environ['SECRET_KEY']").is_empty());
    }
}
