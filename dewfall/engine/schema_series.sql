-- Append-only rows. Log times are milliseconds since the epoch, metric times whole seconds.

-- Log groups. `retention` in days, 0 = for ever; `document` holds what else AWS shows of a group.
CREATE TABLE IF NOT EXISTS log_groups (
    id        INTEGER PRIMARY KEY,
    account   TEXT NOT NULL,
    region    TEXT NOT NULL,
    name      TEXT NOT NULL,
    created   BIGINT NOT NULL,
    retention INTEGER NOT NULL DEFAULT 0,
    document  TEXT NOT NULL,
    UNIQUE (account, region, name)
);

-- Log streams, with what their events add up to. 0 in a time column: no event yet.
CREATE TABLE IF NOT EXISTS log_streams (
    id             INTEGER PRIMARY KEY,
    group_id       INTEGER NOT NULL,
    name           TEXT NOT NULL,
    created        BIGINT NOT NULL,
    first_event    BIGINT NOT NULL DEFAULT 0,
    last_event     BIGINT NOT NULL DEFAULT 0,
    last_ingestion BIGINT NOT NULL DEFAULT 0,
    size           BIGINT NOT NULL DEFAULT 0,
    UNIQUE (group_id, name)
);

-- Log events; the id is the order of arrival and never used again (AUTOINCREMENT), because readers remember how far they have come.
CREATE TABLE IF NOT EXISTS log_events (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id  INTEGER NOT NULL,
    stream_id INTEGER NOT NULL,
    time      BIGINT NOT NULL,
    ingested  BIGINT NOT NULL,
    text      TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS log_events_stream ON log_events (stream_id, time, id);
CREATE INDEX IF NOT EXISTS log_events_group ON log_events (group_id, time, id);

-- Metrics: one row per namespace, name and set of dimensions (JSON, sorted by name).
CREATE TABLE IF NOT EXISTS metrics (
    id         INTEGER PRIMARY KEY,
    account    TEXT NOT NULL,
    region     TEXT NOT NULL,
    namespace  TEXT NOT NULL,
    name       TEXT NOT NULL,
    dimensions TEXT NOT NULL,
    last_point BIGINT NOT NULL,
    UNIQUE (account, region, namespace, name, dimensions)
);

-- Their points: statistic sets. `spread` is JSON [[value, count], …] where single values are known beyond low and high.
CREATE TABLE IF NOT EXISTS points (
    id      INTEGER PRIMARY KEY,
    metric  INTEGER NOT NULL,
    time    BIGINT NOT NULL,
    unit    TEXT NOT NULL,
    samples DOUBLE PRECISION NOT NULL,
    total   DOUBLE PRECISION NOT NULL,
    low     DOUBLE PRECISION NOT NULL,
    high    DOUBLE PRECISION NOT NULL,
    spread  TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS points_metric ON points (metric, time);
