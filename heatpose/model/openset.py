"""Open-set recognition: probabilities of the known classes, of an unknown pose, and their calibration.

Pure functions that the estimators, their array form and the ONNX graph share, and the methods that every classifier
has which can abstain. Arrays of probabilities are (N, C), or (N, C + 1) with the unknown poses in the last column.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from heatpose.model.conformal import fewest_groups, prediction_sets

__all__ = [
    "FLOOR",
    "NONE_OF_THESE",
    "SMOOTHING",
    "TINY",
    "UNKNOWN",
    "UNKNOWN_ODDS",
    "OpenSetMixin",
    "apply_temperature",
    "correct_probabilities",
    "pool_probabilities",
    "predict_no_body",
    "predict_with_known",
    "smooth_joint",
    "split_known",
    "unknown_shares",
]

UNKNOWN = "unknown"
"""Label of a pose that is none of the classes with enough confidence."""

NONE_OF_THESE = frozenset(
    {"background", "dummy", "negative", "no_class", "no_gesture", "no_pose", "none", "nothing", "other", "others"}
)
"""Names of a class that stands for everything that is none of the others: unknown poses belong to it."""

FLOOR = 1e-3
"""Added to a probability that is to be corrected, so that a few frames can contradict the most certain model."""

TINY = 1e-12
"""Floor of probabilities in logarithms and quotients, far below the resolution of float32 near 1 (6e-8)."""

_UNKNOWN_IN_USE = 0.1
"""Unknown poses are a fifth of the training samples; in front of a camera they are rarer by about this factor."""

UNKNOWN_ODDS = 2.0
"""Factor of an unknown pose's odds in the confidence, which has to rank poses, however rare unknown ones are in use.

With 1 it ranks unknown poses less well below known ones, with 4 errors among known ones (``python -m
benchmarks.leaderboard``).
"""

SMOOTHING = 1e-9
"""Added to each class, so that they are equally probable where all goes to the unknown poses."""


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Apply temperature scaling: raise to the power of 1 / temperature and normalise.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C)
        Each row sums to 1.
    temperature : float
        Above 1 lowers the confidence, below 1 raises it.

    Returns
    -------
    ndarray, shape (N, C), float64

    References
    ----------
    C. Guo et al., "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> apply_temperature(np.array([[0.8, 0.2]]), 0.5).round(3).tolist()
    [[0.941, 0.059]]
    """
    probabilities = np.asarray(probabilities, dtype=np.float64)
    if not temperature > 0:  # it may have been set after the fit
        raise ValueError(f"Expected a temperature above 0, got {temperature}.")
    if temperature == 1:
        return probabilities
    logits = np.log(np.maximum(probabilities, TINY)) / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def split_known(probabilities: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split probabilities into those of the classes, given a known pose, and that of being known.

    Parameters
    ----------
    probabilities : ndarray, shape (N, C) or (N, C + 1)
        Of the classes and, in a last column, of an unknown pose.
    classes : ndarray of str, shape (C,)
        Class names.

    Returns
    -------
    conditional : ndarray, shape (N, C)
        Probabilities of the classes, given that the pose is one of them. A class of :data:`NONE_OF_THESE` also gets
        the unknown poses, weighted by how often they occur in use.
    known : ndarray, shape (N,)
        Probability that the pose is one of the classes, see :data:`heatpose.model.openset.UNKNOWN_ODDS`.

    Examples
    --------
    >>> probabilities = np.array([[0.4, 0.4, 0.2]])
    >>> conditional, known = split_known(probabilities, np.array(["up", "wave"]))
    >>> conditional.round(3).tolist(), known.round(3).tolist()
    ([[0.5, 0.5]], [0.667])
    >>> probabilities = np.array([[0.1, 0.1, 0.8]])
    >>> split_known(probabilities, np.array(["dummy", "wave"]))[0].round(3).tolist()  # 0.1 + 0.1 * 0.8 and 0.1
    [[0.643, 0.357]]
    """
    n_classes = len(classes)
    of_classes, of_unknown = probabilities[:, :n_classes], probabilities[:, n_classes:].sum(axis=1, keepdims=True)
    conditional = of_classes + SMOOTHING + of_unknown * unknown_shares(classes)
    of_known = of_classes.sum(axis=1)
    known = of_known / (of_known + UNKNOWN_ODDS * of_unknown[:, 0])
    return conditional / conditional.sum(axis=1, keepdims=True), known


def pool_probabilities(votes: Sequence[np.ndarray]) -> np.ndarray:
    """Average the probabilities of several classifiers, of which some do not know the unknown poses.

    Parameters
    ----------
    votes : sequence of ndarrays, shape (N, C) or (N, C + 1)
        Probabilities of the classes and, from some, of an unknown pose.

    Returns
    -------
    ndarray, shape (N, C) or (N, C + 1), float64
        That of an unknown pose is the mean of those who know it; the classes share the rest by the mean of all, each
        given that the pose is one of them.

    Examples
    --------
    >>> pool_probabilities([np.array([[0.4, 0.4, 0.2]]), np.array([[0.9, 0.1]])]).round(3).tolist()
    [[0.56, 0.24, 0.2]]
    """
    votes = [np.asarray(vote, dtype=np.float64) for vote in votes]
    n_classes = min(vote.shape[1] for vote in votes)
    of_classes = [vote[:, :n_classes] + SMOOTHING for vote in votes]
    conditional = sum(vote / vote.sum(axis=1, keepdims=True) for vote in of_classes) / len(votes)
    unknown = [vote[:, n_classes:] for vote in votes if vote.shape[1] > n_classes]
    if not unknown:
        return conditional
    of_unknown = sum(unknown) / len(unknown)
    return np.concatenate([conditional * (1 - of_unknown), of_unknown], axis=1)


def unknown_shares(classes: np.ndarray) -> np.ndarray:
    """Share (C,) of the probability of an unknown pose that each class gets; 0 for ordinary classes."""
    none_of_these = np.array([str(name).lower() in NONE_OF_THESE for name in classes])
    return _UNKNOWN_IN_USE * none_of_these / max(1, none_of_these.sum())


def smooth_joint(conditional: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Join the probabilities of :func:`split_known` to those of the classes and of an unknown pose, none of them 0.

    Parameters
    ----------
    conditional, known : ndarray, shape (N, C) and (N,)
        See :func:`split_known`; :data:`FLOOR` is added to each probability.

    Returns
    -------
    ndarray, shape (N, C + 1)
    """
    sure = (known[:, np.newaxis] + FLOOR) / (1 + 2 * FLOOR)
    return np.concatenate([(conditional + FLOOR) / (1 + conditional.shape[1] * FLOOR) * sure, 1 - sure], axis=1)


def correct_probabilities(
    conditional: np.ndarray, known: np.ndarray, correction: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Add corrections to the logits of the classes and of an unknown pose.

    Parameters
    ----------
    conditional, known : ndarray, shape (N, C) and (N,)
        See :func:`split_known`.
    correction : ndarray, shape (N, C + 1)
        Summands of the logits of :func:`smooth_joint`.

    Returns
    -------
    conditional, known : ndarray, shape (N, C) and (N,)

    Examples
    --------
    >>> conditional, known = correct_probabilities(np.array([[0.5, 0.5]]), np.array([0.5]), np.log([[3, 1, 1]]))
    >>> conditional.round(3).tolist(), known.round(3).tolist()
    ([[0.75, 0.25]], [0.667])
    """
    joint = smooth_joint(conditional, known) * np.exp(correction)
    own, known = joint[:, :-1], joint[:, :-1].sum(axis=1)
    return own / known[:, np.newaxis], known / (known + joint[:, -1])


def predict_no_body(classes: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the prediction of a frame in which no body is visible.

    Parameters
    ----------
    classes : ndarray of str, shape (C,)
        Class names.

    Returns
    -------
    conditional : ndarray, shape (C,)
        1 for the class of :data:`NONE_OF_THESE`, if there is one (in equal parts, if several); else the same for all.
    known : float
        1 with such a class, else 0: then the confidence is 0 and the frame is unknown.

    Examples
    --------
    >>> predict_no_body(np.array(["dummy", "wave"]))
    (array([1., 0.]), 1.0)
    >>> predict_no_body(np.array(["up", "wave"]))
    (array([0.5, 0.5]), 0.0)
    """
    shares = unknown_shares(classes)
    if shares.any():
        return shares / shares.sum(), 1.0
    return np.full(len(classes), 1 / len(classes)), 0.0


def predict_with_known(model: Any, X: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities of the classes (N, C) and of a known pose (N,): 1 from a model that does not abstain."""
    if isinstance(model, OpenSetMixin):
        return model.predict_proba_and_known(X)
    probabilities = np.asarray(model.predict_proba(X))
    return probabilities, np.ones(len(probabilities))


class OpenSetMixin:
    """Predictions of a classifier that can abstain: each method follows from ``predict_proba_and_known``.

    The classifier has ``classes_``, ``threshold`` and, for :meth:`predict_set`, ``set_thresholds``.
    """

    classes_: np.ndarray
    threshold: float
    set_thresholds: tuple[tuple[float, float], ...] = ()
    correction_: Callable[[np.ndarray], np.ndarray] | None = None  # see heatpose.adapt_model

    @abstractmethod
    def predict_proba_and_known(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return :meth:`predict_proba` (N, C) and :meth:`predict_known` (N,) from one pass."""

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each class, shape (N, C), given that the pose is one of them."""
        return self.predict_proba_and_known(X)[0]

    def predict_known(self, X: Any) -> np.ndarray:
        """Return the probability that a pose is one of the classes, shape (N,).

        See :data:`heatpose.model.openset.UNKNOWN_ODDS`.
        """
        return self.predict_proba_and_known(X)[1]

    def predict(self, X: Any) -> np.ndarray:
        """Return the most probable class of each sample, shape (N,)."""
        best = self.predict_proba(X).argmax(axis=1)  # before classes_, so that an unfitted one says that it is
        return self.classes_[best]

    def predict_confidence(self, X: Any) -> np.ndarray:
        """Return the probability that the pose is known and of its most probable class, shape (N,)."""
        return self._label(X)[1]

    def predict_or_unknown(
        self, X: Any, *, return_confidence: bool = False
    ) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Return the most probable class, or ``"unknown"`` where its confidence is below `threshold`.

        Parameters
        ----------
        X : array_like
            Samples, as for `predict`.
        return_confidence : bool, default False
            Also return :meth:`predict_confidence`, from the same pass.

        Returns
        -------
        labels : ndarray of object, shape (N,)
        confidence : ndarray, shape (N,)
            With `return_confidence` only.
        """
        best, confidence = self._label(X)
        labels = best.astype(object)
        labels[confidence < self.threshold] = UNKNOWN
        return (labels, confidence) if return_confidence else labels

    def _label(self, X: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the most probable class of each sample and its confidence, both (N,)."""
        probabilities, known = self.predict_proba_and_known(X)
        return self.classes_[probabilities.argmax(axis=1)], known * probabilities.max(axis=1)

    def predict_set(self, X: Any, coverage: float = 0.9) -> list[list[str]]:
        """Return the classes that a sample may have, so that the true one is among them as often as stated.

        The coverage is that of a new person's frames, on average over persons: it is calibrated on held-out groups,
        which blocks of the same recordings are not.

        Parameters
        ----------
        X : array_like
            Samples, as for `predict`.
        coverage : float, default 0.9
            One of those that training calibrated, see :data:`heatpose.model.conformal.COVERAGES`.

        Returns
        -------
        list of list of str
            Class names of each sample, the most probable first; never empty. All classes where training had too few
            groups for that coverage, with a warning.

        Raises
        ------
        ValueError
            If training did not calibrate that coverage.
        """
        thresholds = dict(self.set_thresholds)
        if coverage not in thresholds:
            calibrated = ", ".join(map(str, thresholds)) or (
                "none" if self.correction_ is None else "none for an adapted model"
            )
            raise ValueError(f"Expected a coverage that training calibrated ({calibrated}), got {coverage}.")
        if thresholds[coverage] == 0:
            warnings.warn(
                f"Sets hold all classes: a coverage of {coverage} needs at least "
                f"{fewest_groups(coverage)} held-out groups to calibrate; blocks of frames do not count.",
                stacklevel=2,
            )
        probabilities = self.predict_proba(X)
        sets = prediction_sets(probabilities, thresholds[coverage])
        order = np.argsort(-probabilities, axis=1, kind="stable")
        return [[str(self.classes_[code]) for code in row if held[code]] for row, held in zip(order, sets, strict=True)]
