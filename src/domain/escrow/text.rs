//! A secret as text: what stands on paper, and in QR codes.
//!
//! `BULBIL-SECRET-1:` ‖ check ‖ `:1/2:` ‖ digits ‖ `.`, all of them characters that a QR code packs densely. Several codes, if it is long.

use std::collections::BTreeMap;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::super::crypto::recovery::crockford;
use super::super::envelope::{Envelope, HPKE_X25519};
use super::super::id::CollectionId;
use super::{EscrowDocument, EscrowError, EscrowedSecret, Fingerprint, SecretForm};
use crate::domain::peer::is_plain_name;

const PREFIX: &str = "BULBIL-SECRET-1:";
/// So many digits stand in one code: a phone still reads it from paper. Mostly one is enough.
const DIGITS: usize = 440;
/// A wrapped key of HPKE: 32 bytes of encapsulated key, 32 of key, 16 of tag.
const WRAPPED: usize = 80;
/// Bytes of the check: eight digits.
const CHECK: usize = 5;

/// A secret as it stands on paper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paper {
    /// Of which collection.
    pub collection: CollectionId,
    /// The secret, with what the recovery key opens.
    pub secret: EscrowedSecret,
}

/// The codes of each secret that is in use, for this recovery key's public half.
pub fn papers<'a>(document: &'a EscrowDocument, recipient: &str) -> Vec<(&'a EscrowedSecret, Vec<String>)> {
    let current = document.names().into_iter().filter_map(|name| document.current(name));
    current.filter_map(|secret| Some((secret, codes(&document.collection, secret, recipient)?))).collect()
}

fn codes(collection: &CollectionId, secret: &EscrowedSecret, recipient: &str) -> Option<Vec<String>> {
    let ours = |envelope: &&Envelope| envelope.algorithm == HPKE_X25519 && envelope.recipient == recipient;
    let wrapped = secret.envelopes.iter().find(ours)?.bytes().ok().filter(|wrapped| wrapped.len() == WRAPPED)?;
    let mut bytes = collection.as_bytes().to_vec();
    bytes.push(match secret.form {
        SecretForm::Variable => 0,
        SecretForm::File => 1,
    });
    bytes.extend_from_slice(&secret.fingerprint.0);
    bytes.extend_from_slice(&secret.since.as_second().to_be_bytes());
    bytes.push(u8::try_from(secret.name.len()).ok()?);
    bytes.extend_from_slice(secret.name.as_bytes());
    bytes.extend_from_slice(&wrapped);
    bytes.extend(data_encoding::BASE64.decode(secret.sealed.as_bytes()).ok()?);
    let (digits, check) = (crockford().encode(&bytes), check(&bytes));
    let parts: Vec<&[u8]> = digits.as_bytes().chunks(DIGITS).collect();
    let of = parts.len();
    let code = |(at, part): (usize, &&[u8])| {
        let part = std::str::from_utf8(part).expect("digits are ASCII");
        format!("{PREFIX}{check}:{}/{of}:{part}.", at + 1)
    };
    Some(parts.iter().enumerate().map(code).collect())
}

/// Reads what was scanned or typed: codes in any order, white space and dashes anywhere in them, other text around them.
///
/// # Errors
/// [`EscrowError::NotOne`] if there is no code in it, [`EscrowError::Mistyped`], [`EscrowError::Incomplete`].
pub fn read_papers(text: &str) -> Result<Vec<Paper>, EscrowError> {
    // Upper case, and nothing between: the prefix itself may be broken over two lines.
    let plain: String = text.chars().filter(|c| !c.is_whitespace()).collect::<String>().to_uppercase();
    let mut found: BTreeMap<String, (usize, BTreeMap<usize, String>)> = BTreeMap::new();
    for code in plain.split(PREFIX).skip(1) {
        let code = code.split('.').next().unwrap_or(code);
        let mut fields = code.splitn(3, ':');
        let (Some(check), Some(number), Some(digits)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(EscrowError::Mistyped);
        };
        let number = number.split_once('/').and_then(|(at, of)| Some((at.parse().ok()?, of.parse().ok()?)));
        let (at, of): (usize, usize) = number.ok_or(EscrowError::Mistyped)?;
        let check = check.replace('O', "0").replace(['I', 'L'], "1");
        let (known, parts) = found.entry(check).or_insert_with(|| (of, BTreeMap::new()));
        if *known != of || !(1..=of).contains(&at) {
            return Err(EscrowError::Mistyped);
        }
        parts.insert(at, digits.replace('-', ""));
    }
    if found.is_empty() {
        return Err(EscrowError::NotOne);
    }
    found.into_iter().map(|(check, (of, parts))| read(&check, of, &parts)).collect()
}

fn read(expected: &str, of: usize, parts: &BTreeMap<usize, String>) -> Result<Paper, EscrowError> {
    if parts.len() < of {
        return Err(EscrowError::Incomplete { there: parts.len(), of });
    }
    let digits: String = parts.values().map(String::as_str).collect();
    let bytes = crockford().decode(digits.as_bytes()).map_err(|_| EscrowError::Mistyped)?;
    if check(&bytes) != expected {
        return Err(EscrowError::Mistyped);
    }
    parse(&bytes).ok_or(EscrowError::NotOne)
}

fn parse(bytes: &[u8]) -> Option<Paper> {
    let (collection, rest) = bytes.split_at_checked(16)?;
    let (form, rest) = rest.split_first()?;
    let (fingerprint, rest) = rest.split_first_chunk::<20>()?;
    let (since, rest) = rest.split_first_chunk::<8>()?;
    let (len, rest) = rest.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*len))?;
    let (wrapped, sealed) = rest.split_at_checked(WRAPPED)?;
    let name = std::str::from_utf8(name).ok().filter(|name| is_plain_name(name))?;
    let secret = EscrowedSecret {
        name: name.to_owned(),
        form: match form {
            0 => SecretForm::Variable,
            1 => SecretForm::File,
            _ => return None,
        },
        fingerprint: Fingerprint(*fingerprint),
        since: Timestamp::from_second(i64::from_be_bytes(*since)).ok()?,
        envelopes: vec![Envelope::new(HPKE_X25519, String::new(), wrapped)],
        sealed: data_encoding::BASE64.encode(sealed),
    };
    Some(Paper { collection: CollectionId::from_slice(collection).ok()?, secret })
}

fn check(bytes: &[u8]) -> String {
    let digest = Sha256::new().chain_update(b"bulbil/secret/1").chain_update(bytes).finalize();
    crockford().encode(&digest[..CHECK])
}
