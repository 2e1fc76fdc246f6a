//! Chunks of applets that go back: each item is opened, and its chunks are written beside those of the BBS, never over other bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::records::{self, Named};
use super::returning::{Piece, Returning};
use super::schema::Schema;
use super::{InstallError, Place};
use crate::axon::check::chunk;
use crate::axon::folder::read::FolderItem;
use crate::axon::folder::take::MAX_LOOKED_INTO;
use crate::axon::library::Applet;
use crate::domain::axon::backup::{SharedState, chunk_file};
use crate::domain::axon::cipher::Decryptor;
use crate::domain::axon::key::{PublicKey, Wrapper};
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::payload::Payload;
use crate::domain::axon::private::PrivateKey;
use crate::domain::axon::uuid::Uuid;
use crate::domain::chunk::MAX_STORED;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, ContentHash};
use crate::store::Store;
use crate::store::dir::{Access, Dir, DirError};

/// Longest manifest that a BBS keeps beside chunks, in bytes.
const MAX_KEPT: usize = 4 << 20;

/// An applet that was verified, with the manifests that it has there.
pub(super) struct Ready {
    pub applet: Applet,
    pub code: Option<Manifest>,
    /// By the place in the applet's data.
    pub data: Vec<(usize, Manifest)>,
    pub states: Vec<(Option<String>, SharedState)>,
}

/// Verifies items, and writes their chunks.
pub(super) struct Placing<'a> {
    store: &'a Store,
    root: Arc<Dir>,
    there: BTreeMap<ContentHash, Named>,
    key: &'a PrivateKey,
    local: Wrapper,
    peers: Vec<Wrapper>,
    /// Somebody gave one more key.
    pub(super) key_given: bool,
    /// Longest users' data, in bytes: it is held whole.
    looked_into: usize,
    pub(super) told: Vec<(String, String)>,
    pub(super) refused: Vec<String>,
    pub(super) chunks: u64,
}

impl<'a> Placing<'a> {
    pub(super) fn new(
        store: &'a Store,
        place: &Place,
        schema: &Schema,
        key: &'a PrivateKey,
    ) -> Result<Self, InstallError> {
        std::fs::create_dir_all(&place.chunks).map_err(|cause| DirError::Io {
            what: "make",
            path: place.chunks.clone(),
            cause,
        })?;
        if let (Some(above), Some(name)) =
            (place.chunks.parent(), place.chunks.file_name().and_then(|name| name.to_str()))
        {
            Dir::open(above)?.give(name, &Dir::open(&place.root)?)?;
        }
        let trusted = schema.rows("trustedinstance").filter(|row| row.flag(&["is_trusted_peer"]));
        let keys = trusted.filter_map(|row| PublicKey::parse(&row.text(&["pubkey"])?).ok());
        let peers = keys.filter_map(|key| key.wrapper().ok()).collect();
        let there = records::items(schema, &mut Vec::new());
        Ok(Self {
            store,
            root: Arc::new(Dir::open(&place.chunks)?),
            there,
            key,
            local: key.public().wrapper()?,
            peers,
            key_given: false,
            looked_into: MAX_LOOKED_INTO,
            told: Vec::new(),
            refused: Vec::new(),
            chunks: 0,
        })
    }

    /// `None` if it is refused.
    pub(super) fn ready(&mut self, it: Returning) -> Result<Option<Ready>, InstallError> {
        let name = it.applet.shown();
        let code = match it.code {
            None => None,
            Some(piece) => match self.piece(piece, None)? {
                Ok(manifest) => Some(manifest),
                Err(why) => {
                    self.told.push((name.clone(), format!("not restored: its code: {why}")));
                    self.refused.push(name);
                    return Ok(None);
                }
            },
        };
        let mut data = Vec::new();
        for (at, piece) in it.data.into_iter().enumerate() {
            match self.piece(piece, Some(&it.applet.metadata.id))? {
                Ok(manifest) => data.push((at, manifest)),
                Err(why) => {
                    let whose = it.applet.data[at].owner_username.to_string_lossy();
                    self.told.push((name.clone(), format!("the data of {whose:?} was left out: {why}")));
                }
            }
        }
        Ok(Some(Ready { applet: it.applet, code, data, states: it.states }))
    }

    /// Verifies an item, writes its chunks, and gives the manifest that it has there; or why it cannot be there. `of_data`: it is a
    /// user's data, and of which applet it must be.
    fn piece(&mut self, piece: Piece, of_data: Option<&Uuid>) -> Result<Result<Manifest, String>, InstallError> {
        let Piece { manifest, key, folder } = piece;
        let hash = manifest.content_hash();
        // The same content may be there already, sealed otherwise: its chunks cannot be there twice.
        if let Some(named) = self.there.get(&hash) {
            for theirs in &named.manifests {
                if theirs.seals_the_same(&manifest) || !self.is_whole(theirs)? {
                    continue;
                }
                let Ok(key) = theirs.unwrap_key(self.key) else { continue };
                let there = FolderItem::new(theirs, Arc::clone(&self.root), vec![hash.to_string()]);
                let is_it = match of_data {
                    Some(_) => self.verify(theirs, &key, Some(&there), of_data),
                    None => Ok(()),
                };
                return Ok(is_it.map(|()| theirs.clone()));
            }
        }
        let key = match key {
            Some(key) => Some(key),
            None => manifest.unwrap_key(self.key).ok(),
        };
        let Some(key) = key else {
            let why = if self.key_given {
                "nobody here can open it, and the BBS could not either: nor does the key that was given with --key, because it is not that of the instance that made it"
            } else {
                "nobody here can open it, and the BBS could not either: give the private key of the instance that made it with --key"
            };
            return Ok(Err(why.to_owned()));
        };
        if let Err(why) = self.verify(&manifest, &key, folder.as_ref(), of_data) {
            return Ok(Err(why));
        }
        if let Err(why) = self.place(&manifest, folder.as_ref())? {
            return Ok(Err(why));
        }
        let mut manifest = manifest;
        // As the BBS re-keys: applets for itself and those it trusts, users' data for itself and who has it already.
        if of_data.is_none() {
            manifest.keep_envelopes(&[]);
            for peer in &self.peers {
                manifest.add_envelope(peer, &key)?;
            }
        }
        manifest.add_envelope(&self.local, &key)?;
        Ok(Ok(manifest))
    }

    /// Opens everything. A user's data must be that of its applet: two applets of one folder name have been written into one folder.
    fn verify(
        &self,
        manifest: &Manifest,
        key: &Secret<32>,
        folder: Option<&FolderItem>,
        of_data: Option<&Uuid>,
    ) -> Result<(), String> {
        let mut decryptor = Decryptor::new(key, manifest);
        let mut plain = Zeroizing::new(Vec::new());
        for (at, id) in manifest.chunk_hashes().iter().enumerate() {
            let bytes = self.chunk(folder, at, id)?;
            if of_data.is_none() {
                plain.clear();
            } else if plain.len() + bytes.len() > self.looked_into {
                return Err(format!("it is longer than {} bytes, and is not looked into", self.looked_into));
            }
            decryptor.push(&bytes, &mut plain).map_err(|cause| cause.to_string())?;
        }
        decryptor.finish(&mut plain).map_err(|cause| cause.to_string())?;
        match (of_data, of_data.map(|_| Payload::parse(&plain))) {
            (None, _) => Ok(()),
            (Some(applet), Some(Ok(Payload::AppletData(data)))) if data.applet_id == *applet => Ok(()),
            _ => Err("it is not the data of this applet".to_owned()),
        }
    }

    fn chunk(&self, folder: Option<&FolderItem>, at: usize, id: &ChunkId) -> Result<Vec<u8>, String> {
        match folder {
            Some(folder) => folder.chunk(at).map_err(|fault| fault.to_string()),
            None => match chunk(self.store, id) {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => Err(format!("chunk {at} is missing or damaged here: 'bulbil verify' says more")),
                Err(cause) => Err(cause.to_string()),
            },
        }
    }

    fn is_whole(&self, manifest: &Manifest) -> Result<bool, InstallError> {
        let folder = match self.root.enter(&manifest.content_hash().to_string()) {
            Ok(folder) => folder,
            Err(_) => return Ok(false),
        };
        let good = |(at, id): (usize, &ChunkId)| {
            folder.read(&chunk_file(at), MAX_STORED).is_ok_and(|bytes| ChunkId::of(&bytes) == *id)
        };
        Ok(manifest.chunk_hashes().iter().enumerate().all(good))
    }

    /// Writes the chunks of an item, each under another name first. Other bytes that are there stay, and the item is refused.
    fn place(&mut self, manifest: &Manifest, folder: Option<&FolderItem>) -> Result<Result<(), String>, InstallError> {
        let hash = manifest.content_hash().to_string();
        let there = match self.root.make_or_enter(&hash, Access::Usual) {
            Ok(there) => there,
            Err(error) => return in_the_way(error).map(Err),
        };
        self.root.give(&hash, &self.root)?;
        let mut missing = Vec::new();
        for (at, id) in manifest.chunk_hashes().iter().enumerate() {
            match there.read(&chunk_file(at), MAX_STORED) {
                Ok(bytes) if ChunkId::of(&bytes) == *id => {}
                Ok(_) | Err(DirError::TooLong { .. }) => {
                    return Ok(Err(format!(
                        "the BBS has other bytes as {}/{}: they stay; if nothing uses them, move that folder away and try again",
                        &hash[..12],
                        chunk_file(at)
                    )));
                }
                Err(DirError::Missing(_)) => missing.push((at, *id)),
                Err(error) => return in_the_way(error).map(Err),
            }
        }
        let staged = self.stage(&there, &missing, folder);
        if !matches!(staged, Ok(Ok(()))) {
            for (at, _) in &missing {
                let _ = there.remove(&staged_name(*at));
            }
            return staged;
        }
        // What an earlier copy left: with another IV the BBS would throw all chunks away.
        match there.read(".manifest", MAX_KEPT) {
            Err(DirError::Missing(_)) => {}
            Ok(bytes) if Manifest::parse(&bytes).is_ok_and(|kept| kept.iv() == manifest.iv()) => {}
            Ok(_) | Err(DirError::Link(_) | DirError::TooLong { .. }) => there.remove(".manifest")?,
            Err(error) => return in_the_way(error).map(Err),
        }
        // Nothing is called a chunk before its bytes are durable. Also what a killed run wrote may not be so yet.
        there.sync_all()?;
        for (at, _) in &missing {
            there.rename(&staged_name(*at), &chunk_file(*at))?;
            self.chunks += 1;
        }
        there.sync_all()?;
        Ok(Ok(()))
    }

    /// Writes chunks under other names.
    fn stage(
        &self,
        there: &Dir,
        chunks: &[(usize, ChunkId)],
        folder: Option<&FolderItem>,
    ) -> Result<Result<(), String>, InstallError> {
        for (at, id) in chunks {
            let bytes = match self.chunk(folder, *at, id) {
                Ok(bytes) => bytes,
                Err(why) => return Ok(Err(why)),
            };
            let name = staged_name(*at);
            there.remove(&name)?;
            there.write(&name, &bytes, Access::Usual)?;
            there.give(&name, &self.root)?;
        }
        Ok(Ok(()))
    }
}

/// What lies in the place of a chunk or of its folder, and is none, is somebody's: the item is refused.
fn in_the_way(error: DirError) -> Result<String, InstallError> {
    match error {
        DirError::Link(_) | DirError::Kind { .. } => Ok(format!("{error}: move it away, and try again")),
        error => Err(error.into()),
    }
}

/// What a chunk is called until it is durable.
fn staged_name(at: usize) -> String {
    format!(".{at}.bulbil")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::axon::cipher::{Sealed, seal};
    use crate::store::entropy;
    use crate::store::testing::TestStore;

    const KEY: &str = include_str!("../../../tests/data/axon/1/keys/instance_a.pem");

    /// A repository, and an installation that has nothing yet.
    struct World {
        test: TestStore,
        key: PrivateKey,
    }

    impl World {
        async fn new() -> Self {
            let test = TestStore::new().await;
            std::fs::create_dir(test.dir.path().join("bbs")).unwrap();
            Self { test, key: PrivateKey::from_pem(KEY).unwrap() }
        }

        fn chunks(&self) -> std::path::PathBuf {
            self.test.dir.path().join("bbs/chunks")
        }

        fn placing(&self) -> Placing<'_> {
            let root = self.test.dir.path().join("bbs");
            let place = Place { database: root.join("db"), chunks: self.chunks(), secrets: Vec::new(), root };
            Placing::new(&self.test.store, &place, &Schema { tables: Vec::new() }, &self.key).unwrap()
        }

        /// An item whose chunks with these numbers are in the store.
        fn item(&self, plain: &[u8], kept: &[usize]) -> (Manifest, Sealed) {
            let sealed = seal(plain, &mut entropy());
            for at in kept {
                self.test.store.chunks.write(&sealed.chunk_hashes[*at], &sealed.chunks[*at]).unwrap();
            }
            (Manifest::of(&sealed), sealed)
        }
    }

    #[tokio::test]
    async fn nothing_is_called_a_chunk_before_all_of_the_item_are_written() {
        let world = World::new().await;
        let (manifest, _) = world.item(&vec![7; 300_000], &[0]);
        let mut placing = world.placing();
        assert!(placing.place(&manifest, None).unwrap().is_err());
        let folder = world.chunks().join(manifest.content_hash().to_string());
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "something was left");
        let (whole, _) = world.item(&vec![8; 300_000], &[0, 1]);
        placing.place(&whole, None).unwrap().unwrap();
        let folder = Dir::open(&world.chunks().join(whole.content_hash().to_string())).unwrap();
        assert_eq!(folder.names().unwrap(), ["0.chunk", "1.chunk"]);
    }
    #[tokio::test]
    async fn data_that_is_too_long_is_not_held() {
        let world = World::new().await;
        let id: Uuid = "11111111-2222-4333-8444-555555555555".parse().unwrap();
        let data = format!(
            r#"{{"type": "applet_data", "applet_id": "{}", "owner_pubkey": "", "data": "{}"}}"#,
            id.as_str(),
            "x".repeat(300_000)
        );
        let (manifest, sealed) = world.item(data.as_bytes(), &[0, 1]);
        let mut placing = world.placing();
        placing.verify(&manifest, &sealed.key, None, Some(&id)).unwrap();
        placing.looked_into = 280_000;
        assert!(placing.verify(&manifest, &sealed.key, None, Some(&id)).unwrap_err().contains("longer than 280000"));
        placing.verify(&manifest, &sealed.key, None, None).unwrap();
    }
}
