//! The format's test vectors, `tests/data/format/<version>/`: made by `docs/vectors/make.py`, which knows `docs/format.md` and
//! none of this code. What both agree on is what the page says.
//!
//! Where our writer leaves nothing to chance, it must make the same bytes; everywhere it must read them.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulbil::backup::open::OpenSnapshot;
use bulbil::backup::restore::{Overwrite, RestoreOptions, restore};
use bulbil::domain::chunk::{self, ChunkBuilder, ChunkContent, ChunkError, ChunkKind, Padding, Workbench};
use bulbil::domain::crypto::aead::{OpenKey, SealKey};
use bulbil::domain::crypto::hash::{FileHash, FileHasher, FragmentKey};
use bulbil::domain::crypto::kdf::PassphraseParams;
use bulbil::domain::crypto::keywrap::EnvelopeKey;
use bulbil::domain::crypto::recovery::RecoveryKey;
use bulbil::domain::crypto::secret::Secret;
use bulbil::domain::crypto::sign::IdentityKey;
use bulbil::domain::crypto::vault::MasterKey;
use bulbil::domain::envelope::{Envelope, HPKE_X25519, RSA_OAEP_256, VAULT};
use bulbil::domain::escrow::{EscrowDocument, papers, read_papers};
use bulbil::domain::id::{ChunkId, CollectionId, InstanceId, ManifestId};
use bulbil::domain::identity::{self, SignedIdentity};
use bulbil::domain::invite::Invite;
use bulbil::domain::manifest::{self, Manifest, PrivatePart, Sidecar, SignedManifest};
use bulbil::domain::metadata::codec::{put_i64, put_u64};
use bulbil::domain::metadata::entry::{Entry, EntryKind, Extent, FileContent, NodeRef};
use bulbil::domain::metadata::node::{Node, encode_page, parse_page};
use bulbil::domain::metadata::path::TreePath;
use bulbil::domain::peer::fingerprint_words;
use bulbil::domain::segment::{self, Segment, SegmentEntry, cut};
use bulbil::monitor::Tally;
use bulbil::store::index::{Collection, Peer};
use bulbil::store::{Passphrase, Store};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

/// Versions of the format that this program reads. A folder once written is never edited.
const VERSIONS: [&str; 1] = ["1"];
const FILES: [&str; 9] = [
    "chunk.json",
    "envelopes.json",
    "escrow.json",
    "fragments.json",
    "manifest.json",
    "nodes.json",
    "segment.json",
    "text.json",
    "vault.json",
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/format")
}

fn load(file: &str) -> Value {
    let text = std::fs::read(folder().join("1").join(file)).expect("the vectors are part of the sources");
    serde_json::from_slice(&text).expect("vectors are JSON")
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn hex(value: &Value) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text(value).as_bytes()).expect("hex digits")
}

fn to_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn secret(value: &Value) -> Secret<32> {
    Secret::from_slice(&hex(value)).expect("32 bytes")
}

fn json_of<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("a value of this shape")
}

fn collection(value: &Value) -> CollectionId {
    text(value).parse().expect("a collection id")
}

/// Draws the bytes that it was given.
struct Given(Vec<u8>);

impl rand_core::TryRng for Given {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        let rest = self.0.split_off(bytes.len());
        bytes.copy_from_slice(&std::mem::replace(&mut self.0, rest));
        Ok(())
    }
}

impl rand_core::TryCryptoRng for Given {}

#[test]
fn every_version_has_its_vectors_and_no_other() {
    let names = |dir: &Path| -> BTreeSet<String> {
        let entries = std::fs::read_dir(dir).expect("the folder is part of the sources");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&folder()), VERSIONS.map(String::from).into());
    assert_eq!(names(&folder().join("1")), FILES.map(String::from).into());
    for format in [manifest::FORMAT, manifest::SIDECAR_FORMAT, identity::FORMAT] {
        assert!(format.ends_with("/1"), "{format} has no vectors");
    }
    assert_eq!([chunk::MAGIC[4], segment::MAGIC[4]], [1, 1]);
}

#[test]
fn fragments() {
    let vector = load("fragments.json");
    let master = MasterKey::new(secret(&vector["master_key"]));
    let place = hex(&vector["collection"]);
    for (purpose, name) in [("fragments", "fragments_key"), ("nodes", "nodes_key"), ("cut", "cut_key")] {
        assert_eq!(master.derive(purpose, &place).expose()[..], hex(&vector[name]), "{purpose}");
    }
    let names = FragmentKey::new(secret(&vector["fragments_key"]));
    for fragment in list(&vector["fragments"]) {
        let content = hex(&fragment["content"]);
        assert_eq!(FileHash::of(&content).to_string(), text(&fragment["file_hash"]));
        assert_eq!(names.name_of(&content).as_bytes()[..], hex(&fragment["lookup_name"]));
    }
    let sparse = &vector["sparse"];
    let mut hasher = FileHasher::default();
    hasher.update(&hex(&sparse["before"]));
    hasher.update_zeros(number(&sparse["hole"]));
    hasher.update(&hex(&sparse["after"]));
    assert_eq!(hasher.finish().to_string(), text(&sparse["file_hash"]));
}

#[test]
fn chunks() {
    let vector = load("chunk.json");
    let collection = collection(&vector["collection"]);
    for case in list(&vector["chunks"]) {
        let (name, stored) = (text(&case["name"]), hex(&case["stored"]));
        let (kind, other) = match number(&case["kind"]) {
            1 => (ChunkKind::Data, ChunkKind::Meta),
            _ => (ChunkKind::Meta, ChunkKind::Data),
        };
        let padding: Padding = json_of(&case["padding"]);
        let names = FragmentKey::new(secret(&case["names_key"]));
        let fragments: Vec<Vec<u8>> = list(&case["fragments"]).iter().map(hex).collect();
        assert_eq!(ChunkId::of(&stored).to_string(), text(&case["id"]), "{name}");

        let key = OpenKey::new(secret(&case["key"]));
        let mut bench = Workbench::new(3);
        let content = ChunkContent::open(&stored, &key, kind, &collection, &mut bench).expect(name);
        let table: Vec<_> = fragments.iter().map(|f| (names.name_of(f), f.len() as u32)).collect();
        assert_eq!(content.table().collect::<Vec<_>>(), table, "{name}");
        let all = fragments.concat();
        assert_eq!(content.slice(0, all.len()).expect("they are all there"), all, "{name}");
        let elsewhere = ChunkContent::open(&stored, &key, other, &collection, &mut bench);
        assert_eq!(elsewhere.err(), Some(ChunkError::DoesNotOpen), "{name}");

        if number(&case["codec"]) == 0 {
            let mut builder = ChunkBuilder::new(kind, true);
            for fragment in &fragments {
                builder.push(names.name_of(fragment), fragment);
            }
            let key = SealKey::derived_for_one_use(secret(&case["key"]));
            let sealed = builder.seal(&collection, key, padding, &mut bench).expect(name);
            assert_eq!(to_hex(&sealed.stored), to_hex(&stored), "{name}");
        }
    }
}

#[test]
fn segments() {
    let vector = load("segment.json");
    let entries = list(&vector["entries"]).iter();
    let entries = entries.map(|e| SegmentEntry { id: json_of(&e["id"]), size_bytes: number(&e["size"]) as u32 });
    let segment = Segment::new(entries.collect());
    assert_eq!(to_hex(&segment.encode()), text(&vector["stored"]));
    assert_eq!(segment.id.to_string(), text(&vector["id"]));
    assert_eq!(Segment::parse(&hex(&vector["stored"])), Ok(segment));

    let many = (0u32..5000).map(|n| SegmentEntry { id: ChunkId::of(&n.to_be_bytes()), size_bytes: n + 100 });
    let segments = cut(many);
    let lengths: Vec<usize> = segments.iter().map(|segment| segment.entries.len()).collect();
    assert_eq!(json!(lengths), vector["cutting"]["lengths"]);
    assert_eq!(segments[0].id.to_string(), text(&vector["cutting"]["first_segment"]));
}

#[test]
fn nodes() {
    let vector = load("nodes.json");
    let bytes = hex(&vector["leaf"]["node"]);
    let node = Node::parse(&bytes).expect("a leaf");
    assert_eq!(to_hex(&node.encode()), to_hex(&bytes));
    let Node::Leaf(entries) = node else { panic!("not a leaf") };
    assert_eq!(entries.len(), list(&vector["leaf"]["entries"]).len());
    for (entry, expected) in entries.iter().zip(list(&vector["leaf"]["entries"])) {
        assert_eq!(entry_value(entry), *expected, "{}", entry.path);
    }

    let bytes = hex(&vector["inner"]["node"]);
    let node = Node::parse(&bytes).expect("an inner node");
    assert_eq!(to_hex(&node.encode()), to_hex(&bytes));
    let Node::Inner { level, children } = node else { panic!("not an inner node") };
    assert_eq!(u64::from(level), number(&vector["inner"]["level"]));
    let children: Vec<Value> =
        children.iter().map(|c| json!([to_hex(c.first.as_bytes()), place_value(&c.node), c.entries])).collect();
    assert_eq!(json!(children), vector["inner"]["children"]);

    let bytes = hex(&vector["page"]["node"]);
    let extents = parse_page(&bytes).expect("a page");
    assert_eq!(to_hex(&encode_page(&extents)), to_hex(&bytes));
    assert_eq!(json!(extents.iter().map(extent_value).collect::<Vec<_>>()), vector["page"]["extents"]);
    assert_eq!(to_hex(&Node::Leaf(Vec::new()).encode()), text(&vector["empty"]["node"]));

    for case in list(&vector["numbers"]) {
        let mut out = Vec::new();
        put_u64(&mut out, number(&case["value"]));
        assert_eq!(to_hex(&out), text(&case["varint"]));
    }
    for case in list(&vector["signed"]) {
        let mut out = Vec::new();
        put_i64(&mut out, case["value"].as_i64().expect("a number"));
        assert_eq!(to_hex(&out), text(&case["varint"]));
    }
    let paths: Vec<TreePath> =
        list(&vector["paths_in_order"]).iter().map(|p| TreePath::new(hex(p)).expect("a path")).collect();
    assert!(paths.is_sorted());
}

/// An entry as the vectors write it.
fn entry_value(entry: &Entry) -> Value {
    let at = &entry.attributes;
    let xattrs: Vec<_> = at.xattrs.iter().map(|(name, value)| [to_hex(name), to_hex(value)]).collect();
    let mut out = json!({
        "path": to_hex(entry.path.as_bytes()), "mode": at.mode, "uid": at.uid, "gid": at.gid,
        "mtime": [at.mtime.secs, i64::from(at.mtime.nanos)], "ctime": [at.ctime.secs, i64::from(at.ctime.nanos)],
        "inode": at.inode, "xattrs": xattrs,
    });
    let kind = match &entry.kind {
        EntryKind::File(file) => {
            out["size"] = json!(file.size);
            if file.changed_while_read {
                out["changed"] = json!(true);
            }
            if file.size > 0 {
                out["hash"] = json!(file.hash.to_string());
                match &file.content {
                    FileContent::Extents(extents) => {
                        out["extents"] = extents.iter().map(extent_value).collect();
                    }
                    FileContent::Pages(pages) => out["pages"] = pages.iter().map(place_value).collect(),
                }
            }
            "file"
        }
        EntryKind::Directory => "directory",
        EntryKind::Symlink { target } => {
            out["target"] = json!(to_hex(target));
            "symlink"
        }
        EntryKind::HardLink { to } => {
            out["target"] = json!(to_hex(to.as_bytes()));
            "hardlink"
        }
        EntryKind::Fifo => "fifo",
        EntryKind::Socket => "socket",
        EntryKind::CharDevice { rdev } => {
            out["rdev"] = json!(rdev);
            "char-device"
        }
        EntryKind::BlockDevice { rdev } => {
            out["rdev"] = json!(rdev);
            "block-device"
        }
    };
    out["kind"] = json!(kind);
    out
}

fn extent_value(extent: &Extent) -> Value {
    match extent {
        Extent::Hole { len } => json!(["hole", len]),
        Extent::Data { chunk, offset, len } => {
            json!(["data", [chunk.id.to_string(), to_hex(chunk.key.secret().expose())], offset, len])
        }
    }
}

fn place_value(place: &NodeRef) -> Value {
    let NodeRef { chunk, offset, len } = place;
    json!([[chunk.id.to_string(), to_hex(chunk.key.secret().expose())], offset, len])
}

#[test]
fn manifests() {
    let vector = load("manifest.json");
    let id: ManifestId = json_of(&vector["id"]);
    let sidecar: Sidecar = serde_json::from_str(text(&vector["sidecar"])).expect("a sidecar");
    assert_eq!(serde_json::to_string(&sidecar).expect("JSON"), text(&vector["sidecar"]));
    assert_eq!(to_hex(sidecar.signature.signature.as_bytes()), text(&vector["signature"]));
    let bytes = text(&vector["manifest"]).as_bytes().to_vec();
    let signed = SignedManifest::verify(id, bytes.clone(), sidecar.signature).expect("a manifest");
    assert_eq!(signed.manifest.commitment, text(&vector["commitment"]));

    let master = MasterKey::new(secret(&load("envelopes.json")["master_key"]));
    let key =
        sidecar.envelopes[0].open_with_vault(&id, &signed.manifest.commitment, &master).expect("our own envelope");
    assert_eq!(key.commitment(), text(&vector["commitment"]));
    let private = signed.manifest.open_private(&key).expect("the private part");
    let expected: PrivatePart = serde_json::from_str(text(&vector["private_part"])).expect("a private part");
    assert_eq!(private, expected);

    // Made again, it is the same to the last byte.
    let mut manifest: Manifest = serde_json::from_slice(&bytes).expect("JSON");
    manifest.private = String::new();
    manifest.seal_private(&private, &key);
    let again = manifest.sign(&IdentityKey::from_seed(&secret(&vector["identity_seed"])));
    assert_eq!(again, signed);
    assert_eq!(to_hex(again.manifest.instance.as_bytes()), text(&vector["instance"]));
}

#[test]
fn escrow() {
    let vector = load("escrow.json");
    let document = EscrowDocument::parse(text(&vector["document"]).as_bytes()).expect("an escrow document");
    assert_eq!(serde_json::to_string(&document).expect("JSON"), text(&vector["document"]));
    let master = MasterKey::new(secret(&vector["master_key"]));
    let recovery = RecoveryKey::generate(&mut Given(hex(&vector["recovery_key"])));
    let key = document.open_fingerprint_key(&master).expect("our own key");
    assert_eq!(to_hex(&key.id()), document.fingerprint_key_id);
    let papers = papers(&document, &recovery.recipient().id());
    for (at, secret) in document.secrets.iter().enumerate() {
        let value = hex(&vector["values"][at]);
        assert_eq!(*secret.open_with_vault(&document.collection, &master).expect("our own secret"), value);
        assert_eq!(*secret.open_with_recovery(&document.collection, &recovery).expect("the recovery key's"), value);
        assert_eq!(key.of(&secret.name, &value), secret.fingerprint);
        let codes: Vec<String> = json_of(&vector["codes"][at]);
        assert_eq!(papers[at].1, codes);
        let [read] = read_papers(&codes.join(" ")).expect("codes").try_into().expect("one secret");
        assert_eq!(*read.secret.open_with_recovery(&read.collection, &recovery).expect("the same"), value);
    }
    let elsewhere = CollectionId::from_slice(&[0; 16]).expect("an id");
    assert!(document.secrets[0].open_with_recovery(&elsewhere, &recovery).is_err());
}

#[test]
fn envelopes() {
    let vector = load("envelopes.json");
    let (id, other): (ManifestId, ManifestId) =
        (json_of(&vector["manifest_id"]), json_of(&vector["other_manifest_id"]));
    let commitment = text(&vector["commitment"]);
    let envelopes: Vec<Envelope> = json_of(&vector["envelopes"]);
    let algorithms: Vec<&str> = envelopes.iter().map(|envelope| envelope.algorithm.as_str()).collect();
    assert_eq!(algorithms, [VAULT, RSA_OAEP_256, HPKE_X25519]);

    let master = MasterKey::new(secret(&vector["master_key"]));
    assert!(envelopes[0].open_with_vault(&id, commitment, &master).is_ok());
    assert!(envelopes[0].open_with_vault(&other, commitment, &master).is_err());

    let rsa = EnvelopeKey::from_pkcs8_der(&hex(&vector["rsa_pkcs8"])).expect("an RSA key");
    assert_eq!(to_hex(rsa.recipient().spki_der()), text(&vector["rsa_spki"]));
    assert_eq!(rsa.recipient().id(), envelopes[1].recipient);
    assert!(envelopes[1].open_with(&id, commitment, &rsa).is_ok());
    assert!(envelopes[1].open_with(&other, commitment, &rsa).is_err());
    assert!(envelopes[1].open_with(&id, &"0".repeat(64), &rsa).is_err(), "R5");

    let recovery = RecoveryKey::generate(&mut Given(hex(&vector["recovery_key"])));
    assert_eq!(recovery.recipient().id(), envelopes[2].recipient);
    assert!(envelopes[2].open_with_recovery(&id, commitment, &recovery).is_ok());
    assert!(envelopes[2].open_with_recovery(&other, commitment, &recovery).is_err());
}

#[test]
fn the_vault() {
    let vector = load("vault.json");
    let master = MasterKey::new(secret(&vector["master_key"]));
    for thing in list(&vector["things"]) {
        let (place, plain, sealed) = (hex(&thing["place"]), hex(&thing["plain"]), hex(&thing["sealed"]));
        assert_eq!(master.open(&place, &sealed).expect("it opens"), plain, "{}", thing["name"]);
        assert!(master.open(b"another place", &sealed).is_err());
        let salt = sealed[1..25].to_vec();
        assert_eq!(master.seal(&mut Given(salt), &place, &plain), sealed, "{}", thing["name"]);
    }
    let file: Value = serde_json::from_str(text(&vector["master_file"])).expect("JSON");
    let params: PassphraseParams = json_of(&file["passphrase"]);
    let stretched = params.stretch(text(&vector["passphrase"]).as_bytes()).expect("sound parameters");
    let sealed = data_encoding::BASE64.decode(text(&file["sealed"]).as_bytes()).expect("base64");
    let opened = MasterKey::new(stretched).open(b"key/master", &sealed).expect("it opens");
    assert_eq!(to_hex(&opened), text(&vector["master_key"]));

    let ledger: Value = serde_json::from_str(text(&vector["ledger"])).expect("JSON");
    let collections: Vec<Collection> = json_of(&ledger["collections"]);
    assert_eq!(serde_json::to_value(&collections).expect("JSON"), ledger["collections"]);
    let peers: Vec<Peer> = json_of(&ledger["peers"]);
    assert_eq!(serde_json::to_value(&peers).expect("JSON"), ledger["peers"]);
}

#[test]
fn texts() {
    let vector = load("text.json");
    let recovery = &vector["recovery"];
    let printed = text(&recovery["text"]);
    let key = RecoveryKey::parse(printed).expect("a recovery key");
    assert_eq!(*key.to_text(), printed);
    let public = data_encoding::BASE64.encode(&hex(&recovery["public_key"]));
    assert_eq!(String::from(key.recipient()), public);
    let (head, digits) = printed.split_at("BULBIL-RECOVERY-1".len());
    let typed = format!("{head}{}", digits.replace('0', "o").replace('1', "L").replace('-', " ")).to_lowercase();
    assert_eq!(*RecoveryKey::parse(&typed).expect("typed by a person").to_text(), printed);

    let line = text(&vector["invite"]["text"]);
    let invite = Invite::parse(line).expect("an invite");
    assert_eq!(invite.to_text(), line);
    let says: Value = serde_json::from_str(text(&vector["invite"]["json"])).expect("JSON");
    assert_eq!(invite.expires_at.as_second(), says["e"].as_i64().expect("a number"));
    assert_eq!(to_hex(invite.secret.secret().expose()), text(&says["s"]));

    let (inviter, joiner): (InstanceId, InstanceId) =
        (json_of(&vector["invite"]["inviter"]), json_of(&vector["invite"]["joiner"]));
    assert_eq!(to_hex(&invite.secret.joining_proof(&inviter, &joiner)), text(&vector["invite"]["joining_proof"]));
    assert_eq!(to_hex(&invite.secret.inviting_proof(&inviter, &joiner)), text(&vector["invite"]["inviting_proof"]));

    for case in list(&vector["words"]) {
        let id: InstanceId = json_of(&case["instance"]);
        assert_eq!(fingerprint_words(&id).join(" "), text(&case["words"]));
    }
    let identity: SignedIdentity = json_of(&vector["identity"]);
    let shown = identity.verify(None).expect("an identity document");
    assert_eq!(serde_json::to_string(&shown).expect("JSON"), identity.document);
}

/// A whole home, written by the other implementation: opened with its passphrase, indexed, and restored.
#[tokio::test]
async fn a_home_from_elsewhere_is_restored() {
    let (vector, vault) = (load("manifest.json"), load("vault.json"));
    let (dir, out) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let home = dir.path().join("home");
    std::fs::DirBuilder::new().mode(0o700).recursive(true).create(home.join("keys")).expect("a folder");
    let put = |path: String, bytes: &[u8]| {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        std::io::Write::write_all(&mut file.expect("a new file"), bytes).expect("it is written");
    };
    std::fs::create_dir(home.join("lock")).expect("a folder");
    put("version".into(), b"bulbil-home/1\n");
    put("keys/master".into(), text(&vault["master_file"]).as_bytes());
    for thing in list(&vault["things"]) {
        let name = text(&thing["name"]);
        let path = if name == "ledger" { "keys/ledger" } else { &name.replace("key/", "keys/") };
        if path.starts_with("keys/") {
            put(path.to_owned(), &hex(&thing["sealed"]));
        }
    }
    let id = text(&vector["id"]);
    put(format!("manifests/{id}"), text(&vector["manifest"]).as_bytes());
    put(format!("manifests/{id}.sidecar"), text(&vector["sidecar"]).as_bytes());
    for stored in list(&vector["chunks"]).iter().chain([&vector["segment"]]) {
        let stored = hex(stored);
        let name = ChunkId::of(&stored).to_string();
        put(format!("chunks/{}/{}/{name}", &name[..2], &name[2..4]), &stored);
    }

    let passphrase = Passphrase::new(text(&vault["passphrase"]).as_bytes().to_vec());
    let (store, report) = Store::rebuild(&home, Some(passphrase)).await.expect("it is rebuilt");
    assert_eq!((report.problems, report.collections, report.snapshots, report.chunks), (vec![], 1, 1, 4));
    let snapshots = store.index.snapshots(None).await.expect("the index");
    assert_eq!(snapshots.iter().map(|s| (s.complete, s.has_key, s.sequence)).collect::<Vec<_>>(), [(true, true, 7)]);
    assert_eq!(store.index.peers().await.expect("the index")[0].name, "beta");

    let open = OpenSnapshot::open(&store, &id.parse().expect("an id")).expect("it opens");
    let options = RestoreOptions { paths: vec![], overwrite: Overwrite::Never, delete: false, dry_run: false };
    let (chunks, tally) = (Arc::clone(&store.chunks), Tally::default());
    let target = out.path().to_owned();
    let (stats, problems) = tokio::task::spawn_blocking(move || {
        let stats = restore(&chunks, &open, &target, &options, &tally, &CancellationToken::new());
        (stats, tally.problems())
    })
    .await
    .expect("it does not panic");
    assert_eq!((stats.expect("it is restored").files, problems), (2, vec![]));
    for file in list(&vector["files"]) {
        let path = String::from_utf8(hex(&file["path"])).expect("a plain name");
        let name = path.strip_prefix("notes/").expect("the only root");
        assert_eq!(std::fs::read(out.path().join(name)).expect("it is there"), hex(&file["content"]), "{name}");
    }
}
