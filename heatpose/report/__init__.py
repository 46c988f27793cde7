"""The HTML report, its figures, and drawings of poses.

May import every other room but `cli`.
"""
