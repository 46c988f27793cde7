"""Adaptation of a trained model to one person, by a few labelled frames and without the data it was trained on.

The probabilities of the model are corrected near the frames shown: a class's probability is multiplied by exp(s), where
s is a smooth function of the pose, 0 far from all of them. It is kernel logistic regression whose starting point is
the model, so that no frames leave it as it is, and a class that was not shown is still predicted elsewhere.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from heatpose.data.wording import format_plural
from heatpose.model.arrays import Block, Bumps, Fill, Steps
from heatpose.model.checks import codes_of
from heatpose.model.conversion import to_block
from heatpose.model.estimators import PoseFeatures, as_table
from heatpose.model.inputs import before_last, skeleton_of, takes_table
from heatpose.model.openset import smooth_joint
from heatpose.pose.geometry import has_body

__all__ = ["MAX_FRAMES", "adapt_model", "describe_adaptation"]

WIDTH = 2.0
"""Standard deviation of the correction's kernel, in the space of all features; two frames of different classes are 4.3
apart. Chosen with :data:`STRENGTH` on kard-mid and utkinect, where half and twice as much are no better: ``python -m
benchmarks.adaptation --sets kard-mid,utkinect --width 4``."""

STRENGTH = 3.0
"""Prior variance of the correction of a logit. A third as much learns less from 20 frames, three times as much is less
well calibrated (``--strength``)."""

MAX_FRAMES = 1000
"""Most frames: the time grows with their cube, and with more a new training is worth its time."""

_JITTER = 1e-6  # added to the kernel's diagonal, since neighbouring frames can be equal


def adapt_model(model: Pipeline, X: Any, labels: ArrayLike) -> Pipeline:
    """Adapt a fitted model to one person by labelled frames of this person.

    Parameters
    ----------
    model : Pipeline
        Fitted, see :func:`heatpose.load_model`; it is not changed.
    X : array_like
        Frames of the person, as `model` takes them: heatmaps (N, K, H, W), or keypoints (N, K, 3) or (N, 3 K) if it
        works from these; at most :data:`MAX_FRAMES`. Their order does not matter. Those without a
        visible body are left out.
    labels : array_like of str, shape (N,)
        Their classes, out of those of the model; not all need to be shown.

    Returns
    -------
    Pipeline
        The same steps; its classifier has a `correction_`. Without frames it predicts exactly what `model` does.
        Temperature and threshold stay those of `model`. It has no prediction sets: their coverage was calibrated for
        `model` on persons without labelled frames, and there are no held-out frames to calibrate it again.

    Raises
    ------
    ValueError
        If a label is missing or no class of the model, no body is visible in any frame, there are too many frames, or
        `model` is adapted already.
    TypeError
        If `model` does not end in a classifier of heatpose.

    References
    ----------
    J. Zhu, T. Hastie, "Kernel logistic regression and the import vector machine", Journal of Computational and
    Graphical Statistics, 2005; here with the model's log-probabilities as offset.

    Examples
    --------
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(3, 1, 4, classes=["action_up", "action_down"])
    >>> model = heatpose.make_pose_pipeline("logistic").fit(poses.keypoints[:16], poses.labels[:16])
    >>> anna = adapt_model(model, poses.keypoints[16:18], poses.labels[16:18])
    >>> bool((anna.predict(poses.keypoints[16:18]) == poses.labels[16:18]).all())
    True
    """
    classifier = model[-1]
    if not hasattr(classifier, "correction_"):
        raise TypeError(f"Expected a model that ends in a classifier of heatpose, got {type(classifier).__name__}.")
    check_is_fitted(model)
    if classifier.correction_ is not None:
        raise ValueError("Expected a model that is not adapted yet, got one that is: adapt its base to all frames.")
    samples = _samples(model, X)
    codes = codes_of(labels, classifier.classes_, len(samples))
    if len(codes) > MAX_FRAMES:
        raise ValueError(f"Expected at most {MAX_FRAMES:,} frames, got {len(codes):,}: leave some out, or train anew.")
    adapted = copy(classifier)
    if len(codes):
        xy = classifier.visible_keypoints(samples)
        rows = np.flatnonzero(has_body(xy))
        if not len(rows):
            raise ValueError(f"Expected a visible body in some of the {len(codes)} frames, got none.")
        probabilities, known = classifier.predict_proba_and_known(samples)
        offset = np.log(smooth_joint(probabilities[rows], known[rows]))
        features = PoseFeatures(skeleton=skeleton_of(classifier))
        adapted.correction_ = _fit_correction(to_block(features), as_table(xy[rows]), codes[rows], offset)
        adapted.set_thresholds = ()
    return Pipeline([*model.steps[:-1], (model.steps[-1][0], adapted)])


def _samples(model: Pipeline, X: Any) -> Any:
    """Return what the last step of a model takes."""
    is_table = len(getattr(X, "shape", ())) == 2 or takes_table(model)
    return before_last(model, X if is_table else model[0].transform(X))[0]


def describe_adaptation(model: Pipeline, X: Any, labels: ArrayLike) -> tuple[dict[str, Any], str]:
    """Describe an adaptation for a manifest and in a sentence; parameters as :func:`adapt_model`."""
    names, samples = np.asarray(labels).astype(str), _samples(model, X)
    used = has_body(model[-1].visible_keypoints(samples))
    shown, counts = np.unique(names[used], return_counts=True)
    not_shown = [str(name) for name in model.classes_ if name not in shown]
    n_right = int((model[-1].predict(samples) == names)[used].sum())
    facts = {
        "n_frames": int(used.sum()),
        "n_right_before": n_right,
        "n_without_body": int((~used).sum()),
        "frames": dict(zip(shown.tolist(), counts.tolist(), strict=True)),
    }
    frames = format_plural(int(used.sum()), "frame")
    sentence = f"{frames} of {len(shown)} of {len(model.classes_)} classes, of which it recognised {n_right}."
    if not_shown:
        sentence += f" Not shown: {', '.join(not_shown)}."
    if facts["n_without_body"]:
        sentence += f" Left out: {facts['n_without_body']} without a visible body."
    return facts, f"{sentence} Temperature and threshold are those of the model; there are no prediction sets."


def _fit_correction(describe: Block, table: np.ndarray, codes: np.ndarray, offset: np.ndarray) -> Block:
    """Fit the logits' correction to frames.

    Parameters
    ----------
    describe : Block
        The features.
    table : ndarray, shape (N, 3 K)
        Visible keypoints.
    codes : ndarray of int, shape (N,)
        Class numbers.
    offset : ndarray, shape (N, C + 1)
        The model's logits of the classes and of an unknown pose.

    Returns
    -------
    Block
        From a keypoint table to the correction, (N, C + 1).
    """
    features = describe(table).astype(np.float64)
    order = np.lexsort([codes, *features.T])  # sums are rounded alike, whatever the order of the frames
    features, codes, offset = features[order], codes[order], offset[order]
    seen = ~np.isnan(features)
    means = np.where(seen, features, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    points = np.where(seen, features, means)
    width = 1 / (2 * WIDTH**2)
    kernel = Bumps(points, np.eye(len(points)), width)(points)
    # Correction = kernel @ weights = root @ z, with a normal prior on z.
    root = cholesky(kernel + _JITTER * np.eye(len(kernel)), lower=True)
    rows = np.arange(len(codes))

    def loss(z: np.ndarray) -> tuple[float, np.ndarray]:
        scores = log_softmax(offset + root @ z.reshape(len(root), -1), axis=1)
        error = np.exp(scores)
        error[rows, codes] -= 1
        gradient = root.T @ error + z.reshape(len(root), -1) / STRENGTH
        return z @ z / (2 * STRENGTH) - scores[rows, codes].sum(), gradient.ravel()

    best = minimize(loss, np.zeros(offset.size), jac=True, method="L-BFGS-B").x.reshape(offset.shape)
    return Steps((describe, Fill(means), Bumps(points, solve_triangular(root.T, best), width)))
