//! Who typed the command that sends a request: with the token of the owner alone, since whoever has that can say so anyway.

use http::HeaderMap;

use super::access::{Caller, Credential};
use crate::domain::audit::Who;

/// The header: a user's number, and their name if it is known, as `1000 alice`.
pub const TYPED_BY: &str = "bulbil-typed-by";
/// Longest name.
const MAX_NAME: usize = 64;

/// The value of the header; nothing for who is no user of this machine.
pub fn typed_by(who: &Who) -> Option<String> {
    let Who::User { uid, name } = who else { return None };
    Some(match name.as_ref().filter(|name| is_plain(name)) {
        Some(name) => format!("{uid} {name}"),
        None => uid.to_string(),
    })
}

/// Who stands behind a request: the user who typed the command, if it says so, and otherwise who asks.
pub(super) fn asker(caller: &Caller, headers: &HeaderMap) -> Who {
    let typed = headers.get(TYPED_BY).filter(|_| caller.credential == Credential::Owner);
    typed.and_then(|value| parsed(value.to_str().ok()?)).unwrap_or_else(|| caller.who())
}

fn parsed(text: &str) -> Option<Who> {
    let (uid, name) = match text.split_once(' ') {
        Some((uid, name)) if is_plain(name) => (uid, Some(name.to_owned())),
        Some(_) => return None,
        None => (text, None),
    };
    Some(Who::User { uid: uid.parse().ok()?, name })
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::access::{Scope, Scopes};
    use crate::http::admin::access::Shown;

    #[test]
    fn only_the_owners_token_says_who_typed() {
        let alice = Who::User { uid: 1000, name: Some("alice".to_owned()) };
        let mut headers = HeaderMap::new();
        headers.insert(TYPED_BY, typed_by(&alice).unwrap().parse().unwrap());
        let by = |credential| Caller { credential, scopes: Scopes::from(Scope::Admin), shown: Shown::Owner };
        assert_eq!(asker(&by(Credential::Owner), &headers), alice);
        let token = || by(Credential::Token { name: "cron".to_owned(), expires_at: None });
        assert_eq!(asker(&token(), &headers), Who::Token { name: "cron".to_owned() });
        assert_eq!(asker(&by(Credential::Session), &headers), Who::Browser);
        for nonsense in ["", "alice", "1 a b", "-1", "1 "] {
            headers.insert(TYPED_BY, nonsense.parse().unwrap());
            assert_eq!(asker(&by(Credential::Owner), &headers), Who::AdminToken, "{nonsense:?}");
        }
        let odd = Who::User { uid: 7, name: Some("zoë".to_owned()) };
        assert_eq!((typed_by(&odd), typed_by(&Who::Server)), (Some("7".to_owned()), None));
    }
}
