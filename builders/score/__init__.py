"""Token log-probs of responses under a causal language model, in a context that is spelled out.

`engine` holds the protocol and its two records, `transformers_engine` the model, `fake` a stand-in
without torch, `render` and `encode` the student's context, `sampled` that of the teacher,
`estimate` the numbers of a dry run.
"""
