//! What is kept of each collection.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{Collection, Index, IndexError, to_json};
use crate::domain::id::{CollectionId, InstanceId};
use crate::domain::retention::Policy;
use crate::domain::words::count;

/// What is kept of a collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retention {
    /// What is kept; everything if there is none.
    pub policy: Option<Policy>,
    /// The time zone in which days begin, by its name in the IANA database.
    #[serde(default = "utc")]
    pub zone: String,
}

impl Retention {
    /// Everything is kept.
    pub fn everything() -> Self {
        Self { policy: None, zone: utc() }
    }

    /// What is kept, in words.
    pub fn in_words(&self) -> String {
        let Some(policy) = &self.policy else { return "everything is kept".to_owned() };
        let mut words = Vec::new();
        if policy.keep_last > 0 {
            words.push(format!("the last {}", policy.keep_last));
        }
        let rules = [
            (policy.hourly, "hourly"),
            (policy.daily, "daily"),
            (policy.weekly, "weekly"),
            (policy.monthly, "monthly"),
            (policy.yearly, "yearly"),
        ];
        words.extend(rules.into_iter().filter(|(n, _)| *n > 0).map(|(n, word)| format!("{n} {word}")));
        if policy.within_hours > 0 {
            words.push(format!("all of the last {}", count(policy.within_hours.into(), "hour")));
        }
        words.extend(policy.tags.iter().map(|tag| format!("all tagged {tag}")));
        let zone = if self.zone == "UTC" { String::new() } else { format!(" (days of {})", self.zone) };
        format!("{}{zone}", words.join(", "))
    }
}

impl Default for Retention {
    /// The usual policy, by UTC.
    fn default() -> Self {
        Self { policy: Some(Policy::default()), zone: utc() }
    }
}

fn utc() -> String {
    "UTC".to_owned()
}

impl Collection {
    /// What is kept of it: what was said, else the usual for our own, and everything of those of others.
    pub fn kept(&self, here: &InstanceId) -> Retention {
        match &self.retention {
            Some(retention) => retention.clone(),
            None if self.settings.is_some() && self.origin == *here => Retention::default(),
            None => Retention::everything(),
        }
    }
}

impl Index {
    /// Says what is kept of a collection from now on, or that nothing was said of it; the ledger knows it too.
    ///
    /// # Errors
    /// [`IndexError::NoSuchCollection`].
    pub async fn set_retention(
        &self,
        collection: &CollectionId,
        retention: Option<&Retention>,
    ) -> Result<(), IndexError> {
        let mut tx = self.begin().await?;
        set(&mut tx, collection, retention).await?;
        self.commit_with_ledger(tx).await
    }
}

pub(super) async fn set(
    connection: &mut SqliteConnection,
    collection: &CollectionId,
    retention: Option<&Retention>,
) -> Result<(), IndexError> {
    let done = sqlx::query("UPDATE collection SET retention = ?2 WHERE id = ?1")
        .bind(collection.as_bytes().to_vec())
        .bind(retention.map(to_json))
        .execute(connection)
        .await?;
    if done.rows_affected() == 0 { Err(IndexError::NoSuchCollection { id: *collection }) } else { Ok(()) }
}
