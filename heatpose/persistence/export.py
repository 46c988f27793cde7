"""Export a model as a safe file, an ONNX graph or a folder for the Hugging Face Hub.

Each export must reproduce the predictions of the model for trial inputs: the poses of its self-test, simulated
performers, partly hidden bodies, peaks at the edges of heatmaps. Otherwise nothing is written.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from heatpose.data.packages import import_extra
from heatpose.data.writing import replace_files
from heatpose.datasets.rendering import render_heatmaps
from heatpose.model.conversion import CannotExportError
from heatpose.model.inputs import heatmap_skeleton_of, skeleton_of
from heatpose.persistence import safe
from heatpose.persistence.artifact import load_model, make_manifest, read_manifest
from heatpose.persistence.formats import find_format
from heatpose.persistence.hub import hub_files
from heatpose.persistence.manifest import FORMAT_VERSION, ModelError, checksum, manifest_path, to_bytes
from heatpose.persistence.selftest import sample_poses
from heatpose.pose.augmentation import hide_part, partial_bodies
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["CannotExportError", "export_model", "trial_heatmaps", "trial_keypoints"]

SOURCES = ("heatmaps", "keypoints")
"""Possible inputs of an ONNX graph."""

SAFE_TOLERANCE = 1e-6
"""Allowed difference of a probability of the safe file: it repeats the arithmetic in float64."""

ONNX_TOLERANCE = 1e-5
"""Allowed difference of a probability of the ONNX graph: it sums in float32."""

EQUAL = 1e-7
"""Probabilities so near to each other are equal in float32 (6e-8 near 1), and either label is right."""


def export_model(
    model: str | os.PathLike[str] | Pipeline,
    out: str | os.PathLike[str],
    format: str | None = None,
    *,
    source: str = "heatmaps",
) -> dict[str, Any]:
    """Export a model, after checking that the export predicts the same.

    Parameters
    ----------
    model : path-like or Pipeline
        Model file for :func:`heatpose.load_model`, or a fitted pipeline from heatmaps to class names.
    out : path-like
        File that ends in ``.heatpose`` or ``.onnx``, or with ``"hub"`` folder, to write; an earlier export is replaced.
    format : {"safe", "onnx", "hub"}, optional
        By default ``"safe"`` where `out` ends in ``.heatpose``, ``"onnx"`` where in ``.onnx``.

        - ``"safe"``: a file for :func:`heatpose.load_model` that contains no executable code.
        - ``"onnx"``: a graph from heatmaps to class, probabilities and keypoints, for onnxruntime, and its
          manifest beside it, with ``.json`` after its name. Needs ``heatpose[onnx]``.
        - ``"hub"``: a folder to upload to the Hugging Face Hub: the safe file, a model card, an example. Needs
          ``heatpose[hub]``.
    source : {"heatmaps", "keypoints"}, default "heatmaps"
        Input of the ONNX graph.

    Returns
    -------
    dict
        Manifest of the export, see :func:`heatpose.read_manifest`.

    Raises
    ------
    CannotExportError
        A part of the model cannot be exported; the message names it.
    ModelError
        The export predicts differently; nothing was written.
    FileNotFoundError, ValueError
        As :func:`heatpose.load_model`; or the format is unknown, or `out` ends in something else.
    FileExistsError
        There is no earlier export, but a file with the name of one beside it, such as the README.md of a project.
    ImportError
        The format needs a package that is not installed; the message says how to install it.

    Examples
    --------
    >>> import tempfile
    >>> from heatpose import load_model, make_pose_pipeline, simulate_poses
    >>> poses = simulate_poses(2, 1, 2, classes=["action_up", "dummy"])
    >>> pipeline = make_pose_pipeline("logistic").fit(poses.heatmaps(), poses.labels)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = export_model(pipeline, f"{folder}/pose.heatpose")
    ...     loaded = load_model(f"{folder}/pose.heatpose")
    >>> loaded.predict(poses.heatmaps()).tolist() == pipeline.predict(poses.heatmaps()).tolist()
    True
    """
    out, format = Path(out), find_format(out, format)
    if source not in SOURCES:
        raise ValueError(f"Expected a source out of {', '.join(SOURCES)}, got {source!r}.")
    if isinstance(model, str | os.PathLike):
        pipeline, manifest = load_model(model), _named(read_manifest(model))
    else:
        check_is_fitted(model)
        pipeline, manifest = model, make_manifest(model, b"")
    if format == "onnx":
        content, written = make_onnx(pipeline, manifest, source)
        # Graph and manifest cannot be replaced at once; a mixed pair is rejected when it is read.
        files = {out: content, manifest_path(out): to_bytes(written)}
    else:
        content, written = make_safe_file(pipeline, manifest)
        files = {out: content} if format == "safe" else hub_files(out, content, written)
    target, *beside = files
    if not target.exists() and (found := [str(file) for file in beside if file.exists()]):
        raise FileExistsError(f"Expected no other file that {target} would replace, got {' and '.join(found)}.")
    replace_files(list(files.items()))
    return written


def _named(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest with the names of data and models, without their folders on this machine, also in sentences."""
    record = manifest.get("record") or {}
    adapted = record.get("adapted") or {}
    paths = [adapted.get("model"), *((part.get("data") or {}).get("path") for part in (manifest, record, adapted))]
    text = json.dumps(manifest)
    for path in sorted(filter(None, paths), key=len, reverse=True):
        name = PurePath(path).name or path
        text = text.replace(json.dumps(path), json.dumps(name))
        folder = path.rstrip("/\\").removesuffix(name)
        if len(folder) > 1 and PurePath(path).is_absolute():  # a relative one may be the beginning of other names
            text = re.sub(rf"(?<![\w/]){re.escape(json.dumps(folder)[1:-1])}", "", text)
    return json.loads(text)


def make_onnx(
    pipeline: Pipeline, manifest: Mapping[str, Any], source: str = "heatmaps"
) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of an ONNX model and its manifest: the model's, with another checksum."""
    import_extra("onnx", "onnx", "Writing an ONNX graph needs onnx")
    from heatpose.persistence.onnx_graph import build_graph
    from heatpose.persistence.onnx_model import OnnxModel

    facts, block = safe.dismantle(pipeline)
    described = {
        **{name: facts[name] for name in ("classes", "set_thresholds", "skeleton")},
        "heatmaps": facts["decoder"]["heatmaps"],
        **{name: manifest[name] for name in ("threshold", "keypoints", "decoder", "versions", "record")},
    }
    notes = {"schema": f"heatpose {FORMAT_VERSION}", **{name: json.dumps(fact) for name, fact in described.items()}}
    content = build_graph(pipeline, block, notes, source).SerializeToString(deterministic=True)
    model = OnnxModel(content)
    if source == "heatmaps":
        asked = trial_heatmaps(manifest["self_test"], heatmap_skeleton_of(pipeline))
        expected = pipeline.predict_proba(asked)
    else:
        asked = trial_keypoints(manifest["self_test"], skeleton_of(pipeline)).astype(np.float32)
        expected = pipeline[1:].predict_proba(asked.reshape(len(asked), -1))
    _compare(expected, model.predict_proba(asked), ONNX_TOLERANCE)
    return content, {**manifest, **checksum(content)}


def make_safe_file(pipeline: Pipeline, manifest: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """Return the bytes of a safe file and its manifest: the model's, with another checksum."""
    entries, payload = safe.pack(pipeline)
    skeleton = skeleton_of(pipeline)
    keypoints = trial_keypoints(manifest["self_test"], skeleton).reshape(-1, len(skeleton.columns))
    _compare(pipeline[1:].predict_proba(keypoints), safe.unpack(entries)[1:].predict_proba(keypoints))
    written = {**manifest, **checksum(payload)}
    return safe.zip_model(entries, written), written


def _compare(expected: np.ndarray, got: np.ndarray, tolerance: float = SAFE_TOLERANCE) -> None:
    """Refuse probabilities that are not the same."""
    difference = np.abs(expected - got).max(axis=1)
    of_label = np.take_along_axis(expected, got.argmax(axis=1)[:, np.newaxis], axis=1)[:, 0]
    wrong = int(np.sum(~(difference <= tolerance) | ~(of_label >= expected.max(axis=1) - EQUAL)))
    if wrong:
        raise ModelError(
            f"Expected the same probabilities as the model's to {tolerance:g}, got others for {wrong} of "
            f"{len(expected)} poses, by up to {np.nanmax(difference):.2g}. Nothing was written."
        )


# Trial inputs --------------------------------------------------------------------------------------------------


def trial_keypoints(self_test: Mapping[str, Any] | None = None, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return trial keypoints (N, K, 3): simulated ones, partly hidden ones, and those of the self-test."""
    keypoints = np.asarray(sample_poses(skeleton, 3, 2, random_state=1), dtype=np.float64)
    hidden = (hide_part(keypoints[::3], part, random_state=0, skeleton=skeleton) for part in partial_bodies(skeleton))
    every = [keypoints, *hidden]
    if self_test is not None and self_test["keypoints"]["output"] is not None:
        tested = np.array(self_test["keypoints"]["input"], dtype=np.float64)
        every.append(tested.reshape(len(tested), -1, 3))
    one_point = np.full((3, len(skeleton.keypoints), 3), np.nan)  # no keypoint, a single one, all at one point
    one_point[1, 1] = one_point[2] = 10, 20, 0.5
    return np.concatenate([*every, one_point])


def trial_heatmaps(self_test: Mapping[str, Any] | None = None, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return trial heatmaps (N, K, 64, 48): noisy, at edges, dark, flat, masked, not finite."""
    heatmaps = render_heatmaps(sample_poses(skeleton, 2, 2, random_state=2), noise=0.001, ripple=0.002, random_state=2)
    rng = np.random.default_rng(0)
    noisy = heatmaps[::2] + rng.normal(0, 0.05, heatmaps[::2].shape).astype(np.float32)
    xy = rng.uniform(0, (47, 63), (4, len(skeleton.keypoints), 2))
    xy[:, ::3, 0], xy[:, 1::3, 1], xy[:, 2::4] = 0, 63, (47, 0)
    at_edges = np.concatenate([xy, rng.uniform(0.2, 0.9, (*xy.shape[:2], 1))], axis=2)
    holes = heatmaps[:7].copy()
    holes[0, ::2] = 0
    holes[1, 3:6] = np.nan
    holes[2, 7, 5, 5] = np.inf
    holes[3] = 0.25
    holes[4] -= 2
    holes[5] = np.round(holes[5], 1)  # plateaus
    holes[6][holes[6] < 0.2] = -np.inf  # masked
    every = [heatmaps, noisy, heatmaps[::4] * np.float32(1e-3), render_heatmaps(at_edges), holes]
    if self_test is not None and self_test["heatmaps"]["output"] is not None:
        every.append(render_heatmaps(np.array(self_test["heatmaps"]["input"], dtype=np.float64)))
    return np.concatenate(every)
