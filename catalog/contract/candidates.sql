/* description = "questions with more rows than `keep`, or fewer candidates than `min_candidates`" */
SELECT
    question_id,
    count(*) AS rows,
    min(n_candidates) AS n_candidates
FROM chosen
GROUP BY question_id
HAVING rows > getvariable('keep') OR min(n_candidates) < getvariable('min_candidates')
