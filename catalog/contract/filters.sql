/* description = "rows that did not pass a required filter at its current version" */
SELECT
    c.response_id,
    required.filter.filter AS missing
FROM (SELECT DISTINCT response_id FROM chosen) AS c
CROSS JOIN (SELECT unnest(getvariable('filters')) AS filter) AS required
ANTI JOIN (SELECT * FROM flags WHERE passed) AS f
    ON c.response_id = f.response_id
    AND required.filter.filter = f.filter
    AND required.filter.version = f.version
