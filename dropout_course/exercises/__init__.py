"""The exercises, one module a lesson: what each asks for, how it is planned and judged, its hints.

Knows checks; knows nothing of notebooks, progress or grading.
"""
