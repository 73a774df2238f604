/*
description = "the pool in order: the rank of each candidate within its question, and the place of each kept one within its domain"

[parameters]
rank_by = { type = "choice", choices = ["teacher_count", "teacher_count_resid", "teacher_share", "mean_difference", "length", "student_probability", "random"], default = "teacher_count", help = "score that ranks candidates, highest first" }
seed = { type = "integer", default = 42, help = "seed of random choices and of the order of questions" }
tie_seed = { type = "integer", help = "seed of the order among candidates of equal rank; empty: `seed`" }
scope = { type = "choice", choices = ["within_question", "pool"], default = "within_question", help = "rank candidates of one question, or across questions" }
keep = { type = "integer", default = 1, minimum = 1, help = "candidates kept per question" }
min_candidates = { type = "integer", default = 1, minimum = 1, help = "leave out questions with fewer candidates" }

[columns]
rank_value = "its value of `rank_by`; empty for random"
random_order = "its place among equals: a hash of seed and response_id"
n_candidates = "candidates of its question in the pool"
candidate_rank = "its rank among them, from 1"
kept = "whether it is among the best `keep` of a question with `min_candidates` or more"
place = "its place among the kept ones of its domain, from 1, which the budget cuts"
*/
WITH valued AS (
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
        seeded(coalesce(getvariable('tie_seed'), getvariable('seed')), response_id) AS random_order
    FROM pool
),

-- Ties go by the seeded order, then by id: the order is total.
counted AS (
    SELECT
        *,
        count(*) OVER (PARTITION BY question_id) AS n_candidates,
        row_number() OVER (
            PARTITION BY question_id
            ORDER BY rank_value DESC NULLS LAST, random_order, response_id
        ) AS candidate_rank
    FROM valued
),

judged AS (
    SELECT
        *,
        candidate_rank <= getvariable('keep')
        AND n_candidates >= getvariable('min_candidates') AS kept
    FROM counted
)

-- Within questions the order of questions is random and the same whatever ranks their candidates.
SELECT
    *,
    row_number() OVER (
        PARTITION BY domain, kept
        ORDER BY
            CASE WHEN getvariable('scope') = 'pool' THEN rank_value END DESC NULLS LAST,
            CASE
                WHEN getvariable('scope') = 'pool' THEN random_order
                ELSE seeded(getvariable('seed'), question_id)
            END,
            question_id,
            candidate_rank
    ) AS place
FROM judged
