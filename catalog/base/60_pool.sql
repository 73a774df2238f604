/*
description = "the candidates that a split may choose from"

[parameters]
temperature = { type = "number", minimum = 0, help = "sampling temperature of the candidates; empty: any" }
model = { type = "text", help = "model that sampled the candidates; empty: any" }
require_scores = { type = "boolean", default = true, help = "choose only from responses that both models scored, so that RS and DAS see the same pool" }
filter_after = { type = "boolean", default = false, help = "the paper's order: select first, filter what was selected; RS and DAS may then end with other questions" }
*/
SELECT * EXCLUDE (scored_temperature)
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
