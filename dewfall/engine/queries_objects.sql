-- Named statements of the object tables. Columns of a version always come in the order of versions.COLUMNS.

-- name: object_newest
-- The newest version of a key, a delete marker included.
SELECT bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document FROM objects
WHERE bucket = :bucket AND key = :key ORDER BY generation DESC LIMIT 1;

-- name: object_version
-- One version by its id.
SELECT bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document FROM objects
WHERE bucket = :bucket AND key = :key AND version_id = :version_id ORDER BY generation DESC LIMIT 1;

-- name: object_insert
-- A new version.
INSERT INTO objects (bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document)
VALUES (:bucket, :key, :generation, :version_id, 1, :marker, :size, :etag, :modified, :storage_class, :document);

-- name: object_overwrite
-- A new version in place of the current one.
UPDATE objects SET generation = :generation, marker = :marker, size = :size, etag = :etag, modified = :modified,
    storage_class = :storage_class, document = :document
WHERE bucket = :bucket AND key = :key AND generation = :former;

-- name: object_demote
-- The newest version is so no longer.
UPDATE objects SET current = 0 WHERE bucket = :bucket AND key = :key AND current = 1;

-- name: object_promote
-- After a removal: the newest version that is left becomes current.
UPDATE objects SET current = 1 WHERE bucket = :bucket AND key = :key
AND generation = (SELECT MAX(generation) FROM objects WHERE bucket = :bucket AND key = :key);

-- name: object_remove
-- Forget one version.
DELETE FROM objects WHERE bucket = :bucket AND key = :key AND generation = :generation RETURNING current;

-- name: object_remove_null
-- The version "null" makes room for a new one.
DELETE FROM objects WHERE bucket = :bucket AND key = :key AND version_id = 'null' RETURNING generation, marker;

-- name: object_document
-- New tags, locks or ACL of a version.
UPDATE objects SET document = :document WHERE bucket = :bucket AND key = :key AND generation = :generation;

-- name: object_known
-- Whether a file has its row.
SELECT 1 FROM objects WHERE bucket = :bucket AND key = :key AND generation = :generation;

-- name: object_any
-- Whether a bucket holds anything, delete markers included.
SELECT 1 FROM objects WHERE bucket = :bucket LIMIT 1;

-- name: object_list
-- Current objects by key, from a key on.
SELECT bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document FROM objects
WHERE bucket = :bucket AND key >= :first AND current = 1 AND marker = 0 ORDER BY key LIMIT :limit;

-- name: object_list_until
-- The same, before the end of a prefix.
SELECT bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document FROM objects
WHERE bucket = :bucket AND key >= :first AND key < :end AND current = 1 AND marker = 0 ORDER BY key LIMIT :limit;

-- name: version_list
-- All versions by key, newest first, behind a place (key, generation).
SELECT bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document FROM objects
WHERE bucket = :bucket AND key >= :first AND (key > :first OR generation < :below) ORDER BY key, generation DESC LIMIT :limit;

-- name: version_list_until
-- The same, before the end of a prefix.
SELECT bucket, key, generation, version_id, current, marker, size, etag, modified, storage_class, document FROM objects
WHERE bucket = :bucket AND key >= :first AND key < :end AND (key > :first OR generation < :below) ORDER BY key, generation DESC LIMIT :limit;

-- name: upload_insert
-- A multipart upload begins.
INSERT INTO uploads (id, bucket, key, initiated, document) VALUES (:id, :bucket, :key, :initiated, :document);

-- name: upload_get
-- One upload.
SELECT id, bucket, key, initiated, document FROM uploads WHERE id = :id AND bucket = :bucket AND key = :key;

-- name: upload_open
-- Whether an upload is still open.
SELECT 1 FROM uploads WHERE id = :id;

-- name: upload_remove
-- An upload is completed or aborted.
DELETE FROM uploads WHERE id = :id RETURNING id;

-- name: upload_list
-- A bucket's uploads by key and id, behind a place.
SELECT id, bucket, key, initiated, document FROM uploads
WHERE bucket = :bucket AND (key > :key OR (key = :key AND id > :id)) ORDER BY key, id LIMIT :limit;

-- name: part_put
-- A part, uploaded for the first time or again.
INSERT INTO parts (upload, number, generation, size, etag, modified, document)
VALUES (:upload, :number, :generation, :size, :etag, :modified, :document)
ON CONFLICT (upload, number) DO UPDATE SET generation = excluded.generation, size = excluded.size,
    etag = excluded.etag, modified = excluded.modified, document = excluded.document;

-- name: part_get
-- The part a number has now.
SELECT number, generation, size, etag, modified, document FROM parts WHERE upload = :upload AND number = :number;

-- name: part_list
-- An upload's parts by number.
SELECT number, generation, size, etag, modified, document FROM parts WHERE upload = :upload AND number > :after ORDER BY number LIMIT :limit;

-- name: part_remove
-- Forget an upload's parts.
DELETE FROM parts WHERE upload = :upload;

-- name: body_insert
-- A small body, kept with its version.
INSERT INTO bodies (bucket, key, generation, data) VALUES (:bucket, :key, :generation, :data);

-- name: body_replace
-- A small body takes the place of its key's former one, if that is still here.
UPDATE bodies SET generation = :generation, data = :data WHERE bucket = :bucket AND key = :key AND generation = :former RETURNING generation;

-- name: body_get
-- The bytes of a version that has no file yet.
SELECT data FROM bodies WHERE bucket = :bucket AND key = :key AND generation = :generation;

-- name: body_list
-- Some small bodies, for writing their files.
SELECT bucket, key, generation, data FROM bodies LIMIT :limit;

-- name: body_remove
-- A small body has its file, or its version is gone.
DELETE FROM bodies WHERE bucket = :bucket AND key = :key AND generation = :generation RETURNING generation;
