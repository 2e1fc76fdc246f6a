//! What a store said, in words of ours.

use std::error::Error as _;

use object_store::Error as E;
use object_store::client::HttpError;

use crate::domain::target::BucketAddress;
use crate::domain::text::shown;

/// Longest text of a store that is shown, in bytes.
const MAX_SAID: usize = 300;

/// What went wrong with a bucket.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BucketError {
    /// No request can be made.
    #[error("the address of the bucket cannot be used: {cause}")]
    Address {
        /// Why.
        cause: String,
    },
    /// The system gives us no threads.
    #[error("no threads can be started to reach the bucket: {cause}")]
    Threads {
        /// What it said.
        cause: String,
    },
    /// Our own work broke off.
    #[error("a request to the bucket broke off: run it again")]
    Broken,
    /// Something that cannot be the name of an object.
    #[error("{0:?} cannot be the name of an object")]
    Name(String),
    /// Nothing lets us in.
    #[error(
        "{0}: there are no credentials for it: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give --credentials-file"
    )]
    NoKey(String),
    /// An object is not there.
    #[error("it is not in the bucket")]
    Missing,
    /// An object is longer than anything of its kind.
    #[error("{name} in the bucket is longer than {limit_bytes} bytes, which nothing of its kind is")]
    TooLong {
        /// Which one.
        name: String,
        /// What it may be.
        limit_bytes: usize,
    },
    /// Wrong credentials, or too few rights.
    #[error(
        "{address}: the store lets us not do that ({said}): check the credentials, and that they may list, read, write and delete in this bucket"
    )]
    Denied {
        /// Where.
        address: String,
        /// What it said.
        said: String,
    },
    /// The bucket is not there.
    #[error("{address}: there is no such bucket at this endpoint: make it first, or check --endpoint and --region")]
    NoBucket {
        /// Where.
        address: String,
    },
    /// Nobody answers.
    #[error(
        "{address}: the store is not reached ({said}): check the network and --endpoint; what was done stays, run it again"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// What the system said.
        said: String,
    },
    /// It says something else.
    #[error("{address}: the store says {said}; what was done stays, run it again")]
    Other {
        /// Where.
        address: String,
        /// What it said.
        said: String,
    },
}

impl BucketError {
    /// Whether the place is not there, as far as can be seen: nothing can be said of what is in it.
    pub fn is_away(&self) -> bool {
        matches!(self, Self::Denied { .. } | Self::NoBucket { .. } | Self::Unreachable { .. } | Self::Other { .. })
    }

    pub(super) fn is_not_implemented(error: &E) -> bool {
        code(&error.to_string()).is_some_and(|code| code == "NotImplemented")
    }

    pub(super) fn of(address: &BucketAddress, error: E) -> Self {
        let address = address.to_string();
        let text = error.to_string();
        if is_of_the_line(&error) {
            return Self::Unreachable { address, said: innermost(&error) };
        }
        let code = code(&text);
        match (error, code.as_deref()) {
            (_, Some("NoSuchBucket")) => Self::NoBucket { address },
            (E::NotFound { .. }, _) => Self::Missing,
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, code) => {
                Self::Denied { address, said: code.unwrap_or("access denied").to_owned() }
            }
            (_, Some(code @ ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "AccessDenied" | "ExpiredToken"))) => {
                Self::Denied { address, said: code.to_owned() }
            }
            (_, Some(code)) => Self::Other { address, said: format!("{code}{}", message(&text)) },
            (_, None) => Self::Other { address, said: cut(&text) },
        }
    }
}

/// Whether there was no answer, or not all of one.
fn is_of_the_line(error: &E) -> bool {
    let mut cause = error.source();
    while let Some(at) = cause {
        if at.is::<HttpError>() {
            return true;
        }
        cause = at.source();
    }
    false
}

fn innermost(error: &E) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cut(&cause.to_string())
}

/// The code in a store's answer.
fn code(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    Some(cut(code))
}

fn message(text: &str) -> String {
    let found = text.split_once("<Message>").and_then(|(_, rest)| rest.split_once("</Message>"));
    found.map(|(message, _)| format!(": {}", cut(message))).unwrap_or_default()
}

/// As much of it as may be shown.
fn cut(text: &str) -> String {
    let mut end = text.len().min(MAX_SAID);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    shown(&text[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(error: impl FnOnce(String, Box<dyn std::error::Error + Send + Sync>) -> E, body: &str) -> BucketError {
        let address = BucketAddress::parse("s3://backups/a", None, None).unwrap();
        BucketError::of(&address, error("a/b".to_owned(), body.into()))
    }

    #[test]
    fn what_a_store_says_is_said_in_words_and_not_at_length() {
        let body = |code: &str| format!("<?xml?><Error><Code>{code}</Code><Message>m\u{1b}[2J</Message></Error>");
        let not_found = |path, source| E::NotFound { path, source };
        assert!(matches!(of(not_found, &body("NoSuchKey")), BucketError::Missing));
        let no_bucket = of(not_found, &body("NoSuchBucket"));
        assert!(matches!(no_bucket, BucketError::NoBucket { .. }) && no_bucket.is_away());
        let denied = of(|path, source| E::PermissionDenied { path, source }, &body("SignatureDoesNotMatch"));
        assert!(denied.to_string().contains("SignatureDoesNotMatch") && denied.is_away());
        let other = of(|_, source| E::Generic { store: "S3", source }, &body("SlowDown"));
        assert!(other.to_string().contains("SlowDown") && !other.to_string().contains('\u{1b}'), "{other}");
        let long = of(|_, source| E::Generic { store: "S3", source }, &"x".repeat(10_000));
        assert!(long.to_string().len() < 600);
    }
}
