//! Who is let in, and by what: the one place that knows tokens, the login and the sessions of a running server.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::caller::{Caller, Shown};
use super::session::Session;
use super::sessions::{Sessions, Way};
use crate::clock::Clock;
use crate::domain::access::{Admission, AdmissionError, Cost, Delay, Login, PasswordError, PasswordHash, Token};
use crate::domain::audit::{Ending, Event, Who};
use crate::http::admin::token::AdminToken;
use crate::http::problem::Problem;
use crate::store::{AccessError, AdmissionStamp, Store, blocking, entropy};

/// So many passwords are hashed at once: each takes 64 MiB.
const HASHING: usize = 1;
/// Random bytes of the code for the first set-up.
const SETUP_BYTES: usize = 15;

/// Who is let in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Gate {
    inner: Arc<Inner>,
    way: Way,
}

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    owner: AdminToken,
    sessions: Mutex<Sessions>,
    loopback: Mutex<Delay>,
    onion: Mutex<Delay>,
    hashing: Semaphore,
    setup: Zeroizing<String>,
    known: Mutex<Option<(AdmissionStamp, Arc<Admission>)>>,
}

/// Why a password was not enough.
#[derive(Debug)]
pub enum LoginError {
    /// The password or the code is wrong; which, is not said.
    Wrong,
    /// There were too many attempts: the next one may be made after this time.
    Wait(Duration),
    /// No password is set.
    NoPassword,
    /// The code of the set-up is wrong.
    WrongSetup,
    /// The password is set already.
    PasswordThere,
    /// It is not taken as a password.
    NotTaken(PasswordError),
    /// It cannot be said.
    Failed(Problem),
}

impl From<Problem> for LoginError {
    fn from(problem: Problem) -> Self {
        Self::Failed(problem)
    }
}

/// What to put into a cookie.
pub type SessionId = Zeroizing<String>;

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gate {
    /// For loopback.
    pub fn new(store: Store, clock: Arc<dyn Clock>, owner: AdminToken) -> Self {
        let mut code = Zeroizing::new([0u8; SETUP_BYTES]);
        rand_core::Rng::fill_bytes(&mut entropy(), &mut *code);
        let inner = Inner {
            store,
            clock,
            owner,
            sessions: Mutex::default(),
            loopback: Mutex::default(),
            onion: Mutex::default(),
            hashing: Semaphore::new(HASHING),
            setup: Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&*code).to_lowercase()),
            known: Mutex::default(),
        };
        Self { inner: Arc::new(inner), way: Way::Loopback }
    }

    /// The same for the onion service.
    pub fn over_tor(self) -> Self {
        Self { way: Way::Onion, ..self }
    }

    /// How one comes in here.
    pub fn way(&self) -> Way {
        self.way
    }

    /// What the admin types at the first set-up; none if a password is set.
    ///
    /// # Errors
    /// A [`Problem`] if that cannot be said.
    pub fn setup_code(&self) -> Result<Option<Zeroizing<String>>, Problem> {
        Ok(self.admission()?.login.is_none().then(|| self.inner.setup.clone()))
    }

    /// Whether a password is set.
    ///
    /// # Errors
    /// A [`Problem`] if that cannot be said.
    pub fn has_password(&self) -> Result<bool, Problem> {
        Ok(self.admission()?.login.is_some())
    }

    /// Whether a code is asked for beside the password.
    ///
    /// # Errors
    /// A [`Problem`] if that cannot be said.
    pub fn asks_for_code(&self) -> Result<bool, Problem> {
        Ok(self.admission()?.login.as_ref().is_some_and(|login| login.totp.is_some()))
    }

    pub(super) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(super) fn now(&self) -> jiff::Timestamp {
        self.inner.clock.now()
    }

    /// What lets in, as it is now: commands change it while the server runs.
    pub(super) fn admission(&self) -> Result<Arc<Admission>, Problem> {
        // The stamp first: a change in between is seen the next time.
        let stamp = self.inner.store.admission_stamp();
        if let Some((known, admission)) = &*locked(&self.inner.known)
            && *known == stamp
        {
            return Ok(Arc::clone(admission));
        }
        let admission = Arc::new(self.inner.store.admission().map_err(|error| Problem::internal(&error))?);
        *locked(&self.inner.known) = Some((stamp, Arc::clone(&admission)));
        Ok(admission)
    }

    /// Who shows a token that is good; nobody if the one that is shown is not, or there are two.
    pub(super) async fn by_token(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        if self.inner.owner.is_shown(headers) {
            return Ok(Some(Caller::owner()));
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(shown), None) = (values.next(), values.next()) else { return Ok(None) };
        let text = shown.to_str().ok().and_then(|shown| shown.split_once(' '));
        let text = text.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, text)| text.trim());
        let Some(token) = text.and_then(Token::parse) else { return Ok(None) };
        let (admission, now) = (self.admission()?, self.inner.clock.now());
        let Some(kept) = admission.token(&token, now) else { return Ok(None) };
        if kept.last_used_on != Some(crate::domain::access::day(now)) {
            self.note_use(kept.name.clone()).await;
        }
        Ok(Some(Caller::of_token(kept)))
    }

    /// Notes that a token is in use: once a day.
    async fn note_use(&self, name: String) {
        let (store, now) = (self.inner.store.clone(), self.inner.clock.now());
        let noting = blocking(move || {
            store.change_admission(|admission| {
                admission.note_use(&name, now);
                Ok(())
            })
        });
        if let Err(error) = noting.await {
            tracing::warn!(%error, "it cannot be noted that a token is in use");
        }
    }

    /// The session of a cookie.
    pub(super) fn session(&self, id: &str) -> Result<Option<Session>, Problem> {
        let admission = self.admission()?;
        let Some(login) = &admission.login else { return Ok(None) };
        Ok(locked(&self.inner.sessions).find(id, self.way, login.mark(), self.inner.clock.now()))
    }

    /// Whether what `caller` showed is good still: what lasts ends with it.
    pub(in crate::http::admin) fn is_good(&self, caller: &Caller) -> bool {
        let (Ok(admission), now) = (self.admission(), self.inner.clock.now()) else { return false };
        match &caller.shown {
            Shown::Owner => true,
            Shown::Token(digest) => admission.tokens.iter().any(|token| token.digest == *digest && token.is_good(now)),
            Shown::Session(key) => admission
                .login
                .as_ref()
                .is_some_and(|login| locked(&self.inner.sessions).is_there(key, login.mark(), now)),
        }
    }

    /// Whether nobody took back what lets it in: a token that was revoked, a browser that was logged out. What began goes on beyond the
    /// end of a token, and counts as use of a session.
    pub(in crate::http::admin) fn goes_on(&self, caller: &Caller) -> bool {
        let (Ok(admission), now) = (self.admission(), self.inner.clock.now()) else { return false };
        match &caller.shown {
            Shown::Owner => true,
            Shown::Token(digest) => admission.tokens.iter().any(|token| token.digest == *digest),
            Shown::Session(key) => {
                let login = admission.login.as_ref();
                login.is_some_and(|login| locked(&self.inner.sessions).is_used(key, login.mark(), now))
            }
        }
    }

    /// Begins a session.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, password: String, code: String) -> Result<SessionId, LoginError> {
        let admission = self.admission()?;
        let login = admission.login.as_ref().ok_or(LoginError::NoPassword)?;
        locked(self.delay()).attempt(self.inner.clock.now()).map_err(LoginError::Wait)?;
        let checked = self.check(login, password, code).await;
        if let Err(LoginError::Wrong) = checked {
            tracing::warn!(way = ?self.way, "somebody tried to log in with a wrong password or code");
        }
        checked?;
        locked(self.delay()).succeeded();
        self.record("login").await;
        Ok(locked(&self.inner.sessions).begin(self.way, login.mark(), self.inner.clock.now()))
    }

    /// Notes that the password was typed again.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn confirm(&self, session: &Session, password: String, code: String) -> Result<(), LoginError> {
        let admission = self.admission()?;
        let login = admission.login.as_ref().ok_or(LoginError::NoPassword)?;
        // A session counts its own attempts: strangers do not keep it waiting.
        let attempt = locked(&self.inner.sessions).attempt(&session.key(), self.inner.clock.now());
        attempt.ok_or(LoginError::Wrong)?.map_err(LoginError::Wait)?;
        self.check(login, password, code).await?;
        locked(&self.inner.sessions).confirm(&session.key(), self.inner.clock.now());
        Ok(())
    }

    /// The forms that wait until the password was typed.
    pub(super) fn sessions(&self) -> std::sync::MutexGuard<'_, Sessions> {
        locked(&self.inner.sessions)
    }

    /// Sets the first password, and begins a session.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn set_up(&self, setup: &str, password: String) -> Result<SessionId, LoginError> {
        use subtle::ConstantTimeEq;
        if self.has_password()? {
            return Err(LoginError::PasswordThere);
        }
        locked(self.delay()).attempt(self.inner.clock.now()).map_err(LoginError::Wait)?;
        let shown = setup.trim().to_ascii_lowercase();
        let is_right: bool = self.inner.setup.as_bytes().ct_eq(shown.as_bytes()).into();
        if self.way != Way::Loopback || !is_right {
            return Err(LoginError::WrongSetup);
        }
        locked(self.delay()).succeeded();
        let password = Zeroizing::new(password);
        let _turn = self.turn().await;
        let hash = blocking(move || PasswordHash::new(&password, Cost::RECOMMENDED, &mut entropy())).await;
        let hash = hash.map_err(LoginError::NotTaken)?;
        let (store, now) = (self.inner.store.clone(), self.inner.clock.now());
        let set = blocking(move || {
            store.change_admission(|admission| {
                if admission.login.is_some() {
                    return Err(AdmissionError::PasswordThere);
                }
                Ok(admission.set_password(hash, now).mark())
            })
        });
        let login = set.await.map_err(|error| match error {
            AccessError::Refused(_) => LoginError::PasswordThere,
            AccessError::Store(error) => LoginError::Failed(Problem::internal(&error)),
        })?;
        self.record("password set").await;
        Ok(locked(&self.inner.sessions).begin(self.way, login, self.inner.clock.now()))
    }

    /// Sets another password, which ends all sessions, and begins one for who set it: their password was typed just now.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn change_password(&self, password: String) -> Result<SessionId, LoginError> {
        let password = Zeroizing::new(password);
        let turn = self.turn().await;
        let hash = blocking(move || PasswordHash::new(&password, Cost::RECOMMENDED, &mut entropy())).await;
        drop(turn);
        let hash = hash.map_err(LoginError::NotTaken)?;
        let (store, now) = (self.inner.store.clone(), self.inner.clock.now());
        let set = blocking(move || store.change_admission(|admission| Ok(admission.set_password(hash, now).mark())));
        let login = set.await.map_err(|error| match error {
            AccessError::Refused(_) => LoginError::NoPassword,
            AccessError::Store(error) => LoginError::Failed(Problem::internal(&error)),
        })?;
        self.record("password set").await;
        Ok(locked(&self.inner.sessions).begin(self.way, login, self.inner.clock.now()))
    }

    /// How many browsers are logged in.
    pub fn logged_in(&self) -> usize {
        locked(&self.inner.sessions).number(self.inner.clock.now())
    }

    /// Ends all sessions.
    pub async fn logout_everywhere(&self) {
        locked(&self.inner.sessions).end_all();
        self.record("logout everywhere").await;
    }

    /// Ends a session.
    pub fn logout(&self, session: &Session) {
        locked(&self.inner.sessions).end(&session.key());
    }

    fn delay(&self) -> &Mutex<Delay> {
        match self.way {
            Way::Loopback => &self.inner.loopback,
            Way::Onion => &self.inner.onion,
        }
    }

    async fn turn(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.inner.hashing.acquire().await.expect("the semaphore is never closed")
    }

    async fn check(&self, login: &Login, password: String, code: String) -> Result<(), LoginError> {
        let (hash, password) = (login.password.clone(), Zeroizing::new(password));
        let turn = self.turn().await;
        let is_right = blocking(move || hash.is_of(&password)).await;
        drop(turn);
        if !is_right {
            return Err(LoginError::Wrong);
        }
        if login.totp.is_none() {
            return Ok(());
        }
        let (store, now) = (self.inner.store.clone(), self.inner.clock.now());
        // Nothing is written for a wrong one: how long that takes would say that the password is right.
        if !Admission::clone(&*self.admission()?).use_code(&code, now) {
            return Err(LoginError::Wrong);
        }
        let used = blocking(move || store.change_admission(|admission| Ok(admission.use_code(&code, now)))).await;
        match used {
            Ok(true) => Ok(()),
            Ok(false) | Err(AccessError::Refused(_)) => Err(LoginError::Wrong),
            Err(AccessError::Store(error)) => Err(LoginError::Failed(Problem::internal(&error))),
        }
    }

    async fn record(&self, what: &str) {
        let subjects = match self.way {
            Way::Loopback => Vec::new(),
            Way::Onion => vec!["over Tor".to_owned()],
        };
        let event = Event { who: Who::Browser, what: what.to_owned(), subjects, ending: Ending::Done, why: None };
        if let Err(error) = self.inner.store.record(&event, self.inner.clock.now()).await {
            tracing::error!(cause = crate::monitor::with_causes(&error), "the audit log was not written");
        }
    }
}
