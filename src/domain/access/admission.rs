//! Everything that lets somebody in beside the home's own token, as one value: what is kept of tokens, and the login.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::password::PasswordHash;
use super::scope::Scopes;
use super::token::{Token, TokenDigest};
use super::totp::TotpSecret;
use crate::domain::peer::is_plain_name;

/// There are no more tokens than this.
pub const MAX_TOKENS: usize = 200;

/// What lets in. The default lets nobody in.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Admission {
    /// For browsers; none before a password was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub login: Option<Login>,
    /// Tokens, by name.
    #[serde(default)]
    pub tokens: Vec<KeptToken>,
}

/// What lets a person in.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Login {
    /// The password's.
    pub password: PasswordHash,
    /// When the password was set.
    pub set_at: Timestamp,
    /// Goes up with each change of the password and of codes; sessions of another one are over.
    pub version: u64,
    /// What makes one-time codes, if they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub totp: Option<TotpSecret>,
    /// The last step of which a code was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_step: Option<i64>,
}

impl Login {
    /// This very login: another one if the password or the codes are others, also after the file of it was lost or put back.
    pub fn mark(&self) -> [u8; 32] {
        let all = serde_json::to_vec(&(&self.password, self.set_at, self.version)).expect("there are no maps in it");
        blake3::derive_key("bulbil/login/1", &all)
    }
}

/// What is kept of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptToken {
    /// What it is called; one is called so.
    pub name: String,
    /// Its hash.
    pub digest: TokenDigest,
    /// What it is good for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is good no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The last day, UTC, on which it was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_on: Option<Date>,
}

/// Why something cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AdmissionError {
    /// That is no name.
    #[error("{0:?} is no name: use 1 to 64 letters, digits, '-', '_' and '.', not beginning with '-' or '.'")]
    BadName(String),
    /// Another token is called so.
    #[error("there is a token {0:?} already: revoke it first, or take another name")]
    NameTaken(String),
    /// No token is called so.
    #[error("there is no token {0:?}: 'bulbil token list' shows what there is")]
    NoSuchToken(String),
    /// There are too many.
    #[error("there are {MAX_TOKENS} tokens already: revoke those that nobody uses")]
    TooManyTokens,
    /// It would be over before it begins.
    #[error("the token would have expired already")]
    Expired,
    /// There is no password.
    #[error("there is no password yet: set one with 'bulbil password set'")]
    NoPassword,
    /// There is a password.
    #[error("a password is set already: change it with 'bulbil password set'")]
    PasswordThere,
}

impl KeptToken {
    /// Whether it is good at this moment.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end > now)
    }
}

impl Admission {
    /// Keeps a token.
    ///
    /// # Errors
    /// [`AdmissionError`].
    pub fn add_token(
        &mut self,
        name: &str,
        token: &Token,
        scopes: Scopes,
        expires_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<KeptToken, AdmissionError> {
        if !is_plain_name(name) {
            return Err(AdmissionError::BadName(name.to_owned()));
        }
        if self.tokens.iter().any(|known| known.name == name) {
            return Err(AdmissionError::NameTaken(name.to_owned()));
        }
        if self.tokens.len() >= MAX_TOKENS {
            return Err(AdmissionError::TooManyTokens);
        }
        let digest = token.digest();
        let kept = KeptToken { name: name.to_owned(), digest, scopes, created_at: now, expires_at, last_used_on: None };
        if !kept.is_good(now) {
            return Err(AdmissionError::Expired);
        }
        self.tokens.push(kept.clone());
        self.tokens.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(kept)
    }

    /// Forgets a token: it is good for nothing from now on.
    ///
    /// # Errors
    /// [`AdmissionError::NoSuchToken`].
    pub fn revoke_token(&mut self, name: &str) -> Result<(), AdmissionError> {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.name != name);
        if self.tokens.len() == before { Err(AdmissionError::NoSuchToken(name.to_owned())) } else { Ok(()) }
    }

    /// What is kept of a token that is good at this moment.
    pub fn token(&self, shown: &Token, now: Timestamp) -> Option<&KeptToken> {
        let digest = shown.digest();
        // All of them are compared, whichever fits.
        let found =
            self.tokens.iter().fold(None, |found, kept| if kept.digest.equals(&digest) { Some(kept) } else { found });
        found.filter(|kept| kept.is_good(now))
    }

    /// Notes that a token was shown on this day; whether that was not known.
    pub fn note_use(&mut self, name: &str, now: Timestamp) -> bool {
        let today = day(now);
        match self.tokens.iter_mut().find(|token| token.name == name) {
            Some(token) if token.last_used_on != Some(today) => {
                token.last_used_on = Some(today);
                true
            }
            _ => false,
        }
    }

    /// Sets the password. What makes codes stays.
    pub fn set_password(&mut self, password: PasswordHash, now: Timestamp) -> &Login {
        let before = self.login.take();
        let version = before.as_ref().map_or(1, |login| login.version + 1);
        let (totp, used_step) = before.map_or((None, None), |login| (login.totp, login.used_step));
        self.login.insert(Login { password, set_at: now, version, totp, used_step })
    }

    /// Asks for codes from now on, or no more; `step` is that of the code that was typed to confirm it.
    ///
    /// # Errors
    /// [`AdmissionError::NoPassword`].
    pub fn set_totp(&mut self, totp: Option<(TotpSecret, i64)>) -> Result<(), AdmissionError> {
        let login = self.login.as_mut().ok_or(AdmissionError::NoPassword)?;
        login.version += 1;
        (login.totp, login.used_step) = totp.map_or((None, None), |(secret, step)| (Some(secret), Some(step)));
        Ok(())
    }

    /// Uses up a code, if one is asked for; whether it was good.
    pub fn use_code(&mut self, typed: &str, now: Timestamp) -> bool {
        let Some(login) = &mut self.login else { return false };
        let Some(totp) = &login.totp else { return true };
        let step = totp.step_of(typed, now, login.used_step);
        login.used_step = step.or(login.used_step);
        step.is_some()
    }
}

/// The day in which a moment lies, UTC.
pub fn day(now: Timestamp) -> Date {
    now.to_zoned(TimeZone::UTC).date()
}

#[cfg(test)]
mod tests {
    use super::super::{Cost, Scope, totp};
    use super::*;
    use crate::store::entropy;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_token_is_good_until_it_expires_or_is_revoked() {
        let (mut admission, token) = (Admission::default(), Token::random(&mut entropy()));
        admission.add_token("grafana", &token, Scope::Metrics.into(), Some(at(100)), at(0)).unwrap();
        assert_eq!(admission.token(&token, at(99)).map(|kept| kept.name.as_str()), Some("grafana"));
        assert!(admission.token(&token, at(100)).is_none());
        assert!(admission.token(&Token::random(&mut entropy()), at(99)).is_none());
        let again = admission.add_token("grafana", &token, Scope::Metrics.into(), None, at(0));
        assert_eq!(again.map(|kept| kept.name), Err(AdmissionError::NameTaken("grafana".into())));
        let over = admission.add_token("b", &token, Scope::Metrics.into(), Some(at(0)), at(0));
        assert_eq!(over.map(|kept| kept.name), Err(AdmissionError::Expired));
        assert!(admission.note_use("grafana", at(5)) && !admission.note_use("grafana", at(50)));
        assert!(admission.note_use("grafana", at(86_400)), "another day");
        let mut read: Admission = serde_json::from_str(&serde_json::to_string(&admission).unwrap()).unwrap();
        assert!(read.token(&token, at(99)).is_some());
        read.revoke_token("grafana").unwrap();
        assert!(read.token(&token, at(99)).is_none());
        assert_eq!(read.revoke_token("grafana"), Err(AdmissionError::NoSuchToken("grafana".into())));
    }

    #[test]
    fn a_code_is_asked_for_once_it_was_confirmed_and_each_is_good_once() {
        let mut admission = Admission::default();
        let secret = || TotpSecret::try_from("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ".to_owned()).unwrap();
        assert_eq!(admission.set_totp(Some((secret(), 1))), Err(AdmissionError::NoPassword));
        assert!(!admission.use_code("", at(3000)), "without a password nobody comes in");
        let hash = |text: &str| PasswordHash::new(text, Cost::LITTLE, &mut entropy()).unwrap();
        admission.set_password(hash("correct horse battery"), at(0));
        assert!(admission.use_code("", at(3000)));
        let now = at(3000);
        let step = totp::step(now);
        admission.set_totp(Some((secret(), step))).unwrap();
        let (this, next) = (secret().code(step), secret().code(step + 1));
        assert!(!admission.use_code(&this, now), "it was used to confirm");
        assert!(!admission.use_code("", now));
        assert!(admission.use_code(&next, now) && !admission.use_code(&next, now));
        let before = admission.login.as_ref().unwrap().version;
        admission.set_password(hash("another horse battery"), now);
        assert!(admission.login.as_ref().unwrap().version > before);
        assert!(!admission.use_code("", now), "codes are still asked for");
        admission.set_totp(None).unwrap();
        assert!(admission.use_code("", now));
    }
}
