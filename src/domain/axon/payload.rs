//! What is sealed: a message, a file, a private message, an applet's code, a user's data in an applet.
//!
//! The plaintext is [`Value::to_canonical`] of the payload; what came from elsewhere may be spaced otherwise, so its hash is
//! that of the very bytes. Nothing in a payload is signed: who wrote it is what it says of itself.

use super::cipher::Iv;
use super::json::{Object, ShapeError, Text, Value};
use super::kept::{DocumentError, Fields, Kept};
use super::key::{KeyError, KeyName, PublicKey};
use super::manifest::{ContentType, EnvelopeError};
use super::private::PrivateKey;
use super::uuid::Uuid;
use crate::domain::crypto::secret::Secret;
use crate::domain::id::ContentHash;

/// A payload by its `type`.
#[derive(Debug, Clone, PartialEq)]
pub enum Payload {
    /// A message on a board.
    Message(Kept<Message>),
    /// A file.
    File(Kept<File>),
    /// A private message.
    Pm(Kept<Pm>),
    /// An applet's code in the form without file name.
    AppletCode(Kept<AppletCode>),
    /// A user's data in an applet; only in backups.
    AppletData(Kept<AppletData>),
    /// Of a type that we do not know.
    Other(Value),
}

/// So much of a plaintext's end says which type it is.
pub const TYPE_AT_MOST: usize = 64;

/// The type of a plaintext, from its end: canonical keys are sorted, and of what Axon makes, but avatars, `type` is the last.
pub fn type_at_end(end: &[u8]) -> Option<ContentType> {
    let end = std::str::from_utf8(&end[end.len().saturating_sub(TYPE_AT_MOST)..]).ok()?;
    let (_, name) = end.strip_suffix("\"}")?.rsplit_once("\"type\": \"")?;
    (!name.contains(['"', '\\'])).then(|| ContentType::of(name))
}

impl Payload {
    /// Reads a plaintext whose hash was compared.
    ///
    /// # Errors
    /// [`DocumentError`]: not JSON, or a field of its type is missing or holds something else.
    pub fn parse(plaintext: &[u8]) -> Result<Self, DocumentError> {
        let value = Value::parse(plaintext)?;
        let kind = match &value {
            Value::Object(object) => object.get("type").and_then(|kind| match kind {
                Value::Text(kind) => kind.as_str(),
                _ => None,
            }),
            _ => None,
        };
        Ok(match kind {
            Some("message") => Self::Message(Kept::from_value(value)?),
            Some("file") => Self::File(Kept::from_value(value)?),
            Some("pm") => Self::Pm(Kept::from_value(value)?),
            Some("applet_code") => Self::AppletCode(Kept::from_value(value)?),
            Some("applet_data") => Self::AppletData(Kept::from_value(value)?),
            _ => Self::Other(value),
        })
    }

    /// The plaintext to be sealed.
    pub fn to_plaintext(&self) -> Vec<u8> {
        let text = match self {
            Self::Message(kept) => kept.to_value().to_canonical(),
            Self::File(kept) => kept.to_value().to_canonical(),
            Self::Pm(kept) => kept.to_value().to_canonical(),
            Self::AppletCode(kept) => kept.to_value().to_canonical(),
            Self::AppletData(kept) => kept.to_value().to_canonical(),
            Self::Other(value) => value.to_canonical(),
        };
        text.into_bytes()
    }
}

/// A message on a board. It has no time and no id: a receiver takes the time at which it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Its subject.
    pub subject: Text,
    /// Its text.
    pub body: Text,
    /// The board's name; `general` if it names none.
    pub board: Text,
    /// The author's key as they say; not signed.
    pub pubkey: Option<Text>,
    /// The files that belong to it.
    pub attachments: Vec<ContentHash>,
}

impl Fields for Message {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        let wrong = ShapeError::Unexpected {
            field: "attachment_hashes",
            expected: "an array of hashes of 64 lower-case hex digits",
        };
        let attachments = match object.get("attachment_hashes") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::List(hashes)) => {
                let hashes = hashes.iter().map(|hash| match hash {
                    Value::Text(text) => text.as_str().and_then(|text| text.parse().ok()),
                    _ => None,
                });
                hashes.collect::<Option<_>>().ok_or(wrong)?
            }
            Some(_) => return Err(wrong),
        };
        Ok(Self {
            subject: object.need_text("subject")?.clone(),
            body: object.need_text("body")?.clone(),
            board: object.optional_text("board")?.cloned().unwrap_or_else(|| "general".into()),
            pubkey: object.optional_text("pubkey")?.cloned(),
            attachments,
        })
    }

    fn write(&self) -> Object {
        let hashes: Vec<Value> = self.attachments.iter().map(|hash| hash.to_string().into()).collect();
        Object::new()
            .with("type", "message")
            .with("subject", self.subject.clone())
            .with("body", self.body.clone())
            .with("board", self.board.clone())
            .with("pubkey", self.pubkey.clone())
            .with("attachment_hashes", hashes)
    }
}

/// A file. An applet's code has this form too.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// Its name as given: not a path to write to.
    pub filename: Text,
    /// Its MIME type as given.
    pub content_type: Text,
    /// Its length in bytes as given; not compared with `data`.
    pub size_bytes: i64,
    /// Its bytes.
    pub data: Vec<u8>,
    /// The key of the user who made it; only in avatars.
    pub pubkey: Option<Text>,
    /// That user's shown name.
    pub nickname: Option<Text>,
    /// That user's name.
    pub username: Option<Text>,
}

impl File {
    /// A file of nobody in particular.
    pub fn new(filename: impl Into<Text>, content_type: impl Into<Text>, data: Vec<u8>) -> Self {
        Self {
            filename: filename.into(),
            content_type: content_type.into(),
            size_bytes: i64::try_from(data.len()).expect("no memory is that large"),
            data,
            pubkey: None,
            nickname: None,
            username: None,
        }
    }
}

impl Fields for File {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            filename: object.need_text("filename")?.clone(),
            content_type: object.need_text("content_type")?.clone(),
            size_bytes: object.need_int("size")?,
            data: need_base64(object, "data")?,
            pubkey: object.optional_text("pubkey")?.cloned(),
            nickname: object.optional_text("nickname")?.cloned(),
            username: object.optional_text("username")?.cloned(),
        })
    }

    fn write(&self) -> Object {
        let mut object = Object::new()
            .with("type", "file")
            .with("filename", self.filename.clone())
            .with("content_type", self.content_type.clone())
            .with("size", self.size_bytes)
            .with("data", data_encoding::BASE64.encode(&self.data));
        let user = [("pubkey", &self.pubkey), ("nickname", &self.nickname), ("username", &self.username)];
        for (field, value) in user {
            if let Some(value) = value {
                object.set(field, value.clone());
            }
        }
        object
    }
}

/// A private message: its inside is sealed for the sender and the recipient, who are named outside.
#[derive(Debug, Clone, PartialEq)]
pub struct Pm {
    /// AES-256-CBC ciphertext of the inside, not cut into chunks.
    pub ciphertext: Vec<u8>,
    /// The start of its chain.
    pub iv: Iv,
    /// The key's envelopes, base64, by the names of the users' keys.
    pub envelopes: Object,
    /// The sender's key.
    pub sender_pubkey: Text,
    /// The recipient's key.
    pub recipient_pubkey: Text,
    /// The name of the sender's key.
    pub sender_name: Text,
    /// The name of the recipient's key.
    pub recipient_name: Text,
}

/// What is wrong with a private message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PmError {
    /// It has no envelope for this key, or the envelope does not open.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// Its inside does not open.
    #[error("the private message does not open: it was changed")]
    DoesNotOpen,
    /// Its inside is not one.
    #[error(transparent)]
    Inside(#[from] DocumentError),
}

impl Pm {
    /// Seals a private message for both users. `rng` must be cryptographic.
    ///
    /// # Errors
    /// If a key turns out to be unusable.
    pub fn seal(
        subject: &str,
        body: &str,
        sender: &PublicKey,
        recipient: &PublicKey,
        rng: &mut dyn rand_core::CryptoRng,
    ) -> Result<Self, KeyError> {
        let inside = Object::new()
            .with("subject", subject)
            .with("body", body)
            .with("sender_pubkey", sender.as_str())
            .with("recipient_pubkey", recipient.as_str());
        let key = Secret::<32>::random(rng);
        let mut iv = [0; 16];
        rng.fill_bytes(&mut iv);
        let plaintext = Value::Object(inside).to_line();
        let mut envelopes = Object::new();
        for user in [sender, recipient] {
            envelopes.set(user.name().as_str(), data_encoding::BASE64.encode(&user.wrapper()?.wrap(&key)?));
        }
        Ok(Self {
            ciphertext: super::cipher::encrypt(&aws_lc_rs::cipher::AES_256, key.expose(), iv, plaintext.as_bytes()),
            iv,
            envelopes,
            sender_pubkey: sender.as_str().into(),
            recipient_pubkey: recipient.as_str().into(),
            sender_name: sender.name().as_str().into(),
            recipient_name: recipient.name().as_str().into(),
        })
    }

    /// Opens the inside with the sender's or the recipient's key. A private operation: never in a request handler (R4).
    ///
    /// Nothing proves that it is the one that was sealed: there is no hash of it.
    ///
    /// # Errors
    /// [`PmError`].
    pub fn open(&self, key: &PrivateKey) -> Result<Kept<PmInside>, PmError> {
        let name: KeyName = key.public().name();
        let Some(Value::Text(wrapped)) = self.envelopes.get(name.as_str()) else {
            return Err(EnvelopeError::Missing.into());
        };
        let wrapped = data_encoding::BASE64
            .decode(wrapped.as_str().unwrap_or("!").as_bytes())
            .map_err(|_| EnvelopeError::Key(KeyError::DoesNotOpen))?;
        let key = key.unwrap(&wrapped).map_err(EnvelopeError::Key)?;
        let inside = super::cipher::decrypt(&aws_lc_rs::cipher::AES_256, key.expose(), self.iv, &self.ciphertext)
            .ok_or(PmError::DoesNotOpen)?;
        Ok(Kept::parse(&inside)?)
    }
}

impl Fields for Pm {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        let manifest = object.need_object("e2e_manifest")?;
        let iv = need_base64(manifest, "encryption_iv")?;
        let iv = Iv::try_from(iv)
            .map_err(|_| ShapeError::Unexpected { field: "encryption_iv", expected: "the base64 of 16 bytes" })?;
        Ok(Self {
            ciphertext: need_base64(object, "e2e_encrypted_content_b64")?,
            iv,
            envelopes: manifest.need_object("encrypted_aes_keys")?.clone(),
            sender_pubkey: object.need_text("sender_pubkey")?.clone(),
            recipient_pubkey: object.need_text("recipient_pubkey")?.clone(),
            sender_name: object.need_text("sender_pubkey_checksum")?.clone(),
            recipient_name: object.need_text("recipient_pubkey_checksum")?.clone(),
        })
    }

    fn write(&self) -> Object {
        let manifest = Object::new()
            .with("encryption_iv", data_encoding::BASE64.encode(&self.iv))
            .with("encrypted_aes_keys", self.envelopes.clone());
        Object::new()
            .with("type", "pm")
            .with("e2e_encrypted_content_b64", data_encoding::BASE64.encode(&self.ciphertext))
            .with("e2e_manifest", manifest)
            .with("sender_pubkey", self.sender_pubkey.clone())
            .with("recipient_pubkey", self.recipient_pubkey.clone())
            .with("sender_pubkey_checksum", self.sender_name.clone())
            .with("recipient_pubkey_checksum", self.recipient_name.clone())
    }
}

/// The inside of a private message. Written as [`Value::to_line`].
#[derive(Debug, Clone, PartialEq)]
pub struct PmInside {
    /// Its subject.
    pub subject: Text,
    /// Its text.
    pub body: Text,
    /// The sender's key.
    pub sender_pubkey: Text,
    /// The recipient's key.
    pub recipient_pubkey: Text,
}

impl Fields for PmInside {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            subject: object.need_text("subject")?.clone(),
            body: object.need_text("body")?.clone(),
            sender_pubkey: object.need_text("sender_pubkey")?.clone(),
            recipient_pubkey: object.need_text("recipient_pubkey")?.clone(),
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("subject", self.subject.clone())
            .with("body", self.body.clone())
            .with("sender_pubkey", self.sender_pubkey.clone())
            .with("recipient_pubkey", self.recipient_pubkey.clone())
    }
}

/// An applet's code in the form without file name.
#[derive(Debug, Clone, PartialEq)]
pub struct AppletCode {
    /// JavaScript.
    pub code: Text,
}

impl Fields for AppletCode {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self { code: object.need_text("code")?.clone() })
    }

    fn write(&self) -> Object {
        Object::new().with("type", "applet_code").with("code", self.code.clone())
    }
}

/// A user's data in an applet.
#[derive(Debug, Clone, PartialEq)]
pub struct AppletData {
    /// The applet.
    pub applet_id: Uuid,
    /// The user's key.
    pub owner_pubkey: Text,
    /// Whatever the applet keeps.
    pub data: Value,
}

impl Fields for AppletData {
    fn read(object: &Object) -> Result<Self, ShapeError> {
        Ok(Self {
            applet_id: need_uuid(object, "applet_id")?,
            owner_pubkey: object.need_text("owner_pubkey")?.clone(),
            data: object.need("data")?.clone(),
        })
    }

    fn write(&self) -> Object {
        Object::new()
            .with("type", "applet_data")
            .with("applet_id", self.applet_id.as_str())
            .with("owner_pubkey", self.owner_pubkey.clone())
            .with("data", self.data.clone())
    }
}

fn need_base64(object: &Object, field: &'static str) -> Result<Vec<u8>, ShapeError> {
    data_encoding::BASE64
        .decode(object.need_str(field)?.as_bytes())
        .map_err(|_| ShapeError::Unexpected { field, expected: "standard base64" })
}

/// A UUID that must be there.
pub(super) fn need_uuid(object: &Object, field: &'static str) -> Result<Uuid, ShapeError> {
    object.need_str(field)?.parse().map_err(|_| ShapeError::Unexpected { field, expected: "a UUID" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use crate::domain::axon::manifest::kinds_of;

    #[test]
    fn the_type_of_what_axon_makes_stands_at_its_end() {
        let data = r#"{"type": "applet_data", "applet_id": "11111111-2222-4333-8444-555555555555", "owner_pubkey": "k", "data": {"type": "pm"}}"#;
        let plain = Payload::parse(data.as_bytes()).unwrap().to_plaintext();
        assert_eq!(type_at_end(&plain), Some(ContentType::AppletData));
        let file = Payload::File(Kept::new(File::new("a\"}", "text/plain", vec![0; 99]))).to_plaintext();
        assert_eq!(type_at_end(&file), Some(ContentType::File));
        for none in
            [&b""[..], b"{}", b"\xff\"type\": \"pm\"}", br#"{"a": {"type": "pm"}}"#, br#"{"x": "\"type\": \"pm"}"#]
        {
            assert_eq!(type_at_end(none), None, "{}", String::from_utf8_lossy(none));
        }
    }

    #[test]
    fn what_verified_content_says_overrules_who_announced_it() {
        let kinds = |announced: &ContentType, says: Option<&ContentType>| {
            kinds_of([announced.clone()].into(), says).into_iter().collect::<BTreeSet<_>>()
        };
        let (applet, file, pm) = (ContentType::Applet, ContentType::File, ContentType::Pm);
        assert_eq!(kinds(&file, Some(&pm)), [pm.clone()].into());
        assert_eq!(kinds(&pm, Some(&file)), [file.clone()].into());
        assert_eq!(kinds(&applet, Some(&file)), [applet].into());
        assert_eq!(kinds(&file, None), [file].into());
        assert_eq!(kinds(&pm, None), [pm].into());
    }

    #[test]
    fn a_message_without_subject_or_with_a_path_for_an_attachment_is_refused() {
        let good = r#"{"type": "message", "subject": "s", "body": "b"}"#;
        let Payload::Message(message) = Payload::parse(good.as_bytes()).unwrap() else { panic!() };
        assert_eq!(message.board, "general");
        for bad in [
            r#"{"type": "message", "subject": null, "body": "b"}"#,
            r#"{"type": "message", "body": "b"}"#,
            r#"{"type": "message", "subject": "s", "body": "b", "attachment_hashes": ["../x"]}"#,
        ] {
            assert!(Payload::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_is_written_as_axon_writes_it() {
        let file = Payload::File(Kept::new(File::new("é.txt", "text/plain", b"hi".to_vec())));
        let text =
            r#"{"content_type": "text/plain", "data": "aGk=", "filename": "\u00e9.txt", "size": 2, "type": "file"}"#;
        assert_eq!(String::from_utf8(file.to_plaintext()).unwrap(), text);
        assert_eq!(Payload::parse(text.as_bytes()).unwrap().to_plaintext(), text.as_bytes());
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            let _ = Payload::parse(&bytes);
        }
    }
}
