"""The ensemble: each of its classifiers is trained on all samples, or only on the frames as they are.

Augmented poses make a classifier right under other cameras and estimators, and blur small differences between classes;
frames alone keep these, and fit the people in them. The two err on different frames.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import Bunch
from sklearn.utils.validation import has_fit_parameter

from heatpose.model.pooling import pool_probabilities

__all__ = ["CoordinateMLP", "PoseEnsemble"]


class CoordinateMLP(MLPClassifier):
    """Neural network of the coordinates among the features, trained in float64 by full-batch quasi-Newton steps.

    Distances and angles add nothing that it cannot compute, and tie it to the estimator that it is trained on:
    ``python -m benchmarks.leaderboard``.

    Parameters
    ----------
    neurons : int
        Of the hidden layer.
    alpha : float
        L2 penalty.
    max_iter : int
        Steps; no warning where they do not reach a minimum.
    random_state : int, RandomState or None
        Seed of the first weights.

    Examples
    --------
    >>> X, y = np.array([[0.0, 5.0], [1.0, 5.0], [4.0, 5.0], [5.0, 5.0]]), np.array([0, 0, 1, 1])
    >>> network = CoordinateMLP(neurons=4, random_state=0).fit(X, y, n_coordinates=1)
    >>> network.predict([[5.0, -100.0]]).tolist()  # the second column has no effect
    [1]
    """

    def __init__(self, neurons: int = 64, alpha: float = 0.3, max_iter: int = 100, random_state: Any = None):
        super().__init__((neurons,), solver="lbfgs", alpha=alpha, max_iter=max_iter, random_state=random_state)
        self.neurons = neurons

    def fit(self, X: Any, y: Any, n_coordinates: int | None = None) -> CoordinateMLP:
        """Train on the first `n_coordinates` columns, by default all; the weights of the others are 0."""
        X = np.asarray(X, dtype=np.float64)
        self.hidden_layer_sizes = (self.neurons,)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            super().fit(X[:, :n_coordinates], y)
        first = self.coefs_[0]
        self.coefs_[0] = np.concatenate([first, np.zeros((X.shape[1] - len(first), first.shape[1]))])
        for layers in (self.coefs_, self.intercepts_):  # an exported form multiplies in float32 at no loss
            layers[:] = [layer.astype(np.float32).astype(np.float64) for layer in layers]
        self.n_features_in_ = X.shape[1]
        return self


class PoseEnsemble(VotingClassifier):
    """Pool several classifiers, some of which are trained only on the frames as they are.

    Parameters
    ----------
    estimators : list of (str, estimator)
        Names and classifiers of features, with integer labels. Those of frames do not see the unknown poses, see
        :func:`heatpose.model.pooling.pool_probabilities`.
    of_frames : sequence of str, default ()
        Names of those that are trained on frames alone.

    Attributes
    ----------
    estimators_ : list of estimator
        Fitted classifiers.
    classes_ : ndarray of int
        0 to C - 1.
    """

    def __init__(self, estimators: list[tuple[str, BaseEstimator]], *, of_frames: Sequence[str] = ()):
        super().__init__(estimators, voting="soft")
        self.of_frames = of_frames

    def fit(self, X: Any, y: Any, n_frames: int | None = None, n_coordinates: int | None = None) -> PoseEnsemble:
        """Train.

        Parameters
        ----------
        X : array_like, shape (N, F)
            Features, NaN where missing.
        y : array_like of int, shape (N,)
            0 to C - 1.
        n_frames : int, optional
            Number of first samples that are frames as they are; by default all.
        n_coordinates : int, optional
            Number of first features that are coordinates; by default all.

        Returns
        -------
        PoseEnsemble
            Itself.
        """
        self.le_ = LabelEncoder().fit(y)
        self.classes_ = self.le_.classes_
        self.estimators_, self.named_estimators_ = [], Bunch()
        for name, member in self.estimators:
            kept = n_frames if name in self.of_frames else None
            step, last = member.steps[-1] if hasattr(member, "steps") else ("", member)
            options = {}
            if has_fit_parameter(last, "n_coordinates"):
                options[f"{step}__n_coordinates".removeprefix("__")] = n_coordinates
            fitted = clone(member).fit(X[:kept], y[:kept], **options)
            self.estimators_.append(fitted)
            self.named_estimators_[name] = fitted
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the pooled probabilities, (N, C), see :func:`heatpose.model.pooling.pool_probabilities`."""
        return pool_probabilities([member.predict_proba(X) for member in self.estimators_])
