-- The books of one station. Times are milliseconds since 1970 (UTC), money is in minor units, volumes are in millilitres.

CREATE TABLE station (
    only            INTEGER PRIMARY KEY CHECK (only = 1),
    station_id      TEXT    NOT NULL,
    -- The last record that retention took away: the chain goes on from it.
    pruned_sequence INTEGER NOT NULL DEFAULT 0,
    pruned_hash     TEXT    NOT NULL DEFAULT '0000000000000000000000000000000000000000000000000000000000000000'
) STRICT;

-- Highest numbers ever used, so that none is used twice.
CREATE TABLE last_number (
    name  TEXT    PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Durable records as sealed; body is what is sent, byte for byte.
CREATE TABLE event (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    id       TEXT    NOT NULL UNIQUE,
    kind     TEXT    NOT NULL,
    time_ms  INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    hash     TEXT    NOT NULL CHECK (length(hash) = 64),
    acked_ms INTEGER,
    body     BLOB    NOT NULL
) STRICT;

CREATE TRIGGER event_never_changes BEFORE UPDATE OF sequence, id, kind, time_ms, priority, hash, body ON event
BEGIN SELECT RAISE(ABORT, 'a durable record never changes'); END;

CREATE TRIGGER event_stays_until_acknowledged BEFORE DELETE ON event WHEN OLD.acked_ms IS NULL
BEGIN SELECT RAISE(ABORT, 'an unacknowledged record is never deleted'); END;

-- Records that nobody has acknowledged.
CREATE TABLE outbox (
    sequence  INTEGER PRIMARY KEY REFERENCES event (sequence),
    priority  INTEGER NOT NULL,
    set_aside INTEGER NOT NULL DEFAULT 0 CHECK (set_aside IN (0, 1)),
    refusals  INTEGER NOT NULL DEFAULT 0,
    reason    TEXT
) STRICT;

CREATE INDEX outbox_pending ON outbox (priority, sequence) WHERE set_aside = 0;
CREATE INDEX outbox_set_aside ON outbox (sequence) WHERE set_aside = 1;

-- Audit records that left the chain with retention: they are kept for longer than sales.
CREATE TABLE old_audit (
    sequence INTEGER PRIMARY KEY,
    time_ms  INTEGER NOT NULL,
    body     BLOB    NOT NULL
) STRICT;

CREATE INDEX old_audit_by_age ON old_audit (time_ms);

CREATE TABLE sale (
    sale_id             TEXT    PRIMARY KEY,
    sequence            INTEGER NOT NULL UNIQUE REFERENCES event (sequence),
    order_id            TEXT,
    basis               TEXT    NOT NULL,
    fuelling_point      INTEGER NOT NULL,
    nozzle              INTEGER NOT NULL,
    grade               TEXT    NOT NULL,
    currency            TEXT    NOT NULL,
    unit_price_micros   INTEGER NOT NULL,
    price_set           TEXT    NOT NULL,
    volume_ml           INTEGER NOT NULL,
    amount_minor        INTEGER NOT NULL,
    totaliser_start_ml  INTEGER,
    totaliser_end_ml    INTEGER,
    unaccounted_ml      INTEGER NOT NULL,
    started_ms          INTEGER NOT NULL,
    ended_ms            INTEGER NOT NULL,
    finish              TEXT    NOT NULL,
    evidence            TEXT    NOT NULL,
    offline             INTEGER NOT NULL,
    recovered           INTEGER NOT NULL,
    flags               TEXT    NOT NULL
) STRICT;

-- An order has one sale at most.
CREATE UNIQUE INDEX sale_of_order ON sale (order_id) WHERE order_id IS NOT NULL;
CREATE INDEX sale_of_nozzle ON sale (nozzle, ended_ms, sequence);

CREATE TABLE orders (
    order_id     TEXT    PRIMARY KEY,
    nozzle       INTEGER NOT NULL,
    phase        TEXT    NOT NULL,
    place        INTEGER NOT NULL,
    received_ms  INTEGER NOT NULL,
    content_hash TEXT    NOT NULL,
    -- Its one end as JSON, and when that was stored.
    ended        TEXT,
    ended_ms     INTEGER,
    -- The whole order as JSON; dropped some days after its end, as it may hold a plate and a customer token.
    body         TEXT
) STRICT, WITHOUT ROWID;

CREATE INDEX orders_open ON orders (place) WHERE ended IS NULL;
CREATE INDEX orders_with_body ON orders (ended_ms) WHERE ended IS NOT NULL AND body IS NOT NULL;
CREATE INDEX orders_received ON orders (received_ms);

CREATE TRIGGER an_end_never_changes BEFORE UPDATE ON orders
WHEN OLD.ended IS NOT NULL AND (NEW.ended IS NOT OLD.ended OR NEW.order_id IS NOT OLD.order_id
    OR NEW.content_hash IS NOT OLD.content_hash)
BEGIN SELECT RAISE(ABORT, 'an order that has its end keeps it'); END;

CREATE TRIGGER an_order_never_vanishes BEFORE DELETE ON orders
BEGIN SELECT RAISE(ABORT, 'an order is never deleted'); END;

-- Releases that have, or may have, reached a dispenser and have no end.
CREATE TABLE release (
    release  INTEGER PRIMARY KEY,
    order_id TEXT,
    body     TEXT    NOT NULL
) STRICT;

CREATE TABLE totaliser (
    nozzle    INTEGER PRIMARY KEY,
    volume_ml INTEGER NOT NULL,
    at_ms     INTEGER NOT NULL
) STRICT;

CREATE TABLE hold (
    nozzle INTEGER NOT NULL,
    hold   TEXT    NOT NULL,
    PRIMARY KEY (nozzle, hold)
) STRICT, WITHOUT ROWID;

-- The first answer to each command: given again when the command comes again.
CREATE TABLE reply (
    command_id TEXT    PRIMARY KEY,
    giver      TEXT    NOT NULL CHECK (giver IN ('site', 'link')),
    at_ms      INTEGER NOT NULL,
    body       TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX reply_by_age ON reply (at_ms);
