-- The same tokens under two scorers: how far their log-probs are apart, in nats.
WITH apart AS (
    SELECT
        unnest(range(len(a.logprobs))) AS at,
        abs(unnest(a.logprobs)::DOUBLE - unnest(b.logprobs)) AS gap
    FROM tokens AS a
    INNER JOIN tokens AS b USING (response_id)
    WHERE
        a.scorer_id = getvariable('first')
        AND b.scorer_id = getvariable('second')
        AND a.token_ids = b.token_ids
        AND len(a.logprobs) = len(b.logprobs)
)

SELECT
    count(*) AS tokens,
    exact_mean(gap) AS mean_gap,
    quantile_cont(gap, 0.99) AS gap_99,
    max(gap) AS max_gap
FROM apart
