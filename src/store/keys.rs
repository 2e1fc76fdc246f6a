//! The instance's private keys: `keys/`, sealed under the master key, readable by the owner alone.
//!
//! - `master`: 32 random bytes; with a passphrase, JSON with Argon2id parameters and those bytes sealed under the
//!   stretched passphrase.
//! - `identity`: the Ed25519 seed. `envelope`: its version (u64 BE) ‖ the RSA key as PKCS#8.
//! - `onion`, `onion-admin`: expanded Ed25519 keys, 64 bytes; made when they are first needed (module `onion`).
//! - `renewals`: signed renewals (JSON), if the identity was ever changed.
//! - `recovery`: JSON with the instance's name and the public recovery key.
//!
//! Permissions are checked each time they are opened: a key that others can read is no secret.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Home, StoreError, entropy, files};
use crate::domain::crypto::kdf::PassphraseParams;
use crate::domain::crypto::keywrap::EnvelopeKey;
use crate::domain::crypto::recovery::{RecoveryKey, RecoveryRecipient};
use crate::domain::crypto::secret::Secret;
use crate::domain::crypto::sign::IdentityKey;
use crate::domain::crypto::vault::MasterKey;
use crate::domain::id::InstanceId;
use crate::domain::identity::{self, Identity, SignedIdentity};
use crate::domain::succession::{self, SignedStatement, Statement, Verified};

const FORMAT: &str = "bulbil-keys/1";
const MAX_BYTES: usize = 64 << 10;
const RENEWALS: &str = "renewals";

/// What a person types to open the keys. Wiped when dropped, never shown.
pub struct Passphrase(Zeroizing<Vec<u8>>);

impl Passphrase {
    /// Takes over the bytes as they were typed, without the line's end.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the derivation.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The private keys of this instance, open.
#[derive(Debug)]
pub struct Keys {
    /// What its admin calls it.
    pub name: String,
    /// Signs manifests, requests and the identity document.
    pub identity: IdentityKey,
    /// Unwraps what peers wrap for us.
    pub envelope: EnvelopeKey,
    /// Counts the changes of `envelope`.
    pub key_version: u64,
    /// How the identity went on under other keys, oldest first.
    pub renewals: Vec<Verified>,
    /// The public half of the recovery key.
    pub recovery: RecoveryRecipient,
    /// Seals everything private at rest.
    pub master: MasterKey,
}

#[derive(Serialize, Deserialize)]
struct MasterFile {
    format: String,
    passphrase: PassphraseParams,
    sealed: String,
}

#[derive(Serialize, Deserialize)]
struct InstanceFile {
    format: String,
    name: String,
    recovery: RecoveryRecipient,
}

impl Keys {
    /// The instance that these keys make.
    pub fn instance(&self) -> InstanceId {
        self.identity.public().instance()
    }

    /// Whether an instance is this one.
    pub fn is_ours(&self, instance: &InstanceId) -> bool {
        self.own_ids().any(|own| own == *instance)
    }

    /// The instance's id, and those that it had before.
    pub fn own_ids(&self) -> impl Iterator<Item = InstanceId> {
        let former = self.renewals.iter().filter_map(|renewal| match &renewal.statement {
            Statement::Renewal { from, .. } => Some(from.instance()),
            _ => None,
        });
        std::iter::once(self.instance()).chain(former)
    }

    /// Whether a statement renews a key of this instance and was not made here: somebody else has had that key.
    pub fn disown(&self, verified: &Verified) -> bool {
        matches!(verified.statement, Statement::Renewal { .. })
            && self.is_ours(&verified.statement.signer())
            && !self.renewals.iter().any(|own| own.id == verified.id)
    }

    /// How this instance shows itself.
    pub fn identity_document(&self) -> SignedIdentity {
        let identity = Identity {
            format: identity::FORMAT.to_owned(),
            instance: self.instance(),
            name: self.name.clone(),
            identity_key: self.identity.public(),
            envelope_key: self.envelope.recipient().clone(),
            key_version: self.key_version,
            renewals: self.renewals.iter().map(|renewal| renewal.signed.clone()).collect(),
            features: Vec::new(),
        };
        identity.sign(&self.identity)
    }

    /// Draws fresh keys around an envelope key, and writes them.
    pub(super) fn create(
        home: &Home,
        name: String,
        passphrase: Option<&Passphrase>,
        envelope: EnvelopeKey,
    ) -> Result<(Self, RecoveryKey), StoreError> {
        let rng = &mut entropy();
        let recovery = RecoveryKey::generate(rng);
        let keys = Self {
            name,
            identity: IdentityKey::random(rng),
            envelope,
            key_version: 1,
            renewals: Vec::new(),
            recovery: recovery.recipient(),
            master: MasterKey::new(Secret::random(rng)),
        };
        let instance =
            InstanceFile { format: FORMAT.to_owned(), name: keys.name.clone(), recovery: keys.recovery.clone() };
        let instance = serde_json::to_vec(&instance).expect("names and keys are JSON strings");
        write(home, "master", &master_file(&keys.master, passphrase)?)?;
        keys.save_identity(home)?;
        keys.save_envelope(home)?;
        write(home, "recovery", &keys.master.seal(rng, b"key/recovery", &instance))?;
        Ok((keys, recovery))
    }

    /// Opens the keys of a home.
    pub(super) fn open(home: &Home, passphrase: Option<&Passphrase>) -> Result<Self, StoreError> {
        check_permissions(&home.keys())?;
        Self::under(home, open_master(home, passphrase)?)
    }

    /// Reads them again, under the master key that is open.
    pub(super) fn read_again(&self, home: &Home) -> Result<Self, StoreError> {
        check_permissions(&home.keys())?;
        let master = Secret::from_slice(self.master.secret().expose()).expect("a key has the length of a key");
        Self::under(home, MasterKey::new(master))
    }

    fn under(home: &Home, master: MasterKey) -> Result<Self, StoreError> {
        let damaged = |file: &str| StoreError::KeysDamaged { path: home.keys().join(file) };
        let open = |file: &'static str| -> Result<Zeroizing<Vec<u8>>, StoreError> {
            let plain = master.open(place(file).as_bytes(), &read(home, file)?).map_err(|_| damaged(file))?;
            Ok(Zeroizing::new(plain))
        };
        let seed = Secret::from_slice(&open("identity")?).ok_or_else(|| damaged("identity"))?;
        let envelope = open("envelope")?;
        let (version, der) = envelope.split_first_chunk::<8>().ok_or_else(|| damaged("envelope"))?;
        let instance: InstanceFile = serde_json::from_slice(&open("recovery")?).map_err(|_| damaged("recovery"))?;
        let identity = IdentityKey::from_seed(&seed);
        let renewals = match home.keys().join(RENEWALS).exists() {
            true => renewals(&open(RENEWALS)?, identity.public().instance()).ok_or_else(|| damaged(RENEWALS))?,
            false => Vec::new(),
        };
        Ok(Self {
            name: instance.name,
            identity,
            renewals,
            envelope: EnvelopeKey::from_pkcs8_der(der).map_err(|_| damaged("envelope"))?,
            key_version: u64::from_be_bytes(*version),
            recovery: instance.recovery,
            master,
        })
    }
}

impl Keys {
    /// Takes another envelope key; durable on return.
    pub(super) fn renew_envelope(self, home: &Home, envelope: EnvelopeKey) -> Result<Self, StoreError> {
        let keys = Self { envelope, key_version: self.key_version + 1, ..self };
        keys.save_envelope(home)?;
        Ok(keys)
    }

    /// Takes another identity, and keeps the proof that it is the same instance; durable on return. The proof is written first:
    /// without the key that it leads to, it counts for nothing.
    pub(super) fn renew_identity(self, home: &Home, at: Timestamp) -> Result<Self, StoreError> {
        let identity = IdentityKey::random(&mut entropy());
        let renewal = succession::renewal(&self.identity, &identity, at).verify().expect("it was signed just now");
        let mut renewals = self.renewals.clone();
        renewals.push(renewal);
        let signed: Vec<&SignedStatement> = renewals.iter().map(|renewal| &renewal.signed).collect();
        let text = serde_json::to_vec(&signed).expect("statements are JSON");
        self.save_sealed(home, RENEWALS, &text)?;
        let keys = Self { identity, renewals, ..self };
        keys.save_identity(home)?;
        Ok(keys)
    }

    fn save_identity(&self, home: &Home) -> Result<(), StoreError> {
        self.save_sealed(home, "identity", self.identity.seed().expose())
    }

    fn save_envelope(&self, home: &Home) -> Result<(), StoreError> {
        let versioned = Zeroizing::new([self.key_version.to_be_bytes().as_slice(), self.envelope.pkcs8_der()].concat());
        self.save_sealed(home, "envelope", &versioned)
    }

    /// Seals something into a file of its own; durable on return.
    pub(super) fn save_sealed(&self, home: &Home, file: &str, plain: &[u8]) -> Result<(), StoreError> {
        write(home, file, &self.master.seal(&mut entropy(), place(file).as_bytes(), plain))
    }

    /// Opens such a file; `None` if there is none.
    pub(super) fn load_sealed(&self, home: &Home, file: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let sealed = match read(home, file) {
            Err(StoreError::KeysMissing { .. }) => return Ok(None),
            sealed => sealed?,
        };
        let damaged = |_| StoreError::KeysDamaged { path: home.keys().join(file) };
        self.master.open(place(file).as_bytes(), &sealed).map(|plain| Some(Zeroizing::new(plain))).map_err(damaged)
    }
}

/// Reads renewals; a last one that does not lead to `here` was never finished.
fn renewals(text: &[u8], here: InstanceId) -> Option<Vec<Verified>> {
    let signed: Vec<SignedStatement> = serde_json::from_slice(text).ok()?;
    let mut renewals = signed.iter().map(SignedStatement::verify).collect::<Result<Vec<_>, _>>().ok()?;
    let leads_here =
        |renewal: &Verified| matches!(&renewal.statement, Statement::Renewal { to, .. } if to.instance() == here);
    while renewals.last().is_some_and(|last| !leads_here(last)) {
        renewals.pop();
    }
    Some(renewals)
}

fn place(file: &str) -> String {
    format!("key/{file}")
}

/// Whether opening a home's keys takes a passphrase.
pub(super) fn needs_passphrase(home: &Home) -> Result<bool, StoreError> {
    Ok(read(home, "master")?.len() != 32)
}

fn master_file(master: &MasterKey, passphrase: Option<&Passphrase>) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let Some(passphrase) = passphrase else {
        return Ok(Zeroizing::new(master.secret().expose().to_vec()));
    };
    if passphrase.expose().is_empty() {
        return Err(StoreError::EmptyPassphrase);
    }
    let rng = &mut entropy();
    let params = PassphraseParams::recommended(rng);
    let stretched = params.stretch(passphrase.expose()).expect("the recommended parameters are within bounds");
    let sealed = MasterKey::new(stretched).seal(rng, b"key/master", master.secret().expose());
    let file =
        MasterFile { format: FORMAT.to_owned(), passphrase: params, sealed: data_encoding::BASE64.encode(&sealed) };
    Ok(Zeroizing::new(serde_json::to_vec(&file).expect("parameters are JSON")))
}

fn open_master(home: &Home, passphrase: Option<&Passphrase>) -> Result<MasterKey, StoreError> {
    let damaged = || StoreError::KeysDamaged { path: home.keys().join("master") };
    let bytes = read(home, "master")?;
    if let Some(key) = Secret::from_slice(&bytes) {
        return Ok(MasterKey::new(key));
    }
    let file: MasterFile = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    if file.format != FORMAT {
        return Err(StoreError::NewerHome { path: home.root().to_owned(), found: file.format });
    }
    let passphrase = passphrase.ok_or(StoreError::PassphraseNeeded)?;
    let stretched = file.passphrase.stretch(passphrase.expose()).map_err(|_| damaged())?;
    let sealed = data_encoding::BASE64.decode(file.sealed.as_bytes()).map_err(|_| damaged())?;
    let plain = MasterKey::new(stretched)
        .open(b"key/master", &sealed)
        .map(Zeroizing::new)
        .map_err(|_| StoreError::WrongPassphrase)?;
    Secret::from_slice(&plain).map(MasterKey::new).ok_or_else(damaged)
}

fn write(home: &Home, file: &str, bytes: &[u8]) -> Result<(), StoreError> {
    let path = home.keys().join(file);
    files::write_atomically(&path, bytes, 0o600).map_err(|cause| StoreError::io("write", &path, cause))
}

fn read(home: &Home, file: &str) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let path = home.keys().join(file);
    check_permissions(&path)?;
    let bytes = files::read_bounded(&path, MAX_BYTES).map_err(|cause| StoreError::io("read", &path, cause))?;
    bytes.map(Zeroizing::new).ok_or(StoreError::KeysDamaged { path })
}

/// Refuses what anybody but the owner can reach.
fn check_permissions(path: &Path) -> Result<(), StoreError> {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(StoreError::KeysMissing { path: path.to_owned() });
        }
        Err(cause) => return Err(StoreError::io("look at", path, cause)),
    };
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let wanted = if metadata.is_dir() { "700" } else { "600" };
    Err(StoreError::KeysReadable { path: path.to_owned(), mode, wanted })
}
