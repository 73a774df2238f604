-- Rows of the split by domain and temperature, and how long they are.
SELECT
    coalesce(d.domain, 'other') AS domain,
    r.temperature,
    count(*) AS rows,
    count(DISTINCT r.question_id) AS questions,
    round(avg(l.byte_end[-1]) / 1000, 1) AS mean_kb,
    round(quantile_disc(l.byte_end[-1], 0.1) / 1000, 1) AS p10_kb,
    round(quantile_disc(l.byte_end[-1], 0.5) / 1000, 1) AS p50_kb,
    round(quantile_disc(l.byte_end[-1], 0.9) / 1000, 1) AS p90_kb,
    round(quantile_disc(l.byte_end[-1], 0.99) / 1000, 1) AS p99_kb,
    round(max(l.byte_end[-1]) / 1000, 1) AS max_kb
FROM _chosen AS c
INNER JOIN responses AS r USING (response_id)
INNER JOIN question_domains AS d ON r.question_id = d.question_id
LEFT JOIN sentences AS l
    ON r.response_id = l.response_id AND l.segmenter = getvariable('segmenter')
GROUP BY ALL
ORDER BY ALL
