-- All responses to one question: their conditions, and their places in the selection's order.
SELECT
    c.response_id,
    c.conditions,
    c.holds,
    c.reached,
    c.candidate_rank,
    c.n_candidates,
    c.kept,
    c.place,
    c.rank_value,
    r.policy,
    r.model,
    r.temperature,
    r.finish_reason,
    k.n_bytes,
    k.n_sentences,
    k.teacher_count,
    k.teacher_share,
    k.mean_difference,
    c.response_id IN (SELECT response_id FROM _chosen) AS chosen
FROM conditions AS c
INNER JOIN responses AS r USING (response_id)
LEFT JOIN ranked AS k USING (response_id)
WHERE c.question_id = getvariable('why_question')
ORDER BY c.candidate_rank NULLS LAST, c.response_id
