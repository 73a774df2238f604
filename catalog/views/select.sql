/*
description = "The best candidates of each question, of any temperature and domain; what `dasd-data select` writes"
config = "select"
key = ["response_id"]
*/
SELECT
    response_id,
    question_id,
    domain,
    model,
    temperature,
    rank_value,
    n_candidates,
    n_sentences,
    teacher_count,
    teacher_share,
    teacher_count_resid,
    mean_difference,
    teacher_probability,
    student_probability,
    n_tokens_teacher,
    n_tokens_student
FROM selection
ORDER BY response_id
