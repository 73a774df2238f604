-- Scorers, how many responses each has scored, and how many tokens.
SELECT
    c.name,
    left(c.scorer_id, 12) AS scorer,
    c.model,
    c.logprobs_mode,
    c.temperature,
    c.dtype,
    count(s.response_id) AS responses,
    coalesce(sum(list_sum(s.n_tokens)), 0)::BIGINT AS tokens
FROM scorers AS c
LEFT JOIN sentence_scores AS s USING (scorer_id)
GROUP BY ALL
ORDER BY ALL
