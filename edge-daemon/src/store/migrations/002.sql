-- Sequences that no record here will ever have: lost to damage, or left out so that none is ever given twice.
CREATE TABLE gap (
    first    INTEGER PRIMARY KEY CHECK (first > 0),
    last     INTEGER NOT NULL CHECK (last >= first),
    -- The hash that the record after the gap names as the one before it.
    hash     TEXT    NOT NULL CHECK (length(hash) = 64),
    found_ms INTEGER NOT NULL
) STRICT;

-- Set by a rescue: orders asked for before this may have been served by the store that was damaged.
ALTER TABLE station ADD COLUMN not_before_ms INTEGER NOT NULL DEFAULT 0;
