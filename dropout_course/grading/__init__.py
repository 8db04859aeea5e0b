"""Grading: submissions in, records out of a sandbox, verdicts judged outside it.

Knows the exercises and the checks; nothing here is used by a learner's notebook.
"""
