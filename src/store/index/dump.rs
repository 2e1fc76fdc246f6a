//! The index as text, to compare two of them.

use sqlx::Row;

use super::{Index, IndexError};

impl Index {
    /// Everything that a rebuilt index must have as the live one had it, one line a row, sorted. Without the feed, cursors,
    /// contacts, invites and nonces, and without chunks that nobody names.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn dump(&self) -> Result<String, IndexError> {
        let rows = sqlx::query(
            "SELECT 'collection ' || hex(id) || ' ' || name || ' ' || hex(origin) || ' ' || coalesce(settings, '-')
               || ' ' || coalesce(standby, '-') || ' ' || coalesce(upkeep, '-') || ' ' || coalesce(retention, '-') AS line
               FROM collection
             UNION ALL SELECT 'snapshot ' || hex(s.id) || ' ' || hex(c.id) || ' ' || sequence || ' ' || created_at || ' ' || partial
               || ' ' || chunks || ' ' || chunk_bytes || ' ' || coalesce(hex(parent), '-') || ' ' || has_key || ' ' || complete
               || ' ' || hex(maker) || ' ' || beside
               FROM snapshot s JOIN collection c ON c.no = s.collection_no WHERE deleted = 0
             UNION ALL SELECT 'capture ' || hex(s.id) || ' ' || capture
               FROM snapshot_capture k JOIN snapshot s ON s.no = k.snapshot_no WHERE deleted = 0
             UNION ALL SELECT 'segment ' || hex(o.id) || ' ' || o.size || ' ' || o.state || ' ' || hex(c.id)
               FROM chunk o JOIN collection c ON c.no = o.collection_no WHERE kind = 1
             UNION ALL SELECT 'chunk ' || hex(o.id) || ' ' || o.size || ' ' || o.state || ' '
               || CASE o.shared WHEN 1 THEN 'shared' ELSE hex(c.id) END || ' '
               || EXISTS (SELECT 1 FROM chunk_secret WHERE chunk_no = o.no)
               FROM chunk o JOIN collection c ON c.no = o.collection_no
               WHERE kind = 0 AND EXISTS (SELECT 1 FROM segment_chunk WHERE chunk_no = o.no)
             UNION ALL SELECT 'lists ' || hex(g.id) || ' ' || hex(o.id)
               FROM segment_chunk l JOIN chunk g ON g.no = l.segment_no JOIN chunk o ON o.no = l.chunk_no
             UNION ALL SELECT 'names ' || hex(s.id) || ' ' || position || ' ' || hex(g.id)
               FROM snapshot_segment l JOIN snapshot s ON s.no = l.snapshot_no JOIN chunk g ON g.no = l.segment_no
             UNION ALL SELECT 'peer ' || hex(id) || ' ' || name || ' ' || coalesce(address, '-') || ' ' || trust || ' ' || identity
               || ' ' || follow || ' ' || coalesce(granted, '-') || ' ' || added_at || ' ' || coalesce(hex(discovery), '-')
               || ' ' || coalesce(mirror, '-')
               FROM peer
             UNION ALL SELECT 'line ' || hex(c.id) || ' ' || reigns FROM collection_line JOIN collection c ON c.no = collection_no
             UNION ALL SELECT 'mark ' || hex(snapshot) || ' ' || pinned || ' ' || tags || ' ' || coalesce(flagged, '-')
               || ' ' || coalesce(verified_at, '-') || ' ' || coalesce(whole_at, '-') FROM snapshot_mark
             UNION ALL SELECT 'statement ' || hex(id) || ' ' || text FROM statement
             ORDER BY 1",
        )
        .fetch_all(&self.pool)
        .await?;
        let mut text = String::new();
        for row in &rows {
            text.push_str(row.try_get("line")?);
            text.push('\n');
        }
        Ok(text)
    }
}
