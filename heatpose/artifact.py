"""Save a trained pipeline with its papers, and load it only when they belong together.

Three files lie side by side: ``pose.joblib`` is a plain fitted scikit-learn Pipeline, ``pose.json`` its
manifest (what it was made of and with, how well it does, and the digest that tells damage), ``pose.md`` a
card for people to read.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import joblib
import numpy as np
import pandas as pd
from sklearn.exceptions import InconsistentVersionWarning
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from heatpose.estimators import UNKNOWN, HeatmapDecoder, PoseClassifier, PoseFeatures
from heatpose.skeleton import COCO_17
from heatpose.table import table_keypoints

__all__ = [
    "FORMAT_VERSION",
    "ModelError",
    "data_digest",
    "load_model",
    "read_manifest",
    "save_model",
    "sha256_file",
]

FORMAT_VERSION = 1
"""What this version writes and reads; it grows when older manifests can no longer be read."""

_SUFFIX = ".joblib"
_COMPRESSION = 3  # forests shrink to an eighth and still load in the time of a few predictions
_PACKAGES = ("heatpose", "numpy", "scipy", "scikit-learn", "pandas", "joblib", "xgboost")
# How many parts of a version a stored model depends on.
_MATTERS = {"scikit-learn": 2, "xgboost": 2, "numpy": 1}
_NOT_KNOWN = "not known"
_RESTORE = "Copy the .joblib and the .json again from where they came from, or train again."


class ModelError(ValueError):
    """A model file and its manifest that cannot be used, and what to do about it."""


def save_model(
    pipeline: Pipeline, path: str | os.PathLike[str], *, record: Mapping[str, Any] | None = None
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
        ``scores`` and ``random_state``, named as by :meth:`heatpose.training.TrainingResult.to_record`.
        ``created`` is now unless given.

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
    >>> from heatpose.classifiers import make_pose_pipeline
    >>> from heatpose.simulation import simulate_poses
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

    created = datetime.now(UTC).isoformat(timespec="seconds")
    record = {"created": created, **_plain(record or {}, "record")}
    buffer = BytesIO()
    joblib.dump(pipeline, buffer, compress=_COMPRESSION)
    model = buffer.getvalue()
    manifest = {
        "format_version": FORMAT_VERSION,
        "sha256": hashlib.sha256(model).hexdigest(),
        "size": len(model),
        "classes": _plain(pipeline.classes_, "pipeline.classes_"),
        "keypoints": list(COCO_17.keypoints),
        **_describe(pipeline),
        "versions": _versions(),
        "record": record,
    }

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        previous = read_manifest(path)
    except (FileNotFoundError, ModelError):
        previous = None  # nothing that could be loaded is lost
    # No two files can be replaced at once: until the model file is, the new manifest knows the old one too.
    _replace_files(
        [
            (
                path.with_suffix(".json"),
                _to_json({**manifest, "previous": previous} if previous else manifest),
            ),
            (path, model),
            (path.with_suffix(".json"), _to_json(manifest)),
            (path.with_suffix(".md"), _card(manifest, path.name).encode("utf-8", "backslashreplace")),
        ]
    )
    return manifest


def load_model(path: str | os.PathLike[str]) -> Pipeline:
    """Load a model that :func:`save_model` saved, after checking it against its manifest.

    The very bytes that were checked are loaded; the file is not opened twice.

    Parameters
    ----------
    path : path-like
        The ``.joblib`` file; its manifest is the ``.json`` beside it.

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
        the model is no Pipeline or does not load with the packages installed here. Only in these last two
        cases was the file unpickled.
    ValueError
        `path` does not end in ``.joblib``.

    Warns
    -----
    UserWarning
        The model was saved with another version of scikit-learn, NumPy or (if it uses it) XGBoost, and may
        predict differently here.

    Notes
    -----
    Loading a ``.joblib`` file runs code that is in it. The digest tells damage and mix-ups; it is no
    signature: whoever can change both files can change what is run. Load models only from people you trust.
    """
    path = _model_path(path)
    manifest, model = _read_verified(path)
    _warn_of_versions(manifest, path)
    try:
        with warnings.catch_warnings():
            # scikit-learn warns for each estimator, and of every difference; what matters was told above.
            warnings.simplefilter("ignore", InconsistentVersionWarning)
            pipeline = joblib.load(BytesIO(model))
    except Exception as error:
        raise ModelError(
            f"Expected a model that loads with the packages installed here, got {type(error).__name__} from "
            f"{path}: {error}. It was saved with {_listed(manifest['versions'])}; here is "
            f"{_listed(_versions())}. Install what it was saved with, or train again."
        ) from error
    if not isinstance(pipeline, Pipeline):
        raise ModelError(f"Expected a scikit-learn Pipeline in {path}, got {type(pipeline).__name__}. {_RESTORE}")
    return pipeline


def read_manifest(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the manifest of a model and check that it is the model file's; nothing of the model is run.

    Parameters
    ----------
    path : path-like
        The ``.joblib`` file.

    Returns
    -------
    dict
        - ``format_version``: :data:`FORMAT_VERSION`.
        - ``sha256``, ``size``: of the model file, as hexadecimal digits and in bytes.
        - ``classes``: class names, in the order of the probabilities' columns.
        - ``keypoints``: keypoint names, in the order of the heatmaps.
        - ``decoder``, ``features``: parameters of the pipeline's :class:`heatpose.HeatmapDecoder` and
          :class:`heatpose.PoseFeatures`, None without one.
        - ``estimators``: the class of every estimator in it, by its name in ``pipeline.get_params()``.
        - ``parameters``: the other parameters of the pipeline that are texts, numbers or lists of them.
        - ``versions``: versions by package, None for one that was not installed.
        - ``record``: what is known of the training, see :func:`save_model`; at least ``created``.

    Raises
    ------
    FileNotFoundError, ModelError, ValueError
        As for :func:`load_model`.
    """
    return _read_verified(_model_path(path))[0]


def sha256_file(path: str | os.PathLike[str]) -> str:
    """Return the SHA-256 of a file's bytes, 64 hexadecimal digits; equal to what ``sha256sum`` prints."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def data_digest(table: pd.DataFrame) -> str:
    """Return a digest of a keypoint table that is the same on every machine, 64 hexadecimal digits.

    It covers each row's path, label and keypoints in float32, and the order of the rows; all NaN are the
    same, and so are 0 and -0. It covers neither the order of the columns nor any other column.

    Parameters
    ----------
    table : DataFrame
        As from :func:`heatpose.load_data`; ``path`` may be missing.

    Raises
    ------
    ValueError
        ``label`` or a keypoint column is missing.

    Examples
    --------
    >>> from heatpose.table import keypoint_frame
    >>> table = keypoint_frame(np.zeros((2, 17, 3))).assign(label=["up", "down"])
    >>> data_digest(table) == data_digest(table[::-1])
    False
    >>> data_digest(table) == data_digest(table.assign(more=1))
    True
    """
    if "label" not in table:
        raise ValueError("Expected a column label in the table, got none.")
    texts = [
        [None if pd.isna(text) else str(text) for text in table.get(name, [None] * len(table))]
        for name in ("path", "label")
    ]
    keypoints = table_keypoints(table)
    keypoints[np.isnan(keypoints)] = np.nan
    keypoints += np.float32(0)  # -0 becomes 0
    digest = hashlib.sha256(json.dumps(texts).encode())
    digest.update(keypoints.astype("<f4").tobytes())
    return digest.hexdigest()


# Describing -------------------------------------------------------------------------------------------------


def _plain(value: Any, where: str) -> Any:
    """Return a value as JSON knows it."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"Expected texts as keys, got {wrong[0]!r} in {where}.")
        return {str(key): _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"Expected finite numbers or NaN, got {value} in {where}.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(
        f"Expected texts, numbers, and lists and dictionaries of them, got {type(value).__name__} in {where}."
    )


def _to_json(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2, allow_nan=False) + "\n").encode()


def _describe(pipeline: Pipeline) -> dict[str, Any]:
    """What a pipeline is made of: its estimators and their parameters."""
    every = pipeline.get_params(deep=True)
    estimators = {
        name: value for name, value in every.items() if hasattr(value, "get_params") and not isinstance(value, type)
    }
    parameters: dict[str, Any] = {}
    for name, value in every.items():
        with suppress(TypeError, ValueError):  # estimators, generators and the like have no place in JSON
            parameters[name] = _plain(value, name)

    def take(kind: type) -> dict[str, Any] | None:
        """Take the parameters of the first estimator of a kind out of those of all."""
        for step, value in estimators.items():
            if isinstance(value, kind):
                names = [name for name in parameters if name.startswith(f"{step}__")]
                return {name.removeprefix(f"{step}__"): parameters.pop(name) for name in names}
        return None

    return {
        "decoder": take(HeatmapDecoder),
        "features": take(PoseFeatures),
        "estimators": {name: _kind(type(value)) for name, value in estimators.items()},
        "parameters": parameters,
    }


def _kind(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _versions() -> dict[str, str | None]:
    return {"python": platform.python_version(), **{package: _version(package) for package in _PACKAGES}}


def _version(package: str) -> str | None:
    for distribution in (package, f"{package}-cpu"):  # XGBoost comes under either name
        with suppress(PackageNotFoundError):
            return version(distribution)
    return None


def _listed(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{package} {number or '(none)'}" for package, number in versions.items())


def _warn_of_versions(manifest: Mapping[str, Any], path: Path) -> None:
    here = _versions()
    uses_xgboost = any(kind.startswith("xgboost.") for kind in manifest["estimators"].values())
    then, now = {}, {}
    for package, parts in _MATTERS.items():
        saved, installed = manifest["versions"].get(package), here[package]
        if saved is None or (package == "xgboost" and not uses_xgboost):
            continue
        if installed is None or saved.split(".")[:parts] != installed.split(".")[:parts]:
            then[package], now[package] = saved, installed
    if then:
        pins = " ".join(f"'{package}=={number}'" for package, number in then.items())
        warnings.warn(
            f"{path} was saved with {_listed(then)}, but here is {_listed(now)}: it may predict differently, "
            f"or not at all. Train it again, or install what it was saved with: pip install {pins}",
            UserWarning,
            stacklevel=3,
        )


# Files ------------------------------------------------------------------------------------------------------


def _model_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix != _SUFFIX:
        raise ValueError(f"Expected a model file that ends in {_SUFFIX}, got {path}.")
    return path


def _replace_files(contents: Sequence[tuple[Path, bytes]]) -> None:
    """Write all contents beside their targets, then put them in place one after the other."""
    staged: list[tuple[Path, Path]] = []
    try:
        for target, content in contents:
            unfinished = target.with_name(f".{target.name}.{uuid4().hex}")
            staged.append((unfinished, target))
            with unfinished.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        for unfinished, target in staged:
            unfinished.replace(target)
            _sync_folder(target.parent)
    finally:
        for unfinished, _ in staged:
            unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Have new names outlive a power cut, in their order; some systems (Windows) don't offer it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _read_verified(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the manifest and the bytes of a model file that belong together."""
    manifest_path = path.with_suffix(".json")
    while True:
        if not path.is_file():
            raise FileNotFoundError(f"No such model file: {path}")
        if not manifest_path.is_file():
            raise ModelError(
                f"Expected the manifest {manifest_path.name} beside {path}, got none: nobody can tell "
                f"whether the model is what was saved. {_RESTORE}"
            )
        text = manifest_path.read_bytes()
        manifest = _parse_manifest(text, manifest_path)
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
        f"damaged after it was saved. {_RESTORE}"
    )


def _parse_manifest(text: bytes, path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"Expected a manifest in JSON, got something else in {path} ({error}). {_RESTORE}") from error
    _check_manifest(manifest, str(path))
    if "previous" in manifest:
        _check_manifest(manifest["previous"], f"'previous' of {path}")
    return manifest


# What each key of a manifest must hold, in words and as a check.
_SCHEMA: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "sha256": (
        "64 hexadecimal digits",
        lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None,
    ),
    "size": ("a whole number of bytes", lambda value: type(value) is int and value >= 0),
    "classes": ("a list of classes", lambda value: isinstance(value, list) and len(value) > 0),
    "keypoints": (
        f"the keypoints {', '.join(COCO_17.keypoints[:3])}, ... of {COCO_17.name} in their order",
        lambda value: value == list(COCO_17.keypoints),
    ),
    "decoder": ("an object or null", lambda value: isinstance(value, dict | None)),
    "features": ("an object or null", lambda value: isinstance(value, dict | None)),
    "estimators": (
        "an object of texts",
        lambda value: isinstance(value, dict) and all(isinstance(item, str) for item in value.values()),
    ),
    "parameters": ("an object", lambda value: isinstance(value, dict)),
    "versions": (
        "an object of texts or nulls",
        lambda value: isinstance(value, dict) and all(isinstance(item, str | None) for item in value.values()),
    ),
    "record": ("an object", lambda value: isinstance(value, dict)),
}


def _check_manifest(manifest: Any, where: str) -> None:
    if not isinstance(manifest, dict):
        raise ModelError(f"Expected a JSON object, got {_shown(manifest)} in {where}. {_RESTORE}")
    found = manifest.get("format_version")
    if type(found) is not int or found != FORMAT_VERSION:
        newer = type(found) is int and found > FORMAT_VERSION
        raise ModelError(
            f"Expected a manifest of format_version {FORMAT_VERSION}, got {_shown(found)} in {where}. "
            + ("Install the newer heatpose that wrote it." if newer else _RESTORE)
        )
    if missing := [key for key in _SCHEMA if key not in manifest]:
        raise ModelError(f"Expected all keys of a manifest, got none for {', '.join(missing)} in {where}. {_RESTORE}")
    for key, (expected, fits) in _SCHEMA.items():
        if not fits(manifest[key]):
            raise ModelError(f"Expected {expected} as {key}, got {_shown(manifest[key])} in {where}. {_RESTORE}")


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# The card ---------------------------------------------------------------------------------------------------


def _card(manifest: Mapping[str, Any], name: str) -> str:
    """Write the model card, in Markdown; what is not known is left out."""
    record, classes = manifest["record"], manifest["classes"]
    decodes = manifest["decoder"] is not None
    stem = name.removesuffix(_SUFFIX)
    takes = "keypoint heatmaps, as pose estimators give them" if decodes else "a table of keypoints"
    example = [
        "import numpy as np",
        "import heatpose",
        "",
        f'pipeline = heatpose.load_model("{name}")  # checks it against {stem}.json first',
        'heatmaps = np.load("frame.npy")  # (n, 17, rows, columns), or one (17, rows, columns)'
        if decodes
        else 'table = np.load("keypoints.npy")  # (n, 51): x, y and confidence of each keypoint',
        f"pipeline.predict({'heatmaps' if decodes else 'table'})  # class names",
    ]
    parts = [
        f"# {_text(stem)}",
        f"Names the body pose of a person in a single frame, one of {len(classes)} classes, from {takes}.",
        "## How good it is",
        *_scores(record),
        "## What it is for",
        "Commands given with the body, on purpose, to a computer that watches. It is not made to tell who "
        "somebody is, nor for anything where a wrong answer does harm.",
        f"Classes: {', '.join(_text(label) for label in classes)}.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(manifest)),
        "## How to load it",
        "\n".join(["```python", *example, "```"]),
        "## Made with",
        "\n".join(f"- {fact}" for fact in _origin(manifest)),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(record: Mapping[str, Any]) -> list[str]:
    """The honest number and what it was split by, first; then what stands beside it."""
    scores, groups = record.get("scores") or {}, record.get("groups") or {}
    honest, random = scores.get("balanced_accuracy"), scores.get("random_split_balanced_accuracy")
    if honest is None:
        return ["It was not measured on held-out data."]
    headline = f"**Balanced accuracy {_number(honest)}**"
    if interval := _interval(scores.get("balanced_accuracy_interval")):
        headline += f", 95 % interval {interval}"
    parts = [f"{headline}. Split by {_text(groups.get('description') or 'what nobody noted')}."]
    if scores.get("note"):
        parts.append(_text(scores["note"]))
    elif "nested" in scores:
        never = "never" if scores["nested"] else "also"
        parts.append(f"The choice of the classifier {never} saw the data of this score.")
    if scores.get("interval_unit") == "sample":
        parts.append("The interval comes from resampling single samples: it says nothing about other people.")

    gap = f" ({random - honest:+.3f} against held out)" if random is not None else ""
    beside = [
        ("held out, split as above", "balanced accuracy", f"**{_number(honest)}**"),
        ("held out, split as above", "macro-F1", _number(scores.get("macro_f1"))),
        (
            "split at random: frames like the tested ones were trained on",
            "balanced accuracy",
            _number(random) + gap,
        ),
        ("the training data", "balanced accuracy", _number(scores.get("train_balanced_accuracy"))),
        (
            "a dummy that always says the same class",
            "balanced accuracy",
            _number(scores.get("dummy_balanced_accuracy")),
        ),
    ]
    parts.append(_table(("measured on", "score", "value"), [row for row in beside if row[2] != _NOT_KNOWN]))
    if by_class := scores.get("per_class_recall"):
        rows = [
            (
                _text(row.get("class")),
                _number(row.get("recall")),
                _interval((row.get("low"), row.get("high"))) or _NOT_KNOWN,
                str(row.get("support", _NOT_KNOWN)),
            )
            for row in by_class
        ]
        parts.append(_table(("class", "recall", "95 % interval", "samples"), rows))
    return parts


def _limits(manifest: Mapping[str, Any]) -> list[str]:
    unknown = "A pose that is none of the classes is given the name of one all the same."
    for step, kind in manifest["estimators"].items():
        if "__" not in step and kind == _kind(PoseClassifier):
            threshold = _number(manifest["parameters"].get(f"{step}__threshold"))
            unknown += (
                f' `pipeline["{step}"].predict_or_unknown(pipeline[:-1].transform(heatmaps))` says '
                f"`{UNKNOWN}` instead where no class is as probable as {threshold}."
            )
    return [
        "The score holds for data like those it was measured on. With other people, clothes, cameras or pose "
        "estimators it can be lower.",
        "Keypoints come in COCO's order (nose, left eye, right eye, ...), left and right being the person's own.",
        unknown,
        "Loading a .joblib file runs code that is in it: load it only if you trust where it comes from.",
    ]


def _origin(manifest: Mapping[str, Any]) -> list[str]:
    record = manifest["record"]
    groups, data = record.get("groups") or {}, record.get("data") or {}
    amount = f"{record['n_samples']:,} samples" if record.get("n_samples") else ""
    if amount and groups.get("n_groups"):
        amount += f" in {groups['n_groups']} groups"
    source = f"from {_text(data['path'])}" if data.get("path") else ""
    digest = f"(digest {_text(data['digest'])[:12]}...)" if data.get("digest") else ""
    facts = [
        ("Data", " ".join(fact for fact in (amount, source, digest) if fact)),
        ("Classifier", _text((record.get("scores") or {}).get("name") or "")),
        ("Random state", _text(record.get("random_state", ""))),
        ("Created", _text(record["created"])),
        ("Versions", _listed(manifest["versions"])),
        ("Model file", f"{manifest['size']:,} bytes, SHA-256 {manifest['sha256']}"),
    ]
    return [f"{name}: {fact}" for name, fact in facts if fact]


def _text(value: Any) -> str:
    """Text on one line, with what Markdown would take as markup escaped."""
    return re.sub(r"([\\`*|<>\[\]])", r"\\\1", " ".join(str(value).split()))


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else _NOT_KNOWN


def _interval(ends: Sequence[float | None] | None) -> str:
    """Both ends of an interval, empty if they are not known."""
    if ends is None or None in ends:
        return ""
    low, high = ends
    return f"{_number(low)} to {_number(high)}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
