-- SQS: the messages of every queue. `queue` is the queue's ARN.
CREATE TABLE IF NOT EXISTS messages (
    id         INTEGER PRIMARY KEY,
    queue      TEXT NOT NULL,
    message_id TEXT NOT NULL,
    body       TEXT NOT NULL,
    document   TEXT NOT NULL,
    sent       DOUBLE PRECISION NOT NULL,
    visible    DOUBLE PRECISION NOT NULL,
    received   INTEGER NOT NULL DEFAULT 0,
    first      DOUBLE PRECISION NOT NULL DEFAULT 0,
    receipt    TEXT NOT NULL DEFAULT '',
    grp        TEXT NOT NULL DEFAULT '',
    dedup      TEXT NOT NULL DEFAULT ''
);
CREATE INDEX IF NOT EXISTS messages_visible ON messages (queue, visible, id);
CREATE INDEX IF NOT EXISTS messages_by_id ON messages (queue, message_id);

-- SQS FIFO: what was sent within the last five minutes, by deduplication id.
CREATE TABLE IF NOT EXISTS message_dedup (
    queue      TEXT NOT NULL,
    dedup      TEXT NOT NULL,
    message_id TEXT NOT NULL,
    sequence   TEXT NOT NULL,
    at         DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (queue, dedup)
);
