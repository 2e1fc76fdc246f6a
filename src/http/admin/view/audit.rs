//! The audit log, as a resource.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::audit::{Ending, Entry, Who};
use crate::store::{Store, StoreError};

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AuditView {
    /// Its number, from 1.
    pub n: u64,
    /// When.
    #[schema(value_type = String)]
    pub recorded_at: Timestamp,
    /// Who, in words.
    pub who: String,
    /// What: the words of the command.
    pub what: String,
    /// To what.
    pub subjects: Vec<String>,
    /// How it ended, e.g. `done`.
    #[schema(value_type = String)]
    pub ending: Ending,
    /// Why it failed.
    pub why: Option<String>,
}

impl From<Entry> for AuditView {
    fn from(entry: Entry) -> Self {
        Self {
            n: entry.n,
            recorded_at: entry.at,
            who: in_words(&entry.who),
            what: entry.what,
            subjects: entry.subjects,
            ending: entry.ending,
            why: entry.why,
        }
    }
}

fn in_words(who: &Who) -> String {
    match who {
        Who::User { name: Some(name), .. } => name.clone(),
        Who::User { uid, name: None } => format!("user {uid}"),
        Who::AdminToken => "the admin token".to_owned(),
        Who::Peer { instance } => format!("peer {}", instance.short()),
        Who::Token { name } => format!("the token {name}"),
        Who::Browser => "somebody who logged in".to_owned(),
        Who::Server => "the server".to_owned(),
    }
}

/// Entries with a number below `before`, or the newest ones, the newest first: at most `limit`. With them the number to go on below, if
/// there are more.
///
/// # Errors
/// [`StoreError`] if the log cannot be read.
pub async fn audit(
    store: &Store,
    before: Option<u64>,
    limit: usize,
) -> Result<(Vec<AuditView>, Option<u64>), StoreError> {
    // The log is one file that is read from its beginning whatever is asked for.
    let mut entries = store.audit(usize::MAX).await?;
    entries.retain(|entry| before.is_none_or(|before| entry.n < before));
    let more = entries.len() > limit;
    let views: Vec<AuditView> = entries.into_iter().rev().take(limit).map(AuditView::from).collect();
    let next = views.last().map(|last| last.n).filter(|_| more);
    Ok((views, next))
}
