-- The newest ten runs: how far they came, at which rate, and how they ended.
WITH last AS (
    SELECT
        run_id,
        max_by(event, sequence) AS event,
        max_by(message, sequence) AS message,
        max_by(counts, sequence) AS counts,
        max(occurred_at) AS told_at
    FROM run_events
    GROUP BY run_id
),

reasons AS (
    SELECT
        last.run_id,
        string_agg((e.value ->> '$') || ' ' || substr(e.key, 9), ', ' ORDER BY e.key) AS reasons
    FROM last, json_each(last.counts) AS e
    WHERE starts_with(e.key, 'failed: ')
    GROUP BY last.run_id
),

counted AS (
    SELECT
        r.run_id,
        r.stage,
        r.started_at,
        last.event,
        last.message,
        last.told_at,
        -- of a run that has told nothing yet, its configuration knows
        coalesce(counts ->> '$.wanted', r.configuration ->> '$.wanted')::BIGINT AS wanted,
        coalesce(counts ->> '$.done', if(wanted IS NULL, NULL, '0'))::BIGINT AS done,
        coalesce((counts ->> '$.failed')::BIGINT, 0) AS failed,
        -- what an earlier run had sampled took this one no time
        coalesce((counts ->> '$.recovered')::BIGINT, 0) AS recovered,
        coalesce(counts ->> '$.sampled_tokens', counts ->> '$.scored_tokens')::BIGINT AS tokens,
        epoch(last.told_at - r.started_at) AS seconds,
        coalesce(last.told_at, r.started_at) > now() - INTERVAL 5 MINUTES AS is_alive,
        reasons.reasons
    FROM runs AS r
    LEFT JOIN last USING (run_id)
    LEFT JOIN reasons USING (run_id)
)

SELECT
    left(run_id, 12) AS run,
    stage,
    strftime(started_at, '%Y-%m-%d %H:%M') AS started,
    CASE
        WHEN event IN ('done', 'failed', 'interrupted') THEN event
        WHEN is_alive THEN 'running'
        ELSE 'no sign since ' || strftime(coalesce(told_at, started_at), '%H:%M')
    END AS state,
    done,
    wanted - done - failed AS remaining,
    nullif(failed, 0) AS failed,
    reasons,
    tokens,
    round(tokens / nullif(seconds, 0))::BIGINT AS "tokens/s",
    CASE
        WHEN event = 'batch' AND is_alive
            THEN round(
                seconds * (wanted - done - failed) / nullif(done + failed - recovered, 0) / 60
            )::BIGINT
    END AS minutes_left,
    message
FROM counted
ORDER BY started_at DESC
LIMIT 10
