-- Who else gets records: each with a cursor of its own over the sequences. Nothing here is asked by the outbox.
CREATE TABLE consumer (
    name        TEXT    PRIMARY KEY,
    -- The last record that it needs no more.
    cursor      INTEGER NOT NULL CHECK (cursor >= 0),
    -- JSON array of the CloudEvent types that it gets.
    kinds       TEXT    NOT NULL,
    -- Records that it has not taken are kept this long.
    keep_ms     INTEGER NOT NULL,
    -- Named in the configuration; others keep their cursor and hold nothing back.
    active      INTEGER NOT NULL CHECK (active IN (0, 1)),
    -- Records that it refused, or that were taken away before it took them.
    passed_over INTEGER NOT NULL DEFAULT 0,
    taken_ms    INTEGER
) STRICT, WITHOUT ROWID;

-- What a run leaves for the next that is no part of the books.
CREATE TABLE note (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
