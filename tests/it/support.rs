//! What several topics need: trees to back up, trees to compare, a home of one's own, the real binary.

pub mod bucket; // an S3 server
pub mod ctor; // the C tor client of that network
pub mod running; // a process that goes on
pub mod world; // instances in a private Tor network

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::LazyLock;

use bulbil::domain::crypto::keywrap::EnvelopeKey;
use bulbil::domain::id::CollectionId;
use bulbil::store::index::{Collection, CollectionSettings, NewCollection, Root};
use bulbil::store::{CreateOptions, Store, entropy, fresh_envelope_key};

/// The real binary.
pub const BULBIL: &str = env!("CARGO_BIN_EXE_bulbil");

/// The envelope key of all in-process homes: making one takes a second.
pub fn envelope_key() -> EnvelopeKey {
    static DER: LazyLock<Vec<u8>> = LazyLock::new(|| fresh_envelope_key().pkcs8_der().to_vec());
    EnvelopeKey::from_pkcs8_der(&DER).unwrap()
}

/// A fresh home in `dir`.
pub async fn home(dir: &Path, name: &str) -> Store {
    let options = CreateOptions { name: name.to_owned(), passphrase: None };
    Store::create_with(dir, options, Some(envelope_key())).await.unwrap().0
}

/// Adds a collection with these roots.
pub async fn collection(store: &Store, name: &str, roots: &[&Path]) -> Collection {
    let roots = roots
        .iter()
        .map(|path| Root { name: path.file_name().unwrap().to_str().unwrap().to_owned(), path: path.to_path_buf() })
        .collect();
    let settings = CollectionSettings {
        application: None,
        roots,
        excludes: vec![],
        level: 3,
        padding: Default::default(),
        kind: Default::default(),
    };
    let id = CollectionId::random(&mut entropy());
    let new = NewCollection { id, name: name.to_owned(), origin: store.keys.instance(), settings: Some(settings) };
    store.index.add_collection(&new).await.unwrap()
}

/// Runs the binary with a home; its output, whatever the exit code.
pub fn run(home: &Path, args: &[&str]) -> Output {
    Command::new(BULBIL).arg("--home").arg(home).args(args).output().unwrap()
}

/// Runs the binary and expects this exit code; its standard output.
pub fn expect(code: i32, home: &Path, args: &[&str]) -> String {
    let output = run(home, args);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "bulbil {args:?}\n{out}\n{err}");
    out.into_owned()
}

/// Bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

/// A folder with one of everything that a user may have.
pub fn everything(root: &Path) {
    fs::create_dir_all(root.join("a/b/c")).unwrap();
    fs::create_dir_all(root.join("empty")).unwrap();
    fs::write(root.join("a/text.txt"), "hello\n".repeat(1000)).unwrap();
    fs::write(root.join("a/b/noise.bin"), noise(1, 3_000_000)).unwrap();
    fs::write(root.join("a/b/empty"), b"").unwrap();
    fs::write(root.join("a-b"), b"sorts after a/b").unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not \xff\xfe utf-8\n")), b"odd").unwrap();
    fs::write(root.join("a/b/c/script"), b"#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("a/b/c/script"), fs::Permissions::from_mode(0o4751)).unwrap();
    fs::hard_link(root.join("a/text.txt"), root.join("linked.txt")).unwrap();
    symlink("a/text.txt", root.join("link")).unwrap();
    symlink("nowhere/at/all", root.join("dangling")).unwrap();
    symlink("..", root.join("a/up")).unwrap();
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"at the start", 0).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, &noise(2, 70_000), 20 << 20).unwrap();
    sparse.set_len(64 << 20).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        root.join("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from(0o640),
        0,
    )
    .unwrap();
    for n in 0..300 {
        fs::write(root.join(format!("a/b/c/{n:04}.json")), format!("{{\"id\":{n},\"text\":\"{}\"}}", "ab ".repeat(n)))
            .unwrap();
    }
    let _ = rustix::fs::setxattr(root.join("a/text.txt"), "user.note", b"kept", rustix::fs::XattrFlags::empty());
    let old =
        fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_000_000_000, 123_456_789));
    fs::File::open(root.join("a-b")).unwrap().set_times(old).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o2710)).unwrap();
}

/// Everything of a tree that a restore must bring back, by path.
pub fn describe(root: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut out = BTreeMap::new();
    let mut inodes: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    let mut left = vec![PathBuf::new()];
    while let Some(relative) = left.pop() {
        let path = root.join(&relative);
        let stat = fs::symlink_metadata(&path).unwrap();
        let kind = stat.file_type();
        let name = relative.clone().into_os_string().into_vec();
        let what = if kind.is_dir() {
            let mut names: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            left.extend(names.iter().rev().map(|name| relative.join(name)));
            "folder".to_owned()
        } else if kind.is_symlink() {
            format!("link to {:?}", fs::read_link(&path).unwrap())
        } else if kind.is_file() {
            let first = inodes.entry((stat.dev(), stat.ino())).or_insert_with(|| name.clone()).clone();
            let content = blake3::hash(&fs::read(&path).unwrap());
            format!("file of {} bytes {content} same as {:?}", stat.len(), String::from_utf8_lossy(&first))
        } else {
            format!("special, pipe {}", kind.is_fifo())
        };
        let mut note = [0; 64];
        let xattr = rustix::fs::lgetxattr(&path, "user.note", &mut note).map(|len| note[..len].to_vec()).ok();
        let time = if kind.is_symlink() { 0 } else { stat.mtime() * 1_000_000_000 + stat.mtime_nsec() };
        let mode = if kind.is_symlink() { 0 } else { stat.mode() & 0o7777 };
        out.insert(name, format!("{what} mode {mode:o} owner {}:{} time {time} {xattr:?}", stat.uid(), stat.gid()));
    }
    out
}

/// Asserts that two trees are the same, and says where they are not.
pub fn assert_same_tree(before: &Path, after: &Path) {
    let (a, b) = (describe(before), describe(after));
    for (path, what) in &a {
        assert_eq!(Some(what), b.get(path), "at {:?}", String::from_utf8_lossy(path));
    }
    let more: Vec<_> =
        b.keys().filter(|path| !a.contains_key(*path)).map(|path| String::from_utf8_lossy(path)).collect();
    assert!(more.is_empty(), "too much: {more:?}");
}

/// Makes a home with the binary; the recovery key's text.
pub fn init(home: &Path, name: &str) -> String {
    let out = expect(0, home, &["init", "--name", name, "--json"]);
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    document["result"]["recovery_key"].as_str().unwrap().to_owned()
}
