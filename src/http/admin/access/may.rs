//! What a handler needs of who asks, as an extractor: a handler that has one in its arguments runs for nobody else.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use http::request::Parts;

use super::Caller;
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
    Content: "To download and to restore.",
    Admin: "Everything."
}

/// Somebody who may do what needs the scope `S`.
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
        Ok(Self { caller, scope: PhantomData })
    }
}
