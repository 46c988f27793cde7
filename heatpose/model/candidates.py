"""Candidates: the classifiers that training compares, and the pipeline they become the last step of.

To add a candidate, add an entry to :data:`CANDIDATES`. Its ``build`` returns an unfitted scikit-learn classifier of
pose features, in which a missing keypoint is NaN; it is trained on integer labels and gives probabilities. Or it
returns a classifier of heatmaps, see :mod:`heatpose.model.pixels`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.calibration import CalibratedClassifierCV
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from heatpose.data.packages import xgboost_conflict
from heatpose.model.ensemble import PoseEnsemble
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
from heatpose.model.inputs import HEATMAPS, KEYPOINTS, ModelInput
from heatpose.model.pixels import HeatmapPixels, PixelCNN, PixelDense
from heatpose.pose.geometry import FEATURE_BLOCKS
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import find_skeleton, short_name

__all__ = ["CANDIDATES", "DEFAULT", "DEFAULT_CANDIDATES", "Candidate", "Range", "Space", "make_pose_pipeline"]


_FEWEST_SAMPLES = 3_000
"""Fewest training samples: from one frame of each of 14 gestures, mlp scores .87 on the other performer, not .84."""

_ENSEMBLE_SAMPLES = 24_000
"""Most training samples of the ensemble, the slowest by far; ``python -m benchmarks.scale`` measures the effect."""


@dataclass(frozen=True)
class Range:
    """Interval of numbers, both ends included.

    Parameters
    ----------
    low, high : int or float
        The ends; between integers, integers are drawn.
    log : bool, default False
        Draw uniformly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | tuple[bool | int | float | str, ...]]
"""Parameters, named as in ``set_params``, and their ranges or choices, which include the default."""


def within(part: str, space: Space) -> Space:
    """Prefix the parameters of a nested estimator with its name.

    Examples
    --------
    >>> within("svc", {"C": (1, 10)})
    {'svc__C': (1, 10)}
    """
    return {f"{part}__{parameter}": choices for parameter, choices in space.items()}


@dataclass(frozen=True)
class Candidate:
    """Classifier to compare, with its defaults and search space.

    Parameters
    ----------
    build : callable
        ``build(random_state)`` returns the unfitted classifier.
    summary : str
        Description in a few words.
    features : mapping, default empty
        Parameters of :class:`heatpose.PoseFeatures` that differ from its defaults.
    training : mapping, default empty
        Parameters of :class:`heatpose.PoseClassifier` that differ from its defaults.
    space : mapping, optional
        Search space of the classifier's parameters. With an empty one only the parameters that all candidates share
        are tuned; without one the candidate is not tuned.
    training_space : mapping, default empty
        What differs in :data:`TRAINING_SPACE`.
    takes : ModelInput, default KEYPOINTS
        Input that it is trained on. A candidate that takes heatmaps has neither `features` nor `training`, see
        ``heatpose.model.pixels``.
    requires : (str, str), optional
        A package that has to be importable, and heatpose's extra that installs it.

    Examples
    --------
    >>> from sklearn.naive_bayes import GaussianNB
    >>> Candidate(lambda random_state: GaussianNB(), "naive Bayes").requires is None
    True
    """

    build: Callable[[int | None], BaseEstimator]
    summary: str
    features: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    space: Space | None = None
    training_space: Space = field(default_factory=dict)
    takes: ModelInput = KEYPOINTS
    requires: tuple[str, str] | None = None

    def search_space(self) -> Space:
        """Return the pipeline parameters that ``--search`` tunes; empty for a candidate without a space."""
        if self.space is None:
            return {}
        if not self.takes.has_keypoints:
            return within("classify", self.space)
        return {
            **within("classify", {**TRAINING_SPACE, **self.training_space}),
            **within("classify__estimator__features", FEATURE_SPACE),
            **within("classify__estimator__classifier", self.space),
        }


TRAINING_SPACE: Space = {
    "performers": Range(2, 15),
    # All folds come from much the same cameras and one estimator, most often with the whole body in the picture: they
    # cannot measure what is lost elsewhere. So the parameters that prepare a model for other cameras keep a lower
    # limit, and `unknown_poses` and `min_confidence` are not searched.
    "variation": Range(0.7, 2.0, log=True),
    "hidden": Range(0.3, 0.8),
}
"""Parameters of :class:`heatpose.PoseClassifier` that are searched with every candidate that takes keypoints."""

FEATURE_SPACE: Space = dict.fromkeys(FEATURE_BLOCKS, (True, False))
"""Parameters of :class:`heatpose.PoseFeatures` that are searched likewise."""


class FixedEpochsMLP(MLPClassifier):
    """Neural network that trains for exactly `max_iter` epochs; the convergence warning does not apply.

    It is trained in the dtype of its input and predicts in float64, so that probabilities hardly depend on the order
    of summation, which differs between machines and exported forms.
    """

    def fit(self, X: Any, y: Any) -> FixedEpochsMLP:
        """Train; a batch holds at most all samples."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Got `batch_size` less than 1 or larger than sample size")
            super().fit(X, y)
        for layers in (self.coefs_, self.intercepts_):
            layers[:] = [layer.astype(np.float64) for layer in layers]
        return self


class Float64LDA(LinearDiscriminantAnalysis):
    """Linear discriminant analysis that predicts in float64.

    scikit-learn rounds the coefficients of two classes to the dtype of the features. From few samples they reach
    10,000, and in float32 the order of summation then changes probabilities by up to 1e-3.
    """

    def fit(self, X: Any, y: Any) -> Float64LDA:
        """Estimate the coefficients; a class can have a single sample."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Only one sample available")
            super().fit(X, y)
        self.coef_: np.ndarray = self.coef_.astype(np.float64)
        return self


def _imputed(*steps: BaseEstimator) -> Pipeline:
    """Impute the features for steps that take no NaN."""
    return make_pipeline(SimpleImputer(keep_empty_features=True), *steps)


def _scaled(classifier: BaseEstimator) -> Pipeline:
    """Impute and standardise the features for a classifier that needs it."""
    return _imputed(StandardScaler(), classifier)


def _logistic(random_state: int | None) -> Pipeline:
    return _scaled(LogisticRegression(C=0.1, max_iter=1000, tol=1e-3, random_state=random_state))


def _network(random_state: int | None, neurons: int = 256, epochs: int = 20) -> FixedEpochsMLP:
    return FixedEpochsMLP((neurons,), alpha=1e-2, batch_size=256, max_iter=epochs, random_state=random_state)


def _xgboost(random_state: int | None, **options: Any) -> BaseEstimator:
    try:
        from xgboost import XGBClassifier
    except ImportError as error:
        raise ImportError(f"Expected the module xgboost, got {error}. {xgboost_conflict()}".rstrip()) from error
    defaults = {"n_estimators": 100, "max_depth": 4, "learning_rate": 0.2, "max_bin": 64}
    return XGBClassifier(
        **(defaults | options),
        subsample=0.5,
        colsample_bytree=0.3,
        tree_method="hist",
        n_jobs=1,  # folds and candidates already run in parallel
        random_state=random_state,
    )


_FEW_SMALL_TREES = {
    "n_estimators": 25,
    "max_bin": 16,
    "max_leaves": 8,
    "max_depth": 6,
    "grow_policy": "lossguide",
    "learning_rate": 0.3,
}


def _svm_rbf(random_state: int | None) -> BaseEstimator:
    return CalibratedClassifierCV(_scaled(SVC(C=3, random_state=random_state)), cv=3, ensemble=False)


_MLP_SPACE: Space = {
    "hidden_layer_sizes": Range(64, 512, log=True),
    "alpha": Range(1e-4, 1.0, log=True),
    "learning_rate_init": Range(3e-4, 3e-3, log=True),
    "max_iter": Range(10, 60, log=True),
}
_XGBOOST_SPACE: Space = {
    "n_estimators": Range(50, 300, log=True),
    "max_depth": Range(2, 6),
    "learning_rate": Range(0.05, 0.5, log=True),
    "subsample": Range(0.3, 1.0),
    "colsample_bytree": Range(0.1, 1.0, log=True),
}
_FOREST_SPACE: Space = {"max_features": ("sqrt", 0.05, 0.2, 0.4), "min_samples_leaf": Range(1, 10, log=True)}

_PIXEL_SPACE: Space = {
    "layers": Range(1, 3),
    "neurons": Range(16, 256, log=True),
    "epochs": Range(5, 40, log=True),
    "batch_size": Range(16, 256, log=True),
    "learning_rate": Range(1e-4, 3e-3, log=True),
}

CANDIDATES: Mapping[str, Candidate] = MappingProxyType(
    {
        "dummy": Candidate(
            lambda random_state: DummyClassifier(strategy="prior"),
            "always the most frequent class",
            training={"performers": 0},
        ),
        "logistic": Candidate(
            _logistic, "logistic regression", space={"logisticregression__C": Range(1e-3, 10.0, log=True)}
        ),
        "lda": Candidate(
            lambda random_state: _imputed(Float64LDA(solver="lsqr", shrinkage="auto")),
            "linear discriminant analysis with shrinkage",
            features={"coordinates": False},
            training_space={"performers": Range(0, 4)},
            training={"performers": 0},  # re-posing widens the classes beyond what one covariance describes
            space={"float64lda__shrinkage": ("auto", 1e-3, 0.01, 0.03, 0.1, 0.3)},
        ),
        "svm-rbf": Candidate(
            _svm_rbf,
            "support vectors, Gaussian kernel",
            training={"performers": 2, "min_samples": 20},  # of unknown poses three, one for each fold of calibration
            space=within(
                "estimator__svc", {"C": Range(0.3, 100.0, log=True), "gamma": ("scale", 5e-4, 1e-3, 2e-3, 8e-3)}
            ),
            training_space={"performers": Range(1, 4)},  # time grows with the square of the samples
        ),
        "knn": Candidate(
            # Not scaled to one spread: that gives the shoulders' width, which differs by person, an arm's weight.
            lambda random_state: _imputed(KNeighborsClassifier(10, weights="distance")),
            "10 nearest poses by pair vectors",
            features={**dict.fromkeys(FEATURE_BLOCKS, False), "vectors": True},
            training={"performers": 3},
            space=within(
                "kneighborsclassifier",
                {"n_neighbors": Range(1, 50, log=True), "weights": ("distance", "uniform"), "p": (2, 1)},
            ),
        ),
        "random-forest": Candidate(
            lambda random_state: RandomForestClassifier(200, n_jobs=1, random_state=random_state),
            "random forest",
            training={"performers": 3},
            space=_FOREST_SPACE,
        ),
        "extra-trees": Candidate(
            lambda random_state: ExtraTreesClassifier(200, n_jobs=1, random_state=random_state),
            "extremely randomised trees",
            training={"performers": 5},
            space=_FOREST_SPACE,
        ),
        "xgboost": Candidate(
            _xgboost,
            "gradient-boosted trees",
            training={"performers": 6, "min_samples": _FEWEST_SAMPLES},
            space=_XGBOOST_SPACE,
        ),
        "mlp": Candidate(
            lambda random_state: _scaled(_network(random_state)),
            "neural network with one hidden layer",
            training={"min_samples": _FEWEST_SAMPLES},
            space=within("fixedepochsmlp", _MLP_SPACE),
        ),
        "ensemble": Candidate(
            # Augmented poses make the first two right under other cameras and estimators, where the network is ahead,
            # and where keypoints are missing, where the trees are. Frames alone keep small differences between classes
            # that re-posing blurs. python -m benchmarks.leaderboard has each alone.
            lambda random_state: PoseEnsemble(
                [
                    ("mlp", _scaled(_network(random_state, 128, epochs=12))),
                    ("xgboost", _xgboost(random_state, **_FEW_SMALL_TREES)),
                    ("frames_xgboost", _xgboost(random_state, **_FEW_SMALL_TREES)),
                ],
                of_frames=("frames_xgboost",),
            ),
            "mlp and xgboost on augmented poses, xgboost on the frames",
            training={
                "performers": 10,
                "min_samples": _FEWEST_SAMPLES,
                "max_samples": _ENSEMBLE_SAMPLES,
                "temperature": 0.8,  # the mean of classifiers that differ is too modest, above all for other estimators
            },
            space={
                **within("mlp__fixedepochsmlp", _MLP_SPACE),
                **within(
                    "xgboost",
                    {**_XGBOOST_SPACE, "n_estimators": Range(15, 150, log=True), "max_leaves": Range(4, 32, log=True)},
                ),
            },
        ),
        "pixel-dense-1": Candidate(
            lambda random_state: PixelDense(1, random_state=random_state),
            "dense network on raw heatmaps",
            space=_PIXEL_SPACE,
            takes=HEATMAPS,
        ),
        "pixel-dense-2": Candidate(
            lambda random_state: PixelDense(2, random_state=random_state),
            "the same with one more layer",
            space=_PIXEL_SPACE,
            takes=HEATMAPS,
        ),
        "pixel-cnn": Candidate(
            lambda random_state: PixelCNN(random_state=random_state),
            "convolutional network on raw heatmaps",
            space={**_PIXEL_SPACE, "channels": Range(8, 64, log=True), "dropout": Range(0.0, 0.7)},
            takes=HEATMAPS,
            requires=("torch", "cnn"),
        ),
    }
)
"""All candidates by name."""

DEFAULT_CANDIDATES = ("ensemble", "logistic")
"""Candidates that are compared by default."""

DEFAULT = "ensemble"
"""Candidate of :func:`make_pose_pipeline` by default."""


def make_pose_pipeline(
    classifier: str | BaseEstimator | None = None,
    *,
    decoder: str = "gaussian",
    features: Mapping[str, Any] | None = None,
    random_state: int | None = 0,
    skeleton: str | Skeleton = "coco-17",
    heatmaps: str | Skeleton | None = None,
    **training: Any,
) -> Pipeline:
    """Build an unfitted pipeline from heatmaps to class names.

    Parameters
    ----------
    classifier : str or classifier, optional
        A name in :data:`CANDIDATES`, or a scikit-learn classifier that takes NaN and gives probabilities; by default
        :data:`DEFAULT`.
    decoder : str, default "gaussian"
        See :func:`heatpose.decode_heatmaps`.
    features : mapping, optional
        Parameters of :class:`heatpose.PoseFeatures`.
    random_state : int or None, default 0
        Seed of all steps.
    skeleton : str or Skeleton, default "coco-17"
        The keypoints that poses are described by: a name in `heatpose.SKELETONS`, such as "hand-21" or "animal-17", or
        any :class:`heatpose.pose.skeleton.Skeleton`.
    heatmaps : str or Skeleton, optional
        The keypoints of the heatmaps, where they are others: those of `skeleton` are taken out of them by name.
    **training
        Parameters of :class:`heatpose.PoseClassifier`, such as ``performers=0`` to train without augmentation.

    Returns
    -------
    Pipeline
        ``fit`` and ``predict`` take heatmaps (N, K, H, W) and class names. Its first step, ``decode``, makes the
        keypoint table; ``pipeline[1:]`` works from such a table (N, 3 K). Candidates that take heatmaps have a step
        ``heatmaps`` instead, which passes them on, and do not use `decoder`.

    Raises
    ------
    ValueError
        If there is no candidate or skeleton of that name, or `features` or another skeleton than COCO-17 are given for
        a candidate that takes heatmaps.

    Examples
    --------
    >>> list(make_pose_pipeline("extra-trees").named_steps)
    ['decode', 'classify']
    >>> len(make_pose_pipeline("lda", skeleton="hand-21")[0].get_feature_names_out())
    63
    """
    body, source = find_skeleton(skeleton), find_skeleton(skeleton if heatmaps is None else heatmaps)
    if not {*body.keypoints} & {*source.keypoints}:
        raise ValueError(f"Expected heatmaps with keypoints of {body.name}, got those of {source.name}.")
    skeleton, heatmaps = short_name(body), short_name(source)
    heatmaps = None if heatmaps == skeleton else heatmaps
    if classifier is None:
        classifier = DEFAULT
    if isinstance(classifier, str):
        if classifier not in CANDIDATES:
            raise ValueError(f"Expected a classifier out of {', '.join(CANDIDATES)}, got {classifier!r}.")
        candidate = CANDIDATES[classifier]
        built = candidate.build(random_state)
        if not candidate.takes.has_keypoints:
            if heatmaps is not None or skeleton != COCO_17.name:
                raise ValueError(f"Expected heatmaps of {COCO_17.name} for {classifier}, got another skeleton.")
            if features:
                raise ValueError(f"Expected no features for {classifier}, which takes heatmaps as they are, got some.")
            return Pipeline([("heatmaps", HeatmapPixels()), ("classify", built.set_params(**training))])
        classifier = built
        features = {**candidate.features, **(features or {})}
        training = {**candidate.training, **training}
    # PoseClassifier has masked uncertain keypoints already.
    describe = PoseFeatures(**{"min_confidence": 0.0, **(features or {})}, skeleton=skeleton)
    described = Pipeline([("features", describe), ("classifier", classifier)])
    return Pipeline(
        [
            ("decode", HeatmapDecoder(decoder, skeleton=skeleton, heatmaps=heatmaps)),
            ("classify", PoseClassifier(described, random_state=random_state, skeleton=skeleton, **training)),
        ]
    )
