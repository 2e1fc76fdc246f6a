//! An application's secrets that are not in its data, kept for the day on which everything else is gone.
//!
//! Goals: whoever has the recovery key and this document has the secret; the instance itself has it without anybody (for drills); and
//! nobody else learns anything of it, also not whether a guess is right.
//!
//! Each value is sealed once under a key of its own (R1). That key is wrapped twice: for the recovery key, and under the instance's master
//! key. The second wrapping never leaves the home. A fingerprint says whether two values are the same one. It is a keyed hash, and its key
//! is kept like a secret: a reader of a snapshot sees the fingerprint, and cannot try guesses on it.

mod text; // a secret as text, for paper and QR codes

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::crypto::aead::{OpenKey, SealKey};
use super::crypto::kdf;
use super::crypto::recovery::{RecoveryKey, RecoveryRecipient};
use super::crypto::secret::Secret;
use super::crypto::vault::MasterKey;
use super::envelope::{Envelope, HPKE_X25519, VAULT};
use super::id::{CollectionId, InstanceId};
use super::peer::is_plain_name;

pub use text::{Paper, papers, read_papers};

/// The document's form.
pub const FORMAT: &str = "bulbil-escrow/1";
/// No document is longer, in bytes.
pub const MAX_DOCUMENT_BYTES: usize = 16 << 20;
/// No secret is longer, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 << 10;
/// Lengths are hidden by filling up to a multiple of so many bytes.
const BLOCK: usize = 64;

const KEY: &[u8] = b"bulbil/escrow/1/key\0";
const VALUE: &[u8] = b"bulbil/escrow/1/value\0";
const FINGERPRINTS: &[u8] = b"bulbil/escrow/1/fingerprints\0";
const FINGERPRINT_KEY_ID: &[u8] = b"bulbil/escrow/1/fingerprint-key-id";

/// Why a secret cannot be kept or had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EscrowError {
    /// There is nothing in it.
    #[error("the value of {0} is empty: nothing was stored. Look where it should come from")]
    Empty(String),
    /// It is longer than [`MAX_SECRET_BYTES`].
    #[error(
        "{0} is longer than 64 KiB: that is no secret to be kept on paper; put it into the data, or keep it elsewhere"
    )]
    TooLong(String),
    /// A name that cannot be shown.
    #[error(
        "{0:?} is no name for a secret: use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '-' or '.'"
    )]
    BadName(String),
    /// The public recovery key is unusable.
    #[error("the public recovery key of this instance cannot be used")]
    Recipient,
    /// The document is none.
    #[error("this is no escrow document of the form {FORMAT}, and no text of a recovery sheet")]
    NotOne,
    /// A later program wrote it.
    #[error("the escrow document is of the form {0:?}, and this program knows {FORMAT}: use a newer bulbil")]
    Newer(String),
    /// A digit of the text on paper is wrong.
    #[error("the text of the secret has a typing error, or a part of it is missing: compare it with the sheet")]
    Mistyped,
    /// Not all codes of a secret are there.
    #[error("codes are missing: {there} of {of} are there. Scan all of this secret's codes")]
    Incomplete {
        /// How many there are.
        there: usize,
        /// How many there should be.
        of: usize,
    },
    /// The recovery key is another one's.
    #[error("the recovery key does not open {0}: it belongs to another instance, or the document was changed")]
    WrongRecoveryKey(String),
    /// The instance's own keys do not open it.
    #[error(
        "{0} does not open with this instance's keys: it came from another instance, and its recovery key opens it ('bulbil import --rekey')"
    )]
    NotOurs(String),
    /// The key opens it, and the value is damaged.
    #[error("{0} was changed where it is kept: what is left of it is worth nothing. Take another copy of the document")]
    Damaged(String),
}

/// What a secret is in the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum SecretForm {
    /// The value of a variable.
    Variable,
    /// The content of a file.
    File,
}

/// Says whether two values of one name are the same, to whoever has the key: 16 bytes of a keyed hash, then 4 that name the key. Text form:
/// 40 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fingerprint([u8; 20]);

impl Fingerprint {
    /// Its first eight digits.
    pub fn short(&self) -> String {
        data_encoding::HEXLOWER.encode(&self.0[..4])
    }

    /// Names the key that made it.
    pub fn key_id(&self) -> [u8; 4] {
        self.0[16..].try_into().expect("four bytes are cut out")
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl std::fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fingerprint({})", self.short())
    }
}

impl TryFrom<String> for Fingerprint {
    type Error = EscrowError;

    fn try_from(text: String) -> Result<Self, EscrowError> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).map_err(|_| EscrowError::NotOne)?;
        bytes.try_into().map(Self).map_err(|_| EscrowError::NotOne)
    }
}

impl From<Fingerprint> for String {
    fn from(fingerprint: Fingerprint) -> String {
        fingerprint.to_string()
    }
}

/// Makes fingerprints. Kept like a secret.
#[derive(Debug)]
pub struct FingerprintKey(Secret<32>);

impl FingerprintKey {
    /// Names it, and tells nothing of it.
    pub fn id(&self) -> [u8; 4] {
        let id = kdf::derive(&self.0, b"", &[FINGERPRINT_KEY_ID]);
        id.expose()[..4].try_into().expect("four bytes are cut out")
    }

    /// The fingerprint of a value under its name.
    pub fn of(&self, name: &str, value: &[u8]) -> Fingerprint {
        let mut hasher = blake3::Hasher::new_keyed(self.0.expose());
        hasher.update(name.as_bytes());
        hasher.update(&[0]);
        hasher.update(value);
        let mut bytes = [0; 20];
        bytes[..16].copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        bytes[16..].copy_from_slice(&self.id());
        Fingerprint(bytes)
    }
}

/// A secret as it was at some time, sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowedSecret {
    /// What it is called: the variable, or the file.
    pub name: String,
    /// What it is.
    pub form: SecretForm,
    /// Tells it from others of its name.
    pub fingerprint: Fingerprint,
    /// Since when it is the one in use.
    pub since: Timestamp,
    /// The key of `sealed`, wrapped: for recovery keys, and for the instance's master key.
    pub envelopes: Vec<Envelope>,
    /// The value, sealed; standard base64.
    pub sealed: String,
}

/// The secrets of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EscrowDocument {
    /// [`FORMAT`].
    pub format: String,
    /// Which collection.
    pub collection: CollectionId,
    /// What it is called, for people.
    pub name: String,
    /// Who keeps it.
    pub instance: InstanceId,
    /// Names the key of the fingerprints, 8 hex digits.
    pub fingerprint_key_id: String,
    /// The key of the fingerprints, wrapped as those of the secrets are.
    pub fingerprint_key: Vec<Envelope>,
    /// Secrets that somebody keeps elsewhere: they are not stored here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<String>,
    /// The secrets; of those with one name the last one is in use.
    #[serde(default)]
    pub secrets: Vec<EscrowedSecret>,
}

/// For whom secrets are sealed.
#[derive(Debug, Clone, Copy)]
pub struct Keepers<'a> {
    /// The instance.
    pub master: &'a MasterKey,
    /// Whoever has the recovery key.
    pub recovery: &'a RecoveryRecipient,
}

impl EscrowDocument {
    /// An empty one.
    ///
    /// # Errors
    /// [`EscrowError::Recipient`].
    pub fn new(
        rng: &mut dyn rand_core::CryptoRng,
        (collection, name): (CollectionId, &str),
        instance: InstanceId,
        keepers: Keepers<'_>,
    ) -> Result<(Self, FingerprintKey), EscrowError> {
        let key = FingerprintKey(Secret::random(rng));
        let envelopes = wrap(rng, &key.0, &fingerprints_place(&collection), keepers)?;
        let document = Self {
            format: FORMAT.to_owned(),
            collection,
            name: name.to_owned(),
            instance,
            fingerprint_key_id: data_encoding::HEXLOWER.encode(&key.id()),
            fingerprint_key: envelopes,
            elsewhere: Vec::new(),
            secrets: Vec::new(),
        };
        Ok((document, key))
    }

    /// Reads one.
    ///
    /// # Errors
    /// [`EscrowError::NotOne`], [`EscrowError::Newer`].
    pub fn parse(bytes: &[u8]) -> Result<Self, EscrowError> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
        }
        let head: Head = serde_json::from_slice(bytes).map_err(|_| EscrowError::NotOne)?;
        if head.format != FORMAT {
            return match head.format.starts_with("bulbil-escrow/") {
                true => Err(EscrowError::Newer(head.format)),
                false => Err(EscrowError::NotOne),
            };
        }
        let document: Self = serde_json::from_slice(bytes).map_err(|_| EscrowError::NotOne)?;
        let is_id = |id: &str| id.len() == 8 && data_encoding::HEXLOWER.decode(id.as_bytes()).is_ok();
        let sound = is_id(&document.fingerprint_key_id)
            && is_plain_name(&document.name)
            && document
                .secrets
                .iter()
                .map(|secret| &secret.name)
                .chain(&document.elsewhere)
                .all(|name| is_plain_name(name));
        if sound { Ok(document) } else { Err(EscrowError::NotOne) }
    }

    /// The key of the fingerprints, if the instance may open it.
    ///
    /// # Errors
    /// [`EscrowError::NotOurs`].
    pub fn open_fingerprint_key(&self, master: &MasterKey) -> Result<FingerprintKey, EscrowError> {
        let place = fingerprints_place(&self.collection);
        let key = with_vault(&self.fingerprint_key, &place, master).map(FingerprintKey);
        key.ok_or_else(|| EscrowError::NotOurs("the key of the fingerprints".to_owned()))
    }

    /// The one in use.
    pub fn current(&self, name: &str) -> Option<&EscrowedSecret> {
        self.secrets.iter().rfind(|secret| secret.name == name)
    }

    /// The names of all, in the order in which they came, each once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for secret in &self.secrets {
            if !names.contains(&secret.name.as_str()) {
                names.push(&secret.name);
            }
        }
        names
    }

    /// Keeps a value as the one in use from now on. Answers its fingerprint, and whether it is another one than before.
    ///
    /// # Errors
    /// [`EscrowError::Empty`], [`EscrowError::TooLong`], [`EscrowError::BadName`], [`EscrowError::Recipient`].
    pub fn put(
        &mut self,
        rng: &mut dyn rand_core::CryptoRng,
        (name, form, value): (&str, SecretForm, &[u8]),
        (key, now): (&FingerprintKey, Timestamp),
        keepers: Keepers<'_>,
    ) -> Result<(Fingerprint, bool), EscrowError> {
        check(name, value)?;
        let fingerprint = key.of(name, value);
        if self.current(name).is_some_and(|current| current.fingerprint == fingerprint) {
            return Ok((fingerprint, false));
        }
        let known = self.secrets.iter().position(|known| known.name == name && known.fingerprint == fingerprint);
        let secret = match known {
            Some(at) => EscrowedSecret { since: now, ..self.secrets.remove(at) },
            None => EscrowedSecret::seal(rng, &self.collection, (name, form, value), (fingerprint, now), keepers)?,
        };
        self.secrets.push(secret);
        Ok((fingerprint, true))
    }

    /// What may leave the home: what the recovery key opens, and nothing that the master key would.
    pub fn for_recovery_alone(&self) -> Self {
        let without = |envelopes: &[Envelope]| envelopes.iter().filter(|e| e.algorithm != VAULT).cloned().collect();
        let secrets = self
            .secrets
            .iter()
            .map(|secret| EscrowedSecret { envelopes: without(&secret.envelopes), ..secret.clone() });
        Self { fingerprint_key: without(&self.fingerprint_key), secrets: secrets.collect(), ..self.clone() }
    }

    /// Takes over what another copy of the document has: secrets and envelopes. Those that are here already keep their order; the others
    /// are put where their time says.
    pub fn merge(&mut self, other: Self) {
        let add = |here: &mut Vec<Envelope>, there: Vec<Envelope>| {
            for envelope in there {
                let same =
                    |known: &Envelope| known.algorithm == envelope.algorithm && known.recipient == envelope.recipient;
                if !here.iter().any(same) {
                    here.push(envelope);
                }
            }
        };
        add(&mut self.fingerprint_key, other.fingerprint_key);
        for secret in other.secrets {
            let same =
                |known: &&mut EscrowedSecret| known.name == secret.name && known.fingerprint == secret.fingerprint;
            match self.secrets.iter_mut().find(same) {
                // Each copy was sealed under one key: what wraps another one does not belong to it.
                Some(known) if known.sealed == secret.sealed => add(&mut known.envelopes, secret.envelopes),
                Some(_) => {}
                None => self.secrets.push(secret),
            }
        }
        self.secrets.sort_by_key(|secret| secret.since);
        for name in other.elsewhere {
            if !self.elsewhere.contains(&name) {
                self.elsewhere.push(name);
            }
        }
    }

    /// Wraps for `keepers` what `recovery` opens. Answers how many secrets opened.
    ///
    /// # Errors
    /// [`EscrowError::WrongRecoveryKey`] if nothing opens, [`EscrowError::Recipient`].
    pub fn adopt(
        &mut self,
        rng: &mut dyn rand_core::CryptoRng,
        recovery: &RecoveryKey,
        keepers: Keepers<'_>,
    ) -> Result<usize, EscrowError> {
        let place = fingerprints_place(&self.collection);
        let key = with_recovery(&self.fingerprint_key, &place, recovery);
        let key = key.ok_or_else(|| EscrowError::WrongRecoveryKey("the escrow document".to_owned()))?;
        add_wraps(rng, &key, &place, keepers, &mut self.fingerprint_key)?;
        let mut opened = 0;
        for secret in &mut self.secrets {
            let place = secret.place(&self.collection);
            if let Some(key) = with_recovery(&secret.envelopes, &place, recovery) {
                add_wraps(rng, &key, &place, keepers, &mut secret.envelopes)?;
                opened += 1;
            }
        }
        Ok(opened)
    }
}

impl EscrowedSecret {
    fn seal(
        rng: &mut dyn rand_core::CryptoRng,
        collection: &CollectionId,
        (name, form, value): (&str, SecretForm, &[u8]),
        (fingerprint, since): (Fingerprint, Timestamp),
        keepers: Keepers<'_>,
    ) -> Result<Self, EscrowError> {
        let mut secret =
            Self { name: name.to_owned(), form, fingerprint, since, envelopes: Vec::new(), sealed: String::new() };
        let place = secret.place(collection);
        let key = Secret::random(rng);
        secret.envelopes = wrap(rng, &key, &place, keepers)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(value.len() + 2 * BLOCK));
        plain.extend_from_slice(value);
        plain.push(0x80);
        let filled = plain.len().next_multiple_of(BLOCK);
        plain.resize(filled, 0);
        let (_, sealed) = SealKey::derived_for_one_use(key).seal(&[VALUE, &place].concat(), &plain);
        secret.sealed = data_encoding::BASE64.encode(&sealed);
        Ok(secret)
    }

    /// Opens it with the instance's own keys.
    ///
    /// # Errors
    /// [`EscrowError::NotOurs`], [`EscrowError::Damaged`].
    pub fn open_with_vault(
        &self,
        collection: &CollectionId,
        master: &MasterKey,
    ) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
        let key = with_vault(&self.envelopes, &self.place(collection), master);
        self.open(collection, key.ok_or_else(|| EscrowError::NotOurs(self.name.clone()))?)
    }

    /// Opens it with a recovery key.
    ///
    /// # Errors
    /// [`EscrowError::WrongRecoveryKey`], [`EscrowError::Damaged`].
    pub fn open_with_recovery(
        &self,
        collection: &CollectionId,
        recovery: &RecoveryKey,
    ) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
        let key = with_recovery(&self.envelopes, &self.place(collection), recovery);
        self.open(collection, key.ok_or_else(|| EscrowError::WrongRecoveryKey(self.name.clone()))?)
    }

    fn open(&self, collection: &CollectionId, key: Secret<32>) -> Result<Zeroizing<Vec<u8>>, EscrowError> {
        let damaged = || EscrowError::Damaged(self.name.clone());
        let sealed = data_encoding::BASE64.decode(self.sealed.as_bytes()).map_err(|_| damaged())?;
        let place = [VALUE, &self.place(collection)].concat();
        let mut plain = Zeroizing::new(OpenKey::new(key).open(&place, &sealed).map_err(|_| damaged())?);
        let end = plain.iter().rposition(|byte| *byte != 0).filter(|end| plain[*end] == 0x80).ok_or_else(damaged)?;
        plain.truncate(end);
        Ok(plain)
    }

    /// What it is bound to: it opens as nothing else.
    fn place(&self, collection: &CollectionId) -> Vec<u8> {
        let form = match self.form {
            SecretForm::Variable => 0,
            SecretForm::File => 1,
        };
        [collection.as_bytes().as_slice(), &[form], &self.fingerprint.0, self.name.as_bytes()].concat()
    }
}

fn check(name: &str, value: &[u8]) -> Result<(), EscrowError> {
    if !is_plain_name(name) {
        return Err(EscrowError::BadName(name.to_owned()));
    }
    if value.iter().all(u8::is_ascii_whitespace) {
        return Err(EscrowError::Empty(name.to_owned()));
    }
    if value.len() > MAX_SECRET_BYTES {
        return Err(EscrowError::TooLong(name.to_owned()));
    }
    Ok(())
}

fn fingerprints_place(collection: &CollectionId) -> Vec<u8> {
    [FINGERPRINTS, collection.as_bytes()].concat()
}

fn key_place(place: &[u8]) -> Vec<u8> {
    [KEY, place].concat()
}

fn wrap(
    rng: &mut dyn rand_core::CryptoRng,
    key: &Secret<32>,
    place: &[u8],
    keepers: Keepers<'_>,
) -> Result<Vec<Envelope>, EscrowError> {
    let mut envelopes = Vec::with_capacity(2);
    add_wraps(rng, key, place, keepers, &mut envelopes)?;
    Ok(envelopes)
}

/// Wraps a key, in place of what was wrapped for the same before.
fn add_wraps(
    rng: &mut dyn rand_core::CryptoRng,
    key: &Secret<32>,
    place: &[u8],
    keepers: Keepers<'_>,
    envelopes: &mut Vec<Envelope>,
) -> Result<(), EscrowError> {
    let place = key_place(place);
    let wrapped = keepers.recovery.wrap(rng, key, &place).map_err(|_| EscrowError::Recipient)?;
    let recipient = keepers.recovery.id();
    envelopes.retain(|envelope| envelope.algorithm != VAULT && envelope.recipient != recipient);
    envelopes.push(Envelope::new(HPKE_X25519, recipient, &wrapped));
    envelopes.push(Envelope::new(VAULT, "self".to_owned(), &keepers.master.seal(rng, &place, key.expose())));
    Ok(())
}

fn with_vault(envelopes: &[Envelope], place: &[u8], master: &MasterKey) -> Option<Secret<32>> {
    let place = key_place(place);
    envelopes.iter().filter(|envelope| envelope.algorithm == VAULT).find_map(|envelope| {
        let plain = Zeroizing::new(master.open(&place, &envelope.bytes().ok()?).ok()?);
        Secret::from_slice(&plain)
    })
}

fn with_recovery(envelopes: &[Envelope], place: &[u8], recovery: &RecoveryKey) -> Option<Secret<32>> {
    let place = key_place(place);
    let mut theirs = envelopes.iter().filter(|envelope| envelope.algorithm == HPKE_X25519);
    theirs.find_map(|envelope| recovery.unwrap(&envelope.bytes().ok()?, &place).ok())
}

#[cfg(test)]
mod tests;
