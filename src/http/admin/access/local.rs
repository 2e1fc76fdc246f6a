//! Where a browser is sent next: on this server, and nowhere else.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

/// No path is longer, in bytes.
const MAX: usize = 2000;

/// The path, if it leads to a page of this server.
pub fn local_path(path: &str) -> Option<&str> {
    let bytes = path.as_bytes();
    // Browsers read `\` as `/`, leave out control characters, and take what follows two slashes for another host.
    let plain = bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    let here = bytes.first() == Some(&b'/') && bytes.get(1) != Some(&b'/');
    (plain && here && path.len() <= MAX && path.parse::<http::Uri>().is_ok()).then_some(path)
}

/// Sends a browser to a path of this server, by GET.
///
/// # Panics
/// If the path has characters that no address has.
pub fn see_other(path: &str) -> Response {
    let to = HeaderValue::try_from(path).expect("a path has graphic characters only");
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}

/// A text as the value in a query.
pub fn query_value(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'/' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for good in ["/", "/collections/notes?page=2", "/a//b", "/runs/42#log"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in [
            "",
            "//evil.example",
            "/\\evil.example",
            "\\/evil.example",
            "http://evil.example/",
            "evil",
            "/\t/evil",
            "/ä",
            "/a\n",
        ] {
            assert_eq!(local_path(bad), None, "{bad:?}");
        }
        assert_eq!(query_value("/a?b=c&d"), "/a%3Fb%3Dc%26d");
    }
}
