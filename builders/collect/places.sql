-- Places to be written, of one slice of `_wanted`: not that of a source without keys where the
-- catalog has the question from that source already, by another number of its row.
SELECT
    p.question_id, p.source, p.row, p.domain, p.reference_answer, p.license, p.meta,
    p.own_id, p.file, p.line
FROM _wanted AS w
INNER JOIN _places AS p ON w.question_id = p.question_id
WHERE
    w.n BETWEEN getvariable('first') AND getvariable('last')
    AND NOT EXISTS (
        FROM question_sources AS s
        WHERE
            s.question_id = p.question_id AND s.source = p.source AND s.domain = p.domain
            AND s.row <> p.row AND NOT p.keyed
    )
ORDER BY w.n, p.source, p.domain, p.row
