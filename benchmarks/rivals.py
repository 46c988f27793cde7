"""Other ways from keypoints to a pose, as people build them: what heatpose is compared with.

Each is an unfitted classifier from a keypoint table (N, 51) to class names, in plain scikit-learn or XGBoost. None
masks uncertain keypoints; where a method cannot take a missing value, it gets the mean.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import cdist
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from xgboost import XGBClassifier

from heatpose.pose import geometry
from heatpose.pose.augmentation import Variation, repose
from heatpose.pose.skeleton import COCO_17, swap_sides

COPIES = 5
"""How often the rivals that re-pose do so with each training pose."""

IN_THE_PICTURE = Variation(turn=0, pitch=0)
"""How they do: rotation, stretch, limb lengths, jitter, all within the picture. Guessing depth is heatpose's own."""

# The pairs of MediaPipe's FullBodyPoseEmbedder, besides the one from between the hips to between the shoulders.
_OF_A_SIDE = [
    ("left_shoulder", "left_elbow"),
    ("left_elbow", "left_wrist"),
    ("left_hip", "left_knee"),
    ("left_knee", "left_ankle"),
    ("left_shoulder", "left_wrist"),
    ("left_hip", "left_ankle"),
    ("left_hip", "left_wrist"),
    ("left_shoulder", "left_ankle"),
]
_ACROSS = [(f"left_{joint}", f"right_{joint}") for joint in ("elbow", "knee", "wrist", "ankle")]
_PAIRS = [*_OF_A_SIDE, *((swap_sides(start), swap_sides(end)) for start, end in _OF_A_SIDE), *_ACROSS]


class Rival(ClassifierMixin, BaseEstimator):
    """A classifier of class names on features of keypoints.

    Parameters
    ----------
    features : callable
        From keypoints, (N, 17, 3), to features, (N, F).
    classifier : estimator
        Takes integer labels.
    copies : int
        How often each training pose is posed again by another performer, see :func:`heatpose.pose.augmentation.repose`.
    random_state : int
        Where these come from.
    """

    def __init__(
        self,
        features: Callable[[np.ndarray], np.ndarray],
        classifier: BaseEstimator,
        copies: int = 0,
        random_state: int = 0,
    ):
        self.features = features
        self.classifier = classifier
        self.copies = copies
        self.random_state = random_state

    def fit(self, X: np.ndarray, y: np.ndarray) -> Rival:
        """Train on a keypoint table (N, 51)."""
        self.classes_, codes = np.unique(y, return_inverse=True)
        keypoints = _keypoints(X)
        rng = np.random.default_rng(self.random_state)
        poses = [keypoints]
        for _ in range(self.copies):
            xy = repose(keypoints[..., :2], IN_THE_PICTURE, random_state=rng)
            poses.append(np.concatenate([xy, keypoints[..., 2:]], axis=2))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.classifier.fit(self.features(np.concatenate(poses)), np.tile(codes, len(poses)))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Name the class of each row, (N,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Probability of each class, (N, C)."""
        return self.classifier.predict_proba(self.features(_keypoints(X)))


class TwoStageNeighbors(ClassifierMixin, BaseEstimator):
    """MediaPipe's vote: of the poses nearest by their worst component, those nearest on average.

    Parameters
    ----------
    n_nearest_by_max : int
        How many poses with the smallest maximal absolute difference are looked at.
    n_nearest_by_mean : int
        How many of these, with the smallest mean absolute difference, vote.
    """

    def __init__(self, n_nearest_by_max: int = 30, n_nearest_by_mean: int = 10):
        self.n_nearest_by_max = n_nearest_by_max
        self.n_nearest_by_mean = n_nearest_by_mean

    def fit(self, X: np.ndarray, y: np.ndarray) -> TwoStageNeighbors:
        """Keep embeddings (N, F) and their integer labels (N,)."""
        self.embeddings_, self.labels_ = X, y
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Label each embedding, (N,)."""
        return self.classes_[self.predict_proba(X).argmax(axis=1)]

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        """Share of the votes for each class, (N, C)."""
        by_max = cdist(X, self.embeddings_, "chebyshev").argsort(axis=1, kind="stable")[:, : self.n_nearest_by_max]
        by_mean = np.abs(X[:, np.newaxis] - self.embeddings_[by_max]).mean(axis=2).argsort(axis=1, kind="stable")
        voters = np.take_along_axis(by_max, by_mean[:, : self.n_nearest_by_mean], axis=1)
        return (self.labels_[voters][..., np.newaxis] == self.classes_).mean(axis=1)


def coordinates(keypoints: np.ndarray) -> np.ndarray:
    """Normalised x and y, (N, 34)."""
    return geometry.normalise_poses(keypoints[..., :2]).reshape(len(keypoints), -1)


def distances_and_angles(keypoints: np.ndarray) -> np.ndarray:
    """All distances, and sines and cosines of limbs and joints."""
    xy = geometry.normalise_poses(keypoints[..., :2])
    start, end = COCO_17.limb_ends.T
    first, joint, second = COCO_17.joint_points.T
    limbs, a, b = xy[:, end] - xy[:, start], xy[:, first] - xy[:, joint], xy[:, second] - xy[:, joint]
    sine = np.concatenate([limbs[..., 1], a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]], axis=1)
    cosine = np.concatenate([limbs[..., 0], np.sum(a * b, axis=2)], axis=1)
    # No direction of a length of 0; -0 becomes 0, so that a half turn is pi, never -pi.
    angles = np.where((sine == 0) & (cosine == 0), np.nan, np.arctan2(sine + 0.0, cosine))
    return np.concatenate([geometry.pairwise_distances(xy), np.sin(angles), np.cos(angles)], axis=1)


def coordinates_distances_and_angles(keypoints: np.ndarray) -> np.ndarray:
    """Both."""
    return np.concatenate([coordinates(keypoints), distances_and_angles(keypoints)], axis=1)


def everything(keypoints: np.ndarray) -> np.ndarray:
    """These, and the confidences."""
    return np.concatenate([coordinates_distances_and_angles(keypoints), keypoints[..., 2]], axis=1)


def pair_vectors(keypoints: np.ndarray) -> np.ndarray:
    """MediaPipe's embedding for the keypoints that COCO has too, (N, 42).

    Vectors between pairs of keypoints, in units of 2.5 torso lengths or the largest distance of a keypoint from between
    the hips, whichever is more. MediaPipe's third axis is left out, and so is its comparison with the mirrored query:
    it takes a raised left arm for a raised right one, which are different classes here.
    """
    xy = keypoints[..., :2]
    origin, torso = geometry.torso_frames(xy)
    reach = np.fmax.reduce(np.linalg.norm(xy - origin[:, np.newaxis], axis=2), axis=1)
    shoulders, hips = (xy[:, COCO_17.index(*part)].mean(axis=1) for part in (COCO_17.shoulders, COCO_17.hips))
    start, end = (COCO_17.index(*names) for names in zip(*_PAIRS, strict=True))
    vectors = np.concatenate([(shoulders - hips)[:, np.newaxis], xy[:, end] - xy[:, start]], axis=1)
    return (vectors / np.fmax(2.5 * torso, reach)[:, np.newaxis, np.newaxis]).reshape(len(xy), -1)


def _keypoints(table: np.ndarray) -> np.ndarray:
    return np.asarray(table, dtype=np.float64).reshape(-1, len(COCO_17.keypoints), 3)


def _imputed(classifier: BaseEstimator) -> BaseEstimator:
    return make_pipeline(SimpleImputer(keep_empty_features=True), classifier)


RIVALS: dict[str, Callable[[int], BaseEstimator]] = {
    "random forest, coordinates": lambda seed: Rival(coordinates, _imputed(RandomForestClassifier(random_state=seed))),
    "XGBoost, coordinates, confidences, distances, angles": lambda seed: Rival(
        everything, XGBClassifier(n_jobs=1, random_state=seed)
    ),
    "dense network, coordinates": lambda seed: Rival(
        coordinates, _imputed(MLPClassifier((64,), max_iter=500, random_state=seed))
    ),
    "k-NN on pair vectors, MediaPipe's recipe": lambda seed: Rival(pair_vectors, _imputed(TwoStageNeighbors())),
    "shrinkage LDA, distances, angles": lambda seed: Rival(
        distances_and_angles, _imputed(LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"))
    ),
    "extra trees, re-posed": lambda seed: Rival(
        coordinates_distances_and_angles,
        _imputed(ExtraTreesClassifier(300, random_state=seed)),
        copies=COPIES,
        random_state=seed,
    ),
    "XGBoost, re-posed": lambda seed: Rival(
        coordinates_distances_and_angles,
        XGBClassifier(subsample=0.5, colsample_bytree=0.3, random_state=seed),
        copies=COPIES,
        random_state=seed,
    ),
}
"""Name to builder, ``build(seed)``."""
