"""scikit-learn estimators: each validates its input, calls pure functions and names its columns.

Between the steps data are 2-D and named: a keypoint table (N, 3 K), of COCO-17 (N, 51), with the columns ``nose_x,
nose_y, nose_confidence, left_eye_x, ...`` is the output of :class:`HeatmapDecoder` and the input of all later steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn import config_context
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, TransformerMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, has_fit_parameter

from heatpose.data.reading import count_workers
from heatpose.model.checks import check_heatmaps, check_labels, check_table
from heatpose.model.openset import OpenSetMixin, apply_temperature, correct_probabilities, predict_no_body, split_known
from heatpose.pose import augmentation, geometry
from heatpose.pose.decoding import decode_skeleton
from heatpose.pose.inputs import as_array
from heatpose.pose.mirroring import decide_mirrors
from heatpose.pose.results import as_keypoints, is_results
from heatpose.pose.skeleton import Skeleton
from heatpose.pose.skeletons import find_skeleton, is_person

__all__ = ["MIN_CONFIDENCE", "HeatmapDecoder", "PoseClassifier", "PoseFeatures", "as_table"]

MIN_CONFIDENCE = 0.1
"""Share of a pose's median confidence below which a keypoint is missing: a peak of noise, not a doubtful joint. Four
real estimators give fewer than one in 1,000 less; at 0.4 good ones were lost (``python -m benchmarks.leaderboard``)."""

_own_config = config_context(enable_metadata_routing=False, transform_output="default")
"""Decorator: what is inside a classifier does not depend on how scikit-learn is configured outside."""

_FEWEST_PERFORMERS = 3  # are kept before frames are left out: they are worth more than further frames of a clip


@dataclass(eq=False, repr=False)
class HeatmapDecoder(TransformerMixin, BaseEstimator):
    """Decode heatmaps (N, K, H, W), or one (K, H, W), to a keypoint table: of COCO-17, K = 17, (N, 51).

    Parameters
    ----------
    method : str, default "gaussian"
        See :func:`heatpose.decode_heatmaps`.
    n_jobs : int or None, default 1
        Threads; None or -1 for one for each processor. Results do not depend on it.
    skeleton : str or Skeleton, default "coco-17"
        The keypoints of the table, by a name in `heatpose.SKELETONS` or as a skeleton.
    heatmaps : str or Skeleton, optional
        The keypoints of the heatmaps where they are others, such as "coco-133": those of the table are taken out of
        them by name, and one that they lack is missing.

    Examples
    --------
    >>> import heatpose
    >>> heatmaps = heatpose.simulate_poses(1, 1, 1).heatmaps()
    >>> HeatmapDecoder().transform(heatmaps).shape
    (17, 51)
    """

    method: str = "gaussian"
    n_jobs: int | None = 1
    skeleton: str | Skeleton = "coco-17"
    heatmaps: str | Skeleton | None = None

    @property
    def source(self) -> Skeleton:
        """The skeleton of the heatmaps."""
        return find_skeleton(self.skeleton if self.heatmaps is None else self.heatmaps)

    def fit(self, X: ArrayLike, y: object = None) -> HeatmapDecoder:
        """Check the heatmaps' shape; nothing is learned."""
        X = X if is_results(X) else as_array(X)
        if not self._has_keypoints(X):
            check_heatmaps(X, self.source)
        self.n_features_out_ = len(find_skeleton(self.skeleton).columns)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Decode heatmaps.

        Parameters
        ----------
        X : array_like, shape (N, K, H, W) or (K, H, W)
            Heatmaps; not copied. Also tensors and outputs of pose estimators, as for
            :func:`heatpose.decode_heatmaps`. Or keypoints that an estimator returned, or (N, K, 3), see
            :func:`heatpose.as_keypoints`.

        Returns
        -------
        ndarray, shape (N, 3 K), float32
            x, y and confidence of each keypoint; NaN, NaN and 0 for one without a peak.
        """
        skeleton, source = find_skeleton(self.skeleton), self.source
        X = X if is_results(X) else as_array(X)
        if self._has_keypoints(X):
            own = source if self.heatmaps is not None or not is_person(skeleton) else None
            if isinstance(X, np.ndarray):
                own = source if X.shape[1] == len(source.keypoints) else skeleton
            return as_keypoints(X, skeleton=own, to=skeleton).reshape(-1, len(skeleton.columns))
        heatmaps = check_heatmaps(X, source)
        keypoints = decode_skeleton(heatmaps, source, skeleton, method=self.method, n_jobs=count_workers(self.n_jobs))
        return keypoints.reshape(-1, len(skeleton.columns))  # also of an empty batch

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the columns, ``nose_x, nose_y, nose_confidence, ...``."""
        return np.array(find_skeleton(self.skeleton).columns, dtype=object)

    def _has_keypoints(self, X: ArrayLike) -> bool:
        """Tell keypoints, of an estimator or of shape (N, K, 3), from heatmaps: none has 17 rows of 3 cells."""
        rows = {len(self.source.keypoints), len(find_skeleton(self.skeleton).keypoints)}
        is_table = isinstance(X, np.ndarray) and X.ndim == 3 and X.shape[1] in rows and X.shape[2] == 3
        return is_table or is_results(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.requires_fit = False
        return tags


@dataclass(eq=False, repr=False)
class PoseFeatures(TransformerMixin, BaseEstimator):
    """Compute features of poses that are invariant to position, size and the estimator's scale of confidence.

    Confidences only decide which keypoints count as missing, relative to the rest of the body. They are not features,
    since estimators differ too much in them. The head is one point, see :func:`heatpose.pose.geometry.merge_head`.

    Parameters
    ----------
    coordinates : bool, default True
        x and y of each keypoint in torso lengths from the middle of the hips: ``left_elbow_x``.
    distances : bool, default True
        Distances between all pairs of keypoints in torso lengths: ``distance__head__left_wrist``.
    limbs : bool, default True
        Sine and cosine of the limbs' directions: ``sin__left_forearm``.
    joints : bool, default True
        Sine and cosine of the angles at the joints: ``sin__left_elbow``.
    vectors : bool, default False
        x and y from each keypoint to each other in torso lengths: ``vector__head__left_wrist_x``.
    min_confidence : float, default 0.1
        See :func:`heatpose.pose.geometry.mask_uncertain`.
    skeleton : str or Skeleton, default "coco-17"
        The keypoints of the table, by a name in `heatpose.SKELETONS` or as a skeleton.

    Attributes
    ----------
    n_features_in_ : int
        51 of COCO-17.

    Examples
    --------
    >>> import heatpose
    >>> table = heatpose.simulate_poses(1, 1, 1).keypoints.reshape(-1, 51)
    >>> PoseFeatures(distances=False, limbs=False, joints=False).fit_transform(table).shape
    (17, 26)
    """

    coordinates: bool = True
    distances: bool = True
    limbs: bool = True
    joints: bool = True
    vectors: bool = False
    min_confidence: float = MIN_CONFIDENCE
    skeleton: str | Skeleton = "coco-17"

    @property
    def blocks(self) -> list[str]:
        """Names of the blocks of features, see :data:`heatpose.pose.geometry.FEATURE_BLOCKS`."""
        return [name for name in geometry.FEATURE_BLOCKS if getattr(self, name)]

    def fit(self, X: ArrayLike, y: object = None) -> PoseFeatures:
        """Check the table; nothing is learned."""
        if not self.blocks:
            raise ValueError("Expected at least one block of features switched on, got none.")
        check_table(self, X, find_skeleton(self.skeleton), reset=True)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Compute the features.

        Parameters
        ----------
        X : array_like, shape (N, 3 K)
            Keypoint table; NaN or confidence 0 is a missing keypoint.

        Returns
        -------
        ndarray, shape (N, number of features), float32
            NaN where a feature needs a missing keypoint.
        """
        check_is_fitted(self)
        skeleton = find_skeleton(self.skeleton)
        keypoints = check_table(self, X, skeleton, reset=False)
        return geometry.describe_keypoints(keypoints, self.min_confidence, skeleton, self.blocks)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Return the names of the features, block by block."""
        body = find_skeleton(self.skeleton).body
        keypoints = body.keypoints
        pairs = [f"{keypoints[start]}__{keypoints[end]}" for start, end in body.pairs]
        names: list[str] = []
        if self.coordinates:
            names += [f"{keypoint}_{axis}" for keypoint in keypoints for axis in "xy"]
        if self.distances:
            names += [f"distance__{pair}" for pair in pairs]
        for wanted, parts in ((self.limbs, body.limbs), (self.joints, body.joints)):
            if wanted:
                names += [f"{function}__{part}" for part in parts for function in ("sin", "cos")]
        if self.vectors:
            names += [f"vector__{pair}_{axis}" for pair in pairs for axis in "xy"]
        return np.array(names, dtype=object)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = []  # always float32
        return tags


@dataclass(eq=False, repr=False)
class PoseClassifier(OpenSetMixin, ClassifierMixin, MetaEstimatorMixin, BaseEstimator):
    """Train a classifier on augmented poses; abstain on poses that are none of the classes.

    Parameters
    ----------
    estimator : estimator
        Takes a keypoint table (N, 3 K) with NaN and integer labels; has ``predict_proba``.
    performers : int, default 10
        Number of performers that re-pose each training sample, beside the original. 0 trains without augmentation.
    variation : float or Variation, default 1.0
        Differences between them: a :class:`heatpose.pose.augmentation.Variation`, or a multiple of the default.
    hidden : float, default 0.5
        Share of the re-posed samples with hidden keypoints, see :func:`heatpose.pose.augmentation.drop_keypoints`.
    unknown_poses : float, default 0.25
        Unknown poses to compose, per re-posed sample, see
        :func:`heatpose.pose.augmentation.compose_unknown_poses`. They are a class of their own in training, by which
        :meth:`predict_or_unknown` abstains; with 0 it has the probabilities of the classes only.
    mirror : {"names", None} or dict of str to str, default "names"
        Classes whose mirror images are training samples too: those whose names differ in left and right only, where the
        poses confirm it, see :func:`heatpose.pose.mirroring.decide_mirrors`; none; or those and the ones in the
        dictionary, which are not tested, see :func:`heatpose.pose.augmentation.mirror_classes`. About half of their
        re-posed samples are mirrored; without re-posing, each sample is added once more.
    min_samples : int, default 0
        Fewest training samples: few frames are re-posed by more performers than `performers`, unless that is 0.
    max_samples : int, default 60000
        Most training samples. With more data each sample is re-posed by fewer performers, and when that is not enough,
        frames are left out evenly in each class, few of a scarce one, since neighbours in a clip are nearly the same.
    min_confidence : float, default 0.1
        See :func:`heatpose.pose.geometry.mask_uncertain`.
    temperature : float, default 1.0
        See :func:`heatpose.model.openset.apply_temperature` [1]_. Training chooses it by held-out predictions.
    threshold : float, default 0.5
        Confidence below which :meth:`predict_or_unknown` abstains. Training chooses it by held-out predictions.
    set_thresholds : tuple of (float, float), default ()
        Coverages and their thresholds for :meth:`predict_set`; training computes them on held-out groups, see
        :func:`heatpose.model.conformal.conformal_threshold`.
    random_state : int, RandomState or None
        Seed of the augmentation.
    skeleton : str or Skeleton, default "coco-17"
        The keypoints of the table, by a name in `heatpose.SKELETONS` or as a skeleton.

    Attributes
    ----------
    classes_ : ndarray of str
        Class names, sorted.
    estimator_ : estimator
        The fitted classifier; its classes are positions in `classes_`, and the one after the last is the unknown poses.
    correction_ : Block or None
        Correction of the logits for one person, see :func:`heatpose.adapt_model`.
    n_samples_fit_ : int
        Number of training samples after augmentation.
    n_without_body_ : int
        Number of samples that were left out, since no body is visible in them.
    n_thinned_ : int
        Number of poses and mirror images that were left out to stay below `max_samples`.
    mirror_decisions_ : list of dict
        Pairs of classes that the names propose or that were given, see
        :func:`heatpose.pose.mirroring.decide_mirrors`.

    References
    ----------
    .. [1] C. Guo et al., "On calibration of modern neural networks", ICML 2017.

    Examples
    --------
    >>> import heatpose
    >>> from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    >>> from sklearn.impute import SimpleImputer
    >>> from sklearn.pipeline import make_pipeline
    >>> poses = heatpose.simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    >>> classifier = make_pipeline(heatpose.PoseFeatures(), SimpleImputer(), LinearDiscriminantAnalysis())
    >>> table = poses.keypoints.reshape(-1, 51)
    >>> model = PoseClassifier(classifier, performers=2, random_state=0).fit(table, poses.labels)
    >>> model.classes_.tolist()
    ['action_down', 'action_up']
    """

    estimator: BaseEstimator
    _: KW_ONLY
    performers: int = 10
    variation: float | augmentation.Variation = 1.0
    hidden: float = 0.5
    unknown_poses: float = 0.25
    mirror: str | Mapping[str, str] | None = "names"
    min_samples: int = 0
    max_samples: int = 60_000
    min_confidence: float = MIN_CONFIDENCE
    temperature: float = 1.0
    threshold: float = 0.5
    set_thresholds: tuple[tuple[float, float], ...] = ()
    random_state: int | np.random.RandomState | None = None
    skeleton: str | Skeleton = "coco-17"

    @_own_config
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> PoseClassifier:
        """Augment the samples and train.

        Samples without a visible body are left out.

        Parameters
        ----------
        X : array_like, shape (N, 3 K) or (N, K, 3), or DataFrame
            Keypoint table; NaN or confidence 0 is a missing keypoint. Columns of a DataFrame are selected by name.
        y : array_like, shape (N,)
            Class names.
        sample_weight : array_like, shape (N,), optional
            Relative weights of 0 or more. Samples are drawn in proportion before they are augmented, since not all
            classifiers take weights.

        Returns
        -------
        PoseClassifier
            Itself.

        Raises
        ------
        ValueError
            For another shape, missing columns, infinity, missing labels, fewer than two classes, a class without a
            visible body, a class called "unknown" or a parameter out of range.
        """
        for of_earlier_fit in ("estimator_", "signature_"):  # also where this one fails or is interrupted
            self.__dict__.pop(of_earlier_fit, None)
        keypoints = check_table(self, X, find_skeleton(self.skeleton), reset=True)
        self._check_parameters()
        self.classes_, codes = check_labels(y, len(keypoints))
        self.correction_ = None
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))

        xy = geometry.mask_uncertain(keypoints, self.min_confidence)
        rows = np.flatnonzero(geometry.has_body(xy))
        self.n_without_body_ = len(xy) - len(rows)
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, keypoints, dtype=np.float64, ensure_non_negative=True)
            rows = rows[_draw_by_weight(codes[rows], weights[rows])]
        if len(missing := np.setdiff1d(np.arange(len(self.classes_)), codes[rows])):
            raise ValueError(
                "Expected a visible body and a positive weight in some samples of each class, got none in "
                f"{', '.join(map(str, self.classes_[missing]))}. Empty frames are recognised without such a class."
            )
        table, codes, n_frames = self._training_set(xy[rows], codes[rows], rng)
        self.n_samples_fit_ = len(table)
        fitted = clone(self.estimator).fit(table, codes, **self._fit_options(n_frames))
        if not hasattr(fitted, "predict_proba"):  # before its fit a StackingClassifier has none
            got = fitted[-1] if hasattr(fitted, "steps") else fitted
            raise ValueError(f"Expected an estimator with predict_proba, as CalibratedClassifierCV gives, got {got!r}.")
        self.estimator_ = fitted
        return self

    def predict_proba_and_known(self, X: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
        """Return :meth:`predict_proba` (N, C) and :meth:`predict_known` (N,) from one pass."""
        if not hasattr(self, "estimator_"):
            check_is_fitted(self, "estimator_")
        xy = self.visible_keypoints(X)
        body = geometry.has_body(xy)
        if body.all() and len(xy):
            return self._predict_bodies(xy)
        conditional, known = np.empty((len(xy), len(self.classes_))), np.empty(len(xy))
        conditional[~body], known[~body] = predict_no_body(self.classes_)
        if body.any():
            conditional[body], known[body] = self._predict_bodies(xy[body])
        return conditional, known

    def has_body(self, X: ArrayLike) -> np.ndarray:
        """Tell samples in which a body is visible, shape (N,), bool; others are unknown, or of the none-class."""
        return geometry.has_body(self.visible_keypoints(X))

    @_own_config
    def _predict_bodies(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Predict poses (N, K, 2) in which a body is visible."""
        conditional, known = split_known(self.estimator_.predict_proba(as_table(xy)), self.classes_)
        conditional = apply_temperature(conditional, self.temperature)
        if self.correction_ is None:
            return conditional, known
        return correct_probabilities(conditional, known, self.correction_(as_table(xy)))

    def _check_parameters(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"Expected a temperature above 0, got {self.temperature}.")
        if self.performers < 0:
            raise ValueError(f"Expected a number of performers of 0 or more, got {self.performers}.")
        if not 0 <= self.hidden <= 1:
            raise ValueError(f"Expected a share of hidden poses from 0 to 1, got {self.hidden}.")
        if self.unknown_poses < 0:
            raise ValueError(f"Expected unknown_poses of 0 or more, got {self.unknown_poses}.")
        if isinstance(self.mirror, str) and self.mirror != "names":
            raise ValueError(f"Expected mirror to be 'names', None or a dict of classes, got {self.mirror!r}.")

    def visible_keypoints(self, X: ArrayLike) -> np.ndarray:
        """Return the positions of the keypoints that count, (N, K, 2), NaN where one is missing or masked."""
        keypoints = check_table(self, X, find_skeleton(self.skeleton), reset=False)
        return geometry.mask_uncertain(keypoints, self.min_confidence)

    def _fit_options(self, n_frames: int) -> dict[str, int]:
        """Return what a :class:`heatpose.model.ensemble.PoseEnsemble` has to know of the training set."""
        name, last = self.estimator.steps[-1] if hasattr(self.estimator, "steps") else ("", self.estimator)
        return {f"{name}__n_frames".removeprefix("__"): n_frames} if has_fit_parameter(last, "n_frames") else {}

    def _training_set(
        self, xy: np.ndarray, codes: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """Return the augmented keypoint table, class numbers, and the number of first rows that are not re-posed."""
        skeleton = find_skeleton(self.skeleton)
        mirror_codes = self._mirror_codes(xy, codes, skeleton)
        if not self.performers:
            rows = np.flatnonzero(mirror_codes[codes] >= 0)
            xy = np.concatenate([xy, geometry.mirror_keypoints(xy[rows], skeleton)])
            codes = np.concatenate([codes, mirror_codes[codes[rows]]])
        of_each = 1 + self.unknown_poses  # samples that one more performer adds for each pose
        kept = _thin(codes, int(self.max_samples / (1 + of_each * min(self.performers, _FEWEST_PERFORMERS))))
        self.n_thinned_ = len(xy) - len(kept)
        xy, codes = xy[kept], codes[kept]
        affordable = max(0, int((self.max_samples / len(xy) - 1) / of_each + 1e-9))
        needed = math.ceil((self.min_samples / len(xy) - 1) / of_each) if self.performers else 0
        performers = min(max(self.performers, needed), affordable)
        variation = self.variation
        if not isinstance(variation, augmentation.Variation):
            variation = augmentation.Variation().scaled(variation)

        def augmented(poses: np.ndarray) -> np.ndarray:
            reposed = augmentation.repose(poses, variation, random_state=rng, skeleton=skeleton)
            return augmentation.drop_keypoints(reposed, self.hidden, random_state=rng, skeleton=skeleton)

        poses, of_poses = [xy], [codes]
        for _ in range(performers):
            # Half are mirrored, not each once more: the classes keep their frequencies, which decide doubtful frames.
            mirrored = (mirror_codes[codes] >= 0) & (rng.random(len(xy)) < 0.5)
            sides = xy.copy()
            sides[mirrored] = geometry.mirror_keypoints(xy[mirrored], skeleton)
            poses.append(augmented(sides))
            of_poses.append(np.where(mirrored, mirror_codes[codes], codes))
        if n_unknown := int(self.unknown_poses * len(xy) * performers):
            composed = augmentation.compose_unknown_poses(xy, n_unknown, random_state=rng, skeleton=skeleton)
            poses.append(augmented(composed))
            of_poses.append(np.full(len(poses[-1]), len(self.classes_)))
        return as_table(np.concatenate(poses)), np.concatenate(of_poses), len(xy)

    def _mirror_codes(self, xy: np.ndarray, codes: np.ndarray, skeleton: Skeleton) -> np.ndarray:
        """Return each class's mirror image that the data confirm, (C,), -1 for none, and record the decisions."""
        classes, mirrored = self.classes_.astype(str), dict[str, str]()
        self.mirror_decisions_: list[dict[str, Any]] = []
        if self.mirror is not None:
            given = None if isinstance(self.mirror, str) else self.mirror
            mirrored, self.mirror_decisions_ = decide_mirrors(xy, codes, classes, given, skeleton)
        number = {name: code for code, name in enumerate(classes)}
        return np.array([number.get(mirrored.get(name, ""), -1) for name in classes])

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def as_table(xy: np.ndarray) -> np.ndarray:
    """Return positions (N, K, 2) as a keypoint table (N, 3 K) with confidence 1, or 0 where NaN."""
    return np.concatenate([xy, ~np.isnan(xy[..., :1])], axis=2).reshape(len(xy), -1)


def _thin(codes: np.ndarray, max_samples: int) -> np.ndarray:
    """Return positions of at most `max_samples` samples, spread evenly over each class, at least one of each.

    A class keeps its share, or a quarter of an even one if that is more: of 20 frames beside 40,000 two would be left.
    """
    if len(codes) <= max_samples:
        return np.arange(len(codes))
    sizes = np.bincount(codes)
    least = np.minimum(sizes, max(1, max_samples // (4 * len(sizes))))
    scarce = sizes * max_samples // len(codes) < least
    rest = max_samples - least[scarce].sum()
    counts = np.where(scarce, least, np.maximum(1, sizes * rest // max(1, sizes[~scarce].sum())))
    rows = [np.flatnonzero(codes == code) for code in range(len(sizes))]
    kept = [of[np.linspace(0, len(of) - 1, n).round().astype(int)] for of, n in zip(rows, counts, strict=True)]
    return np.sort(np.concatenate(kept))


def _draw_by_weight(codes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Draw as many samples as there are, in proportion to their weights, by systematic sampling.

    The number of draws of a sample is its share of the total weight, rounded up or down; each class with a positive
    weight is drawn at least once. Equal weights draw each sample once.
    """
    if not weights.sum() > 0:
        return np.empty(0, dtype=np.intp)
    order = np.argsort(codes, kind="stable")
    edges = weights[order].cumsum()
    drawn = order[np.searchsorted(edges, (np.arange(len(codes)) + 0.5) * edges[-1] / len(codes), side="right")]
    heaviest = [np.flatnonzero(codes == code)[weights[codes == code].argmax()] for code in np.unique(codes)]
    rare = [row for row in heaviest if weights[row] > 0 and codes[row] not in codes[drawn]]
    return np.sort(np.concatenate([drawn, rare])).astype(np.intp)
