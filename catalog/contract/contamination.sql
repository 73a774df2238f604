/* description = "rows that failed filter `contamination` at its current version" */
SELECT
    c.response_id,
    f.value,
    f.evidence
FROM chosen AS c
INNER JOIN flags AS f ON c.response_id = f.response_id
WHERE f.filter = 'contamination' AND f.version = getvariable('contamination') AND NOT f.passed
