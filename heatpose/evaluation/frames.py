"""The frames of a data set as an inspection reads them: keypoints, and what only heatmaps show."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal

import numpy as np
import pandas as pd

from heatpose.data.folder import HeatmapFolder, Layout, peaks_below_zero
from heatpose.data.npy import BadFile, BadFilesError
from heatpose.data.reading import HeatmapFile, Progress
from heatpose.data.table import is_folder, load_data, table_keypoints, table_labels
from heatpose.model.prediction import number_samples
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import find_skeleton, is_person

__all__ = ["SECOND_PERSON", "Frames", "read_frames", "second_peaks"]

SECOND_PERSON = 0.5
"""Share of the visible keypoints with a second peak from which on a frame shows another person."""

# Chosen on simulated data with planted faults and on the real performers, see benchmarks/inspection.py.
_SECOND_PEAK = 0.4  # of the first: from here on a second peak can be another person's
_FEWEST_COMPARED = 9  # keypoints: a second peak of half of fewer is chance
_OWN_BODY = 6  # cells round the other side's keypoint in which a second peak is a confusion of sides

_SAMPLE = np.dtype(
    [
        ("keypoints", np.float32, (len(COCO_17.keypoints), 3)),
        ("low", np.float32),
        ("high", np.float32),
        ("others", np.float32),  # share of the keypoints that have a second peak elsewhere
        ("digest", np.uint64, (2,)),
    ]
)


@dataclass(frozen=True, eq=False)
class Frames:
    """Samples of a data set with their files."""

    source: Literal["folder", "table"]
    index: pd.DataFrame  # path, sample, label, group
    samples: np.ndarray  # (N,) of _SAMPLE
    files: Sequence[HeatmapFile] = ()  # that could be read
    bad_files: tuple[BadFile, ...] = ()
    empty_classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()  # what was ignored or decided when they were read

    def __len__(self) -> int:
        return len(self.index)

    @property
    def keypoints(self) -> np.ndarray:
        """Keypoints of each sample, (N, 17, 3)."""
        return self.samples["keypoints"]

    @cached_property
    def names(self) -> np.ndarray:
        """Name of each sample: its path, or its row in a table."""
        paths = self.index["path"].astype(object)
        rows = pd.Series([f"row {row}" for row in range(1, len(paths) + 1)], index=paths.index)
        names = paths.where(paths.notna(), rows).tolist()
        return np.array(number_samples(names, self.index["sample"]), dtype=object)


def read_frames(
    data: str | pd.DataFrame,
    decoder: str,
    n_jobs: int | None,
    progress: Progress | None,
    layout: Layout,
    keep_placeholders: bool,
    poses: Mapping[str, Any],
) -> Frames:
    """Read a folder of heatmaps, a keypoint table or other poses; bad files are collected, not raised."""
    skeleton = find_skeleton(poses.get("skeleton") or COCO_17)
    if not is_person(skeleton):
        raise ValueError(f"Expected poses of persons to inspect, got those of {skeleton.name}.")
    if isinstance(data, pd.DataFrame):
        if poses:
            raise TypeError(f"Expected {', '.join(poses)} with a path to read, got a table.")
        return _read_table(data)
    if not is_folder(data) or poses:
        read = partial(load_data, data, decoder, layout=layout, keep_placeholders=keep_placeholders)
        try:
            return _read_table(read(**poses))
        except BadFilesError as error:
            return replace(_read_table(read(**{**poses, "skip_bad": True})), bad_files=error.bad_files)
    folder = HeatmapFolder(data, skip_bad=True, skip_empty=True, layout=layout)
    samples, good = np.zeros(len(folder), dtype=_SAMPLE), np.zeros(len(folder), dtype=bool)
    if len(folder):
        for results, positions in folder.map(partial(_describe, decoder=decoder), n_jobs=n_jobs, progress=progress):
            samples[positions], good[positions] = results, True
    return Frames(
        source="folder",
        index=folder.index[good].reset_index(drop=True),
        samples=samples[good],
        files=[file for file, start in zip(folder.files, folder.starts, strict=False) if good[start]],
        bad_files=folder.bad_files,
        empty_classes=folder.empty_classes,
        notes=(*folder.notes, *peaks_below_zero(folder, samples["keypoints"][good], np.flatnonzero(good))),
    )


def _read_table(table: pd.DataFrame) -> Frames:
    if not len(table):
        raise ValueError("Expected at least one row in the table, got none.")
    samples = np.zeros(len(table), dtype=_SAMPLE)
    samples["keypoints"] = table_keypoints(table)
    np.nan_to_num(samples["keypoints"][..., 2], copy=False)  # 0 where missing, as tables are read
    samples["digest"] = [_digest(row) for row in samples["keypoints"]]
    samples["high"] = samples["keypoints"][..., 2].max(axis=1)
    index = table.reindex(columns=["path", "sample", "label", "group"]).reset_index(drop=True)
    index = index.assign(label=table_labels(table), sample=index["sample"].fillna(0).astype(int))
    index = index.astype(dict.fromkeys(["path", "label", "group"], "string"))
    return Frames("table", index, samples, notes=tuple(table.attrs.get("notes", ())))


def _describe(heatmaps: np.ndarray, decoder: str) -> np.ndarray:
    """Decode heatmaps (n, K, H, W) and measure their values; n records of _SAMPLE."""
    samples = np.zeros(len(heatmaps), dtype=_SAMPLE)
    samples["keypoints"] = decode_heatmaps(heatmaps, decoder)
    samples["low"], samples["high"] = heatmaps.min(axis=(1, 2, 3)), heatmaps.max(axis=(1, 2, 3))
    samples["others"] = second_peaks(heatmaps, samples["keypoints"])
    samples["digest"] = [_digest(sample) for sample in heatmaps]
    return samples


def _digest(values: np.ndarray) -> np.ndarray:
    return np.frombuffer(hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16).digest(), dtype=np.uint64)


def second_peaks(heatmaps: np.ndarray, keypoints: np.ndarray, skeleton: Skeleton = COCO_17) -> np.ndarray:
    """Return the share (n,) of the keypoints with a second peak that is not the other side of the same body.

    Heights count from the background, the median of each map: 0.5 after a sigmoid, and not that of a padding with -1.
    """
    n_rows, n_columns = heatmaps.shape[2:]
    x, y = keypoints[..., 0], keypoints[..., 1]
    there = ~np.isnan(x)
    reach = max(3, round(max(n_rows, n_columns) / 8))
    far = np.abs(np.arange(n_rows) - np.nan_to_num(y)[..., np.newaxis]) > reach
    apart = np.abs(np.arange(n_columns) - np.nan_to_num(x)[..., np.newaxis]) > reach
    elsewhere = np.where(far[..., np.newaxis] | apart[..., np.newaxis, :], heatmaps, -np.inf)
    flat = elsewhere.reshape(*heatmaps.shape[:2], -1)
    cell = flat.argmax(axis=2)
    height = np.take_along_axis(flat, cell[..., np.newaxis], axis=2)[..., 0]
    other_side = keypoints[:, skeleton.swap, :2] - np.stack([cell % n_columns, cell // n_columns], axis=2)
    confused = np.nan_to_num(np.square(other_side).sum(axis=2), nan=np.inf) <= _OWN_BODY**2
    floor = np.median(heatmaps[:, :, ::4, ::4], axis=(2, 3))  # of some cells: as near, at a sixteenth of the cost
    second = there & (height - floor >= _SECOND_PEAK * (keypoints[..., 2] - floor)) & (height > 0) & ~confused
    # The second peaks of a faint keypoint are noise.
    seen = there & (keypoints[..., 2] >= 0.5 * np.median(keypoints[..., 2], axis=1, keepdims=True))
    return np.count_nonzero(second & seen, axis=1) / np.maximum(np.count_nonzero(seen, axis=1), _FEWEST_COMPARED)
