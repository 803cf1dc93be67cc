-- name: message_put
-- A message arrives.
INSERT INTO messages (queue, message_id, body, document, sent, visible, grp, dedup)
VALUES (:queue, :message_id, :body, :document, :sent, :visible, :grp, :dedup) RETURNING id;

-- name: message_due
-- Messages that may be received now, oldest first.
SELECT id, message_id, body, document, sent, received, first, grp FROM messages
WHERE queue = :queue AND visible <= :now AND sent > :expired ORDER BY id LIMIT :limit;

-- name: message_groups_busy
-- FIFO: groups that have a message in flight.
SELECT DISTINCT grp FROM messages WHERE queue = :queue AND grp <> '' AND visible > :now AND received > 0;

-- name: message_take
-- Received: invisible until its time is over.
UPDATE messages SET visible = :until, received = received + 1, receipt = :receipt,
    first = CASE WHEN first = 0 THEN :now ELSE first END WHERE id = :id RETURNING received, first;

-- name: message_by_id
-- The message of a receipt handle, which carries the message's id.
SELECT id, visible, receipt, received FROM messages WHERE queue = :queue AND message_id = :message_id;

-- name: message_whole
-- A message, as message_due gives it.
SELECT id, message_id, body, document, sent, received, first, grp FROM messages WHERE queue = :queue AND message_id = :message_id;

-- name: message_remove
-- Deleted by its receiver.
DELETE FROM messages WHERE id = :id;

-- name: message_hide
-- Another visibility timeout.
UPDATE messages SET visible = :until WHERE id = :id;

-- name: message_move
-- To the dead-letter queue, with a note of where it came from.
UPDATE messages SET queue = :target, document = :document, visible = :now, received = 0, first = 0, receipt = '' WHERE id = :id;

-- name: message_renew
-- Out of a dead-letter queue: a new message with the old one's content.
UPDATE messages SET queue = :target, message_id = :message_id, document = :document, sent = :now, visible = :now, received = 0, first = 0, receipt = ''
WHERE id = :id;

-- name: message_counts
-- Visible, in flight, delayed.
SELECT
    COALESCE(SUM(CASE WHEN visible <= :now THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN visible > :now AND received > 0 THEN 1 ELSE 0 END), 0),
    COALESCE(SUM(CASE WHEN visible > :now AND received = 0 THEN 1 ELSE 0 END), 0)
FROM messages WHERE queue = :queue AND sent > :expired;

-- name: message_oldest
-- When the oldest message of a queue was sent.
SELECT MIN(sent) FROM messages WHERE queue = :queue AND sent > :expired;

-- name: message_purge
-- Every message of a queue.
DELETE FROM messages WHERE queue = :queue;

-- name: message_next
-- When the next message becomes visible.
SELECT MIN(visible) FROM messages WHERE queue = :queue AND visible > :now;

-- name: dedup_find
-- The earlier message of a deduplication id.
SELECT message_id, sequence FROM message_dedup WHERE queue = :queue AND dedup = :dedup AND at > :since;

-- name: dedup_put
-- Remember a deduplication id.
INSERT INTO message_dedup (queue, dedup, message_id, sequence, at) VALUES (:queue, :dedup, :message_id, :sequence, :at)
ON CONFLICT (queue, dedup) DO UPDATE SET message_id = excluded.message_id, sequence = excluded.sequence, at = excluded.at;

-- name: dedup_purge
-- The queue is gone.
DELETE FROM message_dedup WHERE queue = :queue;
