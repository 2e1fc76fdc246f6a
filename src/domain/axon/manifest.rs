//! The document that describes one sealed item: hashes, IV, envelopes.
//!
//! Unsigned: it says what to fetch and how to open it, and the content proves itself by its hash alone. Fields that we do
//! not know are kept where they stand, since other instances announce them further.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::cipher::{CHUNK_SIZE, Iv, Sealed};
use super::json::{Object, ShapeError, Value};
use super::kept::DocumentError;
use super::key::{KeyError, KeyName, Wrapper};
use super::private::PrivateKey;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::{ChunkId, ContentHash};

/// Most chunks of one item: 16 GiB in chunks of the usual length.
pub const MAX_CHUNKS: usize = 1 << 16;

const CONTENT_HASH: &str = "content_hash";
const CHUNK_HASHES: &str = "chunk_hashes";
const IV: &str = "encryption_iv";
const ENVELOPES: &str = "encrypted_aes_keys";
const CONTENT_TYPE: &str = "content_type";

/// What is wrong with an item's envelope for a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// There is none for this key.
    #[error("the item has no envelope for this key: ask its maker to add one")]
    Missing,
    /// It is not base64, or it does not open.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// What an item holds. Text form: as it stands in manifests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ContentType {
    /// A message on a board.
    Message,
    /// A file.
    File,
    /// A private message.
    Pm,
    /// An applet's code.
    Applet,
    /// What an applet keeps for a user; announced to nobody.
    AppletData,
    /// Something that we do not know.
    Other(String),
}

impl ContentType {
    /// As it stands in manifests.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Message => "message",
            Self::File => "file",
            Self::Pm => "pm",
            Self::Applet => "applet",
            Self::AppletData => "applet_data",
            Self::Other(name) => name,
        }
    }

    /// Whether it is for one user alone.
    pub fn is_private(&self) -> bool {
        matches!(self, Self::Pm | Self::AppletData)
    }

    /// The type of this name.
    pub fn of(name: &str) -> Self {
        match name {
            "message" => Self::Message,
            "file" => Self::File,
            "pm" => Self::Pm,
            "applet" => Self::Applet,
            "applet_data" => Self::AppletData,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl From<String> for ContentType {
    fn from(name: String) -> Self {
        Self::of(&name)
    }
}

impl From<ContentType> for String {
    fn from(kind: ContentType) -> String {
        kind.as_str().to_owned()
    }
}

/// What an item is that was announced as these kinds, and whose verified content says that it is `says`.
///
/// Kinds are words of whoever announces. What is for one user alone, a private message or an applet's data, is nothing else by any
/// word, and nothing else becomes that.
pub fn kinds_of(mut announced: BTreeSet<ContentType>, says: Option<&ContentType>) -> BTreeSet<ContentType> {
    match says {
        Some(says) if says.is_private() => BTreeSet::from([says.clone()]),
        Some(says @ (ContentType::Message | ContentType::File)) => {
            announced.retain(|kind| !kind.is_private());
            if announced.is_empty() {
                announced.insert(says.clone());
            }
            announced
        }
        _ => announced,
    }
}

/// Whether what is known as these kinds may become `told`, too, by somebody's word.
pub fn may_become(known: &BTreeSet<ContentType>, told: &ContentType) -> bool {
    !told.is_private() && !known.contains(told) && !known.iter().any(ContentType::is_private)
}

/// An item's manifest.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    object: Object,
    content_hash: ContentHash,
    chunk_hashes: Vec<ChunkId>,
    iv: Iv,
    content_type: Option<ContentType>,
}

impl Manifest {
    /// Describes a payload that was just sealed; without envelopes and content type.
    pub fn of(sealed: &Sealed) -> Self {
        let chunk_size = i64::try_from(CHUNK_SIZE).expect("a quarter of a MiB");
        let hashes = sealed.chunk_hashes.iter().map(|hash| Value::from(hash.to_string())).collect::<Vec<_>>();
        let object = Object::new()
            .with(CONTENT_HASH, sealed.content_hash.to_string())
            .with("chunk_size", chunk_size)
            .with(CHUNK_HASHES, hashes)
            .with(IV, data_encoding::BASE64.encode(&sealed.iv))
            .with(ENVELOPES, Object::new());
        Self {
            object,
            content_hash: sealed.content_hash,
            chunk_hashes: sealed.chunk_hashes.clone(),
            iv: sealed.iv,
            content_type: None,
        }
    }

    /// Reads a manifest; `{}`, which stands for an applet without code, is none.
    ///
    /// # Errors
    /// A field that is missing or holds something else; no chunks, or over [`MAX_CHUNKS`].
    pub fn from_object(object: Object) -> Result<Self, ShapeError> {
        let content_hash = need_hash(&object, CONTENT_HASH)?;
        let listed = object.need_list(CHUNK_HASHES)?;
        if listed.is_empty() || listed.len() > MAX_CHUNKS {
            return Err(ShapeError::Unexpected { field: CHUNK_HASHES, expected: "an array of 1 to 65536 hashes" });
        }
        let chunk_hashes = listed.iter().map(|hash| match hash {
            Value::Text(text) => text.as_str().and_then(|text| text.parse().ok()),
            _ => None,
        });
        let chunk_hashes = chunk_hashes
            .collect::<Option<Vec<_>>>()
            .ok_or(ShapeError::Unexpected { field: CHUNK_HASHES, expected: "hashes of 64 lower-case hex digits" })?;
        let iv = data_encoding::BASE64
            .decode(object.need_str(IV)?.as_bytes())
            .ok()
            .and_then(|iv| Iv::try_from(iv).ok())
            .ok_or(ShapeError::Unexpected { field: IV, expected: "the base64 of 16 bytes" })?;
        object.need_object(ENVELOPES)?;
        let content_type = object.optional_text(CONTENT_TYPE)?.map(|text| ContentType::of(&text.to_string_lossy()));
        Ok(Self { object, content_hash, chunk_hashes, iv, content_type })
    }

    /// Reads a JSON text.
    ///
    /// # Errors
    /// As [`Self::from_object`].
    pub fn parse(bytes: &[u8]) -> Result<Self, DocumentError> {
        Ok(Self::from_object(Value::parse(bytes)?.into_object()?)?)
    }

    /// SHA-256 of the plaintext; the item's id.
    pub fn content_hash(&self) -> ContentHash {
        self.content_hash
    }

    /// SHA-256 of each chunk, in order; at least one.
    pub fn chunk_hashes(&self) -> &[ChunkId] {
        &self.chunk_hashes
    }

    /// The start of the chain. Another one under the same content hash means that it was sealed anew.
    pub fn iv(&self) -> &Iv {
        &self.iv
    }

    /// Whether another manifest is of the very same sealed bytes, whoever can open them.
    pub fn seals_the_same(&self, other: &Self) -> bool {
        self.iv == other.iv && self.chunk_hashes == other.chunk_hashes
    }

    /// What the item holds, if the manifest says so.
    pub fn content_type(&self) -> Option<&ContentType> {
        self.content_type.as_ref()
    }

    /// The names of the keys for which there are envelopes; any text from elsewhere may be among them.
    pub fn envelope_names(&self) -> impl Iterator<Item = &str> {
        self.envelopes().iter().filter_map(|(name, _)| name.as_str())
    }

    /// Whether there is an envelope for the key of this name.
    pub fn has_envelope(&self, name: &KeyName) -> bool {
        self.envelopes().get(name.as_str()).is_some()
    }

    /// Opens the envelope for `key`. A private operation: never in a request handler (R4).
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn unwrap_key(&self, key: &PrivateKey) -> Result<Secret<32>, EnvelopeError> {
        let wrapped = self.envelopes().get(key.public().name().as_str()).ok_or(EnvelopeError::Missing)?;
        let Value::Text(text) = wrapped else { return Err(KeyError::DoesNotOpen.into()) };
        let text = text.as_str().unwrap_or("!");
        let wrapped = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| KeyError::DoesNotOpen)?;
        Ok(key.unwrap(&wrapped)?)
    }

    /// Adds an envelope, or replaces the one of the same name.
    ///
    /// # Errors
    /// As [`Wrapper::wrap`].
    pub fn add_envelope(&mut self, recipient: &Wrapper, key: &Secret<32>) -> Result<(), KeyError> {
        let wrapped = data_encoding::BASE64.encode(&recipient.wrap(key)?);
        let mut envelopes = self.envelopes().clone();
        envelopes.set(recipient.name().as_str(), wrapped);
        self.object.set(ENVELOPES, envelopes);
        Ok(())
    }

    /// Keeps the envelopes of these names only: what is answered to a peer holds its own and no other.
    pub fn keep_envelopes(&mut self, names: &[&KeyName]) {
        let mut kept = Object::new();
        for (name, wrapped) in self.envelopes().iter() {
            if names.iter().any(|wanted| *name == wanted.as_str()) {
                kept.set(name.clone(), wrapped.clone());
            }
        }
        self.object.set(ENVELOPES, kept);
    }

    /// Says what the item holds: in its place if it says so already, else at the end.
    pub fn set_content_type(&mut self, content_type: ContentType) {
        self.object.set(CONTENT_TYPE, content_type.as_str());
        self.content_type = Some(content_type);
    }

    /// The object with all fields.
    pub fn object(&self) -> &Object {
        &self.object
    }

    /// The object as a value, to be written.
    pub fn to_value(&self) -> Value {
        Value::Object(self.object.clone())
    }

    fn envelopes(&self) -> &Object {
        self.object.need_object(ENVELOPES).expect("it was checked when the manifest was read")
    }
}

/// A content hash that must be there.
pub(super) fn need_hash(object: &Object, field: &'static str) -> Result<ContentHash, ShapeError> {
    let wrong = ShapeError::Unexpected { field, expected: "64 lower-case hex digits" };
    object.need_str(field)?.parse().map_err(|_| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"content_hash": "HASH", "vendor": [1.0], "chunk_size": 1, "chunk_hashes": ["HASH"], "encryption_iv": "8vmWyVfoMd8xc2+i5nFcfg==", "encrypted_aes_keys": {"a": "AA==", "b": "AA=="}, "content_type": "poem", "z": null}"#;

    fn text() -> String {
        TEXT.replace("HASH", &"ab".repeat(32))
    }

    #[test]
    fn unknown_fields_and_the_order_are_kept() {
        let mut manifest = Manifest::parse(text().as_bytes()).unwrap();
        assert_eq!(manifest.to_value().to_line(), text());
        assert_eq!(manifest.content_type(), Some(&ContentType::Other("poem".into())));
        manifest.set_content_type(ContentType::File);
        manifest.keep_envelopes(&[]);
        let changed = text().replace("poem", "file").replace(r#"{"a": "AA==", "b": "AA=="}"#, "{}");
        assert_eq!(manifest.to_value().to_line(), changed);
    }

    #[test]
    fn a_manifest_with_a_bad_field_is_refused() {
        let hash = "ab".repeat(32);
        for (from, to) in [
            (format!(r#""content_hash": "{hash}""#), r#""content_hash": "/tmp/x""#.to_owned()),
            (format!(r#""content_hash": "{hash}""#), format!(r#""content_hash": "{}""#, hash.to_uppercase())),
            (format!(r#"["{hash}"]"#), "[]".to_owned()),
            (format!(r#"["{hash}"]"#), r#"["../0.chunk"]"#.to_owned()),
            ("8vmW".to_owned(), String::new()),
            (r#"{"a": "AA==", "b": "AA=="}"#.to_owned(), "[]".to_owned()),
        ] {
            assert!(text().contains(&from));
            assert!(Manifest::parse(text().replace(&from, &to).as_bytes()).is_err(), "{to}");
        }
        assert!(Manifest::parse(b"{}").is_err());
    }
}
