use super::*;

const PRESET: &str = r#"
    name = "x"
    version = 1
    [checks]
    json = ["*.json"]
    jsonl = ["*.jsonl"]
    required = ["a.json", "full/"]
    [[checks.ids]]
    of = "thing"
    from = "things/*.json"
    [[checks.references]]
    from = "list.jsonl"
    field = "thing"
    to = "thing"
    [[checks.files]]
    index = "list.jsonl"
    size = "size"
    places = [{ path = "store/{id}{name.ext}", sha256 = "sha256" }]
"#;

/// Checks files that are pushed in pieces of `piece` bytes.
fn check(files: &[(&str, &[u8])], piece: usize) -> Report {
    let mut checker = Checker::new(&Preset::parse("x", PRESET).unwrap(), Secrets::new()).unwrap();
    for (path, bytes) in files {
        let mut file = checker.begin(path, bytes.len() as u64);
        bytes.chunks(piece).for_each(|bytes| checker.push(&mut file, bytes));
        checker.end(file);
    }
    checker.finish()
}

fn words(report: &Report) -> Vec<String> {
    report.findings.iter().map(Finding::in_words).collect()
}

#[test]
fn what_is_sound_gives_nothing_however_it_is_cut() {
    let hash = data_encoding::HEXLOWER.encode(&<[u8; 32]>::from(<sha2::Sha256 as sha2::Digest>::digest(b"abc")));
    let list = format!("{{\"id\":\"1\",\"name\":\"x.PNG\",\"size\":3,\"sha256\":\"{hash}\",\"thing\":\"t\"}}\n\n");
    let files: [(&str, &[u8]); 5] = [
        ("a.json", b"{\n}"),
        ("full/x", b""),
        ("list.jsonl", list.as_bytes()),
        ("store/1.PNG", b"abc"),
        ("things/t.json", b""),
    ];
    for piece in [1, 2, 7, 1000] {
        let report = check(&files, piece);
        assert_eq!(words(&report), Vec::<String>::new(), "in pieces of {piece}");
        assert_eq!((report.records, report.references, report.hashed), (2, 1, 1));
    }
}

#[test]
fn what_somebody_wrote_stands_in_no_message() {
    let list = b"{\"thing\":\"my private diary\\u001b[31m\\nerror: forged\"}\n{\"thing\":\"t-1\"}\n";
    let report = check(&[("a.json", b"{}"), ("full/x", b""), ("list.jsonl", list)], 100);
    let words = words(&report).join("\n");
    assert!(words.contains("it names the thing t-1 (things/t-1.json)"), "{words}");
    assert!(words.contains("by something that is no id"), "{words}");
    assert!(!words.contains("diary") && !words.contains('\u{1b}') && !words.contains("forged"), "{words}");
}

#[test]
fn what_may_be_good_json_is_a_warning() {
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let report = check(&[("a.json", deep.as_bytes()), ("b.json", b"1e999"), ("full/x", b"")], 64);
    assert_eq!((report.errors, report.warnings), (0, 2), "{:?}", words(&report));
}

#[test]
fn each_fault_is_told_with_path_and_line() {
    let list = b"{\"id\":\"1\",\"name\":\"x.png\",\"size\":3,\"thing\":\"gone\"}\nno\n{\"id\":\"2\",\"name\":\"\",\"size\":3}\n{\"id\":";
    let report = check(&[("a.json", b"{\n\"a\": "), ("b.json", b""), ("list.jsonl", list), ("store/1.png", b"ab")], 3);
    assert_eq!(
        words(&report),
        [
            "a.json:2: it is cut off (EOF while parsing a value)",
            "b.json: it is empty, and should be a JSON document",
            "full: it is missing",
            "list.jsonl:1: it names the thing gone (things/gone.json), which is not there",
            "list.jsonl:2: the line is no JSON (expected ident)",
            "list.jsonl:3: the line does not say where its file is",
            "list.jsonl:4: the file ends in the middle of a line: it was cut off",
            "store/1.png: it has 2 bytes, and list.jsonl:1 says 3",
        ]
    );
    assert_eq!((report.errors, report.warnings), (8, 0));
}

#[test]
fn many_of_the_same_kind_are_counted_and_some_are_told() {
    let list = "no\n".repeat(1000);
    let report = check(&[("a.json", b"1"), ("full/x", b""), ("list.jsonl", list.as_bytes())], 100);
    assert_eq!((report.errors, report.findings.len()), (1000, TOLD));
}
