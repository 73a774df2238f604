-- Labels of the sentences of one response, as the selection counts them.
SELECT
    n_sentences,
    teacher_count,
    shared_count,
    student_count,
    boosted_count,
    mean_difference,
    p(logprob_teacher, n_tokens_teacher) AS teacher_probability,
    p(logprob_student, n_tokens_student) AS student_probability
FROM label_counts
WHERE response_id = getvariable('why_response')
