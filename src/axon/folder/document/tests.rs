//! Documents that grow, and files with many rows that cannot be read.

use super::super::read::BackupFolder;
use super::*;
use crate::axon::testing::{NOW, write_backup};
use crate::domain::axon::json::Value;

const ID: &str = "11111111-1111-4111-8111-111111111111";

#[test]
fn no_number_is_written_longer_than_was_thought() {
    for text in [
        "1e15",
        "[1e15,-1e15,1E2]",
        "{\"a\":1e-4,\"b\":[-1.5e-3,12,-0,0.1]}",
        "[1e300,5e-324,1e16]",
        "[1e999]",
        "[true,null,12345678901234567.0]",
    ] {
        let written = Value::parse(text.as_bytes()).unwrap().to_indented();
        assert!(Written::of(text.as_bytes()).len >= written.len(), "{text}: {written}");
    }
}

#[test]
fn plain_numbers_and_words_count_as_long_as_they_are() {
    for text in ["0.5", "true", "false", "-0.25", "12345678901234567890", "null"] {
        assert_eq!(Written::of(text.as_bytes()).len, text.len(), "{text}");
    }
}

proptest::proptest! {
    #[test]
    fn no_array_of_numbers_is_written_longer_than_was_thought(
        numbers in proptest::collection::vec((proptest::bool::ANY, 0_u32..99, -30_i32..30), 0..40)
    ) {
        let text: Vec<String> =
            numbers.iter().map(|(minus, n, exp)| format!("{}{n}e{exp}", if *minus { "-" } else { "" })).collect();
        let text = format!("[{}]", text.join(","));
        let written = Value::parse(text.as_bytes()).unwrap().to_indented();
        assert!(Written::of(text.as_bytes()).len >= written.len(), "{text}: {written}");
    }
}

fn faults(file: &str, text: &str) -> Vec<String> {
    let temp = tempfile::tempdir().unwrap();
    write_backup(temp.path(), ID, None, &[]);
    std::fs::write(temp.path().join("Star").join(file), text).unwrap();
    let entries = BackupFolder::open(temp.path()).unwrap().applets(None).unwrap();
    let applet = entries.into_iter().next().unwrap().applet.unwrap();
    applet.faults.iter().map(ToString::to_string).collect()
}

#[test]
fn many_bad_rows_are_counted_and_not_told_one_by_one() {
    for file in ["high_scores.json", "applet_data.json"] {
        let told = faults(file, &format!("[{}0]", "0,".repeat(999)));
        assert_eq!(told.len(), 21, "{told:?}");
        assert!(told[19].starts_with("row 20 of") && told[20].contains("980 more"), "{told:?}");
        assert_eq!(faults(file, &format!("[{}0]", "0,".repeat(19))).len(), 20);
    }
    // Rows that are refused only when they are looked at together.
    let (_, manifest) = crate::axon::testing::sealed(b"x", false);
    let row = format!(
        "{{\"id\":\"{ID}\",\"owner_username\":\"ann\",\"owner_pubkey\":\"\",\"data_manifest\":{},\"last_updated\":\"{NOW}\"}}",
        manifest.to_value().to_line()
    );
    let told = faults("applet_data.json", &format!("[{}0]", format!("{row},").repeat(100)));
    assert_eq!(told.len(), 21, "{told:?}");
    assert!(told[20].contains("80 more"), "{told:?}");
}

#[test]
fn a_file_of_over_a_million_rows_is_refused_as_a_whole() {
    let told = faults("high_scores.json", &format!("[{}0]", "0,".repeat(1_000_000)));
    assert_eq!(told.len(), 1, "{}", told.len());
    assert!(told[0].contains("over a million rows"), "{told:?}");
}

#[test]
fn of_json_that_is_nested_too_deep_the_depth_is_told() {
    for open in ["[", "{\"a\":"] {
        let close = if open == "[" { "]" } else { "}" };
        let text = format!("{}0{}", open.repeat(5000), close.repeat(5000));
        let told = faults("shared_state.json", &text);
        assert!(told.len() == 1 && told[0].contains("more than 256 levels"), "{told:?}");
    }
}
