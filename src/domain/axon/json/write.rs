//! Writing: byte for byte what Python's `json.dumps` writes.

use std::fmt::Write;

use super::{Object, Text, Value};

/// Which of Python's forms is written.
#[derive(Clone, Copy)]
struct Form {
    sorted: bool,
    ascii: bool,
    /// Each element on a line of its own, indented by two spaces a level.
    lines: bool,
}

impl Value {
    /// `json.dumps(value, sort_keys=True)`: what payloads are hashed and sealed as.
    pub fn to_canonical(&self) -> String {
        self.write(Form { sorted: true, ascii: true, lines: false })
    }

    /// `json.dumps(value)`: one line, fields in their order; sync answers and `.manifest` files.
    pub fn to_line(&self) -> String {
        self.write(Form { sorted: false, ascii: true, lines: false })
    }

    /// `json.dumps(value, indent=2)`: the files of a backup directory.
    pub fn to_indented(&self) -> String {
        self.write(Form { sorted: false, ascii: true, lines: true })
    }

    /// `json.dumps(value, ensure_ascii=False)`: one line of raw UTF-8; exported configurations. Lone surrogates, which no
    /// UTF-8 can hold, are written as escapes.
    pub fn to_raw_line(&self) -> String {
        self.write(Form { sorted: false, ascii: false, lines: false })
    }

    fn write(&self, form: Form) -> String {
        let mut out = String::new();
        value(&mut out, self, form, 0);
        out
    }
}

fn value(out: &mut String, it: &Value, form: Form, depth: usize) {
    match it {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Int(int) => out.push_str(int.as_str()),
        Value::Float(number) => float(out, *number),
        Value::Text(it) => text(out, it, form),
        Value::List(values) => list(out, values, form, depth),
        Value::Object(it) => object(out, it, form, depth),
    }
}

fn list(out: &mut String, values: &[Value], form: Form, depth: usize) {
    out.push('[');
    for (i, it) in values.iter().enumerate() {
        separate(out, i == 0, form, depth + 1);
        value(out, it, form, depth + 1);
    }
    close(out, ']', values.is_empty(), form, depth);
}

fn object(out: &mut String, it: &Object, form: Form, depth: usize) {
    let mut fields: Vec<_> = it.iter().collect();
    if form.sorted {
        fields.sort_unstable_by_key(|(field, _)| *field);
    }
    out.push('{');
    for (i, (field, it)) in fields.iter().enumerate() {
        separate(out, i == 0, form, depth + 1);
        text(out, field, form);
        out.push_str(": ");
        value(out, it, form, depth + 1);
    }
    close(out, '}', fields.is_empty(), form, depth);
}

fn separate(out: &mut String, first: bool, form: Form, depth: usize) {
    match (first, form.lines) {
        (true, false) => {}
        (false, false) => out.push_str(", "),
        (first, true) => {
            out.push_str(if first { "\n" } else { ",\n" });
            indent(out, depth);
        }
    }
}

fn close(out: &mut String, bracket: char, empty: bool, form: Form, depth: usize) {
    if form.lines && !empty {
        out.push('\n');
        indent(out, depth);
    }
    out.push(bracket);
}

fn indent(out: &mut String, depth: usize) {
    for _ in 0..depth {
        out.push_str("  ");
    }
}

fn text(out: &mut String, it: &Text, form: Form) {
    out.push('"');
    for code in it.code_points() {
        match (code, char::from_u32(code)) {
            (0x22, _) => out.push_str("\\\""),
            (0x5c, _) => out.push_str("\\\\"),
            (0x0a, _) => out.push_str("\\n"),
            (0x0d, _) => out.push_str("\\r"),
            (0x09, _) => out.push_str("\\t"),
            (0x0c, _) => out.push_str("\\f"),
            (0x08, _) => out.push_str("\\b"),
            (0x20..0x7f, Some(char)) => out.push(char),
            (0x20.., Some(char)) if !form.ascii => out.push(char),
            (0x1_0000.., Some(char)) => {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    escape(out, (*unit).into());
                }
            }
            _ => escape(out, code),
        }
    }
    out.push('"');
}

fn escape(out: &mut String, unit: u32) {
    write!(out, "\\u{unit:04x}").expect("a String takes everything");
}

/// As Python's `repr`: the fewest digits that give the same float again, an exponent below 1e-4 and from 1e16 on.
fn float(out: &mut String, number: f64) {
    if number.is_nan() {
        return out.push_str("NaN");
    }
    if number.is_sign_negative() {
        out.push('-');
    }
    if number.is_infinite() {
        return out.push_str("Infinity");
    }
    // Rust writes as few digits: "1.25e-7". Where two such texts are equally near, Python takes the even digit, as Rust does
    // when it is told how many digits to write.
    let shortest = format!("{:e}", number.abs());
    let places = shortest.bytes().filter(u8::is_ascii_digit).count() - exponent_digits(&shortest) - 1;
    let nearest = format!("{:.*e}", places, number.abs());
    let shortest = if nearest.parse() == Ok(number.abs()) { nearest } else { shortest };
    let (mantissa, exponent) = shortest.split_once('e').expect("this format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        write!(out, "{mantissa}e{sign}{:02}", exponent.abs()).expect("a String takes everything");
        return;
    }
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    match usize::try_from(exponent) {
        Ok(places) => {
            let whole = places + 1;
            let padded = format!("{digits:0<whole$}");
            let (before, after) = padded.split_at(whole);
            out.push_str(before);
            out.push('.');
            out.push_str(if after.is_empty() { "0" } else { after });
        }
        Err(_) => {
            out.push_str("0.");
            for _ in 1..exponent.unsigned_abs() {
                out.push('0');
            }
            out.push_str(&digits);
        }
    }
}

/// How many digits stand behind the `e`.
fn exponent_digits(text: &str) -> usize {
    text.rsplit('e').next().unwrap_or_default().bytes().filter(u8::is_ascii_digit).count()
}
