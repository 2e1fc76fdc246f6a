//! Documents that grow.

use super::*;
use crate::domain::axon::json::Value;

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
        assert!(written_len(text.as_bytes()) >= written.len(), "{text}: {written}");
    }
}

#[test]
fn plain_numbers_and_words_count_as_long_as_they_are() {
    for text in ["0.5", "true", "false", "-0.25", "12345678901234567890", "null"] {
        assert_eq!(written_len(text.as_bytes()), text.len(), "{text}");
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
        assert!(written_len(text.as_bytes()) >= written.len(), "{text}: {written}");
    }
}
