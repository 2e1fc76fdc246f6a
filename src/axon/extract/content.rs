//! Items, opened and laid out by what they are.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;

use zeroize::Zeroizing;

use super::names::Names;
use super::{ExtractError, Layout, write};
use crate::axon::check::{Fault, read_into};
use crate::domain::axon::backup::DataRow;
use crate::domain::axon::export::{Row, USER};
use crate::domain::axon::json::{Object, Text, Value};
use crate::domain::axon::kept::Kept;
use crate::domain::axon::manifest::{ContentType, Manifest};
use crate::domain::axon::moment;
use crate::domain::axon::payload::{Message, Payload};
use crate::domain::id::ContentHash;
use crate::monitor::Counter;
use crate::store::axon::Item;
use crate::store::dir::{Access, Dir, DirError};

/// Larger items are written as they are, in bytes of ciphertext.
const MAX_OPENED: u64 = if cfg!(test) { 1 << 20 } else { 256 << 20 };

impl Layout<'_> {
    /// An applet's code, under its own name.
    pub(super) fn code(&mut self, dir: &Dir, applet: &str, manifest: &Manifest) -> Result<(), ExtractError> {
        let what = format!("the code of the applet {applet}");
        let Some(payload) = self.payload(&manifest.content_hash(), &what)? else { return Ok(()) };
        let (name, bytes) = match payload {
            Payload::File(file) => (file.filename.to_string_lossy().into_owned(), file.into_fields().data),
            Payload::AppletCode(code) => ("code.js".to_owned(), code.code.to_string_lossy().into_owned().into_bytes()),
            other => ("code.json".to_owned(), other.to_plaintext()),
        };
        write(&dir.make("code", Access::Owner)?, &Names::default().claim(&name), &bytes)?;
        self.report.code += 1;
        Ok(())
    }

    /// What an applet keeps for a user.
    pub(super) fn data(
        &mut self,
        dir: &Dir,
        applet: &str,
        row: &Kept<DataRow>,
        names: &mut Names,
    ) -> Result<(), ExtractError> {
        let user = row.owner_username.to_string_lossy();
        let what = format!("the data of {user:?} in the applet {applet}");
        let Some(payload) = self.payload(&row.data_manifest.content_hash(), &what)? else { return Ok(()) };
        let data = match payload {
            Payload::AppletData(data) => data.into_fields().data,
            other => Value::parse(&other.to_plaintext()).unwrap_or(Value::Null),
        };
        let document = Object::new()
            .with("owner_username", row.owner_username.clone())
            .with("owner_pubkey", row.owner_pubkey.clone())
            .with("last_updated", moment::format(row.last_updated))
            .with("data", data);
        let text = Value::from(document).to_raw_line();
        let dir = dir.make_or_enter("data", Access::Owner)?;
        write(&dir, &names.claim(&format!("{user}.json")), text.as_bytes())?;
        self.report.data += 1;
        Ok(())
    }

    /// Files first, so that messages can say where theirs are; then all others, in the order in which they came.
    pub(super) fn items(&mut self) -> Result<(), ExtractError> {
        let library = self.library;
        let is = |item: &Item, kind: &ContentType| item.kinds.contains(kind);
        let mut items: Vec<&Item> = library.items.values().collect();
        items.sort_by_key(|item| item.changed_at);
        self.monitor.task("laying out files and messages", Counter::Entries, Some(items.len() as u64));
        let mut at: BTreeMap<ContentHash, String> = BTreeMap::new();
        let mut lines = Lines::default();
        let code: BTreeSet<ContentHash> = library
            .applets
            .values()
            .filter_map(|applet| applet.metadata.code_manifest.as_ref().map(Manifest::content_hash))
            .collect();
        // Code of applets of which nothing else is known is a file like others.
        let is_file = |item: &Item| {
            is(item, &ContentType::File) || is(item, &ContentType::Applet) && !code.contains(&item.content_hash)
        };
        for item in items.iter().filter(|item| is_file(item)) {
            self.file(item, &mut lines, &mut at)?;
        }
        let users = self.users();
        for item in items {
            // Applets' code and data are laid out with their applets.
            let of_an_applet =
                |kind: &ContentType| matches!(kind, ContentType::Applet | ContentType::AppletData | ContentType::File);
            // One of two kinds is the same bytes, and says itself what it is.
            if let Some(kind) = item.kinds.iter().find(|kind| !of_an_applet(kind)) {
                let what = format!("{} {}", kind.as_str(), item.content_hash.short());
                match self.payload(&item.content_hash, &what)? {
                    Some(Payload::Message(message)) => self.message(item, &message, &users, &at, &mut lines),
                    Some(Payload::Pm(pm)) => {
                        lines.add("private_messages.jsonl", came(item).and(pm.object()));
                        self.report.private_messages += 1;
                    }
                    Some(other) => self.other(item, &other.to_plaintext())?,
                    None => {}
                }
            }
            self.monitor.add(Counter::Entries, 1);
        }
        lines.write(self.root)?;
        Ok(())
    }

    fn file(
        &mut self,
        item: &Item,
        lines: &mut Lines,
        at: &mut BTreeMap<ContentHash, String>,
    ) -> Result<(), ExtractError> {
        let what = format!("the file {}", item.content_hash.short());
        let Some(payload) = self.payload(&item.content_hash, &what)? else { return Ok(()) };
        let Payload::File(file) = payload else { return self.other(item, &payload.to_plaintext()) };
        let name = lines.files.claim(&file.filename.to_string_lossy());
        let dir = self.root.make_or_enter("files", Access::Owner)?;
        let path = format!("files/{name}");
        let mut line = came(item).with("path", path.as_str());
        for (field, value) in file.object().iter().filter(|(field, _)| **field != "data") {
            if field.as_str().is_none_or(|name| line.get(name).is_none()) {
                line.set(field.clone(), value.clone());
            }
        }
        lines.add("files.jsonl", line);
        write(&dir, &name, &file.into_fields().data)?;
        at.insert(item.content_hash, path);
        self.report.files += 1;
        Ok(())
    }

    fn message(
        &mut self,
        item: &Item,
        message: &Kept<Message>,
        users: &BTreeMap<String, Text>,
        at: &BTreeMap<ContentHash, String>,
        lines: &mut Lines,
    ) {
        let author = message.pubkey.as_ref().and_then(|key| users.get(key.to_string_lossy().as_ref())).cloned();
        let attachments: Vec<Value> = message
            .attachments
            .iter()
            .map(|hash| {
                let path = at.get(hash).map(|path| Text::from(path.as_str()));
                Object::new().with("content_hash", hash.to_string()).with("path", path).into()
            })
            .collect();
        let line = came(item).with("author", author).with("attachments", attachments).and(message.object());
        lines.add_to_board(&message.board.to_string_lossy(), line);
        self.report.messages += 1;
    }

    fn other(&mut self, item: &Item, bytes: &[u8]) -> Result<(), ExtractError> {
        let dir = self.root.make_or_enter("other", Access::Owner)?;
        match write(&dir, &format!("{}.json", item.content_hash), bytes) {
            // The same bytes under two kinds.
            Ok(()) => self.report.other += 1,
            Err(DirError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// What an item says, if it opens; else it is noted why not. One that is too large to be taken apart is written as it is.
    fn payload(&mut self, hash: &ContentHash, what: &str) -> Result<Option<Payload>, ExtractError> {
        if self.cancel.is_cancelled() {
            return Err(ExtractError::Cancelled);
        }
        match self.open(hash)? {
            Opened::Plain(plain) => match Payload::parse(&plain) {
                Ok(payload) => return Ok(Some(payload)),
                Err(cause) => {
                    let name = format!("{hash}.json");
                    let dir = self.root.make_or_enter("other", Access::Owner)?;
                    if !dir.has(&name)? {
                        write(&dir, &name, &plain)?;
                        self.report.other += 1;
                    }
                    self.not_opened(
                        what.to_owned(),
                        format!("it is not what it should be ({cause}); it is other/{name}"),
                    );
                }
            },
            Opened::TooLarge { again } => {
                self.report.other += u64::from(!again);
                self.not_opened(
                    what.to_owned(),
                    format!("it is too large to be taken apart; its JSON is other/{hash}.json, where 'data' is base64"),
                );
            }
            Opened::Not(why) => self.not_opened(what.to_owned(), why),
        }
        Ok(None)
    }

    /// Opens an item.
    fn open(&mut self, hash: &ContentHash) -> Result<Opened, ExtractError> {
        let Some(item) = self.library.items.get(hash) else {
            return Ok(Opened::Not("nothing of it is here: 'bulbil axon download' fetches it".to_owned()));
        };
        let Some(key) = &item.key else { return Ok(Opened::Not("nobody gave this instance a key for it".to_owned())) };
        let manifest = match Manifest::parse(item.manifest.as_bytes()) {
            Ok(manifest) => manifest,
            Err(cause) => return Ok(Opened::Not(cause.to_string())),
        };
        let mut total = 0;
        let mut missing = 0;
        for id in manifest.chunk_hashes() {
            let size = self.store.chunks.size(id)?;
            total += size.unwrap_or(0);
            missing += usize::from(size.is_none());
        }
        if !item.complete {
            let why = match missing {
                0 => "it was not looked at yet whether it is whole: 'bulbil axon download' does".to_owned(),
                count => format!("{count} of its chunks are missing or damaged: 'bulbil axon download' fetches them"),
            };
            return Ok(Opened::Not(why));
        }
        let mut plain = Zeroizing::new(Vec::new());
        let mut large = match total > MAX_OPENED {
            true => Some(Large::begin(self.root, hash)?),
            false => None,
        };
        let read = read_into(self.store, &manifest, key, &mut |bytes| match &mut large {
            Some(large) => large.push(bytes),
            None => plain.extend_from_slice(bytes),
        });
        let fault = match read {
            Ok(_) => None,
            Err(Fault::Store(cause)) => return Err(cause.into()),
            Err(Fault::Died) => return Err(ExtractError::Died),
            Err(Fault::Holes(holes)) => {
                let count = holes.len();
                Some(format!("{count} of its chunks are missing or damaged: 'bulbil axon download' fetches them"))
            }
            Err(Fault::Cipher(cause)) => Some(cause.to_string()),
        };
        if let Some(large) = large {
            let again = large.again;
            large.finish(fault.is_none())?;
            return Ok(fault.map_or(Opened::TooLarge { again }, Opened::Not));
        }
        Ok(fault.map_or(Opened::Plain(plain), Opened::Not))
    }

    /// Names of users by their keys.
    fn users(&self) -> BTreeMap<String, Text> {
        let rows = self.library.config.get(USER).into_iter().flatten();
        let named = |row: &Kept<Row>| {
            let key = row.fields.optional_text("pubkey").ok().flatten()?.to_string_lossy().into_owned();
            let name = row.fields.optional_text("username").ok().flatten()?.clone();
            Some((key, name))
        };
        rows.filter_map(named).collect()
    }
}

/// What opening an item gave.
enum Opened {
    Plain(Zeroizing<Vec<u8>>),
    /// It was written as it is; `again`: it was before, too.
    TooLarge {
        again: bool,
    },
    /// Why not.
    Not(String),
}

/// An item that is written without being held in memory.
struct Large {
    dir: Dir,
    name: String,
    file: std::fs::File,
    failed: Option<std::io::Error>,
    /// It was there already, under another kind.
    again: bool,
}

impl Large {
    fn begin(root: &Dir, hash: &ContentHash) -> Result<Self, DirError> {
        let dir = root.make_or_enter("other", Access::Owner)?;
        let name = format!("{hash}.json");
        let again = dir.has(&name)?;
        dir.remove(&name)?;
        let file = dir.create(&name, Access::Owner)?;
        Ok(Self { dir, name, file, failed: None, again })
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.failed = self.file.write_all(bytes).err();
        }
    }

    /// Leaves it there if it is good.
    fn finish(self, good: bool) -> Result<(), DirError> {
        if let Some(cause) = self.failed {
            return Err(DirError::Io { what: "write", path: self.dir.path().join(&self.name), cause });
        }
        if good { Ok(()) } else { self.dir.remove(&self.name) }
    }
}

/// Files of lines, in memory until they are written at the end.
#[derive(Default)]
struct Lines {
    files: Names,
    boards: Names,
    /// The files of boards, by the boards' names.
    of_boards: BTreeMap<String, String>,
    texts: BTreeMap<String, String>,
}

impl Lines {
    fn add(&mut self, file: &str, line: Object) {
        let text = self.texts.entry(file.to_owned()).or_default();
        text.push_str(&Value::from(line).to_raw_line());
        text.push('\n');
    }

    fn add_to_board(&mut self, board: &str, line: Object) {
        let file = match self.of_boards.get(board) {
            Some(file) => file.clone(),
            None => {
                let file = format!("boards/{}", self.boards.claim(&format!("{board}.jsonl")));
                self.of_boards.insert(board.to_owned(), file.clone());
                file
            }
        };
        self.add(&file, line);
    }

    fn write(self, root: &Dir) -> Result<(), DirError> {
        for (path, text) in self.texts {
            match path.split_once('/') {
                Some((folder, file)) => write(&root.make_or_enter(folder, Access::Owner)?, file, text.as_bytes())?,
                None => write(root, &path, text.as_bytes())?,
            }
        }
        Ok(())
    }
}

/// What is known of an item besides what it says.
fn came(item: &Item) -> Object {
    Object::new()
        .with("content_hash", item.content_hash.to_string())
        .with("received_at", moment::format(item.changed_at))
}

trait And {
    /// Adds the fields of another object; those that are here stay.
    fn and(self, other: &Object) -> Object;
}

impl And for Object {
    fn and(mut self, other: &Object) -> Object {
        for (field, value) in other.iter() {
            if field.as_str().is_none_or(|name| self.get(name).is_none()) {
                self.set(field.clone(), value.clone());
            }
        }
        self
    }
}

#[cfg(test)]
mod tests;
