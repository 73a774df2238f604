-- Rows as a trainer reads them. Prompt and completion are conversational like `messages`: TRL takes
-- the format of a row from any one of these columns.
SELECT
    messages(getvariable('system'), _question, _completion) AS messages,
    messages(getvariable('system'), _question, NULL)[: -2] AS prompt,
    messages(NULL, NULL, _completion)[-1 :] AS completion,
    * EXCLUDE (_question, _completion)
FROM _texts
