-- Named statements. Each begins with "-- name: <name>" and a sentence; parameters are :named.

-- name: table_names
-- Every table.
SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%';

-- name: record_get
-- One record by its key.
SELECT document, status, parent, created, modified, version FROM records
WHERE service = :service AND kind = :kind AND account = :account AND region = :region AND name = :name;

-- name: record_create
-- A record that must not exist yet.
INSERT INTO records (account, region, service, kind, name, status, parent, created, modified, version, document)
VALUES (:account, :region, :service, :kind, :name, :status, :parent, :created, :modified, 1, :document)
ON CONFLICT DO NOTHING RETURNING version;

-- name: record_save
-- Compare and swap on the version.
UPDATE records SET status = :status, parent = :parent, modified = :modified, version = version + 1, document = :document
WHERE service = :service AND kind = :kind AND account = :account AND region = :region AND name = :name AND version = :version
RETURNING version;

-- name: record_delete
-- Remove one record.
DELETE FROM records
WHERE service = :service AND kind = :kind AND account = :account AND region = :region AND name = :name RETURNING version;

-- name: record_list
-- A kind's records by name, after a name.
SELECT name, document, status, parent, created, modified, version FROM records
WHERE service = :service AND kind = :kind AND account = :account AND region = :region AND name > :after
ORDER BY name LIMIT :limit;

-- name: record_list_prefix
-- The same below a prefix of the name; :end is the first text behind the prefix.
SELECT name, document, status, parent, created, modified, version FROM records
WHERE service = :service AND kind = :kind AND account = :account AND region = :region
AND name > :after AND name >= :prefix AND name < :end
ORDER BY name LIMIT :limit;

-- name: record_list_parent
-- A parent's records by name, after a name.
SELECT name, document, status, parent, created, modified, version FROM records
WHERE service = :service AND kind = :kind AND account = :account AND region = :region AND parent = :parent AND name > :after
ORDER BY name LIMIT :limit;

-- name: record_count_parent
-- How many records a parent has, and when the oldest was created.
SELECT count(*), min(created) FROM records
WHERE service = :service AND kind = :kind AND account = :account AND region = :region AND parent = :parent;

-- name: record_scan
-- A kind's records over every account and region.
SELECT account, region, name, document, status, parent, created, modified, version FROM records
WHERE service = :service AND kind = :kind ORDER BY account, region, name;

-- name: record_scan_status
-- The same, of one status.
SELECT account, region, name, document, status, parent, created, modified, version FROM records
WHERE service = :service AND kind = :kind AND status = :status ORDER BY account, region, name;

-- name: queue_put
-- One row per kind and record; putting again makes it due at the new time, with the new payload (woken = 2: also when it is being worked on).
INSERT INTO queue (kind, account, region, service, record_kind, name, payload, due)
VALUES (:kind, :account, :region, :service, :record_kind, :name, :payload, :due)
ON CONFLICT (kind, account, region, service, record_kind, name)
DO UPDATE SET due = excluded.due, payload = excluded.payload, woken = 2 RETURNING id;

-- name: queue_ensure
-- A row where there is none.
INSERT INTO queue (kind, account, region, service, record_kind, name, payload, due)
VALUES (:kind, :account, :region, :service, :record_kind, :name, '{}', :due)
ON CONFLICT (kind, account, region, service, record_kind, name) DO NOTHING;

-- name: queue_wake
-- Make a row due now; one that is being worked on is run once more.
UPDATE queue SET due = :now, woken = CASE WHEN woken = 2 THEN 2 ELSE 1 END
WHERE kind = :kind AND account = :account AND region = :region AND service = :service AND record_kind = :record_kind AND name = :name;

-- name: queue_remove
-- The work is no longer wanted.
DELETE FROM queue
WHERE kind = :kind AND account = :account AND region = :region AND service = :service AND record_kind = :record_kind AND name = :name;

-- name: queue_candidates
-- Rows that are due and free, longest due first.
SELECT id, kind, account, region, service, record_kind, name, payload, attempts FROM queue
WHERE due <= :now AND lease_until <= :now ORDER BY due, id LIMIT :limit;

-- name: queue_take
-- Take a row under a lease, if it is still free.
UPDATE queue SET owner = :owner, lease_until = :until, attempts = attempts + 1, woken = 0
WHERE id = :id AND lease_until <= :now RETURNING attempts;

-- name: queue_renew
-- Prolong a lease that is still ours.
UPDATE queue SET lease_until = :until WHERE id = :id AND owner = :owner RETURNING id;

-- name: queue_done
-- The work is finished, unless somebody has woken the row meanwhile.
DELETE FROM queue WHERE id = :id AND owner = :owner AND woken = 0 RETURNING id;

-- name: queue_release
-- Let go of a row, due again later, or at once when it was woken meanwhile.
UPDATE queue SET owner = '', lease_until = 0, attempts = :attempts,
    payload = CASE WHEN woken = 2 THEN payload ELSE :payload END,
    due = CASE WHEN woken > 0 THEN :now ELSE :due END
WHERE id = :id AND owner = :owner RETURNING id;

-- name: queue_free
-- Free the rows that a dead owner had claimed.
UPDATE queue SET owner = '', lease_until = 0 WHERE owner LIKE :owner;

-- name: queue_next
-- When the next row is due or its lease runs out.
SELECT MIN(CASE WHEN lease_until > due THEN lease_until ELSE due END) FROM queue;

-- name: outbox_put
-- One message.
INSERT INTO outbox (topic, account, region, body) VALUES (:topic, :account, :region, :body) RETURNING id;

-- name: outbox_take
-- The oldest messages; they stay until dropped.
SELECT id, topic, account, region, body FROM outbox ORDER BY id LIMIT :limit;

-- name: outbox_waits
-- Whether a message is still to be delivered.
SELECT 1 FROM outbox WHERE id = :id;

-- name: outbox_drop
-- A delivered message.
DELETE FROM outbox WHERE id = :id;

-- name: lease_take
-- Take or renew a named lease, if it is ours or free.
INSERT INTO leases (name, owner, lease_until) VALUES (:name, :owner, :until)
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, lease_until = excluded.lease_until
WHERE leases.owner = excluded.owner OR leases.lease_until <= :now RETURNING owner;

-- name: lease_free
-- Free the named leases of a dead owner.
DELETE FROM leases WHERE owner LIKE :owner;
