"""Identify a model's training data: a digest and a sketch of a keypoint table, and their comparison with other data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from heatpose.data.groups import Grouping
from heatpose.data.table import table_keypoints
from heatpose.data.wording import format_percent, some_names

__all__ = ["check_training_data", "data_digest", "share_trained_on", "sketch_data"]

_MOSTLY_SEEN = 0.5
"""Share of training data from which on scores count as scores on the training data."""

_SKETCH_SIZE = 256


def data_digest(table: pd.DataFrame) -> str:
    """Return a SHA-256 digest of a keypoint table, the same on every machine.

    It covers each row's path, label and keypoints in float32, and the order of the rows; all NaN are equal, and so
    are 0 and -0. It covers neither the order of the columns nor any other column.

    Parameters
    ----------
    table : DataFrame
        As from :func:`heatpose.load_data`; ``path`` may be missing.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    ValueError
        ``label`` or a keypoint column is missing.

    Examples
    --------
    >>> import heatpose
    >>> table = heatpose.keypoint_frame(np.zeros((2, 17, 3))).assign(label=["up", "down"])
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
    digest = hashlib.sha256(json.dumps(texts).encode())
    digest.update(_canonical_rows(table).tobytes())
    return digest.hexdigest()


def sketch_data(table: pd.DataFrame) -> str:
    """Return a sketch of a table's keypoints: the smallest 256 of the rows' hashes.

    Parameters
    ----------
    table : DataFrame
        As from :func:`heatpose.load_data`.

    Returns
    -------
    str
        Hexadecimal numbers of 16 digits, ascending. :func:`share_trained_on` estimates from it the share of another
        table that is the same, even if files were added, left out, renamed or labelled anew.
    """
    return " ".join(f"{each:016x}" for each in np.unique(_row_hashes(table))[:_SKETCH_SIZE].tolist())


def share_trained_on(table: pd.DataFrame, record: Mapping[str, Any]) -> float:
    """Estimate which share of a table's rows a model was trained on.

    Parameters
    ----------
    table : DataFrame
        As from :func:`heatpose.load_data`.
    record : mapping
        The ``record`` of the model's manifest; the data of the model that it was adapted from count too.

    Returns
    -------
    float
        From 0 to 1; 0 if the record has no sketch of the data.
    """
    share, rows = 0.0, _row_hashes(table)
    for data in _training_data(record):
        sketch = np.array([int(each, 16) for each in (data.get("sketch") or "").split()], np.uint64)
        # All of the training's rows up to the last one of a full sketch are in it, and none beyond.
        hashes = rows[rows <= sketch[-1]] if len(sketch) == _SKETCH_SIZE else rows
        share += float(np.isin(hashes, sketch).mean()) if len(hashes) else 0.0
    return min(share, 1.0)


def _training_data(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what is known of the data of a model, and of those of the model that it was adapted from."""
    return [of["data"] for of in (record, record.get("adapted") or {}) if of.get("data")]


def _canonical_rows(table: pd.DataFrame) -> np.ndarray:
    """Return the keypoints (N, K, 3), of the same bytes on every machine."""
    keypoints = table_keypoints(table)
    keypoints[np.isnan(keypoints)] = np.nan
    keypoints += np.float32(0)  # -0 becomes 0
    return keypoints.astype("<f4")


def _row_hashes(table: pd.DataFrame) -> np.ndarray:
    digests = [hashlib.blake2b(row.tobytes(), digest_size=8).digest() for row in _canonical_rows(table)]
    return np.array([int.from_bytes(digest) for digest in digests], np.uint64)


def check_training_data(
    manifest: Mapping[str, Any], table: pd.DataFrame, groups: Grouping | None = None
) -> tuple[bool, list[str]]:
    """Compare data with the training data of a model, and list reasons to distrust scores on them.

    Parameters
    ----------
    manifest : mapping
        See :func:`heatpose.read_manifest`.
    table : DataFrame
        The keypoint table to score the model on.
    groups : Grouping, optional
        Its groups.

    Returns
    -------
    seen : bool
        At least half of the data were training data.
    cautions : list of str
        Sentences.
    """
    record = manifest["record"]
    seen = data_digest(table) in [data.get("digest") for data in _training_data(record)]
    cautions = []
    if seen:
        cautions.append("These are the model's training data; the scores do not estimate performance on new data.")
    elif share := share_trained_on(table, record):
        seen = share >= _MOSTLY_SEEN
        shown = format_percent(share, 0)
        cautions.append(f"About {shown} of these data are training data of the model; the scores are too high.")
    if groups is not None and not seen and "blocks" not in (groups.kind, (record.get("groups") or {}).get("kind")):
        trained_on = {group for group, *_ in record.get("by_group") or ()}
        if same := sorted(trained_on.intersection(groups.groups.tolist())):
            cautions.append(
                f"Groups of these names are in the training data too: {some_names(same)}. If they are the same people, "
                "the scores do not hold for others."
            )
    if not (record.get("audit") or {"better_than_chance": True})["better_than_chance"]:
        cautions.append("At training, the model's held-out score was not clearly better than chance.")
    return seen, cautions
