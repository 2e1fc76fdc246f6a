//! One-time codes as every authenticator app makes them: RFC 6238 with SHA-1, steps of 30 seconds and six digits.
//!
//! SHA-1 is broken for signatures, not within an HMAC, and apps know nothing else for sure.

use aws_lc_rs::hmac;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

const STEP_SECONDS: i64 = 30;
const DIGITS: usize = 6;
/// As long as what RFC 4226 §4 recommends, in bytes.
const BYTES: usize = 20;
/// A phone's clock may be so many steps off.
const SLACK: i64 = 1;

/// What an app and this instance both know. As text: base32, as it is typed into apps. Wiped when dropped.
#[derive(Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TotpSecret([u8; BYTES]);

impl TotpSecret {
    /// Draws one. `rng` must be cryptographic.
    pub fn random(rng: &mut dyn rand_core::CryptoRng) -> Self {
        let mut bytes = [0; BYTES];
        rng.fill_bytes(&mut bytes);
        Self(bytes)
    }

    /// The text that is typed into an app.
    pub fn reveal(&self) -> Zeroizing<String> {
        Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&self.0))
    }

    /// The address that apps read from a QR code. `account` is shown beside the codes: letters, digits, `-`, `_` and `.`.
    pub fn uri(&self, account: &str) -> Zeroizing<String> {
        let secret = self.reveal();
        let rest = format!("issuer=Bulbil&algorithm=SHA1&digits={DIGITS}&period={STEP_SECONDS}");
        Zeroizing::new(format!("otpauth://totp/Bulbil:{account}?secret={}&{rest}", *secret))
    }

    /// The code of a step.
    pub fn code(&self, step: i64) -> Zeroizing<String> {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag[tag.len() - 1] & 0x0f);
        let word = u32::from_be_bytes(tag[at..at + 4].try_into().expect("an HMAC-SHA1 has 20 bytes"));
        Zeroizing::new(format!("{:06}", (word & 0x7fff_ffff) % 1_000_000))
    }

    /// The step for which `typed` is the code, around `now`, later than `used`. Blanks in it are passed over.
    pub fn step_of(&self, typed: &str, now: Timestamp, used: Option<i64>) -> Option<i64> {
        let typed: Zeroizing<String> = Zeroizing::new(typed.chars().filter(|c| !c.is_whitespace()).collect());
        let here = step(now);
        let steps = (here - SLACK..=here + SLACK).filter(|step| used.is_none_or(|used| *step > used));
        // All of them are compared, whichever fits.
        steps.fold(None, |found, step| {
            let fits: bool = self.code(step).as_bytes().ct_eq(typed.as_bytes()).into();
            if fits { Some(step) } else { found }
        })
    }
}

/// The step in which a moment lies.
pub fn step(now: Timestamp) -> i64 {
    now.as_second().div_euclid(STEP_SECONDS)
}

impl Drop for TotpSecret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl Clone for TotpSecret {
    fn clone(&self) -> Self {
        Self(self.0)
    }
}

impl std::fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TotpSecret(…)")
    }
}

impl From<TotpSecret> for String {
    fn from(secret: TotpSecret) -> Self {
        secret.reveal().to_string()
    }
}

impl TryFrom<String> for TotpSecret {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let text = Zeroizing::new(text);
        let bytes = data_encoding::BASE32_NOPAD.decode(text.as_bytes()).map(Zeroizing::new);
        bytes
            .ok()
            .and_then(|bytes| bytes.as_slice().try_into().ok())
            .map(Self)
            .ok_or("32 characters of base32 are expected")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        let secret = TotpSecret(*b"12345678901234567890");
        let codes = [59, 1_111_111_109, 1_111_111_111, 1_234_567_890, 2_000_000_000, 20_000_000_000];
        let codes = codes.map(|second| secret.code(step(at(second))).to_string());
        // Appendix B has eight digits; six are the last of them.
        assert_eq!(codes, ["287082", "081804", "050471", "005924", "279037", "353130"]);
        assert_eq!(*secret.reveal(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert!(
            secret
                .uri("alpha")
                .starts_with("otpauth://totp/Bulbil:alpha?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Bulbil")
        );
    }

    #[test]
    fn a_code_is_good_for_a_while_and_once() {
        let secret = TotpSecret([9; BYTES]);
        let (now, code) = (at(3000), secret.code(100).to_string());
        assert_eq!(secret.step_of(&code, now, None), Some(100));
        assert_eq!(secret.step_of(&format!(" {} {} ", &code[..3], &code[3..]), at(3059), None), Some(100));
        assert_eq!(secret.step_of(&code, at(2970), None), Some(100));
        assert_eq!(secret.step_of(&code, at(3060), None), None, "two steps are too many");
        assert_eq!(secret.step_of(&code, now, Some(100)), None, "it was used");
        assert_eq!(secret.step_of(&code, now, Some(99)), Some(100));
        assert_eq!(secret.step_of("", now, None), None);
        assert_eq!(secret.step_of(&code[..5], now, None), None);
    }
}
