-- The texts of the split's rows, in no order, with the number of each row.
SELECT
    n._row,
    q.text AS _question,
    completion(r.thinking, r.answer) AS _completion
FROM _numbered AS n
INNER JOIN responses AS r ON n.response_id = r.response_id
INNER JOIN questions AS q ON r.question_id = q.question_id
