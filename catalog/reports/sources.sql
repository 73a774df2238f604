-- Where the questions of the split come from, and under which licence; NULL: the source names none.
-- A question without any source counts as one that names none.
SELECT
    coalesce(s.source, 'unknown') AS source,
    s.license,
    count(DISTINCT r.question_id) AS questions
FROM _chosen AS c
INNER JOIN responses AS r USING (response_id)
LEFT JOIN question_sources AS s ON r.question_id = s.question_id
GROUP BY ALL
ORDER BY source, s.license NULLS LAST
