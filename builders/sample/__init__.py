"""Sampling completions of the catalog's questions, with token ids and log-probs."""
