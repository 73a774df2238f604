/*
description = "how many responses and questions are left after each condition of the selection, in all and by domain and temperature"

[columns]
step = "place of the condition in the order they are applied; 0 is before all"
condition = "the condition, in words"
responses = "responses that are left after it"
questions = "questions that are left after it"
parts = "the same by domain and temperature"
*/
-- One pass: a response counts up to the last of its leading conditions, a question up to its best.
WITH judged AS MATERIALIZED (
    SELECT
        question_id,
        coalesce(domain, 'other') AS domain,
        temperature,
        reached,
        count(*) AS n,
        any_value(conditions) AS conditions
    FROM conditions
    GROUP BY ALL
),

questions_of AS (
    SELECT question_id, NULL AS domain, NULL AS temperature, true AS whole, max(reached) AS reached
    FROM judged
    GROUP BY question_id
    UNION ALL
    SELECT question_id, domain, temperature, false, max(reached)
    FROM judged
    GROUP BY question_id, domain, temperature
),

depths AS (
    SELECT whole, domain, temperature, reached, 0 AS responses, count(*) AS questions
    FROM questions_of
    GROUP BY ALL
    UNION ALL
    SELECT true, NULL, NULL, reached, sum(n), 0 FROM judged GROUP BY reached
    UNION ALL
    SELECT false, domain, temperature, reached, sum(n), 0 FROM judged GROUP BY ALL
),

steps AS (
    SELECT 0 AS step, 'responses' AS condition
    UNION ALL
    SELECT generate_subscripts(conditions, 1), unnest(conditions)
    FROM (SELECT any_value(conditions) AS conditions FROM judged)
),

counted AS (
    SELECT
        s.step,
        s.condition,
        d.whole,
        d.domain,
        d.temperature,
        coalesce(sum(d.responses) FILTER (WHERE d.reached >= s.step), 0)::BIGINT AS responses,
        coalesce(sum(d.questions) FILTER (WHERE d.reached >= s.step), 0)::BIGINT AS questions
    FROM steps AS s
    LEFT JOIN depths AS d ON true
    GROUP BY ALL
)

SELECT
    step,
    condition,
    coalesce(sum(responses) FILTER (WHERE whole), 0)::BIGINT AS responses,
    coalesce(sum(questions) FILTER (WHERE whole), 0)::BIGINT AS questions,
    list(
        {
            'domain': domain,
            'temperature': temperature,
            'responses': responses,
            'questions': questions
        }
        ORDER BY domain, temperature
    ) FILTER (WHERE NOT whole) AS parts
FROM counted
GROUP BY step, condition
ORDER BY step
