-- The same sentences under two scorers: how far p is apart, and which labels change, from one to the
-- other, beside a third scorer (NULL: there is none, and no label).
WITH both_scored AS (
    SELECT
        a.response_id,
        unnest(a.n_tokens) AS n_first,
        unnest(a.logprob_sum) AS sum_first,
        unnest(b.n_tokens) AS n_second,
        unnest(b.logprob_sum) AS sum_second,
        unnest(coalesce(o.n_tokens, [NULL FOR i IN a.n_tokens])) AS n_other,
        unnest(coalesce(o.logprob_sum, [NULL FOR i IN a.n_tokens])) AS sum_other
    FROM sentence_scores AS a
    INNER JOIN sentence_scores AS b USING (response_id, segmentation_id)
    INNER JOIN sentences AS n USING (response_id, segmentation_id)
    LEFT JOIN sentence_scores AS o
        ON a.response_id = o.response_id
        AND a.segmentation_id = o.segmentation_id
        AND o.scorer_id = getvariable('other')
    WHERE
        a.scorer_id = getvariable('first')
        AND b.scorer_id = getvariable('second')
        AND n.segmenter = getvariable('segmenter')
),

probabilities AS (
    SELECT
        response_id,
        p(sum_first, n_first) AS p_first,
        p(sum_second, n_second) AS p_second,
        p(sum_other, n_other) AS p_other
    FROM both_scored
    WHERE least(n_first, n_second) >= getvariable('min_tokens')
),

labelled AS (
    SELECT
        *,
        p_second - p_first AS gap,
        -- The other one is the teacher, unless the two are.
        if(getvariable('other_is_teacher') = 'true', 1, -1) AS side,
        side * label_code(p_other, p_first, getvariable('beta')) AS label_first,
        side * label_code(p_other, p_second, getvariable('beta')) AS label_second
    FROM probabilities
)

SELECT
    count(DISTINCT response_id) AS responses,
    count(*) AS sentences,
    exact_mean(abs(gap)) AS mean_gap_p,
    quantile_cont(abs(gap), 0.99) AS gap_p_99,
    max(abs(gap)) AS max_gap_p,
    exact_mean(gap) AS shift_p,
    count(*) FILTER (WHERE label_first IS NOT NULL AND label_second IS NOT NULL) AS labelled,
    count(*) FILTER (WHERE label_first <> label_second) AS flips,
    count(*) FILTER (WHERE label_first = 1 AND label_second <> 1) AS lost_teacher,
    count(*) FILTER (WHERE label_first <> 1 AND label_second = 1) AS new_teacher
FROM labelled
