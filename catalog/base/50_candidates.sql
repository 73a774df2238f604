/*
description = "one row per response: what a split may choose from, with scores where there are any, and whether every required filter passed"

[parameters]
required_filters = { type = "names", default = ["length", "structure", "completeness", "repetition", "cjk"], help = "filters that an eligible response must have passed at their current version" }

[columns]
n_bytes = "length of thinking || answer in UTF-8; 0 before it is segmented"
eligible = "whether every required filter passed it, at the filter's current version"
scored = "whether teacher and student scored it, and it has a counted sentence"
scored_temperature = "its temperature where it is scored"
*/
WITH passed AS (
    SELECT response_id, count(*) AS n
    FROM flags
    WHERE passed AND list_contains(getvariable('filters'), {'filter': filter, 'version': version})
    GROUP BY response_id
),

lengths AS (
    SELECT response_id, byte_end[-1] AS n_bytes
    FROM sentences
    WHERE segmenter = getvariable('segmenter')
)

SELECT
    r.response_id,
    r.question_id,
    d.domain,
    r.policy,
    r.model,
    r.temperature,
    r.sample_index,
    coalesce(l.n_bytes, 0) AS n_bytes,
    coalesce(e.n, 0) = len(getvariable('filters')) AS eligible,
    s.response_id IS NOT NULL AS scored,
    s.temperature AS scored_temperature,
    s.* EXCLUDE (response_id, question_id, domain, policy, model, temperature)
FROM responses AS r
INNER JOIN question_domains AS d USING (question_id)
LEFT JOIN lengths AS l USING (response_id)
LEFT JOIN passed AS e USING (response_id)
LEFT JOIN responses_scored AS s USING (response_id)
