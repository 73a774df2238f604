-- Sentences that were scored twice: how far p moved, and how often the label changed. Squares are
-- summed as integers of 1e-15: a sum of floats depends on the order of its rows.
WITH twice AS (
    SELECT
        s.response_id,
        s.scorer_id,
        s.segmentation_id,
        unnest(range(len(s.n_tokens))) AS sentence_index,
        unnest(s.n_tokens) AS n,
        unnest(s.logprob_sum) AS first,
        unnest(r.logprob_sum) AS again
    FROM repeat_scores AS r
    INNER JOIN sentence_scores AS s USING (response_id, scorer_id, segmentation_id)
    WHERE s.scorer_id IN (getvariable('teacher'), getvariable('student'))
),

labelled AS (
    SELECT
        t.*,
        p(t.first, units(t.n, b.byte_end - b.byte_start)) AS p_first,
        p(t.again, units(t.n, b.byte_end - b.byte_start)) AS p_again,
        label(b.p_teacher, b.p_student, getvariable('beta')) AS label,
        CASE
            WHEN t.scorer_id = getvariable('teacher')
                THEN label(p_again, b.p_student, getvariable('beta'))
            ELSE label(b.p_teacher, p_again, getvariable('beta'))
        END AS label_again
    FROM twice AS t
    INNER JOIN sentence_pairs AS b USING (response_id, segmentation_id, sentence_index)
    WHERE least(b.n_teacher, b.n_student) >= getvariable('min_tokens')
)

SELECT
    scorer_id,
    count(DISTINCT response_id) AS responses,
    count(*) AS sentences,
    sqrt(sum(round((p_again - p_first) ** 2 * 1e15)::HUGEINT) / count(*) / 1e15) AS sd_p,
    max(abs(p_again - p_first)) AS max_p,
    count(*) FILTER (WHERE label <> label_again) AS flips,
    sqrt(
        sum(round((again::DOUBLE - first) ** 2 / n * 1e15)::HUGEINT) / count(*) / 1e15
    ) AS sd_logprob
FROM labelled
GROUP BY scorer_id
ORDER BY scorer_id
