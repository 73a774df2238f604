-- Responses by model, temperature and domain, and how far each stage has come with them.
SELECT
    r.model,
    r.temperature,
    coalesce(d.domain, 'other') AS domain,
    count(*) AS responses,
    count(DISTINCT r.question_id) AS questions,
    count(s.response_id) AS segmented,
    count(f.response_id) AS filtered
FROM responses AS r
LEFT JOIN question_domains AS d USING (question_id)
LEFT JOIN sentences AS s
    ON r.response_id = s.response_id AND s.segmenter = getvariable('segmenter')
LEFT JOIN (SELECT DISTINCT response_id FROM flags) AS f ON r.response_id = f.response_id
GROUP BY ALL
ORDER BY ALL
