"""The measured evidence of the lessons: data, training of many nets at once, exact ensembles.

Must not know checks, figures or notebooks: arrays and settings in, arrays out.
"""
