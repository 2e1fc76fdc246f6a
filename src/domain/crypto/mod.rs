//! Cryptography, each primitive behind one type that makes its misuse hard to write.

pub mod aead; // AES-256-GCM with keys that seal once
pub mod discovery; // who can find a hidden onion service
pub mod hash; // BLAKE3: file hashes and keyed fragment hashes
pub mod kdf; // HKDF and Argon2id
pub mod keywrap; // RSA-OAEP envelopes
pub mod onion; // the private key of an onion address
pub mod recovery; // the recovery key: HPKE over X25519
pub mod secret; // bytes that print as … and wipe themselves
pub mod sign; // Ed25519
pub mod vault; // private things at rest under the master key
