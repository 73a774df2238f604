-- The sentences of one response on which the two models differ most.
SELECT
    p.sentence_index,
    p.p_teacher,
    p.p_student,
    p.n_teacher,
    p.n_student,
    p.label,
    sentence_text(r.thinking, r.answer, p.byte_start, p.byte_end) AS text
FROM sentence_pairs AS p
INNER JOIN responses AS r USING (response_id)
WHERE
    p.response_id = getvariable('why_response')
    AND p.label IS NOT NULL
    AND least(p.n_teacher, p.n_student) >= getvariable('min_tokens')
ORDER BY abs(p.difference) DESC, p.sentence_index
LIMIT 5
