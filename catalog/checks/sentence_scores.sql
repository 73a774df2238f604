/* description = "scores that do not fit their sentences, or are no log-probabilities" */
SELECT
    c.relation,
    concat_ws(' ', c.response_id, c.scorer_id, c.segmentation_id) AS key,
    CASE
        WHEN len(c.n_tokens) IS DISTINCT FROM len(c.logprob_sum)
            THEN 'n_tokens and logprob_sum differ in length'
        WHEN s.response_id IS NULL
            THEN 'there are no sentences of its segmentation'
        WHEN len(c.n_tokens) IS DISTINCT FROM len(s.byte_end)
            THEN len(c.n_tokens) || ' scores for ' || len(s.byte_end) || ' sentences'
        WHEN list_count(c.n_tokens) + list_count(c.logprob_sum) < 2 * len(c.n_tokens)
            THEN 'a number of tokens or a log-probability is null'
        WHEN list_min(c.n_tokens) < 0
            THEN 'a number of tokens is negative'
        WHEN NOT isfinite(list_min(c.logprob_sum)) OR NOT isfinite(list_max(c.logprob_sum))
            THEN 'a log-probability is NaN or infinite'
        WHEN list_max(c.logprob_sum) > 0
            THEN 'a log-probability is positive'
    END AS problem
FROM (
    SELECT 'sentence_scores' AS relation, * FROM sentence_scores
    UNION ALL
    SELECT 'repeat_scores' AS relation, * FROM repeat_scores
) AS c
INNER JOIN responses AS r USING (response_id)
LEFT JOIN sentences AS s
    ON c.response_id = s.response_id AND c.segmentation_id = s.segmentation_id
WHERE problem IS NOT NULL
