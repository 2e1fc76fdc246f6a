-- The chunks of an installation of Axon BBS as they were when they were looked at last: since when files that changed are read
-- again (nanoseconds since 1970), in which folder, and items that were not whole then (hex, a space between two).
CREATE TABLE axon_looked (
    collection_no INTEGER PRIMARY KEY REFERENCES collection (no),
    folder        TEXT    NOT NULL,
    at            INTEGER NOT NULL,
    amiss         TEXT    NOT NULL
) STRICT;
