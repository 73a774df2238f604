-- Questions to be written, of one slice of `_wanted`.
SELECT r.question_id, f.text, r.domain, r.reference_answer
FROM _wanted AS w
INNER JOIN _ranked AS r ON w.question_id = r.question_id
INNER JOIN _found AS f ON w.question_id = f.question_id AND f.text IS NOT NULL
WHERE NOT w.known AND w.n BETWEEN getvariable('first') AND getvariable('last')
ORDER BY w.n
