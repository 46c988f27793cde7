"""The ensemble: each of its classifiers is trained on all samples, or only on the frames as they are.

Augmented poses make a classifier right under other cameras and estimators, and blur small differences between classes;
frames alone keep these, and fit the people in them. The two err on different frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import VotingClassifier
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Bunch

from heatpose.model.openset import pool_probabilities

__all__ = ["PoseEnsemble"]


class PoseEnsemble(VotingClassifier):
    """Average several classifiers, some of which are trained only on the frames as they are.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and classifiers of features, with integer labels. Those of frames do not see the unknown poses, see
        :func:`heatpose.model.openset.pool_probabilities`.
    of_frames : sequence of str, default ()
        Names of those that are trained on frames alone.

    Attributes
    ----------
    estimators_ : list of estimator
        Fitted classifiers.
    classes_ : ndarray of int
        0 to C - 1.

    Examples
    --------
    >>> from sklearn.tree import DecisionTreeClassifier
    >>> trees = [("all", DecisionTreeClassifier()), ("frames", DecisionTreeClassifier())]
    >>> X, y = np.array([[0.0], [1.0], [0.2], [0.8], [5.0]]), np.array([0, 1, 0, 1, 2])  # the last is an unknown pose
    >>> model = PoseEnsemble(trees, of_frames=["frames"]).fit(X, y, n_frames=2)
    >>> model.predict([[0.1], [0.9], [6.0]]).tolist()
    [0, 1, 2]
    """

    def __init__(self, estimators: list[tuple[str, BaseEstimator]], *, of_frames: Sequence[str] = ()):
        super().__init__(estimators, voting="soft")
        self.of_frames = of_frames

    def fit(self, X: Any, y: Any, n_frames: int | None = None) -> PoseEnsemble:
        """Train.

        Parameters
        ----------
        X : array_like, shape (N, F)
            Features, NaN where missing.
        y : array_like of int, shape (N,)
            0 to C - 1.
        n_frames : int, optional
            Number of first samples that are frames as they are; by default all.

        Returns
        -------
        PoseEnsemble
            Itself.
        """
        self.le_ = LabelEncoder().fit(y)
        self.classes_ = self.le_.classes_
        kept = {name: n_frames if name in self.of_frames else None for name, _ in self.estimators}
        self.estimators_ = [clone(member).fit(X[: kept[name]], y[: kept[name]]) for name, member in self.estimators]
        self.named_estimators_ = Bunch(**dict(zip(kept, self.estimators_, strict=True)))
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the mean probabilities, (N, C), see :func:`heatpose.model.openset.pool_probabilities`."""
        return pool_probabilities([member.predict_proba(X) for member in self.estimators_])
