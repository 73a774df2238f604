-- The newest ten runs and how they ended; `run_events` has their counts.
SELECT
    left(r.run_id, 12) AS run,
    r.stage,
    strftime(r.started_at, '%Y-%m-%d %H:%M') AS started,
    coalesce(max_by(e.event, e.sequence), 'running or killed') AS state,
    max_by(e.message, e.sequence) AS message
FROM runs AS r
LEFT JOIN run_events AS e USING (run_id)
GROUP BY r.run_id, r.stage, r.started_at
ORDER BY r.started_at DESC
LIMIT 10
