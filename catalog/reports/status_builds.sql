-- Builds, newest first.
SELECT
    build_id,
    view,
    rows,
    snapshot_id,
    strftime(built_at, '%Y-%m-%d %H:%M') AS built,
    path
FROM builds
ORDER BY built_at DESC
LIMIT 10
