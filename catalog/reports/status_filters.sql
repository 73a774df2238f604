-- Verdicts of each filter, version by version.
SELECT
    filter,
    version,
    count(*) AS responses,
    count(*) FILTER (WHERE passed) AS passed,
    count(*) FILTER (WHERE NOT passed) AS failed
FROM flags
GROUP BY ALL
ORDER BY ALL
