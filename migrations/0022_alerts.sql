-- What is wrong, and which ways its admin was told of it. A record: a new index finds what is wrong again, and tells again.
CREATE TABLE alert (
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    message TEXT NOT NULL,
    since   INTEGER NOT NULL,
    over_at INTEGER,             -- it is well again since then; the row goes when that was told
    told_at INTEGER,             -- when somebody was told last
    told    TEXT NOT NULL,       -- JSON: the ways that took it
    PRIMARY KEY (kind, subject)
) STRICT, WITHOUT ROWID;
