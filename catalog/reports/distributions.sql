-- Histograms of what ranks responses, of the split and of its pool: responses in bins of 0.05.
WITH measured AS (
    SELECT
        response_id IN (SELECT response_id FROM _chosen) AS chosen,
        unnest(['teacher_share', 'mean_difference']) AS measure,
        unnest([teacher_share, mean_difference]) AS value
    FROM pool
    WHERE n_sentences IS NOT NULL
),

-- Rounded first: 0.15 * 20 is a little over 3. The value 1 belongs to the last bin.
binned AS (
    SELECT measure, chosen, least(floor(round(value * 20, 6)), 19)::INTEGER AS bin
    FROM measured
)

SELECT
    measure,
    round(bin / 20, 2) AS low,
    count(*) FILTER (WHERE chosen) AS split,
    count(*) AS pool
FROM binned
GROUP BY measure, bin
ORDER BY measure DESC, bin
