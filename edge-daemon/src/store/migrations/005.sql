-- Periods that are open, one of each kind: sales after this sequence belong to it.
CREATE TABLE period (
    scope    TEXT    PRIMARY KEY,
    name     TEXT    NOT NULL,
    start_ms INTEGER NOT NULL,
    end_ms   INTEGER NOT NULL,
    after    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Totalisers when it was opened.
CREATE TABLE period_totaliser (
    scope     TEXT    NOT NULL,
    nozzle    INTEGER NOT NULL,
    volume_ml INTEGER NOT NULL,
    PRIMARY KEY (scope, nozzle)
) STRICT, WITHOUT ROWID;

-- Where the report of each closed period stands. A second part is there only where the clock was set back.
CREATE TABLE report (
    scope    TEXT    NOT NULL,
    period   TEXT    NOT NULL,
    part     INTEGER NOT NULL,
    sequence INTEGER NOT NULL UNIQUE,
    PRIMARY KEY (scope, period, part)
) STRICT, WITHOUT ROWID;

-- Wrong codes typed in, and until when none is taken.
CREATE TABLE code_entry (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    wrong           INTEGER NOT NULL,
    locked_until_ms INTEGER
) STRICT;

-- Keys of the platform that are trusted no longer, whatever the key file says.
CREATE TABLE revoked_key (
    kid   TEXT    PRIMARY KEY,
    at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
