//! The password: a floor for what is taken, and its hash.

use argon2::password_hash::phc;
use argon2::{Algorithm, Argon2, CustomizedPasswordHasher, Params, PasswordVerifier, Version};
use serde::{Deserialize, Serialize};

/// A shorter one is not taken.
pub const MIN_CHARS: usize = 12;
/// A longer one is not taken, in bytes: hashing it would take long.
const MAX_BYTES: usize = 1024;
const SALT_BYTES: usize = 16;
/// More memory than this is not taken for a hash that is read, in KiB.
const MAX_MEMORY_KIB: u32 = 1 << 20;
const MAX_PASSES: u32 = 64;

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short.
    #[error(
        "the password is too short: take at least {MIN_CHARS} characters; four or five words are easy to keep in mind"
    )]
    TooShort,
    /// It is too long.
    #[error("the password is too long: take at most {MAX_BYTES} bytes")]
    TooLong,
    /// It is a number.
    #[error("the password has only digits: take letters or words, too")]
    OnlyDigits,
    /// It repeats itself.
    #[error("the password has fewer than five different characters: take one that is harder to guess")]
    Monotonous,
}

/// What hashing takes: Argon2id, version 0x13, one lane.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    memory_kib: u32,
    passes: u32,
}

impl Cost {
    /// 64 MiB and 3 passes, as RFC 9106's second recommended set, on one lane: a few tenths of a second.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 << 10, passes: 3 };
    /// For tests, where nobody guesses.
    #[cfg(test)]
    pub const LITTLE: Self = Self { memory_kib: 8, passes: 1 };
}

/// A password's hash as a PHC string (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`). Not shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a password; takes as long as `cost` says, and its memory. `rng` must be cryptographic.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn new(password: &str, cost: Cost, rng: &mut dyn rand_core::CryptoRng) -> Result<Self, PasswordError> {
        check(password)?;
        let mut salt = [0; SALT_BYTES];
        rng.fill_bytes(&mut salt);
        let params = Params::new(cost.memory_kib, cost.passes, 1, None).expect("these are within Argon2's bounds");
        let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
        let hash = argon.hash_password_with_params(password.as_bytes(), &salt, params);
        Ok(Self(hash.expect("salt and length are within Argon2's bounds").to_string()))
    }

    /// Whether it is the password's; takes as long as making it did.
    pub fn is_of(&self, password: &str) -> bool {
        if password.len() > MAX_BYTES {
            return false;
        }
        let Ok(hash) = phc::PasswordHash::new(&self.0) else { return false };
        Argon2::default().verify_password(password.as_bytes(), &hash).is_ok()
    }
}

fn check(password: &str) -> Result<(), PasswordError> {
    let different: std::collections::BTreeSet<char> = password.chars().collect();
    match password {
        _ if password.chars().count() < MIN_CHARS => Err(PasswordError::TooShort),
        _ if password.len() > MAX_BYTES => Err(PasswordError::TooLong),
        _ if password.chars().all(|c| c.is_ascii_digit()) => Err(PasswordError::OnlyDigits),
        _ if different.len() < 5 => Err(PasswordError::Monotonous),
        _ => Ok(()),
    }
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl From<PasswordHash> for String {
    fn from(hash: PasswordHash) -> Self {
        hash.0
    }
}

impl TryFrom<String> for PasswordHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let params = phc::PasswordHash::new(&text).ok().and_then(|hash| Params::try_from(&hash).ok());
        match params {
            Some(params) if params.m_cost() <= MAX_MEMORY_KIB && params.t_cost() <= MAX_PASSES => Ok(Self(text)),
            _ => Err("a PHC string of Argon2 is expected"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::entropy;

    #[test]
    fn a_hash_knows_its_password() {
        let hash = PasswordHash::new("correct horse battery", Cost::LITTLE, &mut entropy()).unwrap();
        assert!(hash.is_of("correct horse battery"));
        assert!(!hash.is_of("correct horse batterz") && !hash.is_of(""));
        let text = String::from(hash.clone());
        assert!(text.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{text}");
        assert_eq!(PasswordHash::try_from(text), Ok(hash));
        assert!(
            PasswordHash::try_from("$argon2id$v=19$m=4000000000,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo".to_owned())
                .is_err()
        );
        assert!(PasswordHash::try_from("correct horse battery".to_owned()).is_err());
    }

    #[test]
    fn what_is_easily_guessed_is_not_taken() {
        let taken = |text: &str| PasswordHash::new(text, Cost::LITTLE, &mut entropy()).map(drop);
        assert_eq!(taken("short words"), Err(PasswordError::TooShort));
        assert_eq!(taken("123456789012345"), Err(PasswordError::OnlyDigits));
        assert_eq!(taken("abababababababab"), Err(PasswordError::Monotonous));
        assert_eq!(taken(&"word ".repeat(300)), Err(PasswordError::TooLong));
        assert_eq!(taken("zwölf Zeichen"), Ok(()));
    }
}
