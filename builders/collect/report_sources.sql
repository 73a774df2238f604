-- Per source and domain of its rows: rows taken, different questions, those chosen, those
-- new; and the licences of the rows.
SELECT
    f.source,
    CASE f.domain WHEN '' THEN 'other' ELSE f.domain END AS domain,
    count(*) AS rows,
    count(DISTINCT t.representative) AS questions,
    count(DISTINCT t.representative) FILTER (WHERE r.chosen) AS chosen,
    count(DISTINCT t.representative) FILTER (WHERE r.chosen AND NOT t.known) AS new,
    coalesce(string_agg(DISTINCT f.license, ', ' ORDER BY f.license), 'not given') AS licenses
FROM _found AS f
INNER JOIN _texts AS t ON f.question_id = t.question_id
INNER JOIN _ranked AS r ON t.representative = r.question_id
GROUP BY ALL
ORDER BY ALL
