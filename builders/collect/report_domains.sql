-- Per domain with questions or a budget: what there is, what was asked for (`--limit` included),
-- what was taken, and what is missing of a budget.
SELECT
    d.name AS domain,
    count(r.question_id) AS questions,
    nullif(d.most, 9223372036854775807) AS budget,
    count(r.question_id) FILTER (WHERE r.chosen) AS chosen,
    count(r.question_id) FILTER (WHERE r.chosen AND NOT r.known) AS new,
    CASE WHEN d.budget IS NULL THEN 0 ELSE greatest(d.most - count(r.question_id), 0) END AS missing,
    count(r.question_id) FILTER (WHERE d.longer_answers AND r.answer_chars IS NULL) AS unmeasured
FROM _domains AS d
LEFT JOIN _ranked AS r ON d.name = r.budget_of
GROUP BY d.n, d.name, d.budget, d.most
HAVING count(r.question_id) > 0 OR d.budget > 0
ORDER BY d.n
