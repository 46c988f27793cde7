"""Choice, measurement and final fit of a model, with and without a hyper-parameter search.

May import `evaluation` and all that it stands on.
"""
