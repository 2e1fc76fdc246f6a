-- Which of a peer's collections are kept following, JSON; NULL: all, and those added later.
ALTER TABLE peer ADD COLUMN mirror TEXT;
-- Where a collection's newest snapshot is kept laid out, JSON.
ALTER TABLE collection ADD COLUMN standby TEXT;
-- What came of laying it out the last time, JSON; a record, lost with the index.
ALTER TABLE collection ADD COLUMN standby_record TEXT;
