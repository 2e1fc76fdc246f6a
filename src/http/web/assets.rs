//! Styles and the script, embedded in the program. Their names carry the hash of what is in them: whatever is kept under such a name
//! stays right for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};

use crate::domain::crypto::hash::FileHash;
use crate::http::problem::Problem;

/// Where they are.
pub(in crate::http) const PREFIX: &str = "/assets/";
/// Hex digits of the hash in a name.
const DIGITS: usize = 16;

/// A file.
struct Asset {
    path: String,
    kind: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, kind: &'static str, bytes: &'static [u8]) -> Self {
        let hash = FileHash::of(bytes).to_string();
        Self { path: format!("{PREFIX}{stem}-{}.{extension}", &hash[..DIGITS]), kind, bytes }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("style", "css", "text/css; charset=utf-8", include_bytes!("style.css")));
static SCRIPT: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("live", "js", "text/javascript; charset=utf-8", include_bytes!("live.js")));
static ICON: LazyLock<Asset> = LazyLock::new(|| Asset::new("icon", "png", "image/png", include_bytes!("icon.png")));

/// The path of the styles.
pub fn style() -> &'static str {
    &STYLE.path
}

/// The path of the script.
pub fn script() -> &'static str {
    &SCRIPT.path
}

/// The path of the picture in a browser's tab.
pub fn icon() -> &'static str {
    &ICON.path
}

/// An embedded file by its name.
pub(super) async fn asset(Path(name): Path<String>) -> Response {
    let all = [&*STYLE, &*SCRIPT, &*ICON];
    let Some(asset) = all.into_iter().find(|asset| asset.path.strip_prefix(PREFIX) == Some(&name)) else {
        return Problem::not_found().into_response();
    };
    let mut response = asset.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable"));
    response
}
