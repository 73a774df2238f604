-- The newest ten runs and how they ended.
SELECT
    left(r.run_id, 12) AS run,
    r.stage,
    r.started_at,
    coalesce(max_by(e.event, e.sequence), 'started') AS state,
    max_by(e.counts, e.sequence) AS counts
FROM runs AS r
LEFT JOIN run_events AS e USING (run_id)
GROUP BY r.run_id, r.stage, r.started_at
ORDER BY r.started_at DESC
LIMIT 10
