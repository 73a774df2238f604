-- How the selection under the present variables differs from the one kept in `_base`, by domain.
SELECT
    coalesce(b.domain, s.domain, 'other') AS domain,
    count(b.response_id) AS base,
    count(s.response_id) AS chosen,
    count(b.response_id) FILTER (WHERE s.response_id IS NOT NULL) AS common
FROM _base AS b
FULL JOIN selection AS s USING (response_id)
GROUP BY ALL
ORDER BY ALL
