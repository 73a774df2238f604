/*
description = "one row per response that both models scored: its labels and log-probs, added up"

[parameters]
min_tokens = { type = "integer", default = 4, minimum = 1, help = "sentences shorter than this under either tokenizer are not counted" }

[columns]
n_sentences = "sentences that are counted: with a label, and min_tokens tokens or more under both"
teacher_count = "Teacher sentences: p_teacher - p_student > beta"
student_count = "Student sentences: p_student - p_teacher > beta"
shared_count = "sentences of neither"
boosted_count = "sentences where only the distilled model differs; 0 without one"
mean_difference = "mean of p_teacher - p_student over the sentences"
n_tokens_teacher = "tokens of the counted sentences under the teacher's tokenizer"
n_tokens_student = "tokens of the counted sentences under the student's tokenizer"
logprob_teacher = "sum of the teacher's log-probs of these tokens, in nats"
logprob_student = "sum of the student's log-probs of these tokens, in nats"
*/
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
