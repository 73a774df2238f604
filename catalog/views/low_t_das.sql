/*
description = "Stage 1, divergence-aware sampling: the T=0.6 responses with the most Teacher sentences of each question"
config = "low_t_das"
key = ["response_id"]
contract = { extends = "split" }

# Budgets: arXiv 2601.09088, Figure 8. Scope and candidates per question are ours: the paper states neither.
[defaults]
temperature = 0.6
rank_by = "teacher_count"
min_tokens = 1
budget = { math = 45400, code = 20100, science = 19800, instruction_following = 19600 }
*/
SELECT * FROM split ORDER BY response_id
