-- Price sets as they came: scheduled, in_force, past.
CREATE TABLE price_set (
    name         TEXT    PRIMARY KEY,
    effective_ms INTEGER NOT NULL,
    stage        TEXT    NOT NULL,
    body         TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX price_set_open ON price_set (effective_ms) WHERE stage <> 'past';

-- What each nozzle shows and shall show, as JSON.
CREATE TABLE nozzle_price (
    nozzle INTEGER PRIMARY KEY,
    body   TEXT    NOT NULL
) STRICT;

-- What a customer was sold on a business day (days since 1970-01-01): the one row of each, replaced by the next day's.
CREATE TABLE customer_day (
    customer   TEXT    PRIMARY KEY,
    day        INTEGER NOT NULL,
    sold_minor INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Lists of the platform and their entries.
CREATE TABLE list (
    list    TEXT    PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE list_entry (
    list    TEXT NOT NULL,
    -- customer or plate
    kind    TEXT NOT NULL,
    subject TEXT NOT NULL,
    rule    TEXT NOT NULL,
    PRIMARY KEY (list, kind, subject)
) STRICT, WITHOUT ROWID;

CREATE INDEX list_entry_by_subject ON list_entry (kind, subject);
