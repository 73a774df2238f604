-- What the SELECT of a view of one's own leaves of the selection: the last row of its funnel.
WITH parts AS (
    SELECT
        coalesce(d.domain, 'other') AS domain,
        r.temperature,
        count(*) FILTER (WHERE r.response_id IN (SELECT response_id FROM _chosen)) AS responses,
        count(DISTINCT r.question_id)
            FILTER (WHERE r.response_id IN (SELECT response_id FROM _chosen)) AS questions
    FROM responses AS r
    INNER JOIN question_domains AS d USING (question_id)
    GROUP BY ALL
)

SELECT
    'chosen by the SELECT of the view' AS condition,
    sum(responses)::BIGINT AS responses,
    (
        SELECT count(DISTINCT question_id)
        FROM responses
        WHERE response_id IN (SELECT response_id FROM _chosen)
    ) AS questions,
    list(
        {
            'domain': domain,
            'temperature': temperature,
            'responses': responses,
            'questions': questions
        }
        ORDER BY domain, temperature
    ) AS parts
FROM parts
