-- Builds, newest first.
SELECT build_id, view, rows, snapshot_id, built_at, path
FROM builds
ORDER BY built_at DESC
LIMIT 10
