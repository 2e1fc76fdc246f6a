//! Tokens, made and revoked in a running server: the one way for REST and for pages.

use super::{Caller, Credential, Gate};
use crate::domain::access::{AdmissionError, KeptToken, Lifetime, Scopes, Token};
use crate::domain::audit::{Ending, Event};
use crate::http::problem::Problem;
use crate::store::{AccessError, blocking, entropy};

impl Gate {
    /// All tokens, by name.
    ///
    /// # Errors
    /// A [`Problem`] if that cannot be said.
    pub fn tokens(&self) -> Result<Vec<KeptToken>, Problem> {
        Ok(self.admission()?.tokens.clone())
    }

    /// Makes a token, which may do no more, and is good no longer, than what `caller` showed.
    ///
    /// # Errors
    /// A [`Problem`].
    pub async fn make_token(
        &self,
        caller: &Caller,
        name: String,
        scopes: Scopes,
        lifetime: Lifetime,
    ) -> Result<(Token, KeptToken), Problem> {
        if let Some(more) = scopes.iter().find(|scope| !caller.scopes.allow(*scope)) {
            return Err(Problem::wrong_scope(more));
        }
        let (store, now) = (self.store().clone(), self.now());
        let expires_at = lifetime.end(now);
        if let Credential::Token { expires_at: Some(end), .. } = &caller.credential
            && expires_at.is_none_or(|expires| expires > *end)
        {
            return Err(Problem::invalid(format!(
                "the token would be good for longer than the one that makes it, which ends at {end:.0}"
            )));
        }
        let token = Token::random(&mut entropy());
        let made = blocking(move || {
            let kept = store.change_admission(|all| all.add_token(&name, &token, scopes, expires_at, now))?;
            Ok::<_, AccessError>((token, kept))
        })
        .await;
        let (token, kept) = made.map_err(|error| refused(&error))?;
        self.note(caller, "token create", &kept.name).await?;
        Ok((token, kept))
    }

    /// Revokes a token: it is good for nothing from now on.
    ///
    /// # Errors
    /// A [`Problem`].
    pub async fn revoke_token(&self, caller: &Caller, name: String) -> Result<(), Problem> {
        let (store, gone) = (self.store().clone(), name.clone());
        let revoked = blocking(move || store.change_admission(|all| all.revoke_token(&gone))).await;
        revoked.map_err(|error| refused(&error))?;
        self.note(caller, "token revoke", &name).await
    }

    async fn note(&self, caller: &Caller, what: &str, name: &str) -> Result<(), Problem> {
        let subjects = vec![name.to_owned()];
        let event = Event { who: caller.who(), what: what.to_owned(), subjects, ending: Ending::Done, why: None };
        self.store().record(&event, self.now()).await.map_err(|error| Problem::internal(&error))
    }
}

fn refused(error: &AccessError) -> Problem {
    match error {
        AccessError::Refused(AdmissionError::NoSuchToken(_)) => Problem::not_found(),
        AccessError::Refused(error @ (AdmissionError::NameTaken(_) | AdmissionError::TooManyTokens)) => {
            Problem::conflict("token-exists", error.to_string())
        }
        AccessError::Refused(error) => Problem::invalid(error.to_string()),
        AccessError::Store(error) => Problem::internal(error),
    }
}
