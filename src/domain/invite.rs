//! Invites: one line that lets another instance in.
//!
//! `bulbil:` ‖ base32 (RFC 4648, lower case, no padding) of JSON ‖ 4 bytes of SHA-256. The line carries a one-time secret; the
//! secret itself is never sent: both sides prove that they know it, bound to both instance ids, so that whoever stands
//! between them can neither use nor redirect it.

use data_encoding::BASE32_NOPAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::crypto::secret::Secret;
use super::id::{InstanceId, InviteId};
use super::peer::{PeerAddress, Role};

const PREFIX: &str = "bulbil:";
const CHECK_LEN: usize = 4;
/// No invite is longer, in characters.
pub const MAX_LEN: usize = 2048;

/// What the inviting instance keeps and the line carries: 32 random bytes.
#[derive(Debug)]
pub struct InviteSecret(Secret<32>);

/// What the line says.
#[derive(Debug)]
pub struct Invite {
    /// Which invite.
    pub id: InviteId,
    /// Where the inviting instance is.
    pub address: PeerAddress,
    /// Who it is.
    pub instance: InstanceId,
    /// The one-time secret.
    pub secret: InviteSecret,
    /// After this moment it is worth nothing.
    pub expires_at: Timestamp,
    /// What it grants, for people to read; what counts is kept by the inviting instance.
    pub role: Role,
}

/// What is wrong with the text of an invite.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InviteError {
    /// It does not begin as one.
    #[error("an invite begins with {PREFIX}; this text does not. Ask for the whole line that 'bulbil invite' printed")]
    NotAnInvite,
    /// Characters are missing or wrong.
    #[error("the invite is damaged: a part of the line is missing or changed. Copy it again, whole")]
    Damaged,
    /// Of a version to come.
    #[error("the invite is of a later version: use a newer bulbil")]
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    v: u32,
    n: InviteId,
    a: PeerAddress,
    i: InstanceId,
    s: String,
    e: i64,
    r: Role,
}

impl InviteSecret {
    /// Draws a fresh secret.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        Self(Secret::random(rng))
    }

    /// Takes over a secret that was kept in a sealed place.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        Secret::from_slice(bytes).map(Self)
    }

    /// The secret bytes, to be kept in a sealed place.
    pub fn secret(&self) -> &Secret<32> {
        &self.0
    }

    /// What the joining instance shows: keyed BLAKE3 over its purpose and both instance ids.
    pub fn joining_proof(&self, inviter: &InstanceId, joiner: &InstanceId) -> [u8; 32] {
        self.proof("bulbil/invite/1/join", inviter, joiner)
    }

    /// What the inviting instance shows in return.
    pub fn inviting_proof(&self, inviter: &InstanceId, joiner: &InstanceId) -> [u8; 32] {
        self.proof("bulbil/invite/1/host", inviter, joiner)
    }

    fn proof(&self, purpose: &str, inviter: &InstanceId, joiner: &InstanceId) -> [u8; 32] {
        let message = [purpose.as_bytes(), b"\0", inviter.as_bytes(), joiner.as_bytes()].concat();
        *blake3::keyed_hash(self.0.expose(), &message).as_bytes()
    }
}

impl Invite {
    /// The line.
    pub fn to_text(&self) -> String {
        let wire = Wire {
            v: 1,
            n: self.id,
            a: self.address.clone(),
            i: self.instance,
            s: data_encoding::HEXLOWER.encode(self.secret.0.expose()),
            e: self.expires_at.as_second(),
            r: self.role,
        };
        let mut bytes = serde_json::to_vec(&wire).expect("an invite has no maps with odd keys");
        let check = Sha256::digest(&bytes);
        bytes.extend_from_slice(&check[..CHECK_LEN]);
        format!("{PREFIX}{}", BASE32_NOPAD.encode(&bytes).to_lowercase())
    }

    /// Reads a line; upper case (as in QR codes) and surrounding white space do no harm.
    ///
    /// # Errors
    /// [`InviteError`].
    pub fn parse(text: &str) -> Result<Self, InviteError> {
        let text = text.trim().to_lowercase();
        let digits = text.strip_prefix(PREFIX).ok_or(InviteError::NotAnInvite)?;
        if digits.len() > MAX_LEN {
            return Err(InviteError::Damaged);
        }
        let bytes = BASE32_NOPAD.decode(digits.to_uppercase().as_bytes()).map_err(|_| InviteError::Damaged)?;
        let json = bytes.len().checked_sub(CHECK_LEN).map(|at| bytes.split_at(at)).ok_or(InviteError::Damaged)?;
        if Sha256::digest(json.0)[..CHECK_LEN] != *json.1 {
            return Err(InviteError::Damaged);
        }
        let wire: Wire = serde_json::from_slice(json.0).map_err(|_| InviteError::Unknown)?;
        if wire.v != 1 {
            return Err(InviteError::Unknown);
        }
        let secret = data_encoding::HEXLOWER.decode(wire.s.as_bytes()).map_err(|_| InviteError::Damaged)?;
        Ok(Self {
            id: wire.n,
            address: wire.a,
            instance: wire.i,
            secret: InviteSecret::from_slice(&secret).ok_or(InviteError::Damaged)?,
            expires_at: Timestamp::from_second(wire.e).map_err(|_| InviteError::Damaged)?,
            role: wire.r,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invite() -> Invite {
        Invite {
            id: InviteId::from_slice(&[1; 16]).unwrap(),
            address: "http://127.0.0.1:7001".parse().unwrap(),
            instance: InstanceId::from_slice(&[2; 32]).unwrap(),
            secret: InviteSecret::from_slice(&[3; 32]).unwrap(),
            expires_at: "2026-11-23T00:00:00Z".parse().unwrap(),
            role: Role::Reader,
        }
    }

    #[test]
    fn a_line_round_trips_also_in_upper_case() {
        let text = invite().to_text();
        assert_eq!(Invite::parse(&format!(" {}\n", text.to_uppercase())).unwrap().to_text(), text);
    }

    #[test]
    fn a_line_that_lost_or_changed_a_character_is_refused() {
        let text = invite().to_text();
        for at in PREFIX.len()..text.len() {
            let shorter = &text[..at];
            assert!(Invite::parse(shorter).is_err(), "cut at {at}");
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let changed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            // The last digit carries bits that base32 does not use; everything else is checked.
            if let Ok(read) = Invite::parse(&changed) {
                assert_eq!(read.to_text(), text);
            }
        }
        assert_eq!(Invite::parse("hello").err(), Some(InviteError::NotAnInvite));
    }

    #[test]
    fn a_proof_is_bound_to_both_instances_and_to_the_direction() {
        let (a, b) = (InstanceId::from_slice(&[4; 32]).unwrap(), InstanceId::from_slice(&[5; 32]).unwrap());
        let secret = InviteSecret::from_slice(&[3; 32]).unwrap();
        let proofs = [secret.joining_proof(&a, &b), secret.joining_proof(&b, &a), secret.inviting_proof(&a, &b)];
        assert!(proofs[0] != proofs[1] && proofs[0] != proofs[2] && proofs[1] != proofs[2]);
    }
}
