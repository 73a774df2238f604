/*
description = "one row per sentence and scorer: place, tokens, log-prob sum and probability"

[parameters]
segmenter = { type = "segmenter", help = "segmenter whose sentences are used" }

[columns]
sentence_index = "place of the sentence in the response, from 0"
section = "thinking or answer"
kind = "prose, math, code or table"
byte_start = "first byte, in thinking || answer"
byte_end = "byte after its last, in thinking || answer"
n_tokens = "its scored tokens"
logprob_sum = "sum of their log-probs, in nats"
p = "geometric mean of its token probabilities; empty: no scored token"
*/
WITH unnested AS (
    SELECT
        n.response_id,
        s.scorer_id,
        n.segmentation_id,
        unnest(range(len(n.byte_end))) AS sentence_index,
        unnest(n.section) AS section_code,
        unnest(n.kind) AS kind_code,
        unnest([0] || n.byte_end[: -2]) AS byte_start,
        unnest(n.byte_end) AS byte_end,
        unnest(s.n_tokens) AS n_tokens,
        unnest(s.logprob_sum) AS logprob_sum
    FROM sentences AS n
    INNER JOIN sentence_scores AS s USING (response_id, segmentation_id)
    WHERE n.segmenter = getvariable('segmenter')
)

SELECT
    response_id,
    scorer_id,
    segmentation_id,
    sentence_index,
    ['thinking', 'answer'][section_code + 1] AS section,
    ['prose', 'math', 'code', 'table'][kind_code + 1] AS kind,
    byte_start,
    byte_end,
    n_tokens,
    logprob_sum,
    p(logprob_sum, n_tokens) AS p
FROM unnested
