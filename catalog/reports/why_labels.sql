-- Labels of the sentences of one response, as the selection counts them.
SELECT
    n_sentences,
    teacher_count,
    shared_count,
    student_count,
    boosted_count,
    mean_difference,
    teacher_probability,
    student_probability
FROM responses_scored
WHERE response_id = getvariable('why_response')
