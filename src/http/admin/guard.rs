//! For which name a request was meant.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::AdminPlane;
use crate::http::problem::Problem;

/// Refuses requests that were meant for another name than loopback's, or than that of the admin's onion service.
pub(super) async fn host(State(plane): State<AdminPlane>, request: Request, next: Next) -> Response {
    let meant = match &plane.onion {
        None => is_loopback(request.headers()),
        Some(own) => is_onion(request.headers(), own),
    };
    let mut response = if meant { next.run(request).await } else { Problem::not_loopback().into_response() };
    let own = response.extensions_mut().remove::<OwnPolicy>();
    let headers = response.headers_mut();
    for (name, value) in STRICT {
        // A stricter policy that an answer has of its own holds beside this one.
        if name == header::CONTENT_SECURITY_POLICY {
            headers.append(name, own.as_ref().map_or(HeaderValue::from_static(value), |OwnPolicy(own)| own.clone()));
        } else {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
    // Files that never change say so themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// The content policy of a document that stands alone, in place of the usual one, which knows our own files and no others.
#[derive(Debug, Clone)]
pub(in crate::http) struct OwnPolicy(pub(in crate::http) HeaderValue);

/// What every answer tells a browser: nothing comes from elsewhere, nothing goes elsewhere, nobody frames it.
const STRICT: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (
        HeaderName::from_static("permissions-policy"),
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), \
         midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()",
    ),
];

/// Whether a request names the onion service, with its port or, if that is 80, without.
fn is_onion(headers: &HeaderMap, own: &str) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    host.is_some_and(|host| host.strip_suffix(":80").unwrap_or(host).eq_ignore_ascii_case(own))
}

fn is_loopback(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (values.next(), values.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    // An IPv6 address stands in brackets, and only there has a name more than one colon.
    let name = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_loopback_are_served() {
        let with = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, host.parse().unwrap());
            is_loopback(&headers)
        };
        for good in ["127.0.0.1", "127.0.0.1:7002", "localhost:1", "LocalHost", "[::1]:80", "[::1]"] {
            assert!(with(good), "{good}");
        }
        for bad in ["example.org", "127.0.0.1.example.org:7002", "192.0.2.1", "localhost.example.org", "", "[::2]:1"] {
            assert!(!with(bad), "{bad}");
        }
        assert!(!is_loopback(&HeaderMap::new()));
    }
}
