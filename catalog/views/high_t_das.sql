/*
description = "Stage 2, divergence-aware sampling: the T=1.0 responses with the most Teacher sentences of each question"
config = "high_t_das"
key = ["response_id"]
contract = { extends = "split" }

# Budgets: arXiv 2601.09088, Figure 8. Scope and candidates per question are ours: the paper states neither.
[defaults]
temperature = 1.0
rank_by = "teacher_count"
min_tokens = 1
budget = { math = 103300, code = 91300, science = 65200, instruction_following = 70000 }
*/
SELECT * FROM split ORDER BY response_id
