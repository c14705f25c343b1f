"""Kinds of answer: each owns its targets, head, loss, and what a valid label is."""
