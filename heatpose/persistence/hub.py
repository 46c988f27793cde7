"""A folder for the Hugging Face Hub: the safe file, a model card that the Hub understands, a configuration, an example.

The card's metadata say what the score was measured on and how it was split: a reader of the Hub's page sees the number
for people nobody trained on, and the one of a random split beside it under its own name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any

from heatpose.data.writing import replace_files
from heatpose.persistence.artifact import load_model, read_manifest
from heatpose.persistence.card import write_card
from heatpose.persistence.manifest import SAFE_SUFFIX, ModelError

__all__ = ["MODEL_FILE", "push_folder", "write_folder"]

MODEL_FILE = f"pose{SAFE_SUFFIX}"
"""The safe file's name in the folder."""

_NEEDS_HUB = 'This needs huggingface_hub: pip install "heatpose[hub]"'

_EXAMPLE = '''\
"""Name the poses in heatmaps: python example.py frame.npy"""

import sys
from pathlib import Path

import heatpose  # pip install heatpose
import numpy as np

model = heatpose.load_model(Path(__file__).with_name("{model_file}"))  # checked; nothing in it can be run
for path in sys.argv[1:]:
    heatmaps = np.load(path)  # (N, 17, rows, columns), or one (17, rows, columns)
    table = model[0].transform(heatmaps)
    labels, confidence = model[-1].predict_or_unknown(table, return_confidence=True)
    for label, sure in zip(labels, confidence, strict=True):
        print(path, label, f"{{sure:.3f}}")
'''


def write_folder(folder: Path, content: bytes, manifest: Mapping[str, Any]) -> None:
    """Write what is uploaded to the Hub.

    Parameters
    ----------
    folder : Path
        Made if need be; files of the same names are replaced, others are left alone.
    content, manifest
        The safe file's bytes and its manifest, see :func:`heatpose.persistence.export.make_safe_file`.

    Raises
    ------
    ImportError
        huggingface_hub is not installed.
    """
    files = {
        MODEL_FILE: content,
        "README.md": _readme(manifest),
        "config.json": _config(manifest),
        "example.py": _EXAMPLE.format(model_file=MODEL_FILE).encode(),
        ".gitattributes": f"*{SAFE_SUFFIX} filter=lfs diff=lfs merge=lfs -text\n".encode(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    replace_files([(folder / name, written) for name, written in files.items()])


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
        Its model is loaded first, and refused where :func:`heatpose.load_model` refuses it.
    repo_id : str
        ``"user/name"``; the repository is made if it is not there.
    private : bool, default False
        Whether a repository that is made is for its owner only.
    message : str
        Of the commit.
    endpoint : str, optional
        Another address than the Hub's, or that of the environment variable ``HF_ENDPOINT``.
    token : str, optional
        Who uploads; by default whoever is logged in (``hf auth login``, or the environment variable ``HF_TOKEN``).

    Returns
    -------
    str
        The address of the commit.

    Raises
    ------
    ImportError
        huggingface_hub is not installed.
    FileNotFoundError, ModelError
        The folder has no model, or not the one that its papers are of.
    OSError
        The Hub refused, or could not be reached.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise ImportError(_NEEDS_HUB) from error
    folder = Path(folder)
    load_model(folder / MODEL_FILE)
    manifest = read_manifest(folder / MODEL_FILE)
    expected = {"README.md": _readme(manifest), "config.json": _config(manifest)}
    names = [MODEL_FILE, *expected, "example.py", ".gitattributes"]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise FileNotFoundError(
            f"Expected {', '.join(missing)} in {folder}: write it with heatpose export --format hub"
        )
    # The card may be completed by hand, the configuration is what programs read.
    if (folder / "config.json").read_bytes() != expected["config.json"]:
        raise ModelError(f"Expected config.json in {folder} to be of its model, got another: export the model again.")
    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message, allow_patterns=names)
    except OSError:
        raise
    except Exception as error:  # of whichever HTTP library it uses
        raise OSError(f"Expected to upload to {api.endpoint}, got {type(error).__name__}: {error}") from error
    return str(commit.commit_url)


def _readme(manifest: Mapping[str, Any]) -> bytes:
    """The model card, with the metadata that the Hub reads at its top."""
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ImportError as error:
        raise ImportError(_NEEDS_HUB) from error
    results = [EvalResult(**result) for result in _results(manifest["record"])]
    measured: dict[str, Any] = {}
    if results:  # the Hub wants a model's name and its results together
        metrics = sorted({result.metric_type for result in results})
        measured = {"model_name": "Body pose classifier", "eval_results": results, "metrics": metrics}
    data = ModelCardData(
        library_name="heatpose", tags=["pose-classification", "keypoints", "heatmaps", "coco-17"], **measured
    )
    return f"---\n{data.to_yaml()}\n---\n\n{write_card(manifest, MODEL_FILE)}".encode("utf-8", "backslashreplace")


def _results(record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """What was measured, each with the split that it holds for."""
    scores, groups, data = (record.get(name) or {} for name in ("scores", "groups", "data"))
    held_out = f"held out by {groups.get('description') or 'groups that nobody noted'}"
    at_random = "held out at random: frames like the tested ones were trained on"
    source = {
        "task_type": "pose-classification",
        "task_name": "Body pose classification from keypoint heatmaps",
        "dataset_type": "private",
        "dataset_name": PurePath(str(data.get("path") or "recordings")).name or "recordings",
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
    """What a program needs to know before it fetches the model."""
    names = ("format_version", "classes", "keypoints", "decoder", "features", "threshold", "temperature", "sha256")
    config = {
        "library_name": "heatpose",
        "model_file": MODEL_FILE,
        "input": "heatmaps (N, 17, rows, columns), float32",
        **{name: manifest[name] for name in names},
    }
    return (json.dumps(config, indent=2, allow_nan=False) + "\n").encode()
