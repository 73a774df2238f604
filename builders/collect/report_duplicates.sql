-- Per pair of sources, of a source with itself too: questions that both have letter by letter, and
-- those that both have in spellings that are only equal when normalized. Of a source with itself:
-- rows, and spellings, beyond the first.
WITH places AS (
    SELECT f.source, f.question_id, t.representative, count(*) AS rows
    FROM _found AS f
    INNER JOIN _texts AS t ON f.question_id = t.question_id
    GROUP BY ALL
),
questions AS (
    SELECT source, representative, count(*) AS texts, sum(rows) - count(*) AS repeated
    FROM places
    GROUP BY ALL
),
exact AS (
    SELECT a.source AS source, b.source AS other, a.representative
    FROM places AS a
    INNER JOIN places AS b ON a.question_id = b.question_id AND a.source < b.source
),
pairs AS (
    SELECT source, source AS other, sum(repeated) AS exact, sum(texts - 1) AS normalized
    FROM questions
    GROUP BY ALL
    UNION ALL
    SELECT
        a.source,
        b.source,
        count(e.representative),
        count(*) - count(e.representative)
    FROM questions AS a
    INNER JOIN questions AS b ON a.representative = b.representative AND a.source < b.source
    LEFT JOIN (SELECT DISTINCT * FROM exact) AS e
        ON a.source = e.source AND b.source = e.other AND a.representative = e.representative
    GROUP BY ALL
)
SELECT source, other, exact::BIGINT AS exact, normalized::BIGINT AS normalized
FROM pairs
WHERE exact > 0 OR normalized > 0
ORDER BY source, other
