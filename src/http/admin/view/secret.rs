//! Secrets of applications as resources. A value stands in [`RevealedSecret`] alone, which is made for whoever asked for just that.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::backup::escrow::MissingSecret;
use crate::backup::secrets::{Kept, StoredSecret};
use crate::domain::escrow::{EscrowedSecret, SecretForm};
use crate::http::hidden::Hidden;

/// How it stands with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretState {
    /// A value is stored, and is the one in use.
    InUse,
    /// A value is stored that was in use before.
    Earlier,
    /// A value is stored that came from elsewhere: the recovery key of whoever stored it opens it, this instance does not.
    Sealed,
    /// Somebody said that it is kept elsewhere.
    Elsewhere,
    /// The application's data is of little use without it, and it is stored nowhere here.
    Missing,
}

/// A secret of an application: what is known of it, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretView {
    /// What it is called: the variable, or the file.
    pub name: String,
    /// How it stands.
    pub state: SecretState,
    /// What a stored one is in the application.
    pub form: Option<SecretForm>,
    /// Tells a stored one from others of its name: 40 hex digits, which nobody without this home's keys can try guesses on.
    pub fingerprint: Option<String>,
    /// Since when a stored one is, or was, the one in use.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub since_at: Option<Timestamp>,
    /// Numbers of the snapshots to which a stored one belongs.
    pub snapshots: Vec<u64>,
    /// What a missing one is for, and where it was looked for.
    pub reason: Option<String>,
}

impl SecretView {
    fn named(name: String, state: SecretState) -> Self {
        Self { name, state, form: None, fingerprint: None, since_at: None, snapshots: Vec::new(), reason: None }
    }

    fn stored(stored: StoredSecret) -> Self {
        let StoredSecret { secret, in_use, opens_here, snapshots } = stored;
        let state = match (opens_here, in_use) {
            (false, _) => SecretState::Sealed,
            (true, true) => SecretState::InUse,
            (true, false) => SecretState::Earlier,
        };
        Self {
            form: Some(secret.form),
            fingerprint: Some(secret.fingerprint.to_string()),
            since_at: Some(secret.since),
            snapshots,
            ..Self::named(secret.name, state)
        }
    }

    fn missing(missing: MissingSecret) -> Self {
        let MissingSecret { name, what, why, .. } = missing;
        Self { reason: Some(format!("{what}; it {why}")), ..Self::named(name, SecretState::Missing) }
    }

    /// All of a collection: what is missing first, then what is stored, by name and the newest first, then what is kept elsewhere.
    pub fn all(missing: Vec<MissingSecret>, kept: Vec<Kept>) -> Vec<Self> {
        let mut all: Vec<Self> = missing.into_iter().map(Self::missing).collect();
        let mut elsewhere: Vec<String> = Vec::new();
        for kept in kept {
            all.extend(kept.stored.into_iter().map(Self::stored));
            elsewhere.extend(kept.elsewhere);
        }
        elsewhere.sort();
        elsewhere.dedup();
        all.extend(elsewhere.into_iter().map(|name| Self::named(name, SecretState::Elsewhere)));
        all
    }
}

/// A secret that was stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeptSecret {
    /// Of which collection.
    pub collection: String,
    /// What it is called.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Whether it is another value than the one in use before.
    pub new: bool,
}

/// A secret with its value.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct RevealedSecret {
    /// Of which collection.
    pub collection: String,
    /// What it is called.
    pub name: String,
    /// What it is in the application.
    pub form: SecretForm,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Since when it is, or was, the one in use.
    #[schema(value_type = String, format = DateTime)]
    pub since_at: Timestamp,
    /// The value, if it is text.
    #[serde(serialize_with = "revealed")]
    #[schema(value_type = Option<String>)]
    pub value: Option<Hidden>,
    /// The value in standard base64, if it is no text.
    #[serde(serialize_with = "revealed")]
    #[schema(value_type = Option<String>)]
    pub value_base64: Option<Hidden>,
}

/// What is hidden everywhere else.
fn revealed<S: Serializer>(text: &Option<Hidden>, serializer: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(serializer)
}

impl RevealedSecret {
    /// With this value.
    pub fn of(collection: &str, secret: EscrowedSecret, bytes: &[u8]) -> Self {
        let EscrowedSecret { name, form, fingerprint, since, .. } = secret;
        let (value, value_base64) = match std::str::from_utf8(bytes) {
            Ok(text) => (Some(text.to_owned().into()), None),
            Err(_) => (None, Some(data_encoding::BASE64.encode(bytes).into())),
        };
        let (collection, fingerprint) = (collection.to_owned(), fingerprint.to_string());
        Self { collection, name, form, fingerprint, since_at: since, value, value_base64 }
    }

    /// The value as it was stored; nothing if there is none in it.
    pub fn bytes(&self) -> Option<Zeroizing<Vec<u8>>> {
        let bytes = match (&self.value, &self.value_base64) {
            (Some(text), _) => text.as_bytes().to_vec(),
            (None, Some(text)) => data_encoding::BASE64.decode(text.as_bytes()).ok()?,
            (None, None) => return None,
        };
        Some(Zeroizing::new(bytes))
    }
}

/// What was forgotten of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RemovedSecret {
    /// Of which collection.
    pub collection: String,
    /// What it is called.
    pub name: String,
    /// The fingerprints of the values that are stored here no more.
    pub removed: Vec<String>,
}

/// Where a secret is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ElsewhereSecret {
    /// Of which collection.
    pub collection: String,
    /// What it is called.
    pub name: String,
    /// Whether it is kept elsewhere: no backup stores it then, and nobody is reminded of it.
    pub elsewhere: bool,
    /// Whether a value of it is stored here all the same.
    pub stored: bool,
}
