"""Tokens as bytes: vocabularies, fitting tokens to stored text, sums per sentence."""
