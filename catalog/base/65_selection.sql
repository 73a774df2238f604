/*
description = "the candidates that a split keeps, under the variables below"

[parameters]
budget = { type = "budget", help = "rows per domain; `other` is for questions without a domain; empty: no limit" }
scope = { type = "choice", choices = ["within_question", "pool"], default = "within_question", help = "rank candidates of one question, or across questions" }
keep = { type = "integer", default = 1, minimum = 1, help = "candidates kept per question" }
min_candidates = { type = "integer", default = 1, minimum = 1, help = "leave out questions with fewer candidates" }
*/
-- Ties go by the seeded order, then by id: the order is total.
WITH ranked AS (
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
