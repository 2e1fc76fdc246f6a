-- How each snapshot of our own was taken, and what was found wrong with it: the private part's 'capture', so that it can be looked up.
CREATE TABLE snapshot_capture (
    snapshot_no INTEGER PRIMARY KEY REFERENCES snapshot (no) ON DELETE CASCADE,
    capture     TEXT NOT NULL                      -- JSON
);
