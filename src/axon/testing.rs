//! Sealed items for tests.

use std::path::Path;

use super::folder::Keys;
use crate::domain::axon::cipher::{Sealed, seal};
use crate::domain::axon::manifest::Manifest;
use crate::domain::axon::private::PrivateKey;
use crate::store::entropy;

/// When everything happens.
pub(super) const NOW: &str = "2026-11-26T10:00:00Z";

/// The key of one of the real instances.
pub(super) fn key(of: &str) -> PrivateKey {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/axon/1/keys/instance_{of}.pem"));
    PrivateKey::from_pem(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Who opens: this instance, `a`, and the maker, `b`.
pub(super) fn keys() -> Keys {
    Keys { private: vec![key("a"), key("b")], own: key("a").public().wrapper().unwrap() }
}

/// A content, sealed, with its manifest; `for_b`: with an envelope for the maker.
pub(super) fn sealed(plain: &[u8], for_b: bool) -> (Sealed, Manifest) {
    let sealed = seal(plain, &mut entropy());
    let mut manifest = Manifest::of(&sealed);
    if for_b {
        manifest.add_envelope(&key("b").public().wrapper().unwrap(), &sealed.key).unwrap();
    }
    (sealed, manifest)
}
