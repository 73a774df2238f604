-- Scorers that could stand in for the student: same mode, and something scored.
SELECT
    c.scorer_id,
    min(c.name) AS name,
    any_value(c.model) AS model,
    any_value(c.dtype) AS dtype,
    any_value(c.engine) AS engine,
    any_value(c.chat_template) AS chat_template,
    any_value(c.system_prompt) AS system_prompt,
    CASE
        WHEN any_value(c.model IS DISTINCT FROM s.model OR c.revision IS DISTINCT FROM s.revision)
            THEN 'second student'
        WHEN any_value(
            (c.context, c.chat_template, c.system_prompt, c.reasoning_effort, c.date)
            IS DISTINCT FROM
            (s.context, s.chat_template, s.system_prompt, s.reasoning_effort, s.date)
        ) THEN 'template'
        ELSE 'engine'
    END AS varied
FROM scorers AS c
CROSS JOIN (
    SELECT * FROM scorers WHERE scorer_id = getvariable('student') ORDER BY name LIMIT 1
) AS s
WHERE
    c.scorer_id <> s.scorer_id
    AND c.scorer_id NOT IN (getvariable('teacher'), coalesce(getvariable('distilled'), ''))
    AND c.model NOT IN (SELECT model FROM scorers WHERE scorer_id = getvariable('teacher'))
    AND c.logprobs_mode IS NOT DISTINCT FROM s.logprobs_mode
    AND c.temperature IS NOT DISTINCT FROM s.temperature
    AND c.scorer_id IN (SELECT scorer_id FROM sentence_scores)
GROUP BY c.scorer_id
ORDER BY varied, name, c.scorer_id
