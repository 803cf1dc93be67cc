-- Stored objects. A row's commit makes its file visible; keys are ordered as UTF-8 bytes (PostgreSQL: COLLATE "C").

-- One row per version, delete markers among them. `current` is 1 on the newest version of a key; `document` holds headers, metadata, checksums, tags and locks.
CREATE TABLE IF NOT EXISTS objects (
    bucket        TEXT NOT NULL,
    key           TEXT NOT NULL,
    generation    BIGINT NOT NULL,
    version_id    TEXT NOT NULL,
    current       INTEGER NOT NULL,
    marker        INTEGER NOT NULL,
    size          BIGINT NOT NULL,
    etag          TEXT NOT NULL,
    modified      DOUBLE PRECISION NOT NULL,
    storage_class TEXT NOT NULL,
    document      TEXT NOT NULL,
    PRIMARY KEY (bucket, key, generation)
);
CREATE INDEX IF NOT EXISTS objects_current ON objects (bucket, key) WHERE current = 1 AND marker = 0;

-- Multipart uploads that are neither completed nor aborted.
CREATE TABLE IF NOT EXISTS uploads (
    id        TEXT NOT NULL PRIMARY KEY,
    bucket    TEXT NOT NULL,
    key       TEXT NOT NULL,
    initiated DOUBLE PRECISION NOT NULL,
    document  TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS uploads_key ON uploads (bucket, key, id);

-- Their parts.
CREATE TABLE IF NOT EXISTS parts (
    upload     TEXT NOT NULL,
    number     INTEGER NOT NULL,
    generation BIGINT NOT NULL,
    size       BIGINT NOT NULL,
    etag       TEXT NOT NULL,
    modified   DOUBLE PRECISION NOT NULL,
    document   TEXT NOT NULL,
    PRIMARY KEY (upload, number)
);

-- Small bodies whose files are yet to be written.
CREATE TABLE IF NOT EXISTS bodies (
    bucket     TEXT NOT NULL,
    key        TEXT NOT NULL,
    generation BIGINT NOT NULL,
    data       BLOB NOT NULL,
    PRIMARY KEY (bucket, key, generation)
);
