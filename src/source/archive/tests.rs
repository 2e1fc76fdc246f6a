use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::Path;

use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::unpack::{Member, MemberKind, Piece, Unpacked, unpack};
use super::*;

/// A header with a right checksum.
fn header(kind: u8, path: &[u8], size: u64, link: &[u8]) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..path.len()].copy_from_slice(path);
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0001751");
    block[116..123].copy_from_slice(b"0001751");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"14000000000");
    block[156] = kind;
    block[157..157 + link.len()].copy_from_slice(link);
    block[257..265].copy_from_slice(b"ustar\x0000");
    sign(&mut block);
    block
}

fn sign(block: &mut [u8]) {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn with_data(mut header: Vec<u8>, data: &[u8]) -> Vec<u8> {
    header.extend_from_slice(data);
    header.resize(header.len().div_ceil(512) * 512, 0);
    header
}

fn file(path: &[u8], data: &[u8]) -> Vec<u8> {
    with_data(header(b'0', path, data.len() as u64, b""), data)
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut archive = members.concat();
    archive.resize(archive.len() + 1024, 0);
    archive
}

fn read(bytes: &[u8]) -> Result<Unpacked, ArchiveError> {
    unpack(&mut Cursor::new(bytes), None, &CancellationToken::new())
}

fn paths(unpacked: &Unpacked) -> Vec<String> {
    unpacked.members.keys().map(ToString::to_string).collect()
}

#[test]
fn an_archive_that_is_cut_anywhere_is_refused() {
    let whole = archive(&[file(b"a", &[7; 1300]), header(b'5', b"dir/", 0, b""), file(b"dir/b", b"hello")]);
    assert_eq!(paths(&read(&whole).unwrap()), ["a", "dir", "dir/b"]);
    let end = whole.len() - 1024;
    for len in 0..=end {
        assert!(matches!(read(&whole[..len]), Err(ArchiveError::Cut)), "{len}");
    }
    // The last byte of a checksum's own field says nothing.
    for at in (0..512).chain(2048..3000).filter(|at| at % 512 != 155) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(matches!(read(&flipped), Err(ArchiveError::Damaged { .. } | ArchiveError::Cut)), "{at}");
    }
}

#[test]
fn what_would_not_fit_into_a_tree_is_left_out_and_told() {
    let unpacked = read(&archive(&[
        file(b"../climbs", b"x"),
        file(b"a/../../climbs", b"x"),
        file(b"/abs/olute", b"x"),
        header(b'2', b"out", 0, b"/etc"),
        file(b"out/passwd", b"root"),
        header(b'1', b"hard", 0, b"/etc/shadow"),
        header(b'1', b"hard2", 0, b"../x"),
        header(b'9', b"strange", 0, b""),
        header(b'2', b"empty", 0, b""),
    ]))
    .unwrap();
    assert_eq!(paths(&unpacked), ["abs/olute", "out"]);
    assert_eq!(
        unpacked.members[&TreePath::new(b"out".to_vec()).unwrap()].kind,
        MemberKind::Symlink { target: b"/etc".to_vec() }
    );
    let told: Vec<&str> = unpacked.refused.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(told, ["../climbs", "a/../../climbs", "out/passwd", "hard", "hard2", "strange", "empty"]);
}

#[test]
fn of_two_members_with_one_name_the_later_one_counts_whatever_they_are() {
    let unpacked = read(&archive(&[
        file(b"x", b"old"),
        file(b"./x", b"newer"),
        file(b"d/e/f", b"1"),
        header(b'6', b"d/e", 0, b""),
        header(b'2', b"s", 0, b"x"),
        header(b'5', b"s/", 0, b""),
        file(b"s/inside", b"1"),
        header(b'1', b"again", 0, b"x"),
        file(b"x", b"newest of all"),
    ]))
    .unwrap();
    let size = |path: &str| match &unpacked.members[&TreePath::new(path.into()).unwrap()].kind {
        MemberKind::File { size, .. } => *size,
        other => panic!("{other:?}"),
    };
    assert_eq!(paths(&unpacked), ["again", "d/e", "s", "s/inside", "x"]);
    // A link to what was there then.
    assert_eq!((size("x"), size("again")), (13, 5));
    assert!(unpacked.refused.is_empty());
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut len = rest + 1;
    while len != rest + len.to_string().len() {
        len = rest + len.to_string().len();
    }
    [format!("{len} {key}=").as_bytes(), value, b"\n"].concat()
}

fn extended(records: &[Vec<u8>]) -> Vec<u8> {
    let data = records.concat();
    with_data(header(b'x', b"pax", data.len() as u64, b""), &data)
}

#[test]
fn long_names_attributes_and_sparse_files_are_read_in_each_dialect() {
    let long = "n".repeat(300);
    let gnu = format!("{long}/gnu");
    let pax = format!("{long}/pax\u{e9}");
    let map = b"2\n0\n5\n1000000\n5\n";
    let mut sparse = map.to_vec();
    sparse.resize(512, 0);
    sparse.extend_from_slice(b"hellothere");
    let mut old = header(b'S', b"old", 10, b"");
    old[257..265].copy_from_slice(b"ustar  \0");
    old[386..397].copy_from_slice(b"00000000000");
    old[398..409].copy_from_slice(b"00000000005");
    old[410..421].copy_from_slice(b"00003641100");
    old[422..433].copy_from_slice(b"00000000005");
    old[483..494].copy_from_slice(b"00010000000");
    sign(&mut old);
    let unpacked = read(&archive(&[
        with_data(header(b'g', b"global", 0, b""), b""),
        with_data(header(b'L', b"././@LongLink", gnu.len() as u64 + 1, b""), format!("{gnu}\0").as_bytes()),
        file(b"short", b"x"),
        extended(&[
            record("path", pax.as_bytes()),
            record("mtime", b"1700000000.5"),
            record("SCHILY.xattr.user.a", b"\0b"),
        ]),
        file(b"short2", b"x"),
        extended(&[
            record("GNU.sparse.major", b"1"),
            record("GNU.sparse.minor", b"0"),
            record("GNU.sparse.name", b"sparse"),
            record("GNU.sparse.realsize", b"2000000"),
        ]),
        with_data(header(b'0', b"GNUSparseFile.0/sparse", sparse.len() as u64, b""), &sparse),
        with_data(old, b"hellothere"),
    ]))
    .unwrap();
    let mut names = vec![gnu.as_str(), pax.as_str(), "old", "sparse"];
    names.sort();
    assert_eq!(paths(&unpacked), names);
    let get = |path: &str| -> &Member { &unpacked.members[&TreePath::new(path.into()).unwrap()] };
    assert_eq!(get(&pax).attributes.mtime, FileTime { secs: 1_700_000_000, nanos: 500_000_000 });
    assert_eq!(get(&pax).attributes.xattrs, [(b"user.a".to_vec(), b"\0b".to_vec())]);
    assert_eq!(get(&gnu).attributes.uid, 0o1751);
    let pieces = |path: &str| match &get(path).kind {
        MemberKind::File { content, size, .. } => (content.to_vec(), *size),
        other => panic!("{other:?}"),
    };
    let two = |hole: u64, end: u64| {
        vec![
            Piece::Data { at: 0, len: 5 },
            Piece::Hole { len: hole },
            Piece::Data { at: 5, len: 5 },
            Piece::Hole { len: end },
        ]
    };
    assert_eq!(pieces("sparse"), (two(999_995, 999_995), 2_000_000));
    let begins = 0o3_641_100;
    assert_eq!(pieces("old"), (two(begins - 5, 0o10_000_000 - begins - 5), 0o10_000_000));
}

#[test]
fn sizes_that_nobody_has_are_refused() {
    // It says that it has 8 GiB, and has nothing.
    let huge = archive(&[header(b'0', b"huge", (8 << 30) - 1, b"")]);
    assert!(matches!(read(&huge), Err(ArchiveError::Cut)));
    let name = archive(&[header(b'L', b"long", 1 << 30, b"")]);
    assert!(matches!(read(&name), Err(ArchiveError::LongRecord)));
    let hole = [record("GNU.sparse.size", b"18446744073709551615"), record("GNU.sparse.map", b"0,1")];
    let unpacked = read(&archive(&[extended(&hole), file(b"hole", b"x")])).unwrap();
    assert!(unpacked.members.is_empty() && unpacked.refused[0].1.contains("1 TiB"), "{:?}", unpacked.refused);
    for map in ["0", "5,1,0,1", "0,2", "0,18446744073709551615", "9,1", "0,0"] {
        let wrong = [record("GNU.sparse.size", b"6"), record("GNU.sparse.map", map.as_bytes())];
        assert!(
            matches!(read(&archive(&[extended(&wrong), file(b"f", b"x")])), Err(ArchiveError::Damaged { .. })),
            "{map}"
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(flips in prop::collection::vec((0usize..4096, any::<u8>()), 1..6), fix in any::<bool>()) {
        let mut bytes = archive(&[
            extended(&[record("path", b"p"), record("GNU.sparse.map", b"0,1,3,4"), record("GNU.sparse.size", b"9")]),
            file(b"f", b"hello"),
            header(b'1', b"g", 0, b"p"),
            file(b"d/e", b"x"),
        ]);
        for (at, byte) in flips {
            let len = bytes.len();
            bytes[at % len] = byte;
            if fix {
                sign(&mut bytes[at % len / 512 * 512..][..512]);
            }
        }
        let _ = read(&bytes);
    }
}

fn tree(paths: &[&str]) -> BTreeMap<TreePath, Member> {
    let member = Member { attributes: Attributes::default(), kind: MemberKind::Directory };
    paths.iter().map(|path| (TreePath::new(path.as_bytes().to_vec()).unwrap(), member.clone())).collect()
}

#[test]
fn the_applications_folder_is_found_wherever_it_is() {
    let preset = crate::domain::preset::builtin::preset("quilltap").unwrap().unwrap();
    let path = |text: &str| Some(TreePath::new(text.into()).unwrap());
    let inside = ["settings/general.json", "chats/index.jsonl", "characters", "chats"];
    for (before, within, below) in [
        ("data/", None, None),
        ("quilltap/data/", path("quilltap"), None),
        ("srv/quilltap/data/", path("srv/quilltap"), None),
        ("", None, path("data")),
        ("backup/", path("backup"), path("data")),
    ] {
        let paths: Vec<String> = inside.iter().map(|path| format!("{before}{path}")).collect();
        let members = tree(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        let place = place::find(&members, Some(&preset), None, "quilltap");
        assert_eq!(place, Place { within, below }, "{before}");
        let chat = TreePath::new(format!("{before}chats/index.jsonl").into()).unwrap();
        assert_eq!(place.of(&chat).unwrap(), b"data/chats/index.jsonl", "{before}");
    }
    // Without a preset: the folder's path, or its name.
    let plain =
        |paths: &[&str], folder: Option<&str>| place::find(&tree(paths), None, folder.map(Path::new), "notes").within;
    assert_eq!(plain(&["srv/notes", "srv/notes/a"], Some("/srv/notes")), path("srv/notes"));
    assert_eq!(plain(&["notes", "notes/a"], None), path("notes"));
    assert_eq!(plain(&["notes", "other"], None), None);
    assert_eq!(plain(&["a", "b"], None), None);
}
