-- Every table of the store. Portable SQL; documents are JSON text.

-- What users see: one row per resource.
CREATE TABLE IF NOT EXISTS records (
    account  TEXT NOT NULL,
    region   TEXT NOT NULL,
    service  TEXT NOT NULL,
    kind     TEXT NOT NULL,
    name     TEXT NOT NULL,
    status   TEXT NOT NULL DEFAULT '',
    parent   TEXT NOT NULL DEFAULT '',
    created  DOUBLE PRECISION NOT NULL,
    modified DOUBLE PRECISION NOT NULL,
    version  BIGINT NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (service, kind, account, region, name)
);
CREATE INDEX IF NOT EXISTS records_parent ON records (service, kind, account, region, parent, name);
CREATE INDEX IF NOT EXISTS records_status ON records (service, kind, status);

-- Work to be done on a record, by one worker at a time.
CREATE TABLE IF NOT EXISTS queue (
    id          INTEGER PRIMARY KEY,
    kind        TEXT NOT NULL,
    account     TEXT NOT NULL,
    region      TEXT NOT NULL,
    service     TEXT NOT NULL,
    record_kind TEXT NOT NULL,
    name        TEXT NOT NULL,
    payload     TEXT NOT NULL,
    due         DOUBLE PRECISION NOT NULL,
    woken       INTEGER NOT NULL DEFAULT 0,
    owner       TEXT NOT NULL DEFAULT '',
    lease_until DOUBLE PRECISION NOT NULL DEFAULT 0,
    attempts    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (kind, account, region, service, record_kind, name)
);
CREATE INDEX IF NOT EXISTS queue_due ON queue (due);

-- What others should learn, in the order it happened.
CREATE TABLE IF NOT EXISTS outbox (
    id      INTEGER PRIMARY KEY,
    topic   TEXT NOT NULL,
    account TEXT NOT NULL,
    region  TEXT NOT NULL,
    body    TEXT NOT NULL
);

-- Who may run a loop.
CREATE TABLE IF NOT EXISTS leases (
    name        TEXT PRIMARY KEY,
    owner       TEXT NOT NULL,
    lease_until DOUBLE PRECISION NOT NULL
);
