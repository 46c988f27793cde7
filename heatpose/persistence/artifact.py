"""Save a trained pipeline with its papers, and load it only when they belong together.

Three files lie side by side: ``pose.joblib`` is a plain fitted scikit-learn Pipeline, ``pose.json`` its
manifest (what it was made of and with, how well it does, what it said of a few poses, and the digests that
tell damage), ``pose.md`` a card for people to read.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import joblib
from numpy.typing import ArrayLike
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from heatpose.data.writing import replace_files
from heatpose.persistence import safe
from heatpose.persistence.card import write_card
from heatpose.persistence.manifest import (
    FORMAT_VERSION,
    ONNX_SUFFIX,
    RESTORE,
    SAFE_SUFFIX,
    ModelError,
    describe,
    from_bytes,
    listed,
    plain,
    to_bytes,
    versions,
)
from heatpose.persistence.selftest import TOLERANCE, check_self_test, make_self_test
from heatpose.persistence.unpickling import UntrustedError, load_trusted
from heatpose.pose.skeleton import COCO_17

__all__ = [
    "FORMAT_VERSION",
    "ModelError",
    "load_model",
    "make_manifest",
    "read_manifest",
    "save_model",
    "sha256_file",
]

_SUFFIX = ".joblib"
_COMPRESSION = 3  # forests shrink to an eighth and still load in the time of a few predictions
# Where a probability differs by more, so do other poses' names: XGBoost 3.0 reads a model of 3.2 like that.
_OTHER_MODEL = 0.01
# How many parts of a version a stored model depends on.
_MATTERS = {"scikit-learn": 2, "xgboost": 2, "numpy": 1}


def save_model(
    pipeline: Pipeline,
    path: str | os.PathLike[str],
    *,
    record: Mapping[str, Any] | None = None,
    samples: ArrayLike | None = None,
) -> dict[str, Any]:
    """Save a fitted pipeline, its manifest and its model card.

    Whatever happens in between (a crash, a full disk, Ctrl-C), there is either the old model or the new one,
    whole, and a manifest that knows it. Only one process at a time may save under a name; others may load
    meanwhile.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with a classifier at its end.
    path : path-like
        Ends in ``.joblib``; its folder is made if need be. The manifest and the card get the same name with
        ``.json`` and ``.md``. What is there is replaced.
    record : mapping, optional
        What is known of the training, for the manifest and the card: texts, numbers (NumPy's too), and lists
        and dictionaries of them; NaN becomes null. The card tells of ``groups``, ``n_samples``, ``data``,
        ``scores`` and ``random_state``, named as by :meth:`heatpose.training.result.TrainingResult.to_record`.
        ``created`` is now unless given.
    samples : array_like, shape (n, 17, 3), optional
        Keypoints of a few poses for the self-test, best one of each class; by default simulated ones. They are
        stored in the manifest.

    Returns
    -------
    dict
        The manifest, see :func:`read_manifest`.

    Raises
    ------
    TypeError
        `pipeline` is no Pipeline, or `record` holds what JSON cannot.
    ValueError
        `path` ends in something else, the pipeline is not fitted (NotFittedError) or names no classes, or
        `record` holds an infinite number.

    Examples
    --------
    >>> import tempfile
    >>> from heatpose.model.candidates import make_pose_pipeline
    >>> from heatpose.datasets.simulation import simulate_poses
    >>> poses = simulate_poses(2, 1, 2, classes=["action_up", "dummy"])
    >>> pipeline = make_pose_pipeline("dummy").fit(poses.heatmaps(), poses.labels)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = save_model(pipeline, f"{folder}/pose.joblib", record={"n_samples": 8})
    ...     loaded = load_model(f"{folder}/pose.joblib")
    >>> manifest["classes"], manifest["record"]["n_samples"], list(loaded.named_steps)
    (['action_up', 'dummy'], 8, ['decode', 'classify'])
    """
    path = _model_path(path)
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"Expected a scikit-learn Pipeline, got {type(pipeline).__name__}.")
    check_is_fitted(pipeline)
    if not hasattr(pipeline, "classes_"):
        raise ValueError("Expected a pipeline that ends in a classifier, got one without classes_.")
    if not isinstance(record, Mapping | None):
        raise TypeError(f"Expected a record as a dictionary, got {type(record).__name__}.")

    buffer = BytesIO()
    joblib.dump(pipeline, buffer, compress=_COMPRESSION)
    model = buffer.getvalue()
    manifest = make_manifest(pipeline, model, record=record, samples=samples)

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        previous = read_manifest(path)
    except (FileNotFoundError, ModelError):
        previous = None  # nothing that could be loaded is lost
    # No two files can be replaced at once: until the model file is, the new manifest knows the old one too.
    replace_files(
        [
            (
                path.with_suffix(".json"),
                to_bytes({**manifest, "previous": previous} if previous else manifest),
            ),
            (path, model),
            (path.with_suffix(".json"), to_bytes(manifest)),
            (path.with_suffix(".md"), write_card(manifest, path.name).encode("utf-8", "backslashreplace")),
        ]
    )
    return manifest


def make_manifest(
    pipeline: Pipeline,
    model: bytes,
    *,
    record: Mapping[str, Any] | None = None,
    samples: ArrayLike | None = None,
    self_test: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Say of a fitted pipeline and the bytes it is stored as what :func:`read_manifest` tells.

    Parameters
    ----------
    pipeline, record, samples
        See :func:`save_model`.
    model : bytes
        What the digest is of.
    self_test : mapping, optional
        One that is there already, instead of one made of `samples`.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "format_version": FORMAT_VERSION,
        "sha256": hashlib.sha256(model).hexdigest(),
        "size": len(model),
        "classes": plain(pipeline.classes_, "pipeline.classes_"),
        "keypoints": list(COCO_17.keypoints),
        **describe(pipeline),
        "versions": versions(),
        "record": {"created": created, **plain(record or {}, "record")},
        "self_test": make_self_test(pipeline, samples) if self_test is None else self_test,
    }


def load_model(path: str | os.PathLike[str], *, trusted: Collection[str] = ()) -> Pipeline:
    """Load a model that :func:`save_model` or :func:`heatpose.export_model` saved, after checking it.

    First the manifest is checked against its digest and the model against the manifest; the very bytes that
    were checked are loaded, the file is not opened twice. Then the model is asked about the poses of its
    self-test: it must say what it said when it was saved.

    Parameters
    ----------
    path : path-like
        A ``.joblib`` file, whose manifest is the ``.json`` beside it, or a safe file (``.heatpose``); which of
        the two it is, its content tells.
    trusted : collection of str, optional
        Packages whose classes and functions may be in a ``.joblib`` file, besides those of heatpose,
        scikit-learn and XGBoost: what a classifier of another package needs, such as ``["lightgbm"]``.

    Returns
    -------
    Pipeline
        Takes heatmaps (N, 17, H, W), or one (17, H, W).

    Raises
    ------
    FileNotFoundError
        There is no such model file.
    ModelError
        The manifest is missing or not as it should be, the model file is not the one it was written for, or
        names what is not trusted; or the model is no Pipeline, does not load with the packages installed here,
        or says something else of the poses of its self-test. Only in these last three cases was the file unpickled.
    ValueError
        `path` is of neither kind.

    Warns
    -----
    UserWarning
        The names are the same, but a probability is not, by little. Or the model has no self-test and was saved with
        another version of scikit-learn, NumPy or (if it uses it) XGBoost, and may predict differently here.

    Notes
    -----
    A ``.joblib`` file can run code when it is loaded. The digests tell damage and mix-ups; they are no
    signature: whoever can change both files can change what is run, as far as it is made of what is trusted.
    Load such files only from people you trust, and have others send a safe file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    >>> model = heatpose.make_pose_pipeline("logistic", performers=2)
    >>> _ = model[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "pose.joblib")
    >>> _ = heatpose.save_model(model, path)
    >>> poses.labels[0], load_model(path).predict(poses.heatmaps(0, 1)).tolist()
    (np.str_('action_up'), ['action_up'])
    >>> folder.cleanup()
    """
    path = Path(path)
    if safe.is_safe_file(path):
        manifest, pipeline = safe.read_safe_file(path)
    else:
        manifest, model = _read_verified(_model_path(path))
        pipeline = _unpickle(manifest, model, path, trusted)
    _check_predictions(pipeline, manifest, path)
    return pipeline


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the manifest of a model and check that it is the model file's; nothing of the model is run.

    Parameters
    ----------
    path : path-like
        The ``.joblib`` file, a safe file, or an ONNX graph, whose manifest is beside it.

    Returns
    -------
    dict
        - ``format_version``: :data:`FORMAT_VERSION`.
        - ``sha256``, ``size``: of the model file (of what is in a safe file), as hexadecimal digits and in bytes.
        - ``classes``: class names, in the order of the probabilities' columns.
        - ``keypoints``: keypoint names, in the order of the heatmaps.
        - ``threshold``, ``temperature``: of its :class:`heatpose.PoseClassifier`, None without one.
        - ``decoder``, ``features``: parameters of the pipeline's :class:`heatpose.HeatmapDecoder` and
          :class:`heatpose.PoseFeatures`, None without one.
        - ``estimators``: the class of every estimator in it, by its name in ``pipeline.get_params()``.
        - ``parameters``: the other parameters of the pipeline that are texts, numbers or lists of them.
        - ``versions``: versions by package, None for one that was not installed.
        - ``record``: what is known of the training, see :func:`save_model`; at least ``created``.
        - ``self_test``: a few poses and what the model said of them, see :mod:`heatpose.persistence.selftest`.

    Raises
    ------
    FileNotFoundError, ModelError, ValueError
        As for :func:`load_model`.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    >>> model = heatpose.make_pose_pipeline("logistic", performers=2)
    >>> _ = model[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "pose.joblib")
    >>> _ = heatpose.save_model(model, path)
    >>> read_manifest(path)["classes"]
    ['action_down', 'action_up']
    >>> folder.cleanup()
    """
    path = Path(path)
    if safe.is_safe_file(path):
        return safe.read_safe_file(path)[0]
    if path.suffix == ONNX_SUFFIX:
        from heatpose.persistence.onnx_model import read_onnx

        return read_onnx(path)[0]
    return _read_verified(_model_path(path))[0]


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; equal to what ``sha256sum`` prints."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# Loading ----------------------------------------------------------------------------------------------------


def _unpickle(manifest: Mapping[str, Any], model: bytes, path: Path, trusted: Collection[str]) -> Pipeline:
    try:
        with warnings.catch_warnings():
            # scikit-learn warns for each estimator, and of every difference; the self-test tells what matters.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            pipeline = load_trusted(model, trusted)
    except UntrustedError as error:
        package = str(error).partition(".")[0]
        raise ModelError(
            f"Expected estimators of heatpose, scikit-learn and XGBoost in {path}, got {error}, and stopped there: "
            f"loading it could run anything. If the model needs it and you trust where it comes from: "
            f"heatpose.load_model({str(path)!r}, trusted=[{package!r}])"
        ) from error
    except Exception as error:
        raise ModelError(
            f"Expected a model that loads with the packages installed here, got {type(error).__name__} from "
            f"{path}: {error}. It was saved with {listed(manifest['versions'])}; here is "
            f"{listed(versions())}. Install what it was saved with, or train again."
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise ModelError(f"Expected a scikit-learn Pipeline in {path}, got {type(pipeline).__name__}. {RESTORE}")
    return pipeline


def _check_predictions(pipeline: Pipeline, manifest: Mapping[str, Any], path: Path) -> None:
    """Have a model that says something else than when it was saved refused, or at least told of."""
    remedy = _remedy(manifest)
    if manifest["self_test"] is None:
        if _differing(manifest):
            warnings.warn(f"{path} may predict differently here, or not at all: {remedy}", UserWarning, stacklevel=3)
        return
    try:
        changed, difference = check_self_test(pipeline, manifest["self_test"])
    except Exception as error:
        raise ModelError(
            f"Expected {path} to predict its self-test's poses, got {type(error).__name__}: {error}. {remedy}"
        ) from error
    if changed:
        some = "; ".join(changed[:3]) + ("; ..." if len(changed) > 3 else "")
        raise ModelError(
            f"Expected {path} to say of its self-test's poses what it said when it was saved, got {some}. {remedy}"
        )
    if difference > TOLERANCE:
        message = (
            f"{path} gives its self-test's poses the names it gave them when it was saved, but probabilities differ "
            f"by up to {difference:.3f}. {remedy}"
        )
        if difference > _OTHER_MODEL:
            raise ModelError(message)
        warnings.warn(message, UserWarning, stacklevel=3)


def _differing(manifest: Mapping[str, Any]) -> dict[str, tuple[str, str | None]]:
    """Versions then and here of packages that the model depends on, where they differ in what matters."""
    here = versions()
    uses_xgboost = any(kind.startswith("xgboost.") for kind in manifest["estimators"].values())
    differing = {}
    for package, parts in _MATTERS.items():
        then, now = manifest["versions"].get(package), here[package]
        if then is None or (package == "xgboost" and not uses_xgboost):
            continue
        if now is None or then.split(".")[:parts] != now.split(".")[:parts]:
            differing[package] = then, now
    return differing


def _remedy(manifest: Mapping[str, Any]) -> str:
    """Say what differs between then and here, and what to do about it."""
    if not (differing := _differing(manifest)):
        return (
            f"It was saved with {listed(manifest['versions'])}; here is {listed(versions())}. Install what it was "
            "saved with, or train again."
        )
    then = {package: both[0] for package, both in differing.items()}
    now = {package: both[1] for package, both in differing.items()}
    pins = " ".join(f"'{package}=={number}'" for package, number in then.items())
    return (
        f"It was saved with {listed(then)}, but here is {listed(now)}. Train it again, or install what it was saved "
        f"with: pip install {pins}"
    )


# Files ------------------------------------------------------------------------------------------------------


def _model_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix == ONNX_SUFFIX:
        raise ValueError(f"Expected a model that is a pipeline, got {path}: heatpose.load_onnx loads ONNX graphs.")
    if path.suffix != _SUFFIX:
        raise ValueError(f"Expected a model file that ends in {_SUFFIX} or a safe file ({SAFE_SUFFIX}), got {path}.")
    return path


def _read_verified(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the manifest and the bytes of a model file that belong together."""
    manifest_path = path.with_suffix(".json")
    while True:
        if not path.is_file():
            raise FileNotFoundError(f"No such model file: {path}")
        if not manifest_path.is_file():
            raise ModelError(
                f"Expected the manifest {manifest_path.name} beside {path}, got none: nobody can tell "
                f"whether the model is what was saved. {RESTORE}"
            )
        text = manifest_path.read_bytes()
        manifest = from_bytes(text, str(manifest_path))
        previous = manifest.pop("previous", None)
        model = path.read_bytes()
        digest = hashlib.sha256(model).hexdigest()
        for known in (manifest, previous):
            if known is not None and (known["sha256"], known["size"]) == (digest, len(model)):
                return known, model
        if manifest_path.read_bytes() == text:  # otherwise the model was saved anew meanwhile: look again
            break
    raise ModelError(
        f"Expected {path} to have {manifest['size']:,} bytes and SHA-256 {manifest['sha256'][:12]}..., as "
        f"{manifest_path.name} says, got {len(model):,} bytes and {digest[:12]}...: the file was changed or "
        f"damaged after it was saved. {RESTORE}"
    )
