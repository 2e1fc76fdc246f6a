//! RSASSA-PSS with SHA-256 and MGF1-SHA-256 (RFC 8017 §8.1.2, §9.1.2), verified whatever the salt's length.
//!
//! Axon's versions sign with different salt lengths, and our libraries verify one given length only; so the padding is
//! checked here. Only public values are touched.

use rsa::BigUint;
use rsa::traits::PublicKeyParts;
use sha2::{Digest, Sha256};

use super::key::PublicKey;

const HASH_LEN: usize = 32;

/// Whether `signature` is the key's signature of `message`.
pub fn verifies(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    let size = key.size_bytes();
    let number = BigUint::from_bytes_be(signature);
    if signature.len() != size || number >= *key.rsa().n() {
        return false;
    }
    let Ok(encoded) = rsa::hazmat::rsa_encrypt(key.rsa(), &number) else { return false };
    let bits = key.rsa().n().bits() - 1;
    let bytes = encoded.to_bytes_be();
    let len = bits.div_ceil(8);
    if bytes.len() > len {
        return false;
    }
    let mut padded = vec![0; len - bytes.len()];
    padded.extend_from_slice(&bytes);
    padding_holds(&padded, bits, message)
}

/// EMSA-PSS-VERIFY with the salt's length taken from the padding; `encoded` has `bits` bits.
fn padding_holds(encoded: &[u8], bits: usize, message: &[u8]) -> bool {
    let Some((masked, hash)) =
        encoded.strip_suffix(&[0xbc]).and_then(|rest| rest.split_at_checked(rest.len().checked_sub(HASH_LEN)?))
    else {
        return false;
    };
    let unused = 8 * encoded.len() - bits;
    let used_mask = 0xff_u8 >> unused;
    let Some(&first) = masked.first() else { return false };
    if first & !used_mask != 0 {
        return false;
    }
    let mut block: Vec<u8> = masked.iter().zip(mgf1(hash, masked.len())).map(|(a, b)| a ^ b).collect();
    block[0] &= used_mask;
    let Some(one) = block.iter().position(|byte| *byte != 0) else { return false };
    if block[one] != 1 {
        return false;
    }
    let expected = Sha256::new()
        .chain_update([0; 8])
        .chain_update(Sha256::digest(message))
        .chain_update(&block[one + 1..])
        .finalize();
    expected[..] == *hash
}

/// RFC 8017 §B.2.1 with SHA-256.
fn mgf1(seed: &[u8], len: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(len + HASH_LEN);
    let mut counter = 0_u32;
    while out.len() < len {
        out.extend_from_slice(&Sha256::new().chain_update(seed).chain_update(counter.to_be_bytes()).finalize());
        counter += 1;
    }
    out.truncate(len);
    out
}
