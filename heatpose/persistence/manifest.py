"""The manifest of a model: parameters, versions, scores and self-test.

It is JSON that ends in a checksum of all its other bytes.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from heatpose.data.packages import imported_version
from heatpose.data.storage import lfs_advice
from heatpose.evaluation.plain import to_plain
from heatpose.model.estimators import HeatmapDecoder, PoseClassifier, PoseFeatures
from heatpose.persistence.formats import MODEL_SUFFIX
from heatpose.pose.skeletons import SKELETONS

__all__ = ["ModelError", "versions"]

FORMAT_VERSION = 2
"""Version of the format; increased when older manifests cannot be read any more."""

RESTORE = "Copy the model again from its source, with its .json if it has one, or train again."

_PACKAGES = ("heatpose", "numpy", "scipy", "scikit-learn", "pandas", "joblib", "xgboost")

_DIGEST = re.compile(rb'(.*,\n  "digest": ")([0-9a-f]{64})("\n}\n)', re.DOTALL)


class ModelError(ValueError):
    """A model file or manifest that cannot be used; the message says how to fix it."""


# Content -------------------------------------------------------------------------------------------------


def describe(pipeline: Pipeline) -> dict[str, Any]:
    """Return the entries of a manifest on the estimators of a pipeline and their parameters."""
    every = pipeline.get_params(deep=True)
    estimators = {name: value for name, value in every.items() if isinstance(value, BaseEstimator)}
    parameters: dict[str, Any] = {}
    for name, value in every.items():
        with suppress(TypeError, ValueError):  # estimators, generators and the like have no place in JSON
            parameters[name] = to_plain(value, name)

    def take(kind: type) -> dict[str, Any] | None:
        """Take the parameters of the first estimator of a kind out of those of all."""
        for step, value in estimators.items():
            if isinstance(value, kind):
                names = [name for name in parameters if name.startswith(f"{step}__")]
                return {name.removeprefix(f"{step}__"): parameters.pop(name) for name in names}
        return None

    poses = next((value for value in estimators.values() if isinstance(value, PoseClassifier)), None)
    return {
        "threshold": None if poses is None else float(poses.threshold),
        "temperature": None if poses is None else float(poses.temperature),
        "decoder": take(HeatmapDecoder),
        "features": take(PoseFeatures),
        "estimators": {name: kind_of(type(value)) for name, value in estimators.items()},
        "parameters": parameters,
    }


def kind_of(kind: type) -> str:
    """Return the name of a class with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def versions() -> dict[str, str | None]:
    """Return versions of Python and of the packages a model depends on, see :func:`imported_version`."""
    return {"python": platform.python_version(), **{package: imported_version(package) for package in _PACKAGES}}


def checksum(content: bytes) -> dict[str, str | int]:
    """Return the entries of a manifest that identify the content of its model file."""
    return {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}


def explain(content: bytes) -> str:
    """Return why the content of a model file may not be the one that was saved, and a remedy."""
    advice = lfs_advice(content)
    return f"{advice}." if advice else f"the file was changed or damaged after it was saved. {RESTORE}"


def count_heatmaps(manifest: Mapping[str, Any]) -> int | str:
    """Return the number of heatmaps of a frame that a model takes; "K" where their skeleton is one of the user's."""
    source = (manifest["decoder"] or {}).get("heatmaps", "K")  # None for those of the keypoints
    if source is None:
        return len(manifest["keypoints"])
    return len(SKELETONS[source].keypoints) if source in SKELETONS else "K"


def listed(versions: Mapping[str, str | None]) -> str:
    """Format versions in one line."""
    return ", ".join(f"{package} {number or '(none)'}" for package, number in versions.items())


def manifest_path(path: Path) -> Path:
    """Return the path of a model's manifest: pose.json of pose.joblib, and so pose.onnx.json of an ONNX graph."""
    return path.with_suffix(".json") if path.suffix == MODEL_SUFFIX else path.with_name(f"{path.name}.json")


# Bytes ------------------------------------------------------------------------------------------


def to_bytes(manifest: Mapping[str, Any]) -> bytes:
    """Serialise a manifest as JSON with a checksum at the end."""
    text = json.dumps({**manifest, "digest": "0" * 64}, indent=2, allow_nan=False) + "\n"
    # Lists of numbers on one line each; JSON strings contain no line breaks.
    lines = re.sub(r'\[\n\s+([^\[\]{}"]*?)\n\s+\]', lambda found: f"[{' '.join(found[1].split())}]", text).encode()
    return _with_digest(lines)


def _with_digest(lines: bytes) -> bytes:
    """Replace the digest at the end of a manifest by that of its content; nothing is left of one without a digest."""
    if (found := _DIGEST.fullmatch(lines)) is None:
        return b""
    digest = hashlib.sha256(found[1] + b"0" * 64 + found[3]).hexdigest()
    return found[1] + digest.encode() + found[3]


def from_bytes(text: bytes, where: str) -> dict[str, Any]:
    """Parse a manifest and check its checksum and entries.

    Raises
    ------
    ModelError
        It was changed since :func:`to_bytes` wrote it, or has another format.
    """
    text = text.replace(b"\r\n", b"\n")  # in which Git on Windows checks out text files
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"Expected a manifest in JSON, got something else in {where} ({error}). {RESTORE}") from error
    _check_version(manifest, where)  # first, since its errors are more helpful
    if _with_digest(text) != text:
        raise ModelError(
            f"Expected the digest at the end of {where} to be that of the rest, got another or none: the manifest was "
            f"changed after it was saved. {RESTORE}"
        )
    del manifest["digest"]
    _check_entries(manifest, where)
    if "previous" in manifest:
        where = f"'previous' of {where}"
        _check_version(manifest["previous"], where)
        _check_entries(manifest["previous"], where)
    return manifest


def read_verified(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the manifest and the bytes of a ``.joblib`` file or an ONNX graph after verifying them."""
    beside = manifest_path(path)
    while True:
        if not path.is_file():
            raise FileNotFoundError(f"No such model file: {path}")
        if not beside.is_file():
            raise ModelError(
                f"Expected the manifest {beside.name} beside {path}, got none: the model cannot be verified. {RESTORE}"
            )
        text = beside.read_bytes()
        manifest = from_bytes(text, str(beside))
        previous = manifest.pop("previous", None)
        model = path.read_bytes()
        found = checksum(model)
        for known in (manifest, previous):
            if known is not None and found.items() <= known.items():
                return known, model
        if beside.read_bytes() == text:  # otherwise the model was saved again meanwhile
            raise ModelError(
                f"Expected {path} to have {manifest['size']:,} bytes and SHA-256 {manifest['sha256'][:12]}..., as "
                f"{beside.name} says, got {len(model):,} bytes and {str(found['sha256'])[:12]}...: {explain(model)}"
            )


def _is_object_of(value: Any, kind: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(item, kind) for item in value.values())


# Poses of a self-test, twice as many as are written, and what is listed of them in all: each peak becomes a heatmap.
_MOST_POSES = {"keypoints": (100, 1_000_000), "heatmaps": (10, 10_000)}


def _are_few(self_test: Mapping[str, Mapping[str, Any]]) -> bool:
    inputs: list[Any] = [(self_test.get(kind, {}).get("input"), *most) for kind, most in _MOST_POSES.items()]
    if not all(isinstance(poses, list) and all(isinstance(pose, list) for pose in poses) for poses, *_ in inputs):
        return False
    return all(len(poses) <= most and sum(map(len, poses)) <= listed for poses, most, listed in inputs)


# Required keys of a manifest: description and check of the value.
_SCHEMA: Mapping[str, tuple[str, Callable[[Any], object]]] = {
    "sha256": ("64 hexadecimal digits", lambda value: isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value)),
    "size": ("a whole number of bytes", lambda value: type(value) is int and value >= 0),
    "classes": ("a list of classes", lambda value: isinstance(value, list) and value),
    "skeleton": ("a text", lambda value: isinstance(value, str)),
    "keypoints": (
        "a list of keypoints, those of the skeleton in their order",
        lambda value: isinstance(value, list) and len(set(map(str, value))) == len(value) > 0,
    ),
    "threshold": ("a number or null", lambda value: isinstance(value, float | None)),
    "temperature": ("a number or null", lambda value: isinstance(value, float | None)),
    "decoder": ("an object or null", lambda value: isinstance(value, dict | None)),
    "features": ("an object or null", lambda value: isinstance(value, dict | None)),
    "estimators": ("an object of texts", lambda value: _is_object_of(value, str)),
    "parameters": ("an object", lambda value: isinstance(value, dict)),
    "versions": ("an object of texts or nulls", lambda value: _is_object_of(value, str | None)),
    "record": ("an object with created", lambda value: isinstance(value, dict) and "created" in value),
    "self_test": (
        "an object with a few keypoints and heatmaps, or null",
        lambda value: value is None or (_is_object_of(value, dict) and _are_few(value)),
    ),
}


def _check_version(manifest: Any, where: str) -> None:
    if not isinstance(manifest, dict):
        raise ModelError(f"Expected a JSON object, got {_shown(manifest)} in {where}. {RESTORE}")
    found = manifest.get("format_version")
    if type(found) is int and found == FORMAT_VERSION:
        return
    newer = type(found) is int and found > FORMAT_VERSION
    todo = "Install the newer heatpose that wrote it." if newer else RESTORE
    raise ModelError(f"Expected a manifest of format_version {FORMAT_VERSION}, got {_shown(found)} in {where}. {todo}")


def _check_entries(manifest: dict[str, Any], where: str) -> None:
    if missing := [key for key in _SCHEMA if key not in manifest]:
        raise ModelError(f"Expected all keys of a manifest, got none for {', '.join(missing)} in {where}. {RESTORE}")
    for key, (expected, fits) in _SCHEMA.items():
        if not fits(manifest[key]):
            raise ModelError(f"Expected {expected} as {key}, got {_shown(manifest[key])} in {where}. {RESTORE}")
    known = SKELETONS.get(manifest["skeleton"])
    if known is not None and manifest["keypoints"] != list(known.keypoints):
        raise ModelError(
            f"Expected the keypoints {', '.join(known.keypoints[:3])}, ... of {known.name} in their order as "
            f"keypoints, got {_shown(manifest['keypoints'])} in {where}. {RESTORE}"
        )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
