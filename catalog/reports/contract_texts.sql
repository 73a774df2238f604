-- The texts of the chosen rows, in no order, as they are rendered.
SELECT
    c.response_id,
    q.text AS question,
    completion(r.thinking, r.answer) AS completion
FROM (SELECT DISTINCT response_id FROM _chosen) AS c
INNER JOIN responses AS r ON c.response_id = r.response_id
INNER JOIN questions AS q ON r.question_id = q.question_id
