-- Numeric columns of two builds: their means and medians, and how many common rows changed.
WITH long AS (
    UNPIVOT _scores ON COLUMNS(* EXCLUDE (side, response_id)) INTO NAME score VALUE number
),

sides AS (
    SELECT
        score,
        round(avg(number) FILTER (WHERE side = 'a'), 9) AS mean_a,
        round(avg(number) FILTER (WHERE side = 'b'), 9) AS mean_b,
        median(number) FILTER (WHERE side = 'a') AS median_a,
        median(number) FILTER (WHERE side = 'b') AS median_b
    FROM long
    WHERE isfinite(number)
    GROUP BY score
),

common AS (
    SELECT
        a.score,
        count(*) FILTER (WHERE a.number IS DISTINCT FROM b.number) AS changed,
        round(avg(b.number - a.number), 9) AS mean_change
    FROM long AS a
    INNER JOIN long AS b ON a.score = b.score AND a.response_id = b.response_id
    WHERE a.side = 'a' AND b.side = 'b'
    GROUP BY a.score
)

SELECT
    s.score,
    s.mean_a,
    s.mean_b,
    round(s.mean_b - s.mean_a, 9) AS shift,
    s.median_a,
    s.median_b,
    coalesce(c.changed, 0) AS changed,
    c.mean_change
FROM sides AS s
LEFT JOIN common AS c USING (score)
ORDER BY s.score
