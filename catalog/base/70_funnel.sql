/*
description = "how many responses and questions are left after each condition of the selection"
*/
WITH steps AS (
    SELECT
        response_id,
        question_id,
        policy = 'teacher' AS is_teacher,
        is_teacher
        AND (getvariable('temperature') IS NULL OR temperature = getvariable('temperature'))
        AND (getvariable('model') IS NULL OR model = getvariable('model')) AS is_asked,
        is_asked AND (eligible OR getvariable('filter_after')) AS is_eligible,
        is_eligible AND (scored OR NOT getvariable('require_scores')) AS is_scored,
        is_scored AND (
            getvariable('budget') IS NULL
            OR coalesce(getvariable('budget')[coalesce(domain, 'other')], 0) > 0
        ) AS has_budget
    FROM candidates
),

counted AS (
    SELECT 1 AS step, 'responses' AS condition, count(*) AS n, count(DISTINCT question_id) AS q FROM steps
    UNION ALL
    SELECT 2, 'sampled by the teacher', count(*), count(DISTINCT question_id) FROM steps WHERE is_teacher
    UNION ALL
    SELECT 3, 'at the temperature and model asked for', count(*), count(DISTINCT question_id) FROM steps WHERE is_asked
    UNION ALL
    SELECT 4, 'passed every required filter', count(*), count(DISTINCT question_id) FROM steps WHERE is_eligible
    UNION ALL
    SELECT 5, 'scored by both models', count(*), count(DISTINCT question_id) FROM steps WHERE is_scored
    UNION ALL
    SELECT 6, 'in a domain with a budget', count(*), count(DISTINCT question_id) FROM steps WHERE has_budget
    UNION ALL
    SELECT 7, 'chosen', count(*), count(DISTINCT question_id) FROM selection
)

SELECT step, condition, n AS responses, q AS questions FROM counted ORDER BY step
