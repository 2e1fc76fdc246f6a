use proptest::prelude::*;

use super::*;

fn canonical(text: &str) -> String {
    Value::parse(text.as_bytes()).unwrap().to_canonical()
}

/// Any value that a JSON text can hold.
fn any_value() -> impl Strategy<Value = Value> {
    let text = || {
        prop::collection::vec(prop_oneof![any::<u16>(), 0xd7f0..0xe010_u16, 0..0x80_u16], 0..8).prop_map(|units| {
            let mut text = Text::default();
            units.into_iter().for_each(|unit| text.push_unit(unit));
            text
        })
    };
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "-?[1-9][0-9]{0,60}".prop_map(|digits| Value::Int(Int::from_digits(&digits))),
        any::<u64>().prop_map(f64::from_bits).prop_filter("equal to itself", |f| !f.is_nan()).prop_map(Value::Float),
        text().prop_map(Value::Text),
    ];
    leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::List),
            prop::collection::vec((text(), inner), 0..6).prop_map(|fields| {
                let mut object = Object::new();
                fields.into_iter().for_each(|(field, value)| object.set(field, value));
                Value::Object(object)
            }),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back(value in any_value()) {
        for text in [value.to_canonical(), value.to_line(), value.to_indented(), value.to_raw_line()] {
            prop_assert_eq!(&Value::parse(text.as_bytes()).unwrap(), &value);
        }
        prop_assert!(value.to_canonical().bytes().all(|byte| (0x20..0x7f).contains(&byte)));
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = Value::parse(&bytes);
    }

    #[test]
    fn no_near_json_makes_the_parser_panic(text in r#"[\[\]{}":,0-9eE+.\-ntfu\\ dDé]{0,40}"#) {
        if let Ok(value) = Value::parse(text.as_bytes()) {
            prop_assert_eq!(canonical(&value.to_canonical()), value.to_canonical());
        }
    }
}

#[test]
fn numbers_are_written_as_python_writes_them() {
    for (read, written) in [
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("1E2", "100.0"),
        ("1e15", "1000000000000000.0"),
        ("9999999999999998.0", "9999999999999998.0"),
        ("1e16", "1e+16"),
        ("0.0001", "0.0001"),
        ("0.00012345", "0.00012345"),
        ("0.00001", "1e-05"),
        ("123456789012345680.0", "1.2345678901234568e+17"),
        ("5e-324", "5e-324"),
        ("734049562508863.25", "734049562508863.2"),
        ("5.684341886080802e-14", "5.684341886080802e-14"),
        ("1e400", "Infinity"),
        ("[NaN,-Infinity]", "[NaN, -Infinity]"),
        ("12345678901234567890123", "12345678901234567890123"),
    ] {
        assert_eq!(canonical(read), written);
    }
}

#[test]
fn of_a_doubled_key_the_last_value_wins_at_the_first_place() {
    let value = Value::parse(br#"{"b": 1, "a": 2, "b": 3}"#).unwrap();
    assert_eq!(value.to_line(), r#"{"b": 3, "a": 2}"#);
}

#[test]
fn keys_are_sorted_by_code_point_not_by_utf_16() {
    // U+FF5E stands before U+1F600, whose surrogates stand before it.
    assert_eq!(
        canonical(r#"{"\ud83d\ude00": 1, "\uff5e": 2, "\ud800": 3}"#),
        r#"{"\ud800": 3, "\uff5e": 2, "\ud83d\ude00": 1}"#
    );
}

#[test]
fn what_python_refuses_is_refused() {
    for text in [
        "",
        " ",
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "1e",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "'a'",
        "\"\t\"",
        "\"\\x41\"",
        "\"\\u12g4\"",
        "\"\\u+123\"",
        "nul",
        "1 2",
        "\u{feff}1",
        "[",
        "\"",
        "\"\\",
        "\"\\u00",
        "{\"a\"",
        "-NaN",
        "infinity",
        "\u{a0}1",
    ] {
        assert!(Value::parse(text.as_bytes()).is_err(), "{text:?}");
    }
    assert_eq!(Value::parse(b"\"\xed\xa0\x80\""), Err(ParseError::NotUtf8));
}

#[test]
fn depth_and_digits_are_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Value::parse(nested(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(Value::parse(nested(MAX_DEPTH + 1).as_bytes()), Err(ParseError::TooDeep));
    assert!(Value::parse("9".repeat(MAX_DIGITS).as_bytes()).is_ok());
    assert_eq!(Value::parse("9".repeat(MAX_DIGITS + 1).as_bytes()), Err(ParseError::TooManyDigits));
}

#[test]
fn the_four_forms() {
    let value = Value::parse(r#"{"z": "é\u007f", "a": [], "m": {"x": [1, {}]}}"#.as_bytes()).unwrap();
    assert_eq!(value.to_canonical(), r#"{"a": [], "m": {"x": [1, {}]}, "z": "\u00e9\u007f"}"#);
    assert_eq!(value.to_line(), r#"{"z": "\u00e9\u007f", "a": [], "m": {"x": [1, {}]}}"#);
    assert_eq!(value.to_raw_line(), "{\"z\": \"é\u{7f}\", \"a\": [], \"m\": {\"x\": [1, {}]}}");
    assert_eq!(
        value.to_indented(),
        "{\n  \"z\": \"\\u00e9\\u007f\",\n  \"a\": [],\n  \"m\": {\n    \"x\": [\n      1,\n      {}\n    ]\n  }\n}"
    );
}
