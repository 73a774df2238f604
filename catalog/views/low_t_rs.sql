/*
description = "Stage 1, random sampling: T=0.6 responses chosen at random within each question"
config = "low_t_rs"
key = ["response_id"]
contract = { extends = "split" }

# Budgets: arXiv 2601.09088, Figure 8. Scope and candidates per question are ours: the paper states neither.
[defaults]
temperature = 0.6
rank_by = "random"
min_tokens = 1
budget = { math = 45400, code = 20100, science = 19800, instruction_following = 19600 }
*/
SELECT * FROM split ORDER BY response_id
