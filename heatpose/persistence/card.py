"""The model card: purpose, scores and limits of a model, in Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from heatpose.data.wording import PERFECT_SCORE, format_interval, format_number
from heatpose.evaluation.scores import list_scores
from heatpose.model.estimators import PoseClassifier
from heatpose.model.openset import UNKNOWN
from heatpose.persistence.formats import SAFE_SUFFIX
from heatpose.persistence.manifest import count_heatmaps, kind_of, listed

__all__ = ["write_card"]


def write_card(manifest: Mapping[str, Any], name: str) -> str:
    """Return the model card in Markdown; entries that are not known are left out."""
    record, classes, keypoints = manifest["record"], manifest["classes"], manifest["keypoints"]
    n_maps = count_heatmaps(manifest)
    decodes = manifest["decoder"] is not None
    stem = PurePath(name).stem
    is_safe = name.endswith(SAFE_SUFFIX)
    takes = "keypoint heatmaps of a pose estimator" if decodes else "a table of keypoints"
    example = [
        "import numpy as np",
        "import heatpose  # pip install heatpose",
        "",
        f'pipeline = heatpose.load_model("{name}")  # verified '
        + ("first" if is_safe else f"against {stem}.json first"),
        f'heatmaps = np.load("frame.npy")  # (n, {n_maps}, rows, columns), or one ({n_maps}, rows, columns)'
        if decodes
        else f'table = np.load("keypoints.npy")  # (n, {3 * len(keypoints)}): x, y and confidence of each keypoint',
        f"pipeline.predict({'heatmaps' if decodes else 'table'})  # class names",
    ]
    parts = [
        f"# {_text(stem)}",
        f"Classifies the pose in a single frame into {len(classes)} classes, from {takes}.",
        "## Scores",
        *_scores(record),
        "## Intended use",
        "Deliberate body commands to a computer with a camera. Not intended to identify people, nor for "
        "applications in which a wrong prediction causes harm.",
        f"Classes: {', '.join(_text(label) for label in classes)}.",
        "## Limits",
        "\n".join(f"- {limit}" for limit in _limits(manifest, is_safe)),
        "## Usage",
        "\n".join(["```python", *example, "```"]),
        "## Training",
        "\n".join(f"- {fact}" for fact in _origin(manifest)),
    ]
    return "\n\n".join(parts) + "\n"


def _scores(record: Mapping[str, Any]) -> list[str]:
    """Return the held-out score and its split, then the other scores."""
    scores, groups, rows = record.get("scores") or {}, record.get("groups") or {}, list_scores(record)
    if not rows or not rows[0].is_held_out:
        return ["The model was not scored on held-out data."]
    held_out = rows[0]
    headline = f"**Balanced accuracy {format_number(held_out.score)}**"
    if interval := format_interval(held_out.interval):
        headline += f", 95 % interval {interval}"
    parts = [f"{headline}. Split by held-out {_text(groups.get('description') or 'groups that are not recorded')}."]
    parts += [_text(text) for text in ((record.get("audit") or {}).get("verdict"), scores.get("note")) if text]
    if held_out.score == 1:
        parts.append(PERFECT_SCORE)
    if scores.get("interval_unit") == "sample":
        parts.append("The interval is from resampling single samples; it does not cover differences between people.")
    lines = [(_text(row.title), "balanced accuracy", format_number(row.score), _text(row.remark)) for row in rows]
    if scores.get("macro_f1") is not None:
        lines.insert(1, (_text(held_out.title), "macro-F1", format_number(scores["macro_f1"]), ""))
    parts.append(_table(("measured on", "score", "value", "remark"), lines))
    if by_class := scores.get("per_class_recall"):
        recalls = [
            (
                _text(row.get("class")),
                format_number(row.get("recall")),
                format_interval((row.get("low"), row.get("high"))),
                str(row.get("support", "")),
            )
            for row in by_class
        ]
        parts.append(_table(("class", "recall", "95 % interval", "samples"), recalls))
    return parts


def _limits(manifest: Mapping[str, Any], is_safe: bool) -> list[str]:
    unknown = "`predict` returns a class for every pose, also for one that belongs to none of the classes."
    for step, kind in manifest["estimators"].items():
        if "__" not in step and kind == kind_of(PoseClassifier):
            unknown += (
                f' `pipeline["{step}"].predict_or_unknown(pipeline[:-1].transform(heatmaps))` returns '
                f"`{UNKNOWN}` where `predict_confidence` is below {format_number(manifest['threshold'])}."
            )
    first = [_text(name.replace("_", " ")) for name in manifest["keypoints"][:3]]
    return [
        "The scores apply to data like those they were measured on. Other people, clothes, cameras or pose "
        "estimators can lower them.",
        f"Keypoints are those of {_text(manifest['skeleton'])} in their order ({', '.join(first)}, ...); left and "
        "right are those of the body, not of the picture.",
        unknown,
        "The file contains numbers and names only, no executable code."
        if is_safe
        else "Loading a .joblib file can run code: load it only from a source you trust. `heatpose export` writes a "
        "file without executable code.",
    ]


def _origin(manifest: Mapping[str, Any]) -> list[str]:
    record = manifest["record"]
    groups, data = record.get("groups") or {}, record.get("data") or {}
    amount = f"{record['n_samples']:,} samples" if record.get("n_samples") else ""
    if amount and groups.get("n_groups"):
        amount += f" in {groups['n_groups']} {'blocks' if groups.get('kind') == 'blocks' else 'groups'}"
    source = f"from {_text(data['path'])}" if data.get("path") else ""
    digest = f"(digest {_text(data['digest'])[:12]}...)" if data.get("digest") else ""
    facts = [
        ("Data", " ".join(fact for fact in (amount, source, digest) if fact)),
        ("Classifier", _text((record.get("scores") or {}).get("name") or "")),
        ("Random state", _text(record.get("random_state", ""))),
        ("Created", _text(record["created"])),
        ("Versions", listed(manifest["versions"])),
        ("Model file", f"{manifest['size']:,} bytes, SHA-256 {manifest['sha256']}"),
    ]
    facts += [("Choice", _text(choice)) for choice in record.get("choices") or ()]
    return [f"{name}: {fact}" for name, fact in facts if fact]


def _text(value: Any) -> str:
    """Return text on one line, with Markdown markup escaped."""
    return re.sub(r"[\\`*|<>\[\]&~]|(?<![^\W_])_|_(?![^\W_])", r"\\\g<0>", " ".join(str(value).split()))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))
