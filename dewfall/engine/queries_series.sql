-- Named statements of logs and metrics.

-- name: log_group_add
-- A group that must not exist yet.
INSERT INTO log_groups (account, region, name, created, document) VALUES (:account, :region, :name, :created, :document)
ON CONFLICT DO NOTHING RETURNING id;

-- name: log_group_list
-- Groups by name, below a prefix (:end is the first text behind it), with the bytes of their streams.
SELECT g.id, g.account, g.region, g.name, g.created, g.retention, g.document,
    (SELECT COALESCE(SUM(s.size), 0) FROM log_streams s WHERE s.group_id = g.id) FROM log_groups g
WHERE g.account = :account AND g.region = :region AND g.name >= :prefix AND g.name < :end ORDER BY g.name;

-- name: log_group_get
-- One group.
SELECT g.id, g.account, g.region, g.name, g.created, g.retention, g.document,
    (SELECT COALESCE(SUM(s.size), 0) FROM log_streams s WHERE s.group_id = g.id) FROM log_groups g
WHERE g.account = :account AND g.region = :region AND g.name = :name;

-- name: log_group_kept
-- Groups of every account whose events do not stay for ever.
SELECT id, retention FROM log_groups WHERE retention > 0;

-- name: log_group_filtered
-- Groups of every account that have metric filters.
SELECT account, region, name FROM log_groups WHERE document LIKE '%"metricFilters": {"%';

-- name: log_group_save
-- New settings of a group.
UPDATE log_groups SET retention = :retention, document = :document WHERE id = :id;

-- name: log_group_drop
-- A group goes; its streams and events by the two statements below.
DELETE FROM log_groups WHERE id = :id;

-- name: log_group_drop_streams
-- All streams of a group.
DELETE FROM log_streams WHERE group_id = :id;

-- name: log_group_drop_events
-- All events of a group.
DELETE FROM log_events WHERE group_id = :id;

-- name: log_stream_add
-- A stream that must not exist yet.
INSERT INTO log_streams (group_id, name, created) VALUES (:group, :name, :created) ON CONFLICT DO NOTHING RETURNING id;

-- name: log_stream_find
-- The stream of a group by their names.
SELECT s.id, s.group_id FROM log_streams s JOIN log_groups g ON g.id = s.group_id
WHERE g.account = :account AND g.region = :region AND g.name = :group AND s.name = :stream;

-- name: log_stream_list
-- A group's streams by name, below a prefix.
SELECT id, name, created, first_event, last_event, last_ingestion, size FROM log_streams
WHERE group_id = :group AND name >= :prefix AND name < :end ORDER BY name;

-- name: log_stream_get
-- One stream of a group.
SELECT id, name, created, first_event, last_event, last_ingestion, size FROM log_streams WHERE group_id = :group AND name = :name;

-- name: log_stream_grow
-- What new events add to their stream.
UPDATE log_streams SET size = size + :size, last_ingestion = :ingested,
    first_event = CASE WHEN first_event = 0 OR first_event > :first THEN :first ELSE first_event END,
    last_event = CASE WHEN last_event < :last THEN :last ELSE last_event END WHERE id = :id;

-- name: log_stream_drop
-- A stream goes.
DELETE FROM log_streams WHERE id = :id;

-- name: log_stream_drop_events
-- And its events.
DELETE FROM log_events WHERE stream_id = :id;

-- name: log_event_add
-- One event.
INSERT INTO log_events (group_id, stream_id, time, ingested, text) VALUES (:group, :stream, :time, :ingested, :text);

-- name: log_event_forward
-- A stream's events from a time on, behind a place (time, id), oldest first.
SELECT id, stream_id, time, ingested, text FROM log_events
WHERE stream_id = :stream AND time >= :start AND time < :end AND time >= :time AND (time > :time OR id > :id)
ORDER BY time, id LIMIT :limit;

-- name: log_event_backward
-- The same before a place, newest first.
SELECT id, stream_id, time, ingested, text FROM log_events
WHERE stream_id = :stream AND time >= :start AND time < :end AND time <= :time AND (time < :time OR id < :id)
ORDER BY time DESC, id DESC LIMIT :limit;

-- name: log_event_group
-- A group's events, oldest first, behind a place.
SELECT id, stream_id, time, ingested, text FROM log_events
WHERE group_id = :group AND time >= :start AND time < :end AND time >= :time AND (time > :time OR id > :id)
ORDER BY time, id LIMIT :limit;

-- name: log_event_group_back
-- The same before a place, newest first.
SELECT id, stream_id, time, ingested, text FROM log_events
WHERE group_id = :group AND time >= :start AND time < :end AND time <= :time AND (time < :time OR id < :id)
ORDER BY time DESC, id DESC LIMIT :limit;

-- name: log_event_arrived
-- A group's events by arrival, for who follows it.
SELECT id, stream_id, time, ingested, text FROM log_events WHERE group_id = :group AND id > :id ORDER BY id LIMIT :limit;

-- name: log_event_last
-- The newest arrival of all.
SELECT COALESCE(MAX(id), 0) FROM log_events;

-- name: log_event_expire
-- A group's events that are older than its retention.
DELETE FROM log_events WHERE group_id = :group AND time < :before;

-- name: metric_find
-- One metric.
SELECT id, last_point FROM metrics
WHERE account = :account AND region = :region AND namespace = :namespace AND name = :name AND dimensions = :dimensions;

-- name: metric_add
-- A metric that was never seen.
INSERT INTO metrics (account, region, namespace, name, dimensions, last_point)
VALUES (:account, :region, :namespace, :name, :dimensions, :time) RETURNING id;

-- name: metric_seen
-- A later point has come.
UPDATE metrics SET last_point = :time WHERE id = :id AND last_point < :time;

-- name: metric_list
-- An account's metrics with a point since a time, in their order of names.
SELECT id, namespace, name, dimensions, last_point FROM metrics
WHERE account = :account AND region = :region AND last_point >= :since ORDER BY namespace, name, dimensions;

-- name: metric_list_namespace
-- The same of one namespace.
SELECT id, namespace, name, dimensions, last_point FROM metrics
WHERE account = :account AND region = :region AND namespace = :namespace AND last_point >= :since ORDER BY namespace, name, dimensions;

-- name: point_add
-- One point.
INSERT INTO points (metric, time, unit, samples, total, low, high, spread)
VALUES (:metric, :time, :unit, :samples, :total, :low, :high, :spread);

-- name: point_buckets
-- A metric's points, added up per period from :start on.
SELECT (time - :start) / :period, unit, SUM(samples), SUM(total), MIN(low), MAX(high) FROM points
WHERE metric = :metric AND time >= :start AND time < :end GROUP BY 1, 2 ORDER BY 1, 2;

-- name: point_spreads
-- A metric's points one by one, for percentiles.
SELECT (time - :start) / :period, unit, samples, total, low, high, spread FROM points
WHERE metric = :metric AND time >= :start AND time < :end ORDER BY time, id;

-- name: point_expire
-- Points that are too old.
DELETE FROM points WHERE time < :before;
