/*
description = "the selection, with the columns that a split carries into training"
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
