//! JSON as programs write it: strict, but for one thing. A program of JavaScript may cut a text in the middle of a character outside the
//! basic plane and write half of it as `\udXXX`, which is no Unicode, and which it reads again without a word.

use serde_json::Value;

/// Reads one document.
///
/// # Errors
/// What is wrong, with the line and column in it.
pub fn parse(bytes: &[u8]) -> Result<Value, serde_json::Error> {
    match serde_json::from_slice(bytes) {
        Err(error) if error.is_syntax() || error.is_eof() => match without_halves(bytes) {
            Some(mended) => serde_json::from_slice(&mended).map_err(|_| error),
            None => Err(error),
        },
        done => done,
    }
}

/// With each lone half of a pair replaced by `\ufffd`; none if there is no such half.
fn without_halves(bytes: &[u8]) -> Option<Vec<u8>> {
    let unit = |at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let (mut out, mut at, mut any) = (Vec::new(), 0, false);
    while at < bytes.len() {
        match (bytes[at], unit(at)) {
            (b'\\', Some(0xd800..=0xdbff)) if matches!(unit(at + 6), Some(0xdc00..=0xdfff)) => {
                out.extend_from_slice(&bytes[at..at + 12]);
                at += 12;
            }
            (b'\\', Some(0xd800..=0xdfff)) => {
                out.extend_from_slice(b"\\ufffd");
                (at, any) = (at + 6, true);
            }
            (b'\\', _) => {
                let end = (at + 2).min(bytes.len());
                out.extend_from_slice(&bytes[at..end]);
                at = end;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    any.then_some(out)
}

/// Whether the document may be good JSON that is nested deeper, or has larger numbers, than this program reads.
pub fn is_beyond_us(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    text.starts_with("recursion limit exceeded") || text.starts_with("number out of range")
}

/// What is wrong with a document, without where.
pub fn in_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_is_read_and_nothing_else_is_let_through() {
        assert_eq!(parse(br#"{"a":"x\ud83d"}"#).unwrap()["a"], "x\u{fffd}");
        assert_eq!(parse(br#"{"a":"\ud83d\ude00\ude00"}"#).unwrap()["a"], "\u{1f600}\u{fffd}");
        assert_eq!(parse(br#"{"a":"\\ud83d"}"#).unwrap()["a"], "\\ud83d");
        for bad in [&br#"{"a":"\ud83d"#[..], b"{\"a\":\"\xff\"}", b"", b"{}{}", b"{\"a\":\"\\ud83\"}"] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
