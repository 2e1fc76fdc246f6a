//! Scopes: what a token may be good for, from figures for a monitoring system up to everything.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What a token may be good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Figures and health: for a monitoring system.
    Metrics,
    /// To see everything but the content of files, keys and secrets.
    Read,
    /// To see, and to start and stop backups, verifications, checks, drills, prunes, copies and syncs.
    Operate,
    /// To see, and to download files out of snapshots.
    Content,
    /// Everything: settings, peers, restores (which write wherever the server may), deletion, keys, tokens.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Metrics, Self::Read, Self::Operate, Self::Content, Self::Admin];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Self::Metrics => "metrics",
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Content => "content",
            Self::Admin => "admin",
        }
    }

    /// Whether who has this one may do what needs `needed`.
    pub fn allows(self, needed: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Operate => matches!(needed, Self::Operate | Self::Read | Self::Metrics),
            Self::Content => matches!(needed, Self::Content | Self::Read | Self::Metrics),
            Self::Read => matches!(needed, Self::Read | Self::Metrics),
            Self::Metrics => needed == Self::Metrics,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Words that are no scopes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopesError {
    /// There is none of this name.
    #[error("{0:?} is no scope: there are metrics, read, operate, content and admin")]
    Unknown(String),
    /// There are none.
    #[error("a token is good for something: name at least one of metrics, read, operate, content and admin")]
    None,
}

impl FromStr for Scope {
    type Err = ScopesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.word() == text).ok_or_else(|| ScopesError::Unknown(text.to_owned()))
    }
}

/// Several scopes, at least one. As text: their words with a comma between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeSet<Scope>", into = "BTreeSet<Scope>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// Whether who has these may do what needs `needed`.
    pub fn allow(&self, needed: Scope) -> bool {
        self.0.iter().any(|scope| scope.allows(needed))
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = Scope> + '_ {
        self.0.iter().copied()
    }
}

impl From<Scope> for Scopes {
    fn from(scope: Scope) -> Self {
        Self(BTreeSet::from([scope]))
    }
}

impl TryFrom<BTreeSet<Scope>> for Scopes {
    type Error = ScopesError;

    fn try_from(scopes: BTreeSet<Scope>) -> Result<Self, Self::Error> {
        if scopes.is_empty() { Err(ScopesError::None) } else { Ok(Self(scopes)) }
    }
}

impl From<Scopes> for BTreeSet<Scope> {
    fn from(scopes: Scopes) -> Self {
        scopes.0
    }
}

impl FromStr for Scopes {
    type Err = ScopesError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
        words.map(str::parse).collect::<Result<BTreeSet<Scope>, _>>()?.try_into()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Scope::word).collect();
        f.write_str(&words.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_allows_itself_and_what_is_less() {
        let allowed = |text: &str| {
            let scopes: Scopes = text.parse().unwrap();
            Scope::ALL.into_iter().filter(|scope| scopes.allow(*scope)).map(Scope::word).collect::<Vec<_>>()
        };
        assert_eq!(allowed("metrics"), ["metrics"]);
        assert_eq!(allowed("read"), ["metrics", "read"]);
        assert_eq!(allowed("operate"), ["metrics", "read", "operate"]);
        assert_eq!(allowed("content"), ["metrics", "read", "content"]);
        assert_eq!(allowed("content, operate"), ["metrics", "read", "operate", "content"]);
        assert_eq!(allowed("admin").len(), Scope::ALL.len());
        assert_eq!("".parse::<Scopes>(), Err(ScopesError::None));
        assert_eq!("root".parse::<Scopes>(), Err(ScopesError::Unknown("root".to_owned())));
        assert_eq!("read,metrics".parse::<Scopes>().unwrap().to_string(), "metrics,read");
    }
}
