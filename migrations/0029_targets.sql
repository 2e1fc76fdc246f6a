-- What was copied to targets, and what came of it. A record: a new index has none, and the next copy and look at a target make it again.
-- Which targets there are stands in keys/targets.
CREATE TABLE target_copy (
    target      TEXT NOT NULL,      -- its name
    collection  BLOB NOT NULL,
    copied_at   INTEGER,            -- when the last copy came to its end
    copied      BLOB,               -- the newest snapshot that is there
    verified_at INTEGER,            -- when it was looked at last, and found right
    verified    BLOB,               -- the newest snapshot then
    failed_at   INTEGER,            -- since when nothing comes of it; NULL: the last one was well
    failure     TEXT,               -- why
    PRIMARY KEY (target, collection)
) STRICT, WITHOUT ROWID;
