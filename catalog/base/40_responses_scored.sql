/*
description = "one row per response that both models scored: label counts, share, mean difference, lengths"

[parameters]
min_tokens = { type = "integer", default = 4, minimum = 1, help = "sentences shorter than this under either tokenizer are not counted" }

[columns]
n_sentences = "sentences that are counted: with a label, and min_tokens tokens or more under both"
teacher_count = "Teacher sentences: p_teacher - p_student > beta"
student_count = "Student sentences: p_student - p_teacher > beta"
shared_count = "sentences of neither"
boosted_count = "sentences where only the distilled model differs; 0 without one"
teacher_share = "teacher_count / n_sentences"
mean_difference = "mean of p_teacher - p_student over the sentences"
n_tokens_teacher = "tokens of the counted sentences under the teacher's tokenizer"
n_tokens_student = "tokens of the counted sentences under the student's tokenizer"
teacher_probability = "geometric mean of the teacher's probabilities over those tokens"
student_probability = "geometric mean of the student's probabilities over those tokens"
teacher_count_resid = "teacher_count less what n_tokens_teacher predicts within temperature and domain"
*/
WITH counts AS (
    SELECT
        response_id,
        temperature,
        count(*) AS n_sentences,
        count(*) FILTER (WHERE label_code = 1) AS teacher_count,
        count(*) FILTER (WHERE label_code = -1) AS student_count,
        count(*) FILTER (WHERE label_code = 0) AS shared_count,
        count(*) FILTER (WHERE label_code = 2) AS boosted_count,
        exact_sum(difference)::DOUBLE / count(*) / 1e9 AS mean_difference,
        sum(n_teacher)::BIGINT AS n_tokens_teacher,
        sum(n_student)::BIGINT AS n_tokens_student,
        exact_sum(logprob_sum_teacher)::DOUBLE / 1e9 AS logprob_teacher,
        exact_sum(logprob_sum_student)::DOUBLE / 1e9 AS logprob_student
    FROM sentence_pairs
    WHERE
        -- Of two models, a sentence with tokens under both has a label: not asking saves its filter.
        (getvariable('distilled') IS NULL OR label_code IS NOT NULL)
        AND n_teacher >= getvariable('min_tokens')
        AND n_student >= getvariable('min_tokens')
    GROUP BY response_id, temperature
),

-- Least squares of teacher_count on n_tokens_teacher within temperature and domain, in integers.
joined AS (
    SELECT
        c.*,
        r.question_id,
        r.policy,
        r.model,
        d.domain,
        count(*) OVER same AS n,
        sum(c.n_tokens_teacher::HUGEINT) OVER same AS sx,
        sum(c.teacher_count::HUGEINT) OVER same AS sy,
        sum(c.n_tokens_teacher::HUGEINT * c.n_tokens_teacher) OVER same AS sxx,
        sum(c.n_tokens_teacher::HUGEINT * c.teacher_count) OVER same AS sxy
    FROM counts AS c
    INNER JOIN responses AS r USING (response_id)
    INNER JOIN question_domains AS d USING (question_id)
    WINDOW same AS (PARTITION BY c.temperature, d.domain)
)

SELECT
    response_id,
    question_id,
    domain,
    policy,
    model,
    temperature,
    n_sentences,
    teacher_count,
    student_count,
    shared_count,
    boosted_count,
    teacher_count / n_sentences AS teacher_share,
    mean_difference,
    n_tokens_teacher,
    n_tokens_student,
    p(logprob_teacher, n_tokens_teacher) AS teacher_probability,
    p(logprob_student, n_tokens_student) AS student_probability,
    round(
        teacher_count - sy / n
        - coalesce((n * sxy - sx * sy)::DOUBLE / nullif(n * sxx - sx * sx, 0), 0)
        * (n_tokens_teacher - sx / n),
        9
    ) AS teacher_count_resid
FROM joined
