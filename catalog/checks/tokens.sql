/* description = "token lists that differ in length, or are no log-probabilities" */
SELECT
    'tokens' AS relation,
    concat_ws(' ', response_id, scorer_id) AS key,
    CASE
        WHEN len(token_bytes) IS DISTINCT FROM n_tokens
            THEN 'n_tokens is ' || coalesce(n_tokens::VARCHAR, 'NULL') || ', and token_bytes has '
                || coalesce(len(token_bytes)::VARCHAR, 'no') || ' entries'
        WHEN len(token_ids) <> n_tokens
            THEN 'token_ids has ' || len(token_ids) || ' entries of ' || n_tokens
        WHEN len(logprobs) <> n_tokens
            THEN 'logprobs has ' || len(logprobs) || ' entries of ' || n_tokens
        WHEN has_logprobs IS DISTINCT FROM (logprobs IS NOT NULL)
            THEN 'has_logprobs is wrong'
        WHEN list_min(token_bytes) < 0
            THEN 'a token covers less than 0 bytes'
        WHEN NOT isfinite(list_min(logprobs)) OR NOT isfinite(list_max(logprobs))
            THEN 'a log-probability is NaN or infinite'
        WHEN list_max(logprobs) > 0
            THEN 'a log-probability is positive'
    END AS problem
FROM tokens
WHERE problem IS NOT NULL
