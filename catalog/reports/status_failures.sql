-- What came to nothing and has no result since, by stage, scorer and reason.
SELECT
    a.stage,
    coalesce(c.name, left(a.scorer_id, 12)) AS scorer,
    split_part(a.reason, ':', 1) AS reason,
    count(DISTINCT a.response_id) AS number
FROM attempts AS a
LEFT JOIN (SELECT scorer_id, min(name) AS name FROM scorers GROUP BY scorer_id) AS c
    USING (scorer_id)
LEFT JOIN (SELECT response_id, scorer_id FROM tokens WHERE has_logprobs) AS t
    USING (response_id, scorer_id)
LEFT JOIN sentence_scores AS s USING (response_id, scorer_id)
WHERE if(a.stage = 'segment', s.response_id, t.response_id) IS NULL
GROUP BY ALL
ORDER BY number DESC, 1, 2, 3
LIMIT 20
