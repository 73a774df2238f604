-- Mean length of the split's responses over that of the pool they were chosen from.
SELECT
    round(
        (SELECT avg(n_bytes) FROM pool WHERE response_id IN (SELECT response_id FROM _chosen))
        / (SELECT avg(n_bytes) FROM pool),
        3
    ) AS length_ratio,
    (
        SELECT quantile_disc(n, 0.5)
        FROM (SELECT count(*) AS n FROM pool GROUP BY question_id)
    ) AS median_candidates
