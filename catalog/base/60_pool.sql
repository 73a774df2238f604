/*
description = "the candidates that a split may choose from, with the value that ranks them"

[parameters]
temperature = { type = "number", minimum = 0, help = "sampling temperature of the candidates; empty: any" }
model = { type = "text", help = "model that sampled the candidates; empty: any" }
rank_by = { type = "choice", choices = ["teacher_count", "teacher_count_resid", "teacher_share", "mean_difference", "length", "student_probability", "random"], default = "teacher_count", help = "score that ranks candidates, highest first" }
require_scores = { type = "boolean", default = true, help = "choose only from responses that both models scored, so that RS and DAS see the same pool" }
filter_after = { type = "boolean", default = false, help = "the paper's order: select first, filter what was selected; RS and DAS may then end with other questions" }
seed = { type = "integer", default = 42, help = "seed of random choices and of the order of questions" }
*/
SELECT
    * EXCLUDE (scored_temperature),
    CASE getvariable('rank_by')
        WHEN 'teacher_count' THEN teacher_count
        WHEN 'teacher_count_resid' THEN teacher_count_resid
        WHEN 'teacher_share' THEN teacher_share
        WHEN 'mean_difference' THEN mean_difference
        WHEN 'length' THEN n_bytes
        WHEN 'student_probability' THEN student_probability
    END::DOUBLE AS rank_value,
    seeded(getvariable('seed'), response_id) AS random_order
FROM candidates
WHERE
    policy = 'teacher'
    AND (eligible OR getvariable('filter_after'))
    AND (scored OR NOT getvariable('require_scores'))
    AND (getvariable('temperature') IS NULL OR temperature = getvariable('temperature'))
    -- Says the same again, of the scores: unlike the line before, it reaches their sentences.
    AND (
        getvariable('temperature') IS NULL
        OR NOT getvariable('require_scores')
        OR scored_temperature = getvariable('temperature')
    )
    AND (getvariable('model') IS NULL OR model = getvariable('model'))
