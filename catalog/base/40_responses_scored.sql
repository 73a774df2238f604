/*
description = "one row per response that both models scored: label counts, share, mean difference, lengths"

[columns]
teacher_share = "teacher_count / n_sentences"
teacher_probability = "geometric mean of the teacher's probabilities over the tokens of the counted sentences"
student_probability = "geometric mean of the student's probabilities over the tokens of the counted sentences"
teacher_count_resid = "teacher_count less what n_tokens_teacher predicts within temperature and domain"
*/
-- Least squares of teacher_count on n_tokens_teacher within temperature and domain, in integers.
WITH joined AS (
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
    FROM label_counts AS c
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
