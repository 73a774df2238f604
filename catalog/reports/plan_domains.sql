-- Rows before and after, in all (no domain) and by domain.
WITH rows AS (
    SELECT response_id, true AS before, response_id IN (SELECT response_id FROM _chosen) AS after
    FROM (SELECT DISTINCT response_id FROM _before)
    UNION ALL
    SELECT response_id, false, true FROM _changes WHERE change = 'in'
),

placed AS (
    SELECT coalesce(d.domain, 'other') AS domain, x.before, x.after
    FROM rows AS x
    LEFT JOIN responses AS r USING (response_id)
    LEFT JOIN question_domains AS d ON r.question_id = d.question_id
)

SELECT
    CASE WHEN grouping(domain) = 0 THEN domain END AS domain,
    count(*) FILTER (WHERE before) AS before,
    count(*) FILTER (WHERE after AND NOT before) AS "in",
    count(*) FILTER (WHERE before AND NOT after) AS "out",
    count(*) FILTER (WHERE after) AS after
FROM placed
GROUP BY GROUPING SETS ((), (domain))
ORDER BY grouping(domain) DESC, domain
