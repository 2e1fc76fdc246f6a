//! Fields that an application has sealed: whether a secret opens them.
//!
//! AES-256-GCM with an IV of 16 bytes, for which the counter begins with a hash of the IV (NIST SP 800-38D §7.1); the usual libraries take
//! 12 bytes only. Only the tag is computed: the plain text is nobody's business.

use std::num::NonZeroU32;

use aws_lc_rs::cipher::{AES_256, EncryptingKey, UnboundCipherKey};
use aws_lc_rs::pbkdf2;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::domain::preset::SealedAs;

const ROUNDS: NonZeroU32 = NonZeroU32::new(100_000).expect("it is not zero");

/// A sealed field.
#[derive(Debug)]
pub struct Fields {
    ciphertext: Vec<u8>,
    iv: [u8; 16],
    tag: [u8; 16],
}

impl Fields {
    /// From `ciphertext`, `iv` and `authTag` in hex; none if that is not what is there.
    pub fn of(value: &Value) -> Option<Self> {
        let hex = |name: &str| data_encoding::HEXLOWER_PERMISSIVE.decode(value.get(name)?.as_str()?.as_bytes()).ok();
        Some(Self {
            ciphertext: hex("ciphertext")?,
            iv: hex("iv")?.try_into().ok()?,
            tag: hex("authTag")?.try_into().ok()?,
        })
    }
}

/// Keys that were derived: that takes a tenth of a second each.
#[derive(Default)]
pub struct Keys(Vec<Derived>);

struct Derived {
    password: String,
    secret: Zeroizing<String>,
    key: Zeroizing<[u8; 32]>,
}

impl Keys {
    /// Whether the field opens.
    pub fn opens(&mut self, cipher: SealedAs, fields: &Fields, password: &str, secret: &str) -> bool {
        let SealedAs::Aes256GcmPbkdf2 = cipher;
        let known = self.0.iter().position(|known| known.password == password && *known.secret == secret);
        let at = known.unwrap_or_else(|| {
            let mut key = Zeroizing::new([0; 32]);
            pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, secret.as_bytes(), password.as_bytes(), &mut *key);
            self.0.push(Derived { password: password.to_owned(), secret: Zeroizing::new(secret.to_owned()), key });
            self.0.len() - 1
        });
        tag(&self.0[at].key, fields)
            .is_some_and(|tag| aws_lc_rs::constant_time::verify_slices_are_equal(&tag, &fields.tag).is_ok())
    }
}

/// The tag that belongs to a ciphertext.
fn tag(key: &[u8; 32], fields: &Fields) -> Option<[u8; 16]> {
    let cipher = EncryptingKey::ecb(UnboundCipherKey::new(&AES_256, key).ok()?).ok()?;
    let block = |mut block: [u8; 16]| {
        cipher.encrypt(&mut block).ok()?;
        Some(block)
    };
    let hash_key = u128::from_be_bytes(block([0; 16])?);
    let mut first = Ghash { key: hash_key, sum: 0 };
    first.blocks(&fields.iv);
    first.block(8 * fields.iv.len() as u128);
    let mut sum = Ghash { key: hash_key, sum: 0 };
    sum.blocks(&fields.ciphertext);
    sum.block(8 * fields.ciphertext.len() as u128);
    let mask = u128::from_be_bytes(block(first.sum.to_be_bytes())?);
    Some((sum.sum ^ mask).to_be_bytes())
}

/// GHASH (NIST SP 800-38D §6.4).
struct Ghash {
    key: u128,
    sum: u128,
}

impl Ghash {
    fn blocks(&mut self, bytes: &[u8]) {
        for part in bytes.chunks(16) {
            let mut block = [0; 16];
            block[..part.len()].copy_from_slice(part);
            self.block(u128::from_be_bytes(block));
        }
    }

    fn block(&mut self, block: u128) {
        let (y, mut z, mut v) = (self.sum ^ block, 0u128, self.key);
        for bit in (0..128).rev() {
            if y >> bit & 1 == 1 {
                z ^= v;
            }
            v = if v & 1 == 1 { (v >> 1) ^ (0xe1 << 120) } else { v >> 1 };
        }
        self.sum = z;
    }
}
