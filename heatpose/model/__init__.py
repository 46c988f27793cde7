"""Classifiers: scikit-learn estimators, the candidates, their array forms, and prediction.

Estimators validate and name columns; the mathematics is in `pose`. May import `pose` and `data`.
"""
