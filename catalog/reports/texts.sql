-- Rows of the split with their texts. They are put in order before they are rendered, which writes
-- each text twice.
SELECT
    c.*,
    q.text AS _question,
    completion(r.thinking, r.answer) AS _completion
FROM _chosen AS c
INNER JOIN responses AS r ON c.response_id = r.response_id
INNER JOIN questions AS q ON r.question_id = q.question_id
