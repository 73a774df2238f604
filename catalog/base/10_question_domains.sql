/*
description = "one row per question: its domain and reference answer, from the first source that gives one, by name and row"

[columns]
domain = "domain of its first source that gives one, by name and row; empty: none does"
reference_answer = "answer of its first source that gives one"
*/
SELECT
    q.question_id,
    arg_min(s.domain, (s.source, s.row, s.domain)) FILTER (WHERE s.domain <> '') AS domain,
    arg_min(s.reference_answer, (s.source, s.row, s.domain, s.reference_answer))
        FILTER (WHERE s.reference_answer IS NOT NULL) AS reference_answer
FROM questions AS q
LEFT JOIN question_sources AS s USING (question_id)
GROUP BY q.question_id
