/* description = "rows that are no response of the catalog" */
SELECT c.response_id
FROM chosen AS c
ANTI JOIN responses AS r ON c.response_id = r.response_id
