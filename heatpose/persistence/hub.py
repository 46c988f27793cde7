"""A folder for the Hugging Face Hub: safe file, model card with metadata, configuration, example.

The metadata name the split of each score: the held-out score and, under its own name, the score of a random split.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from heatpose.data.packages import import_extra
from heatpose.persistence.artifact import load_model, read_manifest
from heatpose.persistence.card import write_card
from heatpose.persistence.formats import MODEL_FILE, SAFE_SUFFIX
from heatpose.persistence.manifest import ModelError, checksum, count_heatmaps

__all__ = ["hub_files", "push_folder"]

_EXAMPLE = f'''\
"""Classify the poses in heatmaps: python example.py frame.npy"""

import sys
from pathlib import Path

import heatpose  # pip install heatpose
import numpy as np

model = heatpose.load_model(Path(__file__).with_name("{MODEL_FILE}"))  # verified; no executable code
for path in sys.argv[1:]:
    heatmaps = np.load(path)  # (N, K, rows, columns), or one (K, rows, columns)
    table = model[0].transform(heatmaps)
    labels, confidence = model[-1].predict_or_unknown(table, return_confidence=True)
    for label, value in zip(labels, confidence, strict=True):
        print(path, label, f"{{value:.3f}}")
'''


def hub_files(folder: Path, content: bytes, manifest: Mapping[str, Any]) -> dict[Path, bytes]:
    """Return the files to upload to the Hub by their paths in a folder.

    `content` and `manifest` are the safe file's bytes and its manifest, see
    :func:`heatpose.persistence.export.make_safe_file`. ImportError if huggingface_hub is not installed.
    """
    manifest = {**manifest, **checksum(content)}  # of the file, as the Hub shows it, not of what is in the archive
    files = {
        MODEL_FILE: content,
        "README.md": _readme(manifest),
        "config.json": _config(manifest),
        "example.py": _EXAMPLE.encode(),
        ".gitattributes": f"*{SAFE_SUFFIX} filter=lfs diff=lfs merge=lfs -text\n".encode(),
    }
    return {folder / name: written for name, written in files.items()}


def push_folder(
    folder: str | os.PathLike[str],
    repo_id: str,
    *,
    private: bool = False,
    message: str = "Upload a pose classifier",
    endpoint: str | None = None,
    token: str | None = None,
) -> str:
    """Upload a folder that :func:`heatpose.export_model` wrote to the Hugging Face Hub.

    Parameters
    ----------
    folder : path-like
        Its model is loaded first, with the checks of :func:`heatpose.load_model`.
    repo_id : str
        ``"user/name"``, or a name of the token's user; the repository is created if it does not exist.
    private : bool, default False
        Create the repository as private; a public one is not uploaded to.
    message : str
        Commit message.
    endpoint : str, optional
        Address of another server than the Hub; by default the environment variable ``HF_ENDPOINT``.
    token : str, optional
        Access token; by default that of ``hf auth login`` or of the environment variable ``HF_TOKEN``.

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    ImportError
        huggingface_hub is not installed.
    FileNotFoundError, ModelError
        The folder has no model, or one that does not match its configuration.
    OSError
        The server rejected the upload, or could not be reached; or a private repository is public.
    """
    hub, folder = _import_hub(), Path(folder)
    model = folder / MODEL_FILE
    load_model(model)
    expected = hub_files(folder, model.read_bytes(), read_manifest(model))
    if missing := ", ".join(path.name for path in expected if not path.is_file()):
        raise FileNotFoundError(f"Expected {missing} in {folder}: write it with heatpose export --format hub")
    # The card may be edited by hand; the configuration is read by programs.
    if (folder / "config.json").read_bytes() != expected[folder / "config.json"]:
        raise ModelError(f"Expected config.json in {folder} to be of its model, got another: export the model again.")
    api, names = hub.HfApi(endpoint=endpoint, token=token), [path.name for path in expected]
    try:
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id  # with the user's name
        if private and not api.model_info(repo_id).private:
            raise PermissionError(f"{repo_id} is public")
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, allow_patterns=names)
    except Exception as error:  # depends on the HTTP library of huggingface_hub
        raise OSError(
            f"Expected to upload to {api.endpoint}, to a {'private ' if private else ''}repository that the token (of "
            f"hf auth login or HF_TOKEN) may write to, got {type(error).__name__}: {error}"
        ) from error
    return str(commit.commit_url)


def _import_hub() -> Any:
    return import_extra("huggingface_hub", "hub", "This needs huggingface_hub")


def _readme(manifest: Mapping[str, Any]) -> bytes:
    """Return the model card, preceded by metadata for the Hub."""
    hub = _import_hub()
    results = [hub.EvalResult(**result) for result in _results(manifest["record"])]
    measured: dict[str, Any] = {}
    if results:  # the Hub requires a name along with results
        metrics = sorted({result.metric_type for result in results})
        measured = {"model_name": "Pose classifier", "eval_results": results, "metrics": metrics}
    data = hub.ModelCardData(
        library_name="heatpose", tags=["pose-classification", "keypoints", "heatmaps", manifest["skeleton"]], **measured
    )
    return f"---\n{data.to_yaml()}\n---\n\n{write_card(manifest, MODEL_FILE)}".encode("utf-8", "backslashreplace")


def _results(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Return the scores with their splits."""
    scores, groups, data = (record.get(name) or {} for name in ("scores", "groups", "data"))
    held_out = f"held-out {groups.get('description') or 'groups that are not recorded'}"
    leaks = ": near-identical frames in training"
    at_random = f"random split{leaks}"
    if (record.get("audit") or {}).get("leaks"):
        held_out += leaks
    source = {
        "task_type": "pose-classification",
        "task_name": "Body pose classification from keypoint heatmaps",
        "dataset_type": "private",
        "dataset_name": str(data.get("path") or "recordings"),
        **({"dataset_revision": data["digest"]} if data.get("digest") else {}),
    }
    for key, split, kind, name in (
        ("balanced_accuracy", held_out, "balanced_accuracy", "Balanced accuracy"),
        ("macro_f1", held_out, "f1", "Macro F1"),
        ("random_split_balanced_accuracy", at_random, "balanced_accuracy", "Balanced accuracy, random split"),
    ):
        if scores.get(key) is not None:
            value = round(float(scores[key]), 4)
            yield {**source, "dataset_split": split, "metric_type": kind, "metric_name": name, "metric_value": value}


def _config(manifest: Mapping[str, Any]) -> bytes:
    """Return the facts that programs need before they download the model."""
    names = ("format_version", "classes", "keypoints", "decoder", "features", "threshold", "temperature", "sha256")
    config = {
        "library_name": "heatpose",
        "model_file": MODEL_FILE,
        "input": f"heatmaps (N, {count_heatmaps(manifest)}, rows, columns), float32",
        **{name: manifest[name] for name in names},
    }
    return (json.dumps(config, indent=2, allow_nan=False) + "\n").encode()
