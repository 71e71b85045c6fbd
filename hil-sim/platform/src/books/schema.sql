-- The reference platform's books. Times are milliseconds since 1970 (UTC), money is in minor units, volumes are in millilitres.

-- Ledger. An entry takes an amount from one account and gives it to another, so it cannot be unbalanced; the sum of all balances
-- is always zero.
CREATE TABLE account (
    account_id    INTEGER PRIMARY KEY,
    kind          TEXT    NOT NULL CHECK (kind IN ('outside', 'held', 'refunding', 'station', 'marketing', 'wallet', 'withdrawing', 'clawback', 'card')),
    owner         TEXT    NOT NULL,
    balance_minor INTEGER NOT NULL DEFAULT 0,
    floor_minor   INTEGER NOT NULL DEFAULT 0,
    ceiling_minor INTEGER,
    UNIQUE (kind, owner),
    CONSTRAINT not_below_its_floor CHECK (balance_minor >= floor_minor),
    CONSTRAINT not_above_its_ceiling CHECK (ceiling_minor IS NULL OR balance_minor <= ceiling_minor)
) STRICT;

CREATE TABLE movement (
    movement_id INTEGER PRIMARY KEY,
    key         TEXT    NOT NULL UNIQUE,    -- makes every movement happen once
    order_id    TEXT,
    at_ms       INTEGER NOT NULL
) STRICT;
CREATE INDEX movement_of_order ON movement (order_id);

CREATE TABLE entry (
    entry_id     INTEGER PRIMARY KEY,
    movement_id  INTEGER NOT NULL REFERENCES movement,
    from_account INTEGER NOT NULL REFERENCES account,
    to_account   INTEGER NOT NULL REFERENCES account,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    CHECK (from_account <> to_account)
) STRICT;
CREATE INDEX entry_of_movement ON entry (movement_id);

CREATE TRIGGER entry_moves_balances AFTER INSERT ON entry BEGIN
    UPDATE account SET balance_minor = balance_minor - NEW.amount_minor WHERE account_id = NEW.from_account;
    UPDATE account SET balance_minor = balance_minor + NEW.amount_minor WHERE account_id = NEW.to_account;
END;
CREATE TRIGGER entry_never_changes BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'an entry never changes'); END;
CREATE TRIGGER entry_stays BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'an entry is never deleted'); END;

-- Stations and what they say of themselves.
CREATE TABLE station (
    station_id TEXT    PRIMARY KEY,
    name_zh    TEXT    NOT NULL,
    name_en    TEXT    NOT NULL,
    lat_udeg   INTEGER NOT NULL,
    lon_udeg   INTEGER NOT NULL,
    currency   TEXT    NOT NULL,
    online     INTEGER NOT NULL DEFAULT 0,
    state      TEXT,
    heard_ms   INTEGER
) STRICT;

CREATE TABLE nozzle (
    station_id TEXT    NOT NULL REFERENCES station,
    nozzle     INTEGER NOT NULL,
    qr_token   TEXT    NOT NULL UNIQUE,
    state      TEXT    NOT NULL,            -- last fuel.nozzle.state.v1
    stamp_ms   INTEGER NOT NULL,
    PRIMARY KEY (station_id, nozzle)
) STRICT, WITHOUT ROWID;

-- Drivers. No telephone number, name or full plate is kept.
CREATE TABLE member (
    member_id    TEXT    PRIMARY KEY,
    phone_mac    TEXT    NOT NULL UNIQUE,
    phone_masked TEXT    NOT NULL,
    customer     TEXT    NOT NULL UNIQUE,   -- the opaque token a station is given
    last         TEXT,
    created_ms   INTEGER NOT NULL
) STRICT;
CREATE TABLE session (token_mac TEXT PRIMARY KEY, member_id TEXT NOT NULL REFERENCES member, expires_ms INTEGER NOT NULL) STRICT;
CREATE TABLE vehicle (
    vehicle_id   TEXT PRIMARY KEY,
    member_id    TEXT NOT NULL REFERENCES member,
    plate_masked TEXT NOT NULL,
    grade        TEXT NOT NULL
) STRICT;

-- Who was invited by whom, at which station. The tree is never walked further than commission.level allows.
CREATE TABLE relation (
    member_id  TEXT    NOT NULL REFERENCES member,
    station_id TEXT    NOT NULL REFERENCES station,
    inviter_id TEXT    NOT NULL REFERENCES member,
    bound_ms   INTEGER NOT NULL,
    PRIMARY KEY (member_id, station_id),
    CHECK (member_id <> inviter_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE coupon (
    coupon_id       TEXT    PRIMARY KEY,
    member_id       TEXT    NOT NULL REFERENCES member,
    threshold_minor INTEGER NOT NULL CHECK (threshold_minor > 0),
    discount_minor  INTEGER NOT NULL CHECK (discount_minor > 0 AND discount_minor < threshold_minor),
    state           TEXT    NOT NULL DEFAULT 'free' CHECK (state IN ('free', 'reserved', 'used')),
    expires_ms      INTEGER NOT NULL
) STRICT;

CREATE TABLE buying_group (group_id TEXT PRIMARY KEY, station_id TEXT NOT NULL REFERENCES station, leader_id TEXT NOT NULL REFERENCES member) STRICT;
CREATE TABLE buying_group_member (
    group_id  TEXT NOT NULL REFERENCES buying_group,
    member_id TEXT NOT NULL REFERENCES member,
    place     INTEGER NOT NULL CHECK (place BETWEEN 1 AND 3),
    order_id  TEXT UNIQUE,
    PRIMARY KEY (group_id, member_id),
    UNIQUE (group_id, place)
) STRICT;

-- Prepaid and fleet cards: account (its balance is in the ledger), card (its state and limits), relation, and the flow.
CREATE TABLE card_account (
    card_account_id TEXT PRIMARY KEY,
    kind            TEXT NOT NULL CHECK (kind IN ('prepaid', 'fleet')),
    name            TEXT NOT NULL
) STRICT;
CREATE TABLE card (
    card_id          TEXT PRIMARY KEY,
    card_account_id  TEXT NOT NULL REFERENCES card_account,
    state            TEXT NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'blocked')),
    grades           TEXT NOT NULL DEFAULT '',   -- separated by blanks; empty for any
    fill_limit_minor INTEGER NOT NULL CHECK (fill_limit_minor > 0),
    day_limit_minor  INTEGER NOT NULL CHECK (day_limit_minor > 0)
) STRICT;
CREATE TABLE card_relation (
    card_id   TEXT NOT NULL REFERENCES card,
    member_id TEXT NOT NULL REFERENCES member,
    PRIMARY KEY (card_id, member_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE card_order (
    order_id     TEXT PRIMARY KEY REFERENCES fuel_order,
    card_id      TEXT NOT NULL REFERENCES card,
    day          INTEGER NOT NULL,
    held_minor   INTEGER NOT NULL,
    charged_minor INTEGER
) STRICT;
CREATE INDEX card_order_of_day ON card_order (card_id, day);

-- Orders. An order has at most one end, and it never changes.
CREATE TABLE fuel_order (
    order_id          TEXT    PRIMARY KEY,
    number            INTEGER NOT NULL UNIQUE,
    member_id         TEXT    NOT NULL REFERENCES member,
    station_id        TEXT    NOT NULL,
    nozzle            INTEGER NOT NULL,
    grade             TEXT    NOT NULL,
    unit_price_micros INTEGER NOT NULL,
    limit_json        TEXT    NOT NULL,
    gross_minor       INTEGER NOT NULL CHECK (gross_minor > 0),
    discount_minor    INTEGER NOT NULL CHECK (discount_minor >= 0),
    payable_minor     INTEGER NOT NULL CHECK (payable_minor > 0),
    coupon_id         TEXT    REFERENCES coupon,
    group_id          TEXT    REFERENCES buying_group,
    vehicle_id        TEXT    REFERENCES vehicle,
    pay_with          TEXT    NOT NULL,
    key               TEXT    NOT NULL,
    request           TEXT    NOT NULL,
    state             TEXT    NOT NULL CHECK (state IN ('awaiting_payment', 'paid', 'queued', 'armed', 'lifted', 'fuelling',
                                                        'review', 'completed', 'released', 'cancelled', 'expired')),
    since_ms          INTEGER NOT NULL,
    day               INTEGER NOT NULL,
    created_ms        INTEGER NOT NULL,
    expires_ms        INTEGER NOT NULL,
    lift_deadline_ms  INTEGER,
    queue_position    INTEGER,
    code              TEXT    NOT NULL,
    command_id        TEXT    UNIQUE,
    jws               TEXT,
    reply             TEXT,
    sale_id           TEXT    UNIQUE REFERENCES sale,
    reason            TEXT,
    UNIQUE (member_id, key)
) STRICT;
CREATE INDEX order_of_day ON fuel_order (member_id, day);
CREATE TRIGGER an_end_stays BEFORE UPDATE OF state ON fuel_order
    WHEN OLD.state IN ('completed', 'released', 'cancelled', 'expired') AND NEW.state <> OLD.state
    BEGIN SELECT RAISE(ABORT, 'an order has exactly one end'); END;

CREATE TABLE step (order_id TEXT NOT NULL REFERENCES fuel_order, step TEXT NOT NULL, at_ms INTEGER NOT NULL, detail TEXT, PRIMARY KEY (order_id, step)) STRICT;

-- The platform's side of payment, and the sandbox channel's own books below it.
CREATE TABLE payment (
    payment_ref  TEXT    PRIMARY KEY,       -- the channel's
    order_id     TEXT    NOT NULL REFERENCES fuel_order,
    channel      TEXT    NOT NULL,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    at_ms        INTEGER NOT NULL,
    counts       INTEGER NOT NULL           -- 0 for one that came too often or too late and goes back whole
) STRICT;
CREATE UNIQUE INDEX one_payment_counts ON payment (order_id) WHERE counts = 1;
CREATE TABLE refund (
    refund_id    TEXT    PRIMARY KEY,
    payment_ref  TEXT    NOT NULL REFERENCES payment,
    order_id     TEXT    NOT NULL REFERENCES fuel_order,
    amount_minor INTEGER NOT NULL CHECK (amount_minor > 0),
    state        TEXT    NOT NULL CHECK (state IN ('accepted', 'done')),
    at_ms        INTEGER NOT NULL,
    done_ms      INTEGER
) STRICT;
CREATE INDEX refund_of_order ON refund (order_id);
CREATE TABLE channel_payment (payment_ref TEXT PRIMARY KEY, channel TEXT NOT NULL, order_id TEXT NOT NULL, amount_minor INTEGER NOT NULL, at_ms INTEGER NOT NULL, UNIQUE (channel, order_id)) STRICT;
CREATE TABLE channel_refund (refund_id TEXT PRIMARY KEY, payment_ref TEXT NOT NULL, amount_minor INTEGER NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE callback (nonce TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;

-- Durable records of stations, as they came.
CREATE TABLE record (
    station_id TEXT    NOT NULL REFERENCES station,
    sequence   INTEGER NOT NULL,
    event_id   TEXT    NOT NULL UNIQUE,
    kind       TEXT    NOT NULL,
    time_ms    INTEGER NOT NULL,
    heard_ms   INTEGER NOT NULL,
    prevhash   TEXT    NOT NULL,
    hash       TEXT    NOT NULL,
    data       TEXT    NOT NULL,
    PRIMARY KEY (station_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER record_never_changes BEFORE UPDATE ON record BEGIN SELECT RAISE(ABORT, 'a record never changes'); END;

CREATE TABLE sale (
    sale_id             TEXT    PRIMARY KEY,
    station_id          TEXT    NOT NULL,
    sequence            INTEGER NOT NULL,
    order_id            TEXT,
    basis               TEXT    NOT NULL,
    nozzle              INTEGER NOT NULL,
    grade               TEXT    NOT NULL,
    unit_price_micros   INTEGER NOT NULL,
    volume_ml           INTEGER NOT NULL,
    amount_minor        INTEGER NOT NULL,
    totaliser_start_ml  INTEGER,
    totaliser_end_ml    INTEGER,
    unaccounted_ml      INTEGER NOT NULL,
    started_ms          INTEGER NOT NULL,
    ended_ms            INTEGER NOT NULL,
    finish              TEXT    NOT NULL,
    flags               TEXT    NOT NULL,
    day                 INTEGER NOT NULL,
    charged_minor       INTEGER,
    coupon_minor        INTEGER,
    group_minor         INTEGER,
    UNIQUE (station_id, sequence)
) STRICT;
CREATE INDEX sale_of_day ON sale (day, station_id, nozzle, sequence);
CREATE INDEX sale_of_order ON sale (order_id);
CREATE TABLE correction (correction_id TEXT PRIMARY KEY, sale_id TEXT NOT NULL UNIQUE REFERENCES sale, amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0), by_whom TEXT NOT NULL, why TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE dispute (dispute_id INTEGER PRIMARY KEY, station_id TEXT NOT NULL, at_ms INTEGER NOT NULL, what TEXT NOT NULL) STRICT;

-- At most two levels, and only from a sale.
CREATE TABLE commission (
    sale_id      TEXT    NOT NULL REFERENCES sale,
    level        INTEGER NOT NULL CHECK (level IN (1, 2)),
    member_id    TEXT    NOT NULL REFERENCES member,
    amount_minor INTEGER NOT NULL CHECK (amount_minor >= 0),
    points       INTEGER NOT NULL,
    at_ms        INTEGER NOT NULL,
    clawed_back_minor INTEGER NOT NULL DEFAULT 0 CHECK (clawed_back_minor BETWEEN 0 AND amount_minor),
    PRIMARY KEY (sale_id, level)
) STRICT;
CREATE INDEX commission_of_member ON commission (member_id, at_ms);
CREATE TABLE withdrawal (
    withdrawal_id TEXT    PRIMARY KEY,
    member_id     TEXT    NOT NULL REFERENCES member,
    amount_minor  INTEGER NOT NULL CHECK (amount_minor > 0),
    state         TEXT    NOT NULL CHECK (state IN ('paid', 'review', 'refused')),
    key           TEXT    NOT NULL,
    at_ms         INTEGER NOT NULL,
    reviewed_by   TEXT,
    UNIQUE (member_id, key),
    CONSTRAINT large_ones_are_reviewed CHECK (state <> 'paid' OR amount_minor <= 50000 OR reviewed_by IS NOT NULL)
) STRICT;
CREATE TABLE invoice (invoice_no INTEGER PRIMARY KEY, sale_id TEXT NOT NULL UNIQUE REFERENCES sale, title TEXT NOT NULL, tax_id TEXT, data TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;

CREATE TABLE price_set (price_set TEXT PRIMARY KEY, station_id TEXT NOT NULL REFERENCES station, effective_ms INTEGER NOT NULL, prices TEXT NOT NULL, command_id TEXT NOT NULL, reply TEXT) STRICT;
CREATE TABLE price_applied (price_set TEXT NOT NULL, station_id TEXT NOT NULL, nozzle INTEGER NOT NULL, unit_price_micros INTEGER NOT NULL, status TEXT NOT NULL, at_ms INTEGER NOT NULL, PRIMARY KEY (price_set, station_id, nozzle)) STRICT;

-- Commands to stations. Sent again after a broken link until they are answered or too old.
CREATE TABLE command (
    number     INTEGER PRIMARY KEY,
    command_id TEXT    NOT NULL UNIQUE,
    station_id TEXT    NOT NULL,
    kind       TEXT    NOT NULL,
    order_id   TEXT,
    token      TEXT    NOT NULL,
    until_ms   INTEGER NOT NULL,
    sent_ms    INTEGER,                     -- null while it is to be sent
    result     TEXT                         -- the answer's
) STRICT;
CREATE INDEX command_to_send ON command (number) WHERE sent_ms IS NULL;
CREATE INDEX command_unanswered ON command (sent_ms) WHERE result IS NULL;

-- Enrolment of stations.
CREATE TABLE enrolment (station_id TEXT PRIMARY KEY REFERENCES station, code_mac TEXT, wrong INTEGER NOT NULL DEFAULT 0, locked_until_ms INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE certificate (fingerprint TEXT PRIMARY KEY, station_id TEXT NOT NULL REFERENCES station, not_after_ms INTEGER NOT NULL) STRICT;
