"""Honest scores: metrics, audits, feature importance, comparison of models, inspection of data.

May import `pose`, `data`, `datasets` and `model`.
"""
