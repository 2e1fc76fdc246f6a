//! Sessions of browsers that logged in. They are in the server's memory alone: a restart ends them all.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use super::session::Session;
use crate::domain::access::Delay;
use crate::store::entropy;

/// A session that nobody uses ends after this.
const IDLE: SignedDuration = SignedDuration::from_mins(30);
/// Every session ends after this.
const ABSOLUTE: SignedDuration = SignedDuration::from_hours(12);
/// What is dangerous needs a password that was typed within this.
const FRESH: SignedDuration = SignedDuration::from_mins(10);
/// So many sessions at once; a further one ends the one that was idle for longest.
const MAX: usize = 32;
const ID_BYTES: usize = 32;

/// How a browser came in. A session is good on the way on which it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// On this machine.
    Loopback,
    /// Over the onion service.
    Onion,
}

/// By what a session is kept: BLAKE3 of its id, so that looking for one tells nothing about others.
pub(super) type Key = [u8; 32];

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    kept: HashMap<Key, Kept>,
}

#[derive(Debug)]
struct Kept {
    csrf: std::sync::Arc<str>,
    way: Way,
    /// Of the login that was right.
    login: [u8; 32],
    begun_at: Timestamp,
    seen_at: Timestamp,
    confirmed_at: Timestamp,
    delay: Delay,
    waiting: Option<Waiting>,
}

/// A form that was sent, and waits until the password was typed once more. A secret in it does not leave the server again.
struct Waiting {
    /// What the page that asks for the password shows, so that no other form goes on.
    ticket: Zeroizing<String>,
    /// Where it was sent.
    action: String,
    body: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Waiting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("action", &self.action).finish_non_exhaustive()
    }
}

impl Kept {
    fn is_over(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.begun_at);
        age >= ABSOLUTE || age < SignedDuration::ZERO || now.duration_since(self.seen_at) >= IDLE
    }
}

fn draw() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0u8; ID_BYTES]);
    rand_core::Rng::fill_bytes(&mut entropy(), &mut *bytes);
    Zeroizing::new(data_encoding::BASE64URL_NOPAD.encode(&*bytes))
}

fn key(id: &str) -> Key {
    blake3::derive_key("bulbil/session/1", id.as_bytes())
}

impl Sessions {
    /// Begins one; its id, which goes into a cookie.
    pub(super) fn begin(&mut self, way: Way, login: [u8; 32], now: Timestamp) -> Zeroizing<String> {
        self.kept.retain(|_, kept| !kept.is_over(now) && kept.login == login);
        if self.kept.len() >= MAX
            && let Some(idle) = self.kept.iter().min_by_key(|(_, kept)| kept.seen_at).map(|(key, _)| *key)
        {
            self.kept.remove(&idle);
        }
        let id = draw();
        let csrf = draw().as_str().into();
        let kept = Kept {
            csrf,
            way,
            login,
            begun_at: now,
            seen_at: now,
            confirmed_at: now,
            delay: Delay::default(),
            waiting: None,
        };
        self.kept.insert(key(&id), kept);
        id
    }

    /// The session of this id, which is used now; none if it is over, or of an older password.
    pub(super) fn find(&mut self, id: &str, way: Way, login: [u8; 32], now: Timestamp) -> Option<Session> {
        let key = key(id);
        let kept = self.kept.get_mut(&key)?;
        if kept.is_over(now) || kept.login != login {
            self.kept.remove(&key);
            return None;
        }
        if kept.way != way {
            return None;
        }
        kept.seen_at = now;
        let since = now.duration_since(kept.confirmed_at);
        Some(Session::new(key, std::sync::Arc::clone(&kept.csrf), since >= SignedDuration::ZERO && since < FRESH))
    }

    /// Counts an attempt to type the password again.
    pub(super) fn attempt(&mut self, key: &Key, now: Timestamp) -> Option<Result<(), std::time::Duration>> {
        Some(self.kept.get_mut(key)?.delay.attempt(now))
    }

    /// The password was typed again, and was right.
    pub(super) fn confirm(&mut self, key: &Key, now: Timestamp) {
        if let Some(kept) = self.kept.get_mut(key) {
            kept.confirmed_at = now;
            kept.delay.succeeded();
        }
    }

    /// Keeps a form until the password was typed, in place of one that a session may have sent before; its ticket.
    pub(super) fn keep_waiting(&mut self, key: &Key, action: &str, body: &[u8]) -> Option<Zeroizing<String>> {
        let (kept, ticket) = (self.kept.get_mut(key)?, draw());
        let body = Zeroizing::new(body.to_vec());
        kept.waiting = Some(Waiting { ticket: ticket.clone(), action: action.to_owned(), body });
        Some(ticket)
    }

    /// Whether a form waits that was sent there.
    pub(super) fn is_waiting(&self, key: &Key, action: &str, ticket: &str) -> bool {
        let waiting = self.kept.get(key).and_then(|kept| kept.waiting.as_ref());
        waiting.is_some_and(|form| form.action == action && *form.ticket == ticket)
    }

    /// The form that waits, once.
    pub(super) fn take_waiting(&mut self, key: &Key, action: &str, ticket: &str) -> Option<Zeroizing<Vec<u8>>> {
        if !self.is_waiting(key, action, ticket) {
            return None;
        }
        self.kept.get_mut(key)?.waiting.take().map(|form| form.body)
    }

    /// Whether one is there still, and good. It does not count as being used.
    pub(super) fn is_there(&self, key: &Key, login: [u8; 32], now: Timestamp) -> bool {
        self.kept.get(key).is_some_and(|kept| !kept.is_over(now) && kept.login == login)
    }

    /// Something that it began goes on: whether it is there still.
    pub(super) fn is_used(&mut self, key: &Key, login: [u8; 32], now: Timestamp) -> bool {
        let Some(kept) = self.kept.get_mut(key).filter(|kept| kept.login == login) else { return false };
        kept.seen_at = kept.seen_at.max(now);
        true
    }

    /// How many there are.
    pub(super) fn number(&self, now: Timestamp) -> usize {
        self.kept.values().filter(|kept| !kept.is_over(now)).count()
    }

    /// Ends all.
    pub(super) fn end_all(&mut self) {
        self.kept.clear();
    }

    /// Ends one.
    pub(super) fn end(&mut self, key: &Key) {
        self.kept.remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minutes: i64) -> Timestamp {
        Timestamp::from_second(minutes * 60).unwrap()
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it_and_after_half_a_day_whoever_does() {
        let mut sessions = Sessions::default();
        let id = sessions.begin(Way::Loopback, [1; 32], at(0));
        let mut find = |minutes| sessions.find(&id, Way::Loopback, [1; 32], at(minutes));
        assert!(find(0).unwrap().is_fresh());
        assert!(!find(10).unwrap().is_fresh());
        for minutes in (30..720).step_by(25) {
            assert!(find(minutes).is_some(), "{minutes}");
        }
        assert!(find(720).is_none());
        assert!(find(705).is_none(), "it is over for good");
        let id = sessions.begin(Way::Loopback, [1; 32], at(0));
        assert!(sessions.find(&id, Way::Loopback, [1; 32], at(30)).is_none());
    }

    #[test]
    fn a_session_is_good_on_its_way_and_for_its_password_and_there_are_not_too_many() {
        let mut sessions = Sessions::default();
        let id = sessions.begin(Way::Loopback, [1; 32], at(0));
        assert!(sessions.find(&id, Way::Onion, [1; 32], at(0)).is_none());
        assert!(sessions.find("", Way::Loopback, [1; 32], at(0)).is_none());
        let session = sessions.find(&id, Way::Loopback, [1; 32], at(11)).unwrap();
        sessions.confirm(&session.key(), at(11));
        assert!(sessions.find(&id, Way::Loopback, [1; 32], at(12)).unwrap().is_fresh());
        assert!(sessions.find(&id, Way::Loopback, [2; 32], at(12)).is_none(), "the password is another");
        assert!(sessions.find(&id, Way::Loopback, [1; 32], at(12)).is_none());
        let first = sessions.begin(Way::Loopback, [1; 32], at(0));
        (0..MAX).for_each(|_| drop(sessions.begin(Way::Loopback, [1; 32], at(1))));
        assert_eq!(sessions.kept.len(), MAX);
        assert!(sessions.find(&first, Way::Loopback, [1; 32], at(1)).is_none());
    }
}
