/* description = "domains with more rows than their budget" */
SELECT
    coalesce(domain, 'other') AS domain,
    count(*) AS rows,
    coalesce(getvariable('budget')[coalesce(domain, 'other')], 0) AS budget
FROM chosen
WHERE getvariable('budget') IS NOT NULL
GROUP BY ALL
HAVING rows > budget
