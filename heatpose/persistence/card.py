"""The model card: what a model is, how good it is and what it is not for, in Markdown, for people to read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from heatpose.model.estimators import PoseClassifier
from heatpose.model.openset import UNKNOWN
from heatpose.persistence.manifest import SAFE_SUFFIX, kind_of, listed

__all__ = ["write_card"]

_NOT_KNOWN = "not known"


def write_card(manifest: Mapping[str, Any], name: str) -> str:
    """Write the model card, in Markdown; what is not known is left out."""
    record, classes = manifest["record"], manifest["classes"]
    decodes = manifest["decoder"] is not None
    stem = PurePath(name).stem
    is_safe = name.endswith(SAFE_SUFFIX)
    takes = "keypoint heatmaps, as pose estimators give them" if decodes else "a table of keypoints"
    example = [
        "import numpy as np",
        "import heatpose",
        "",
        f'pipeline = heatpose.load_model("{name}")  # checks it '
        + ("first" if is_safe else f"against {stem}.json first"),
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
        "\n".join(f"- {limit}" for limit in _limits(manifest, is_safe)),
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
    if verdict := (record.get("audit") or {}).get("verdict"):
        parts.append(_text(verdict))
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


def _limits(manifest: Mapping[str, Any], is_safe: bool) -> list[str]:
    unknown = "A pose that is none of the classes is given the name of one all the same."
    for step, kind in manifest["estimators"].items():
        if "__" not in step and kind == kind_of(PoseClassifier):
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
        "The file holds numbers and names only: nothing in it can be run."
        if is_safe
        else "Loading a .joblib file runs code that is in it: load it only if you trust where it comes from. "
        "`heatpose export` makes a file that nothing can be run from.",
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
        ("Versions", listed(manifest["versions"])),
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
