/*
description = "one row per question: its domain and reference answer, from the first source that gives one"
*/
SELECT
    q.question_id,
    coalesce(q.domain, min(s.domain)) AS domain,
    coalesce(q.reference_answer, min(s.reference_answer)) AS reference_answer
FROM questions AS q
LEFT JOIN question_sources AS s USING (question_id)
GROUP BY q.question_id, q.domain, q.reference_answer
