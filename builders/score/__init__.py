"""Token log-probs of responses under a causal language model, in a context that is spelled out.

`engine` holds the protocol and its two records, `transformers_engine` the model, `fake` a stand-in
without torch, `render` the student's context, `encode` the requests in either context,
`estimate` the numbers of a dry run.
"""
