//! When the chunks of an installation were looked at last.

use std::collections::BTreeSet;

use jiff::Timestamp;
use sqlx::Row;

use super::super::{Index, IndexError, moment, nanos};
use crate::domain::id::{CollectionId, ContentHash};

/// A look at the chunks of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Looked {
    /// Which folder.
    pub folder: String,
    /// When it began.
    pub at: Timestamp,
    /// Items that were not whole there.
    pub amiss: BTreeSet<ContentHash>,
}

impl Index {
    /// The last look; `None` if there was none.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_looked(&self, collection: &CollectionId) -> Result<Option<Looked>, IndexError> {
        let row = sqlx::query(
            "SELECT folder, at, amiss FROM axon_looked JOIN collection ON no = collection_no WHERE id = ?1",
        )
        .bind(collection.as_bytes().to_vec())
        .fetch_optional(&self.pool)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let amiss: String = row.try_get("amiss")?;
        let amiss = amiss.split_whitespace().map(str::parse).collect::<Result<_, _>>();
        Ok(Some(Looked {
            folder: row.try_get("folder")?,
            at: moment(&row, "at")?,
            amiss: amiss.map_err(|_| IndexError::Damaged(None))?,
        }))
    }

    /// Records a look.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn axon_put_looked(&self, collection: &CollectionId, looked: &Looked) -> Result<(), IndexError> {
        let amiss: Vec<String> = looked.amiss.iter().map(ToString::to_string).collect();
        sqlx::query(
            "INSERT INTO axon_looked (collection_no, folder, at, amiss) SELECT no, ?2, ?3, ?4 FROM collection WHERE id = ?1
             ON CONFLICT (collection_no) DO UPDATE SET folder = ?2, at = ?3, amiss = ?4",
        )
        .bind(collection.as_bytes().to_vec())
        .bind(looked.folder.clone())
        .bind(nanos(looked.at))
        .bind(amiss.join(" "))
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
