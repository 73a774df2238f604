-- Rows that a build would bring in, and rows of the last one that would go.
CREATE TEMP TABLE _changes AS
WITH now AS (SELECT DISTINCT response_id FROM _chosen),

before AS (SELECT DISTINCT response_id FROM _before),

changed AS (
    SELECT response_id, 'in' AS change FROM now ANTI JOIN before USING (response_id)
    UNION ALL
    SELECT response_id, 'out' AS change FROM before ANTI JOIN now USING (response_id)
)

SELECT
    c.change,
    c.response_id,
    r.question_id,
    coalesce(d.domain, 'other') AS domain
FROM changed AS c
LEFT JOIN responses AS r USING (response_id)
LEFT JOIN question_domains AS d ON r.question_id = d.question_id
