/*
description = "the candidates that a split keeps, under the variables below"

[parameters]
temperature = { type = "number", minimum = 0, help = "sampling temperature of the candidates; empty: any" }
model = { type = "text", help = "model that sampled the candidates; empty: any" }
budget = { type = "budget", help = "rows per domain; `other` is for questions without a domain; empty: no limit" }
scope = { type = "choice", choices = ["within_question", "pool"], default = "within_question", help = "rank candidates of one question, or across questions" }
keep = { type = "integer", default = 1, minimum = 1, help = "candidates kept per question" }
rank_by = { type = "choice", choices = ["teacher_count", "teacher_count_resid", "teacher_share", "mean_difference", "length", "student_probability", "random"], default = "teacher_count", help = "score that ranks candidates, highest first" }
min_candidates = { type = "integer", default = 1, minimum = 1, help = "leave out questions with fewer candidates" }
require_scores = { type = "boolean", default = true, help = "choose only from responses that both models scored, so that RS and DAS see the same pool" }
filter_after = { type = "boolean", default = false, help = "the paper's order: select first, filter what was selected" }
seed = { type = "integer", default = 42, help = "seed of random choices and of the order of questions" }
*/
WITH pool AS (
    SELECT
        *,
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
        AND (getvariable('model') IS NULL OR model = getvariable('model'))
),

-- Ties go by the seeded order, then by id: the order is total.
ranked AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY question_id) AS n_candidates,
        row_number() OVER (
            PARTITION BY question_id
            ORDER BY rank_value DESC NULLS LAST, random_order, response_id
        ) AS candidate_rank
    FROM pool
),

-- Within questions the order of questions is random and the same whatever ranks their candidates.
placed AS (
    SELECT
        *,
        row_number() OVER (
            PARTITION BY domain
            ORDER BY
                CASE WHEN getvariable('scope') = 'pool' THEN rank_value END DESC NULLS LAST,
                CASE
                    WHEN getvariable('scope') = 'pool' THEN random_order
                    ELSE seeded(getvariable('seed'), question_id)
                END,
                question_id,
                candidate_rank
        ) AS place
    FROM ranked
    WHERE candidate_rank <= getvariable('keep') AND n_candidates >= getvariable('min_candidates')
)

SELECT * EXCLUDE (random_order, place, scored, eligible)
FROM placed
WHERE
    eligible
    AND (
        getvariable('budget') IS NULL
        OR place <= coalesce(getvariable('budget')[coalesce(domain, 'other')], 0)
    )
