/*
description = "the selection, with the columns that a split carries into training"

# What views of it promise, with `extends = "split"`.
[contract]
use = ["filters", "sampling", "candidates", "budget"]

[contract.columns]
response_id = { type = "VARCHAR", not_null = true, unique = true }
question_id = { type = "VARCHAR", not_null = true }
domain = { type = "VARCHAR", values = ["math", "code", "science", "instruction_following"] }
model = { type = "VARCHAR" }
temperature = { type = "DOUBLE", minimum = 0 }
rank_value = { type = "DOUBLE" }
n_candidates = { type = "BIGINT", not_null = true, minimum = 1 }
n_sentences = { type = "BIGINT", minimum = 1 }
teacher_count = { type = "BIGINT", minimum = 0 }
teacher_share = { type = "DOUBLE", minimum = 0, maximum = 1 }
teacher_count_resid = { type = "DOUBLE" }
mean_difference = { type = "DOUBLE", minimum = -1, maximum = 1 }
teacher_probability = { type = "DOUBLE", minimum = 0, maximum = 1 }
student_probability = { type = "DOUBLE", minimum = 0, maximum = 1 }
n_tokens_teacher = { type = "BIGINT", minimum = 1 }
n_tokens_student = { type = "BIGINT", minimum = 1 }
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
