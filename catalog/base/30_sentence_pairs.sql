/*
description = "one row per sentence: probability under teacher, student and, where set, distilled; difference and label"

[parameters]
teacher = { type = "scorer", default = "teacher", help = "scorer of the teacher: name, model or id" }
student = { type = "scorer", default = "student", help = "scorer of the student: name, model or id" }
distilled = { type = "scorer", help = "scorer of the distilled model; without one, two models are compared" }
beta = { type = "number", default = 0.1, minimum = 0, maximum = 1, help = "difference of p above which a sentence is the teacher's or the student's" }
assume_raw = { type = "boolean", default = false, help = "in a build, take scorers whose logprobs_mode is unknown as raw_logprobs" }
normalization = { type = "choice", choices = ["token", "byte"], default = "token", help = "average log-probs over each model's own tokens, or over bytes" }
bytes_per_token = { type = "number", default = 3, minimum = 0.1, help = "with normalization = byte: bytes that count as one token" }
alpha = { type = "number", default = 0.1, minimum = 0, maximum = 1, help = "with a distilled model: differences within which a sentence is shared" }

[columns]
sentence_index = "place of the sentence in the response, from 0"
section = "thinking or answer"
kind = "prose, math, code or table"
byte_start = "first byte, in thinking || answer"
byte_end = "byte after its last, in thinking || answer"
n_teacher = "its tokens that the teacher scored"
n_student = "its tokens that the student scored"
logprob_sum_teacher = "sum of the teacher's log-probs, in nats"
logprob_sum_student = "sum of the student's log-probs, in nats"
p_teacher = "its probability under the teacher: geometric mean per token, or as `normalization` says"
p_student = "its probability under the student"
p_distilled = "its probability under the distilled model; empty without one"
difference = "p_teacher - p_student"
label = "teacher, student, shared or, with a distilled model, boosted; empty: no scored token"
label_code = "the label as a number: 1 teacher, -1 student, 0 shared, 2 boosted"
*/
-- Lists that are aligned with the scores are indexed, not unnested: a query that reads none of their
-- columns does not read them. A filter on temperature is applied before anything is unnested.
-- Segmentations are compared with `!=`: as a second equality DuckDB would take the joins for tiny,
-- and join the lists of all responses before those of one temperature are chosen.
WITH unnested AS (
    SELECT
        n.response_id,
        n.segmentation_id,
        r.temperature,
        n.section AS sections,
        n.kind AS kinds,
        n.byte_end AS byte_ends,
        unnest(range(1, len(t.n_tokens) + 1)) AS number,
        unnest(t.n_tokens) AS n_teacher,
        unnest(s.n_tokens) AS n_student,
        unnest(t.logprob_sum) AS logprob_sum_teacher,
        unnest(s.logprob_sum) AS logprob_sum_student,
        d.n_tokens AS n_tokens_distilled,
        d.logprob_sum AS logprob_sums_distilled
    FROM responses AS r
    INNER JOIN sentences AS n ON r.response_id = n.response_id
    INNER JOIN sentence_scores AS t
        ON n.response_id = t.response_id
        AND (n.segmentation_id != t.segmentation_id) IS FALSE
        AND t.scorer_id = coalesce(getvariable('teacher'), error(getvariable('teacher_error')))
    INNER JOIN sentence_scores AS s
        ON n.response_id = s.response_id
        AND (n.segmentation_id != s.segmentation_id) IS FALSE
        AND s.scorer_id = coalesce(getvariable('student'), error(getvariable('student_error')))
    LEFT JOIN sentence_scores AS d
        ON n.response_id = d.response_id
        AND n.segmentation_id = d.segmentation_id
        AND d.scorer_id = getvariable('distilled')
    WHERE n.segmenter = getvariable('segmenter')
),

probabilities AS (
    SELECT
        *,
        byte_ends[number] - coalesce(byte_ends[number - 1], 0) AS n_bytes,
        p(logprob_sum_teacher, units(n_teacher, n_bytes)) AS p_teacher,
        p(logprob_sum_student, units(n_student, n_bytes)) AS p_student,
        p(logprob_sums_distilled[number], units(n_tokens_distilled[number], n_bytes)) AS p_distilled
    FROM unnested
),

labelled AS (
    SELECT
        *,
        CASE
            WHEN getvariable('distilled') IS NULL
                THEN label_code(p_teacher, p_student, getvariable('beta'))
            ELSE
                label3_code(
                    p_teacher, p_student, p_distilled, getvariable('alpha'), getvariable('beta')
                )
        END AS label_code
    FROM probabilities
)

SELECT
    response_id,
    segmentation_id,
    temperature,
    number - 1 AS sentence_index,
    ['thinking', 'answer'][sections[number] + 1] AS section,
    ['prose', 'math', 'code', 'table'][kinds[number] + 1] AS kind,
    coalesce(byte_ends[number - 1], 0) AS byte_start,
    byte_ends[number] AS byte_end,
    n_teacher,
    n_student,
    logprob_sum_teacher,
    logprob_sum_student,
    p_teacher,
    p_student,
    p_distilled,
    difference(p_teacher, p_student) AS difference,
    label_name(label_code) AS label,
    label_code
FROM labelled
