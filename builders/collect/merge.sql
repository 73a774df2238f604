-- What was found (`_found`: a row for each place where a question stands) and the catalog's own
-- questions (`_known`), merged where they are the same question, then ranked in their domains
-- (`_domains`). Nothing here depends on the order in which rows were read.

-- Every text with its representative: of the texts that are equal when normalized, the one that is
-- in the catalog, else the one of the smallest id. `_known` has none with a system prompt:
-- these are known by their id alone.
CREATE TEMP TABLE _texts AS
WITH every AS (
    SELECT question_id, normal, true AS known
    FROM _known
    UNION ALL
    SELECT f.question_id, f.normal, f.question_id IN (SELECT question_id FROM questions)
    FROM _found AS f
    ANTI JOIN _known AS k ON f.question_id = k.question_id
    WHERE f.normal IS NOT NULL
)
SELECT
    question_id,
    normal,
    first_value(question_id) OVER same AS representative,
    first_value(known) OVER same AS known
FROM every
WINDOW same AS (PARTITION BY normal ORDER BY known DESC, question_id);

-- The places of each representative. A question that stands several times in a source without keys
-- has one place there, that of its longest example answer; under several keys it has several.
CREATE TEMP TABLE _places AS
SELECT
    f.* EXCLUDE (text, normal, question_id),
    f.question_id AS own_id,
    t.representative AS question_id,
    t.normal,
    t.known
FROM _found AS f
INNER JOIN _texts AS t ON f.question_id = t.question_id
QUALIFY row_number() OVER (
    PARTITION BY t.representative, f.source, f.domain, CASE WHEN f.keyed THEN f.row END
    ORDER BY
        f.answer_chars DESC NULLS LAST, f.question_id <> t.representative, f.question_id,
        f.file, f.line, f.reference_answer, f.license, f.meta
) = 1;

-- One row per question, with what the catalog's `question_domains` will say of it, from the places
-- that the catalog has and those that were found. A question whose domain in the catalog has no
-- budget is in none: it is not chosen, but gets its places. Its rank in its domain hashes the
-- normalized text: another spelling that turns up later does not move it.
CREATE TEMP TABLE _ranked AS
WITH every AS (
    SELECT question_id, source, row, domain, reference_answer, normal, known, answer_chars
    FROM _places
    UNION ALL
    SELECT question_id, source, row, domain, reference_answer, NULL, NULL, NULL
    FROM question_sources
    WHERE question_id IN (SELECT question_id FROM _places)
),

found AS (
    SELECT
        question_id,
        any_value(normal) AS normal,
        any_value(known) AS known,
        arg_min(domain, (source, row, domain)) FILTER (WHERE domain <> '') AS domain,
        arg_min(reference_answer, (source, row, domain, reference_answer))
            FILTER (WHERE reference_answer IS NOT NULL) AS reference_answer,
        max(answer_chars) AS answer_chars
    FROM every
    GROUP BY question_id
)
SELECT
    f.*,
    d.name AS budget_of,
    row_number() OVER (
        PARTITION BY d.name
        ORDER BY
            CASE WHEN d.longer_answers THEN coalesce(f.answer_chars, -1) END DESC,
            seeded(d.seed, f.normal),
            f.normal
    ) <= d.most AS chosen
FROM found AS f
LEFT JOIN _domains AS d ON d.name = coalesce(f.domain, 'other');

-- What is to be written, numbered: chosen questions, and places of questions that the catalog has.
CREATE TEMP TABLE _wanted AS
SELECT question_id, known, row_number() OVER (ORDER BY question_id) AS n
FROM _ranked
WHERE chosen OR known;
