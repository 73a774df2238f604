-- Rows as a trainer reads them. Prompt and completion are conversational like `messages`: TRL takes
-- the format of a row from any one of these columns.
SELECT
    messages(getvariable('system'), q.text, completion(r.thinking, r.answer)) AS messages,
    messages(getvariable('system'), q.text, NULL)[: -2] AS prompt,
    messages(NULL, NULL, completion(r.thinking, r.answer))[-1 :] AS completion,
    c.*
FROM _chosen AS c
INNER JOIN responses AS r ON c.response_id = r.response_id
INNER JOIN questions AS q ON r.question_id = q.question_id
