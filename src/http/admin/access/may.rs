//! What a handler needs of who asks, as an extractor: a handler that has one in its arguments runs for nobody else.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::session::Session;
use super::{Caller, Credential};
use crate::domain::access::Scope;
use crate::http::problem::Problem;

/// A scope, as a type.
pub trait Needs: Send + Sync + 'static {
    /// Which one.
    const SCOPE: Scope;
}

macro_rules! needs {
    ($($name:ident: $doc:literal),*) => {$(
        #[doc = $doc]
        #[derive(Debug, Clone, Copy)]
        pub struct $name;

        impl Needs for $name {
            const SCOPE: Scope = Scope::$name;
        }
    )*};
}

needs! {
    Metrics: "Figures and health.",
    Read: "To see everything but content, keys and secrets.",
    Operate: "To start and stop work.",
    Content: "To download.",
    Admin: "Everything."
}

/// Somebody who may do what needs the scope `S`: by a token, or by the cookie of a session. By cookie, whatever is no GET needs the
/// header `x-csrf-token`, too; a form is no handler's business that takes this, but one's that takes `Posted`.
#[derive(Debug)]
pub struct May<S> {
    /// Who it is.
    pub caller: Caller,
    scope: PhantomData<S>,
}

impl<S: Needs, State: Sync> FromRequestParts<State> for May<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &State) -> Result<Self, Self::Rejection> {
        let caller = parts.extensions.get::<Caller>().cloned().ok_or_else(Problem::no_token)?;
        if !caller.scopes.allow(S::SCOPE) {
            return Err(Problem::wrong_scope(S::SCOPE));
        }
        if caller.credential == Credential::Session {
            let session = parts.extensions.get::<Session>().ok_or_else(Problem::no_token)?;
            session.check_header(&parts.method, &parts.headers)?;
        }
        Ok(Self { caller, scope: PhantomData })
    }
}

/// The same, for what is dangerous: by cookie, the password was typed within the last ten minutes.
#[derive(Debug)]
pub struct MayNow<S> {
    /// Who it is.
    pub caller: Caller,
    scope: PhantomData<S>,
}

impl<S: Needs, State: Sync> FromRequestParts<State> for MayNow<S> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &State) -> Result<Self, Self::Rejection> {
        let May { caller, scope } = May::<S>::from_request_parts(parts, state).await?;
        match parts.extensions.get::<Session>() {
            Some(session) if !session.is_fresh() => Err(Problem::confirm_first()),
            _ => Ok(Self { caller, scope }),
        }
    }
}
