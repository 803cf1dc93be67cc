-- Turns: which of the jobs that wait for a slot is the next. A queue row keeps its id as long as it lives, so ids are the order of creation.

-- name: turns_first
-- The job that has waited longest.
SELECT id, kind, account, region, service, record_kind, name FROM queue WHERE payload LIKE '%"Waiting": true%' ORDER BY id LIMIT 1;

-- name: turns_over
-- A job that waits no longer.
UPDATE queue SET payload = :payload WHERE id = :id AND woken < 2;
