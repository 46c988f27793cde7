"""Save a model with its manifest and model card, and verify it before loading.

Three files lie side by side: ``pose.joblib`` is a plain fitted scikit-learn Pipeline, ``pose.json`` its manifest
(parameters, versions, scores, predictions for a self-test, and checksums), ``pose.md`` a model card.
"""

from __future__ import annotations

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
from threadpoolctl import threadpool_limits

from heatpose.data.packages import distribution_of, xgboost_conflict
from heatpose.data.writing import replace_files
from heatpose.evaluation.plain import to_plain
from heatpose.model.inputs import skeleton_of
from heatpose.persistence import safe
from heatpose.persistence.card import write_card
from heatpose.persistence.formats import MODEL_FILE, MODEL_SUFFIX, ONNX_SUFFIX, SAFE_SUFFIX
from heatpose.persistence.manifest import (
    FORMAT_VERSION,
    RESTORE,
    ModelError,
    checksum,
    describe,
    from_bytes,
    listed,
    manifest_path,
    read_verified,
    to_bytes,
    versions,
)
from heatpose.persistence.selftest import compare_self_test, make_self_test
from heatpose.persistence.unpickling import UntrustedError, load_trusted

__all__ = ["FORMAT_VERSION", "ModelError", "check_free", "load_model", "make_manifest", "read_manifest", "save_model"]

_COMPRESSION = 3  # forests shrink to an eighth and still load in the time of a few predictions
# Parts of a version number that stored models depend on.
_RELEVANT_PARTS = {"scikit-learn": 2, "xgboost": 2, "numpy": 1}


def save_model(
    pipeline: Pipeline,
    path: str | os.PathLike[str],
    *,
    record: Mapping[str, Any] | None = None,
    samples: ArrayLike | None = None,
) -> dict[str, Any]:
    """Save a fitted pipeline, its manifest and its model card.

    After an interruption (a crash, a full disk, Ctrl-C), either the old or the new model is there, complete and with
    a valid manifest. Only one process at a time may save under a name; others may load meanwhile.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, with a classifier at its end.
    path : path-like
        Ends in ``.joblib``; missing folders are created. The manifest and the card get the same name with ``.json``
        and ``.md``. The files of an earlier model are replaced.
    record : mapping, optional
        Facts about the training for the manifest and the card: strings, numbers (also of NumPy), and lists and
        dictionaries of them; NaN becomes null. The card shows those that
        :meth:`heatpose.training.result.TrainingResult.to_record` returns. ``created`` is now unless given.
    samples : array_like, shape (n, K, 3), optional
        Keypoints of a few poses for the self-test, ideally one of each class; by default simulated ones. They are
        stored in the manifest.

    Returns
    -------
    dict
        The manifest, see :func:`read_manifest`.

    Raises
    ------
    TypeError
        `pipeline` is no Pipeline, or `record` is not representable in JSON.
    FileExistsError
        There is no model at `path`, but a file with the name of its manifest or card, such as the data.
    ValueError
        `path` ends in something else, the pipeline is not fitted (NotFittedError) or has no classes, or
        `record` contains an infinite number.

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
    path = check_free(path)
    if not isinstance(pipeline, Pipeline):
        raise TypeError(f"Expected a scikit-learn Pipeline, got {type(pipeline).__name__}.")
    check_is_fitted(pipeline)
    if not hasattr(pipeline, "classes_"):
        raise ValueError("Expected a pipeline that ends in a classifier, got one without classes_.")
    if not isinstance(record, Mapping | None):
        raise TypeError(f"Expected a record as a dictionary, got {type(record).__name__}.")

    record = dict(record or {})
    if conflict := xgboost_conflict():
        warnings.warn(conflict, UserWarning, stacklevel=2)
        record["choices"] = [*record.get("choices", ()), conflict]
    buffer = BytesIO()
    joblib.dump(pipeline, buffer, compress=_COMPRESSION)
    model = buffer.getvalue()
    manifest = make_manifest(pipeline, model, record=record, samples=samples)
    try:
        previous = read_manifest(path)
    except (FileNotFoundError, ModelError):
        previous = None  # there is no loadable model to keep
    # Two files cannot be replaced at once: until the model is, the new manifest also describes the old one.
    replace_files(
        [
            (manifest_path(path), to_bytes({**manifest, "previous": previous} if previous else manifest)),
            (path, model),
            (manifest_path(path), to_bytes(manifest)),
            (path.with_suffix(".md"), write_card(manifest, path.name).encode("utf-8", "backslashreplace")),
        ]
    )
    return manifest


def check_free(path: str | os.PathLike[str]) -> Path:
    """Return the path of a model to save; FileExistsError where its manifest or card would replace another file."""
    path = _model_path(path)
    beside = [file for file in (manifest_path(path), path.with_suffix(".md")) if file.exists()]
    if beside and not path.exists():
        try:
            from_bytes(beside[0].read_bytes(), str(beside[0]))  # of a model whose saving was interrupted
        except (ModelError, OSError) as error:
            found = " and ".join(map(str, beside))
            raise FileExistsError(f"Expected no other file that {path} would replace, got {found}.") from error
    return path


def make_manifest(
    pipeline: Pipeline, model: bytes, *, record: Mapping[str, Any] | None = None, samples: ArrayLike | None = None
) -> dict[str, Any]:
    """Return the manifest of a fitted pipeline and its stored bytes, see :func:`read_manifest`.

    Parameters
    ----------
    pipeline, record, samples
        See :func:`save_model`.
    model : bytes
        The stored pipeline, for the checksum.

    Returns
    -------
    dict
        See :func:`read_manifest`.
    """
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "format_version": FORMAT_VERSION,
        **checksum(model),
        "classes": to_plain(pipeline.classes_, "pipeline.classes_"),
        "skeleton": skeleton_of(pipeline).name,
        "keypoints": list(skeleton_of(pipeline).keypoints),
        **describe(pipeline),
        "versions": versions(),
        "record": {"created": created, **to_plain(record or {}, "record")},
        "self_test": make_self_test(pipeline, samples),
    }


def load_model(path: str | os.PathLike[str], *, trusted: Collection[str] = ()) -> Pipeline:
    """Load a model that :func:`save_model` or :func:`heatpose.export_model` saved, after checking it.

    The manifest is checked against its checksum and the model against the manifest; the verified bytes are loaded
    without reading the file again. Then the model must reproduce the predictions of its self-test.

    Parameters
    ----------
    path : path-like
        A ``.joblib`` file, whose manifest is the ``.json`` beside it, or a safe file (``.heatpose``); the type is
        detected from the content.
    trusted : collection of str, optional
        Packages whose classes and functions are allowed in a ``.joblib`` file, in addition to heatpose, scikit-learn
        and XGBoost, such as ``["lightgbm"]``.

    Returns
    -------
    Pipeline
        Takes heatmaps (N, K, H, W), or one (K, H, W).

    Raises
    ------
    FileNotFoundError
        There is no such model file.
    ModelError
        The manifest is missing or invalid, the model file does not match it, or contains untrusted names; or the
        model is no Pipeline, does not load with the installed packages, or fails its self-test. Only in the last
        three cases was the file unpickled.
    ValueError
        `path` has another suffix.

    Warns
    -----
    UserWarning
        Labels of the self-test are equal but probabilities differ slightly; or the model has no self-test and was saved
        with another version of scikit-learn, NumPy or (if used) XGBoost.

    Notes
    -----
    A ``.joblib`` file can run code when it is loaded. The checksums detect damage and mix-ups; they are no signature:
    an attacker who changes both files controls the code, within the trusted packages. Load such files only from
    trusted sources, and use safe files otherwise.

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
    # Without OpenMP, by which a forked process waits for ever for threads that stayed in the one it comes from.
    with threadpool_limits(1, user_api="openmp"):
        if safe.is_safe_file(path):
            manifest, pipeline = safe.read_safe_file(path)
        else:
            manifest, model = read_verified(_model_path(path))
            pipeline = _unpickle(manifest, model, path, trusted)
        _check_predictions(pipeline, manifest, path)
    pipeline[-1].signature_ = manifest["record"].get("signature")
    return pipeline


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the manifest of a model and verify that it matches the file; no code of the model is run.

    Parameters
    ----------
    path : path-like
        The ``.joblib`` file, a safe file, or an ONNX graph, whose manifest is beside it.

    Returns
    -------
    dict
        - ``format_version``: :data:`heatpose.persistence.manifest.FORMAT_VERSION`.
        - ``sha256``, ``size``: checksum and size of the model file, or of the content of a safe file, in bytes.
        - ``classes``: class names, in the order of the probabilities' columns.
        - ``skeleton``, ``keypoints``: name of the skeleton and of its keypoints, in the order of the keypoint table.
        - ``threshold``, ``temperature``: parameters of its :class:`heatpose.PoseClassifier`, None without one.
        - ``decoder``, ``features``: parameters of the pipeline's :class:`heatpose.HeatmapDecoder` and
          :class:`heatpose.PoseFeatures`, None without one.
        - ``estimators``: the class of every estimator, by its name in ``pipeline.get_params()``.
        - ``parameters``: other parameters that are strings, numbers or lists of them.
        - ``versions``: versions of the imported packages, None if a package could not be imported.
        - ``record``: facts about the training, see :func:`save_model`; at least ``created``.
        - ``self_test``: a few poses and their predictions, which are compared when the model is loaded.

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
    return read_verified(path if path.suffix == ONNX_SUFFIX else _model_path(path))[0]


# Loading ----------------------------------------------------------------------------------------------------


def _unpickle(manifest: Mapping[str, Any], model: bytes, path: Path, trusted: Collection[str]) -> Pipeline:
    try:
        with warnings.catch_warnings():
            # Both warn of every other version; the self-test shows relevant differences.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            warnings.filterwarnings("ignore", ".*If you are loading a serialized model")  # XGBoost
            pipeline = load_trusted(model, trusted)
    except UntrustedError as error:
        package = str(error).partition(".")[0]
        raise ModelError(
            f"Expected estimators of heatpose, scikit-learn and XGBoost in {path}, got {error}, and stopped: "
            f"loading it could run any code. If the model needs it and you trust its source: "
            f"heatpose.load_model({str(path)!r}, trusted=[{package!r}])"
        ) from error
    except Exception as error:
        raise ModelError(
            f"Expected a model that loads with the packages installed here, got {type(error).__name__} from {path}: "
            f"{error}. {_remedy(manifest)}"
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise ModelError(f"Expected a scikit-learn Pipeline in {path}, got {type(pipeline).__name__}. {RESTORE}")
    return pipeline


def _check_predictions(pipeline: Pipeline, manifest: Mapping[str, Any], path: Path) -> None:
    """Reject a model whose predictions differ from its self-test; warn where only digits do."""
    remedy = _remedy(manifest)
    if manifest["self_test"] is None:
        if _differing(manifest):
            warnings.warn(f"{path} may predict differently here, or not at all: {remedy}", UserWarning, stacklevel=3)
    elif difference := compare_self_test(pipeline, manifest["self_test"], path, remedy):
        warnings.warn(difference, UserWarning, stacklevel=3)


def _differing(manifest: Mapping[str, Any]) -> list[str]:
    """Return the packages that the model depends on whose installed version is another than the saved one."""
    then, here = manifest["versions"], versions()
    uses_xgboost = any(kind.startswith("xgboost.") for kind in manifest["estimators"].values())
    used = {name: n for name, n in _RELEVANT_PARTS.items() if then.get(name) and (name != "xgboost" or uses_xgboost)}
    return [name for name, n in used.items() if then[name].split(".")[:n] != (here[name] or "").split(".")[:n]]


def _remedy(manifest: Mapping[str, Any]) -> str:
    """Return a sentence on the versions, only the differing ones if any, and the command that restores them."""
    then, here = manifest["versions"], versions()
    pins = ""
    if differing := _differing(manifest):
        then, here = ({package: of[package] for package in differing} for of in (then, here))
        pins = ": pip install " + " ".join(f"{distribution_of(name)}=={number}" for name, number in then.items())
    return (
        f"It was saved with {listed(then)}, but here is {listed(here)}. Train it again, export it as a safe file where "
        f"it loads, or install what it was saved with{pins}\n{xgboost_conflict()}".rstrip()
    )


# Files ------------------------------------------------------------------------------------------------------


def _model_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix == ONNX_SUFFIX:
        raise ValueError(f"Expected a model that is a pipeline, got {path}: heatpose.load_onnx loads ONNX graphs.")
    if path.suffix != MODEL_SUFFIX:
        got = f"a folder with {MODEL_FILE}: {path}" if (path / MODEL_FILE).is_file() else path
        wanted = f"a model file that ends in {MODEL_SUFFIX} or a safe file ({SAFE_SUFFIX})"
        raise ValueError(f"Expected {wanted}, got {got}.")
    return path
