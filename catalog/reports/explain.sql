-- Sentences of one chosen response, the most divergent first.
SELECT
    p.p_teacher,
    p.p_student,
    p.label,
    sentence_text(r.thinking, r.answer, p.byte_start, p.byte_end) AS text
FROM sentence_pairs AS p
INNER JOIN responses AS r USING (response_id)
INNER JOIN _chosen AS c USING (response_id)
WHERE p.label IS NOT NULL AND least(p.n_teacher, p.n_student) >= 4
QUALIFY row_number() OVER (
    PARTITION BY p.label ORDER BY abs(p.difference) DESC, p.response_id, p.sentence_index
) = 1
ORDER BY p.label DESC
LIMIT 3
