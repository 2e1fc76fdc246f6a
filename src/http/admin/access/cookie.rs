//! Where a browser keeps its session: a cookie that scripts cannot read, and that goes with no request from another site.
//!
//! It is not `Secure`: the plane is plain HTTP, on loopback or through an onion service, which encrypts by itself, and not every browser
//! sends such a cookie there. Browsers send the cookies of one port of a host to all of its ports; the name holds the port, so that two
//! instances on one machine do not log each other out.

use http::{HeaderMap, HeaderValue, header};

use super::SessionId;

const NAME: &str = "bulbil_session_";
/// The id of a session has so many characters.
const ID_CHARS: usize = 43;

/// The name of the cookie for the host that a request was meant for.
fn name(headers: &HeaderMap) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let port = host.rsplit_once(':').map(|(_, port)| port).filter(|port| port.parse::<u16>().is_ok());
    format!("{NAME}{}", port.unwrap_or("80"))
}

/// The session that a request shows; none if it shows two.
pub(super) fn shown(headers: &HeaderMap) -> Option<&str> {
    let name = name(headers);
    let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut ids = lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (key, id) = pair.trim().split_once('=')?;
        (key == name).then_some(id)
    });
    match (ids.next(), ids.next()) {
        (Some(id), None) if id.len() == ID_CHARS => Some(id),
        _ => None,
    }
}

/// Has the browser keep a session until it is closed.
pub(super) fn keep(headers: &HeaderMap, id: &SessionId) -> HeaderValue {
    let mut value = value(&format!("{}={}; Path=/; HttpOnly; SameSite=Strict", name(headers), **id));
    value.set_sensitive(true);
    value
}

/// Has the browser forget it.
pub(super) fn forget(headers: &HeaderMap) -> HeaderValue {
    value(&format!("{}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0", name(headers)))
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::try_from(text).expect("names, ports and ids are plain text")
}
