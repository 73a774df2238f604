-- Share of the split that the present `rank_by` would choose too.
SELECT round(count(s.response_id) / count(*), 4) AS overlap
FROM _chosen AS c
LEFT JOIN selection AS s USING (response_id)
