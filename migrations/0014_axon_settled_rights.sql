-- What the instance could see when it was told: what it could not see then is not settled. Older marks do not say, and do not count.
ALTER TABLE axon_settled ADD COLUMN sight TEXT NOT NULL DEFAULT '';

-- When it came to this instance, in nanoseconds since 1970: changed_at is the moment of the instance that leads the collection,
-- and what comes late from there is new here all the same. NULL until the next time that something is announced.
ALTER TABLE axon_item ADD COLUMN came_at INTEGER;
ALTER TABLE axon_document ADD COLUMN came_at INTEGER;
CREATE INDEX axon_item_unseen ON axon_item (no) WHERE came_at IS NULL;
CREATE INDEX axon_document_unseen ON axon_document (collection_no) WHERE came_at IS NULL;
