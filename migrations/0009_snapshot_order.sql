-- The newest snapshot of a collection, whoever made it, is found without looking at all of them.
CREATE INDEX snapshot_sequence ON snapshot (collection_no, sequence);
