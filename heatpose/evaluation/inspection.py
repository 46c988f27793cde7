"""What is in a data set, and what is wrong with it: ranked, with paths. Nothing is changed.

Bad files are collected, not raised. What a file or a frame is suspected of is told with the reason, so that somebody
can look and decide; only what is worth a look is listed.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import pandas as pd
from joblib import Parallel, cpu_count, delayed
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from heatpose.data.folder import HeatmapFolder
from heatpose.data.groups import DEFAULT_FOLDS, Grouping, grouped_folds, resolve_groups
from heatpose.data.npy import BadFile
from heatpose.data.storage import is_url, local_path
from heatpose.data.table import is_folder, keypoint_frame, load_data, table_keypoints
from heatpose.data.writing import whole_file
from heatpose.evaluation.metrics import Evaluation, evaluate_predictions, to_plain
from heatpose.model.candidates import make_pose_pipeline
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.geometry import mask_uncertain
from heatpose.pose.similarity import COPY, NEAR_IDENTICAL, PoseNeighbours, propose_clips
from heatpose.pose.skeleton import COCO_17

__all__ = [
    "PROBLEM_KINDS",
    "ClassSummary",
    "Inspection",
    "KeypointSummary",
    "Problem",
    "inspect_data",
    "write_fix_list",
]

Severity = Literal["error", "warning", "note"]
Progress = Callable[[int, int], object]

PROBLEM_KINDS: Mapping[str, str] = MappingProxyType(
    {
        "bad-file": "files that cannot be used",
        "meaningless-labels": "labels that the frames do not bear out at all",
        "duplicate-across-classes": "the same heatmaps in several classes",
        "duplicate-across-groups": "the same heatmaps in several groups",
        "label": "labels that the rest of the data contradicts",
        "wrong-folder": "files that look sorted into the wrong folder",
        "small-class": "classes too small to validate",
        "dark": "heatmaps without a peak",
        "near-duplicate-across-classes": "near-identical frames in several classes",
        "near-duplicate-across-groups": "near-identical frames in several groups",
        "swapped-sides": "frames whose left and right look swapped",
        "several-people": "frames with more than one person",
        "odd-values": "heatmaps whose values are unlike the others'",
        "alike-classes": "classes that one frame cannot tell apart",
        "duplicate": "the same heatmaps several times in one class and group",
        "near-duplicate": "copies of a frame, all but identical, in one class and group",
    }
)
"""Kinds of problems, the most harmful first, and what they are."""

_SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

# Chosen on simulated data with faults planted, and on the real performers, see benchmarks/inspection.py.
_SAME_CLIP_COPY = 0.004  # copies in one clip are this near, and nearer than a third of what neighbours in clips are
_MUTUAL = 1.5  # a copy's nearest may be this much further than what is nearest to that one
_MIN_SAMPLES = DEFAULT_FOLDS
_DARK = 0.05  # of the median peak
_MANY_MISSING = 9  # of 17 keypoints
_ODD = 4.0  # times the median peak, or a fraction of it
_SECOND_PEAK = 0.4  # of the first
_SECOND_PERSON = 0.5  # of the keypoints that are there
_OWN_BODY = 6  # cells round the other side's keypoint in which a second peak is a confusion of sides
_SWAPPED = 0.5  # of the distance to the class that the frame has under its own names
_SWAPPED_FROM = 0.1  # from this distance on
_OTHERS = 4  # so many frames of the class must be that near
_NEAR = 2 * NEAR_IDENTICAL
_WITNESSES = 8  # neighbours that are asked about a label
_CONTRADICTED = 0.7  # from this suspicion on, from 0 to 1
_RUN = 3  # frames from which on a clip can be one
_DOUBTFUL = 0.9  # of a clip's labels
_CLIP_APART = 1.5  # times what is usual between clips of a class
_NEARER = 0.8  # of the distance to the own class
_CLIP_NEAR = 2.0  # times what is usual between clips of the other class
_NAMED_ALIKE = 0.9  # share of the files that must be named after their class before names are believed
_ALIKE = 0.25  # share of two classes' samples that are taken for the other
_CHANCE_MARGIN = 0.05
_JUDGE = "lda"
_JUDGE_SAMPLES = 20_000  # trained on at the most


@dataclass(frozen=True)
class Problem:
    """Something to look at.

    Parameters
    ----------
    kind : str
        One of :data:`PROBLEM_KINDS`.
    severity : {"error", "warning", "note"}
        Errors spoil a score or a model, warnings may, notes are good to know.
    paths : tuple of str
        The files, relative to the data, worst first; empty where it is about whole classes. A sample of a file with
        several ends in ``[its number]``, a row of a table without paths is ``row 7``, counted from 1.
    message : str
        What was expected and what was found, in one sentence.
    score : float
        How sure or how bad it is, from 0 to 1; the ranking within a kind.
    """

    kind: str
    severity: Severity
    paths: tuple[str, ...]
    message: str
    score: float

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON."""
        return to_plain(self)


@dataclass(frozen=True)
class ClassSummary:
    """What is there of one class.

    Parameters
    ----------
    name : str
        The class.
    n_files, n_samples, n_groups : int
        Good files, their samples, and the groups these are of.
    """

    name: str
    n_files: int
    n_samples: int
    n_groups: int


@dataclass(frozen=True)
class KeypointSummary:
    """How often a keypoint is seen.

    Parameters
    ----------
    name : str
        The keypoint.
    seen : float
        Share of the samples in which it is seen as well as the rest of the body, see
        :func:`heatpose.pose.geometry.mask_uncertain`.
    missing : float
        Share of the samples in which it has no peak at all.
    confidence : float
        Median height of its peak.
    """

    name: str
    seen: float
    missing: float
    confidence: float


@dataclass(frozen=True, eq=False)
class Inspection:
    """What is in a data set, and what is wrong with it.

    Parameters
    ----------
    data : str
        Where it is.
    source : {"folder", "table"}
        What it is. Of a table only the keypoints can be told of, not files and heatmaps.
    n_files, n_samples : int
        Good files and their samples; rows of a table have no files.
    n_bytes : int
        Size of all files.
    classes : tuple of ClassSummary
        By class.
    groups : str
        What the groups are, in one line.
    n_groups : int
        How many.
    shapes, dtypes : mapping of str to int
        Shapes and types of the heatmaps' files, and how many files have them, the most frequent first.
    values : mapping of str to float
        ``lowest`` and ``highest`` value of all heatmaps; ``median_peak``, ``low_peak`` and ``high_peak``: median, 1 %
        and 99 % quantile of the peaks' heights.
    keypoints : tuple of KeypointSummary
        By keypoint.
    near_identical : mapping of str to float
        Share of the samples with a near-identical one in the same class (``own_class``), in other classes
        (``other_classes``) and, where there are real groups, in other groups (``other_groups``).
    problems : tuple of Problem
        The most harmful first.
    table : DataFrame or None
        The keypoint table of what could be read; its index are the names that problems' paths go by. Not in
        :meth:`to_dict`.
    """

    data: str
    source: Literal["folder", "table"]
    n_files: int
    n_samples: int
    n_bytes: int
    classes: tuple[ClassSummary, ...]
    groups: str
    n_groups: int
    shapes: Mapping[str, int]
    dtypes: Mapping[str, int]
    values: Mapping[str, float]
    keypoints: tuple[KeypointSummary, ...]
    near_identical: Mapping[str, float]
    problems: tuple[Problem, ...]
    table: pd.DataFrame | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        plain = to_plain(replace(self, table=None))
        del plain["table"]
        return plain


def inspect_data(
    data: str | os.PathLike[str],
    groups: str = "auto",
    *,
    decoder: str = "gaussian",
    random_state: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    poses: Mapping[str, Any] | None = None,
) -> Inspection:
    r"""Look through a data set and tell what is wrong with it. Nothing is changed.

    Parameters
    ----------
    data : path-like
        A folder, ``<data>/<class>/<anything>.npy``, or a keypoint table, ``.csv`` or ``.parquet``.
    groups : str, default "auto"
        Which samples belong together, see :func:`heatpose.data.groups.resolve_groups`.
    decoder : str, default "gaussian"
        See :func:`heatpose.decode_heatmaps`.
    random_state : int, default 0
        For the folds by which labels are judged.
    n_jobs : int, optional
        Processors; by default all. Results do not depend on it.
    progress : callable, optional
        ``progress(done, total)``, in samples that were read.
    poses : mapping, optional
        Options of :func:`heatpose.read_poses` for data that it reads.

    Returns
    -------
    Inspection
        Bad files are among its problems.

    Raises
    ------
    FileNotFoundError
        There is nothing at `data`.
    ValueError
        It is a table that cannot be read, or `groups` leaves a sample without one.

    Examples
    --------
    >>> import tempfile
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 4, classes=["action_up", "action_down"])
    >>> folder = tempfile.TemporaryDirectory()
    >>> out = heatpose.write_heatmaps(poses, folder.name, exist_ok=True)
    >>> inspect_data(out, r"_(\d+)\.npy$").n_samples
    16
    >>> folder.cleanup()
    """
    where = os.fspath(data)
    if not is_url(where) and not Path(where := local_path(where)).exists():
        raise FileNotFoundError(f"No such folder or table: {where}")
    if is_folder(where) and not poses:
        frames = _read_folder(where, decoder, n_jobs, progress)
    else:
        frames = _read_table(where, poses)
    grouping = resolve_groups(frames.index, groups) if len(frames) else Grouping(np.array([], str), "none", "blocks")
    looked = _Look(frames, grouping, random_state, n_jobs)
    problems = sorted(
        looked.problems(),
        key=lambda problem: (_SEVERITIES.index(problem.severity), _RANK[problem.kind], -problem.score, problem.paths),
    )
    counts = frames.index.assign(group=grouping.groups).groupby("label", sort=False)
    return Inspection(
        data=where,
        source=frames.source,
        n_files=len(frames.shapes),
        n_samples=len(frames),
        n_bytes=frames.n_bytes,
        classes=tuple(
            ClassSummary(str(name), int(rows["path"].nunique()), len(rows), int(rows["group"].nunique()))
            for name, rows in counts
        ),
        groups=grouping.description,
        n_groups=int(grouping.n_groups),
        shapes=dict(Counter(frames.shapes).most_common()),
        dtypes=dict(Counter(frames.dtypes).most_common()),
        values=_values(frames),
        keypoints=_keypoints(frames.keypoints),
        near_identical=looked.near_identical,
        problems=tuple(problems),
        table=pd.concat(
            [frames.index.assign(group=grouping.groups), keypoint_frame(frames.keypoints)], axis=1
        ).set_index(frames.names),
    )


def write_fix_list(inspection: Inspection, path: str | os.PathLike[str]) -> int:
    """Write what to look at as CSV, the most harmful first: path, kind, severity, score, message.

    Parameters
    ----------
    inspection : Inspection
        Of :func:`inspect_data`.
    path : path-like
        The file, which is replaced in one step.

    Returns
    -------
    int
        How many rows were written: one for each file of each problem.
    """
    path = Path(path)
    rows = [
        (file, problem.kind, problem.severity, f"{problem.score:.3f}", problem.message)
        for problem in inspection.problems
        for file in problem.paths
    ]
    with whole_file(path) as file, io.TextIOWrapper(file, "utf-8", newline="") as text:
        table = csv.writer(text, lineterminator="\n")
        table.writerow(("path", "kind", "severity", "score", "message"))
        table.writerows(rows)
    return len(rows)


# Reading ----------------------------------------------------------------------------------------------------

_RANK = {kind: rank for rank, kind in enumerate(PROBLEM_KINDS)}

_SAMPLE = np.dtype(
    [
        ("keypoints", np.float32, (len(COCO_17.keypoints), 3)),
        ("low", np.float32),
        ("high", np.float32),
        ("others", np.float32),  # share of the keypoints that are seen on somebody else too
        ("digest", np.uint64, (2,)),
    ]
)


@dataclass(frozen=True, eq=False)
class _Frames:
    """All that was read of a data set."""

    source: Literal["folder", "table"]
    index: pd.DataFrame  # path, sample, label, group
    samples: np.ndarray  # (N,) of _SAMPLE
    shapes: Sequence[str] = ()  # of files
    dtypes: Sequence[str] = ()
    n_bytes: int = 0
    bad_files: tuple[BadFile, ...] = ()
    empty_classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.index)

    @property
    def keypoints(self) -> np.ndarray:
        return self.samples["keypoints"]

    @cached_property
    def labels(self) -> np.ndarray:
        return self.index["label"].to_numpy(dtype=str)

    @cached_property
    def names(self) -> np.ndarray:
        """What each sample is called."""
        paths, samples = self.index["path"], self.index["sample"]
        shared = paths.notna() & paths.duplicated(keep=False)
        rows = pd.Series([f"row {row}" for row in range(1, len(paths) + 1)], index=paths.index)
        names = paths.astype(object).where(paths.notna(), rows)
        return names.where(~shared, names.astype(str) + "[" + samples.astype(str) + "]").to_numpy(dtype=object)


def _read_folder(data: str, decoder: str, n_jobs: int | None, progress: Progress | None) -> _Frames:
    folder = HeatmapFolder(data, skip_bad=True, skip_empty=True)
    samples, good = np.zeros(len(folder), dtype=_SAMPLE), np.zeros(len(folder), dtype=bool)
    if len(folder):
        look = partial(_look_at, decoder=decoder)
        for results, positions in folder.map(look, n_jobs=n_jobs, progress=progress):
            samples[positions], good[positions] = results, True
    files = [file for file, start in zip(folder.files, folder.starts, strict=False) if good[start]]
    return _Frames(
        source="folder",
        index=folder.index[good].reset_index(drop=True),
        samples=samples[good],
        shapes=[str(list(file.shape)) for file in files],
        dtypes=[file.dtype for file in files],
        n_bytes=sum(math.prod(file.shape) * np.dtype(file.dtype).itemsize for file in files),
        bad_files=folder.bad_files,
        empty_classes=folder.empty_classes,
    )


def _read_table(data: str, poses: Mapping[str, Any] | None) -> _Frames:
    table = load_data(data, poses=poses)
    samples = np.zeros(len(table), dtype=_SAMPLE)
    samples["keypoints"] = table_keypoints(table)
    samples["digest"] = [_digest(row) for row in samples["keypoints"]]
    samples["high"] = samples["keypoints"][..., 2].max(axis=1)
    return _Frames("table", table[["path", "sample", "label", "group"]], samples)


def _look_at(heatmaps: np.ndarray, decoder: str) -> np.ndarray:
    """Decode heatmaps (n, K, H, W), and note what keypoints do not tell; n records of _SAMPLE."""
    samples = np.zeros(len(heatmaps), dtype=_SAMPLE)
    samples["keypoints"] = decode_heatmaps(heatmaps, decoder)
    samples["low"], samples["high"] = heatmaps.min(axis=(1, 2, 3)), heatmaps.max(axis=(1, 2, 3))
    samples["others"] = _share_of_others(heatmaps, samples["keypoints"])
    samples["digest"] = [_digest(sample) for sample in heatmaps]
    return samples


def _digest(values: np.ndarray) -> np.ndarray:
    content = hashlib.blake2b(np.ascontiguousarray(values).data, digest_size=16)
    return np.frombuffer(content.digest(), dtype=np.uint64)


def _share_of_others(heatmaps: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Share (n,) of the keypoints that have a second peak, which is not the other side of the same body."""
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
    other_side = keypoints[:, COCO_17.swap, :2] - np.stack([cell % n_columns, cell // n_columns], axis=2)
    confused = np.nan_to_num(np.square(other_side).sum(axis=2), nan=np.inf) <= _OWN_BODY**2
    second = there & (height >= _SECOND_PEAK * keypoints[..., 2]) & (height > 0) & ~confused
    # What is hardly seen has its second peaks in the noise.
    seen = there & (keypoints[..., 2] >= 0.5 * np.median(keypoints[..., 2], axis=1, keepdims=True))
    return np.count_nonzero(second & seen, axis=1) / np.maximum(np.count_nonzero(seen, axis=1), _MANY_MISSING)


# Summaries --------------------------------------------------------------------------------------------------


def _values(frames: _Frames) -> dict[str, float]:
    peaks = frames.keypoints[..., 2][frames.keypoints[..., 2] > 0]
    if not len(peaks):
        return dict.fromkeys(("lowest", "highest", "median_peak", "low_peak", "high_peak"), math.nan)
    low, median, high = np.quantile(peaks, [0.01, 0.5, 0.99])
    lowest = math.nan if frames.source == "table" else float(frames.samples["low"].min())
    highest = float(frames.samples["high"].max())
    return {
        "lowest": lowest,
        "highest": highest,
        "median_peak": float(median),
        "low_peak": float(low),
        "high_peak": float(high),
    }


def _keypoints(keypoints: np.ndarray) -> tuple[KeypointSummary, ...]:
    if not len(keypoints):
        return ()
    seen = ~np.isnan(mask_uncertain(keypoints, 0.4)[..., 0])
    missing = np.isnan(keypoints[..., 0])
    return tuple(
        KeypointSummary(name, float(seen[:, k].mean()), float(missing[:, k].mean()), float(np.median(heights)))
        for k, (name, heights) in enumerate(zip(COCO_17.keypoints, keypoints[..., 2].T, strict=True))
    )


# Looking for problems ---------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Look:
    """Looks at all frames; what several searches need is computed once."""

    frames: _Frames
    grouping: Grouping
    random_state: int
    n_jobs: int | None
    near_identical: dict[str, float] = field(default_factory=dict)

    def problems(self) -> Iterator[Problem]:
        for bad in self.frames.bad_files:
            yield Problem("bad-file", "error", (bad.path,), f"{bad.path}: {bad.reason}.", 1.0)
        for name in self.frames.empty_classes:
            yield Problem("small-class", "error", (), f"Class {name} has no file that can be used.", 1.0)
        if len(self.frames) == 0:
            return
        yield from self._small_classes()
        yield from self._odd_frames()
        yield from self._exact_duplicates()
        yield from self._near_duplicates()
        yield from self._swapped_sides()
        yield from self._named_otherwise()
        yield from self._labels()

    # What is shared

    @property
    def labels(self) -> np.ndarray:
        return self.frames.labels

    @cached_property
    def has_groups(self) -> bool:
        """Whether the groups are real ones."""
        return self.grouping.kind != "blocks" and 1 < self.grouping.n_groups < len(self.frames)

    @cached_property
    def usable(self) -> np.ndarray:
        """Frames with a body in them, bool (N,)."""
        keypoints, median = self.frames.keypoints, self._median_peak
        n_there = np.count_nonzero(~np.isnan(keypoints[..., 0]), axis=1)
        return (n_there >= _MANY_MISSING) & (self.frames.samples["high"] >= _DARK * median)

    @cached_property
    def _median_peak(self) -> float:
        peaks = self.frames.keypoints[..., 2][self.frames.keypoints[..., 2] > 0]
        return float(np.median(peaks)) if len(peaks) else 0.0

    @cached_property
    def first_of_same(self) -> np.ndarray:
        """For each frame the first one with the very same heatmaps, int (N,)."""
        _, first, which = np.unique(self.frames.samples["digest"], axis=0, return_index=True, return_inverse=True)
        return first[which.ravel()]

    @cached_property
    def neighbours(self) -> PoseNeighbours:
        return PoseNeighbours(self.frames.keypoints)

    @cached_property
    def clips(self) -> np.ndarray:
        """Runs of near-identical frames of one class, int (N,)."""
        return propose_clips(self.neighbours, self.labels)

    @cached_property
    def places(self) -> np.ndarray:
        """What frames are compared across: real groups, or else clips; (N,)."""
        return self.grouping.groups if self.has_groups else self.clips.astype(str)

    def _named(self, rows: Sequence[int] | np.ndarray) -> tuple[str, ...]:
        return tuple(str(self.frames.names[row]) for row in rows)

    # Single frames and classes

    def _small_classes(self) -> Iterator[Problem]:
        for name in np.unique(self.labels):
            rows = np.flatnonzero(self.labels == name)
            n_groups = len(np.unique(self.grouping.groups[rows]))
            if len(rows) < _MIN_SAMPLES:
                message = (
                    f"Class {name} has {_plural(len(rows), 'sample')}: too few to be on both sides of a split, so "
                    "training refuses it or says nothing of it. Add more or leave it out."
                )
                yield Problem("small-class", "error", self._named(rows), message, 1 - len(rows) / _MIN_SAMPLES)
            elif self.has_groups and n_groups == 1:
                message = f"Class {name} was seen on one group only: what it is worth on others cannot be measured."
                yield Problem("small-class", "error", (), message, 0.5)

    def _odd_frames(self) -> Iterator[Problem]:
        keypoints, samples = self.frames.keypoints, self.frames.samples
        n_missing = np.count_nonzero(np.isnan(keypoints[..., 0]), axis=1)
        for row in np.flatnonzero(~self.usable).tolist():
            if n_missing[row] == len(COCO_17.keypoints):
                message = "No heatmap of it has a peak."
            elif n_missing[row] > len(COCO_17.keypoints) - _MANY_MISSING:
                message = f"{n_missing[row]} of its {len(COCO_17.keypoints)} heatmaps have no peak."
            else:
                message = f"Its highest peak is {samples['high'][row]:.2g}, those of others {self._median_peak:.2g}."
            yield Problem("dark", "error", self._named([row]), message, n_missing[row] / len(COCO_17.keypoints))
        peak = np.median(keypoints[..., 2], axis=1)
        ratio = np.maximum(peak, 1e-12) / max(self._median_peak, 1e-12)
        odd = self.usable & (np.abs(np.log(ratio)) > math.log(_ODD))
        for row in np.flatnonzero(odd).tolist():
            message = f"Its median peak is {peak[row]:.2g}, that of all is {self._median_peak:.2g}."
            score = 1 - min(ratio[row], 1 / ratio[row])
            yield Problem("odd-values", "warning", self._named([row]), message, float(score))
        for row in np.flatnonzero(self.usable & ~odd & (samples["others"] >= _SECOND_PERSON)).tolist():
            share = float(samples["others"][row])
            message = f"{share:.0%} of its keypoints are there a second time, somewhere else: another person."
            yield Problem("several-people", "warning", self._named([row]), message, share)

    # The same frame twice

    def _exact_duplicates(self) -> Iterator[Problem]:
        rows = np.flatnonzero(self.usable)
        for _, same in pd.Series(rows).groupby(self.first_of_same[rows]):
            if len(same) > 1:
                yield self._twice(same.to_numpy(), "", "hold the very same heatmaps", 1.0)

    def _near_duplicates(self) -> Iterator[Problem]:
        unique = np.flatnonzero(self.usable & (self.first_of_same == np.arange(len(self.frames))))
        if len(unique) < 2:
            return
        labels, everyone = self.labels, np.arange(len(self.frames))
        by_class = self.neighbours.nearest_elsewhere(labels, unique)
        by_place = self.neighbours.nearest_elsewhere(self.grouping.groups, unique) if self.has_groups else None
        of_clip = np.full(len(labels), np.inf), np.full(len(labels), -1)
        for name in np.unique(labels[unique]):
            rows = unique[labels[unique] == name]
            found, which = self.neighbours.nearest(rows, rows)
            of_clip[0][rows], of_clip[1][rows] = found[:, 0], which[:, 0]
        typical = float(np.median(of_clip[0][unique]))
        self.near_identical.update(
            own_class=float(np.mean(of_clip[0][unique] <= NEAR_IDENTICAL)),
            other_classes=float(np.mean(by_class[0][unique] <= NEAR_IDENTICAL)),
        )
        # Classes can be cut from one clip, whose frames are alike; groups cannot.
        within_clips = min(_SAME_CLIP_COPY, typical / 3)
        pairs = [_mutual(*by_class, everyone, within_clips)]
        if by_place is not None:
            self.near_identical["other_groups"] = float(np.mean(by_place[0][unique] <= NEAR_IDENTICAL))
            pairs.append(_mutual(*by_place, everyone, COPY))
        pairs.append(_mutual(*of_clip, everyone, within_clips))
        first, second, apart = (np.concatenate(parts) for parts in zip(*pairs, strict=True))
        if not len(first):
            return
        edges = coo_array((np.ones(len(first)), (first, second)), shape=(len(labels), len(labels)))
        part = connected_components(edges, directed=False)[1]
        nearest = pd.Series(apart).groupby(part[first]).min()
        for which, distance in zip(nearest.index.to_numpy(), nearest.to_numpy(), strict=True):
            rows = np.flatnonzero(part == which)
            what = f"show the same pose to within {max(distance, 1e-4):.2%} of the body's size"
            yield self._twice(rows, "near-", what, 1 - distance / COPY)

    def _twice(self, rows: np.ndarray, near: str, what: str, score: float) -> Problem:
        """Tell of frames that are one frame, by where they are."""
        classes, groups = np.unique(self.labels[rows]), np.unique(self.grouping.groups[rows])
        severity: Severity = "warning" if near else "error"
        if len(classes) > 1:
            kind, told = "duplicate-across-classes", f"in the classes {_and(classes)}: one label at most is right"
        elif self.has_groups and len(groups) > 1:
            kind, told = "duplicate-across-groups", f"in the groups {_and(groups)}: on both sides of a split they leak"
        else:
            kind, told, severity = "duplicate", f"in {classes[0]}: they count {len(rows)} times", "note"
        return Problem(
            near + kind, severity, self._named(rows), f"{_plural(len(rows), 'frame')} {what}, {told}.", float(score)
        )

    # Left and right

    def _swapped_sides(self) -> Iterator[Problem]:
        keypoints, n = self.frames.keypoints, len(self.frames)
        both = PoseNeighbours(np.concatenate([keypoints, keypoints[:, COCO_17.swap]]))
        places = np.tile(self.grouping.groups, 2)
        for name in np.unique(self.labels[self.usable]):
            rows = np.flatnonzero(self.usable & (self.labels == name))
            # Beside the rest of its class one swapped frame stands out; a clip of them does beside other groups.
            as_is, swapped = (both.nearest(asked, rows, k=_OTHERS)[0][:, -1] for asked in (rows, rows + n))
            if self.has_groups:
                alone = (swapped < _SWAPPED * as_is) & (as_is > _SWAPPED_FROM)
                outside, swapped_outside = (
                    both.nearest_elsewhere(places, asked, rows)[0] for asked in (rows, rows + n)
                )
                as_is = np.where(alone, as_is, outside[rows])
                swapped = np.where(alone, swapped, swapped_outside[rows + n])
            found = (swapped < _SWAPPED * as_is) & (as_is > _SWAPPED_FROM) & np.isfinite(as_is)
            for row, before, after in zip(rows[found], as_is[found], swapped[found], strict=True):
                message = (
                    f"With left and right keypoints swapped it is {after:.1%} of the body's size from other frames of "
                    f"{name}, as it is {before:.1%}."
                )
                yield Problem("swapped-sides", "warning", self._named([row]), message, float(1 - after / before))

    # Labels

    def _named_otherwise(self) -> Iterator[Problem]:
        """Files that are named after another class than the folder they are in."""
        paths = self.frames.index["path"]
        if paths.isna().any():
            return
        classes = sorted(set(self.labels), key=len, reverse=True)
        files = [str(path).rpartition("/")[2] for path in paths]
        named = np.array([next((name for name in classes if _begins_with(file, name)), "") for file in files])
        if np.mean(named == self.labels) < _NAMED_ALIKE:
            return
        wrong = (named != self.labels) & (named != "")
        for given, other in sorted(set(zip(self.labels[wrong], named[wrong], strict=True))):
            rows = np.flatnonzero(wrong & (self.labels == given) & (named == other))
            what = "file is" if len(rows) == 1 else "files are"
            message = f"{len(rows)} {what} named after {other}, but in the folder of {given}."
            yield Problem("wrong-folder", "error", self._named(rows), message, 1.0)

    def _judge(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """Rows that could be judged by models which saw none of their group, the classes, and probabilities (n, C)."""
        groups = self.places
        rows = np.flatnonzero(self.usable)
        counts = pd.DataFrame({"label": self.labels[rows], "group": groups[rows]}).groupby("label")["group"]
        enough = counts.size().index[(counts.nunique() >= 2) & (counts.size() >= _MIN_SAMPLES)]
        rows = rows[np.isin(self.labels[rows], enough)]
        labels, groups = self.labels[rows], groups[rows]
        if len(enough) < 2:
            return None
        n_folds = int(min(DEFAULT_FOLDS, counts.nunique()[enough].min()))
        with suppress(ValueError):  # no way to have every class in every training part
            folds = grouped_folds(labels, groups, n_folds, self.random_state)
            classes = np.unique(labels)
            X = self.frames.keypoints[rows].reshape(len(rows), -1)
            jobs = min(n_folds, cpu_count() if self.n_jobs is None else self.n_jobs)
            asked = Parallel(n_jobs=jobs)(
                delayed(_ask)(X[train], labels[train], X[test], self.random_state) for train, test in folds
            )
            probabilities = np.zeros((len(rows), len(classes)))
            for (_, test), said in zip(folds, asked, strict=True):
                probabilities[test] = said
            return rows, classes, probabilities
        return None

    def _labels(self) -> Iterator[Problem]:
        judged = self._judge()
        if judged is None:
            return
        rows, classes, probabilities = judged
        labels = self.labels[rows]
        said = classes[probabilities.argmax(axis=1)]
        evaluation = evaluate_predictions(labels, said, groups=self.places[rows], classes=classes)
        if evaluation.balanced_accuracy_interval[0] <= 1 / len(classes) + _CHANCE_MARGIN:
            message = (
                f"Of frames that were held out by group, a quick model names {evaluation.balanced_accuracy:.1%} right "
                f"(mean over classes); guessing gives {1 / len(classes):.1%}. Either the labels lost their order, or "
                "single frames do not show what they name."
            )
            yield Problem("meaningless-labels", "error", (), message, 1.0)
            return
        yield from self._alike_classes(evaluation)
        yield from self._contradicted(rows, classes, probabilities)

    def _alike_classes(self, evaluation: Evaluation) -> Iterator[Problem]:
        names, taken = evaluation.classes, evaluation.confusion
        for a in range(len(names)):
            for b in range(a + 1, len(names)):
                share = (taken[a, b] + taken[b, a]) / (evaluation.support[a] + evaluation.support[b])
                if share >= _ALIKE:
                    message = (
                        f"{names[a]} and {names[b]} are taken for each other in {share:.0%} of their frames by a quick "
                        "model that did not see their group: a single frame may not tell them apart."
                    )
                    yield Problem("alike-classes", "warning", (), message, float(share))

    def _contradicted(self, rows: np.ndarray, classes: np.ndarray, probabilities: np.ndarray) -> Iterator[Problem]:
        """Labels that models without the frame's group and the most alike frames both deny, and clips likewise."""
        labels, code = self.labels[rows], np.searchsorted(classes, self.labels[rows])
        doubt = 1 - probabilities[np.arange(len(rows)), code]
        others = probabilities.copy()
        others[np.arange(len(rows)), code] = -1
        suggested = classes[others.argmax(axis=1)].astype(object)

        # First what frames of the same clip say, whatever they are labelled: those that are near.
        distances, found = self.neighbours.nearest(rows, rows, k=_WITNESSES)
        near = distances <= _NEAR
        agrees = near & (self.labels[found] == labels[:, np.newaxis])
        n_near = np.count_nonzero(near, axis=1)
        against = 1 - np.count_nonzero(agrees, axis=1) / np.maximum(n_near, 1)
        suspicion = np.where((n_near >= 2) & (against > 0.5), (doubt + against) / 2, 0)
        for position in np.flatnonzero(suspicion >= _CONTRADICTED):
            told = self.labels[found[position][near[position] & ~agrees[position]]]
            other = suggested[position] = Counter(told.tolist()).most_common(1)[0][0]
            message = (
                f"It is labelled {labels[position]}, but the frames most like it and models that did not see its group "
                f"say {other}."
            )
            yield Problem("label", "warning", self._named([rows[position]]), message, float(suspicion[position]))

        # Then clips as a whole, and frames without a clip: nearer to another class than to their own.
        own, other, which = self._outside(rows, among=rows[suspicion < _CONTRADICTED])
        frames = pd.DataFrame({"label": labels, "doubt": doubt, "own": own, "other": other, "suggested": suggested})
        frames["told_by"] = np.where(which >= 0, self.labels[which], "")
        frames = frames[suspicion < _CONTRADICTED]
        usual = frames.groupby("label")["own"].median()
        for _, clip in frames.groupby(self.clips[rows][frames.index], sort=False):
            given, suggestion = clip["label"].iloc[0], Counter(clip["told_by"]).most_common(1)[0][0]
            apart, near_to, doubtful = clip["own"].median(), clip["other"].median(), clip["doubt"].median()
            if (
                suggestion in usual
                and doubtful >= _DOUBTFUL
                and _CLIP_APART * usual[given] <= apart < math.inf
                and near_to <= min(_NEARER * apart, _CLIP_NEAR * usual[suggestion])
            ):
                what = f"{_plural(len(clip), 'frame')} of one clip" if len(clip) > 1 else "A frame without a clip"
                message = (
                    f"{what} in {given}: {apart / near_to:.1f} times nearer to {suggestion} than to other clips of "
                    f"{given}, and models that did not see the group deny the label too."
                )
                kind = "wrong-folder" if len(clip) >= _RUN else "label"
                score = float((doubtful + 1 - near_to / apart) / 2)
                yield Problem(kind, "warning", self._named(rows[clip.index.to_numpy()]), message, score)

    def _outside(self, rows: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance to the own class and to the other classes (n,), and the rows of the latter (n,).

        Both in other clips; but what one person does is alike, whatever it is called, so where the group has no other
        clip of the class, both in other groups.
        """
        own, other, which = self._apart(rows, among, self.clips)
        if self.has_groups:
            frames = pd.DataFrame({"label": self.labels[rows], "group": self.grouping.groups[rows]})
            n_clips = frames.assign(clip=self.clips[rows]).groupby(["label", "group"])["clip"].transform("nunique")
            single = np.flatnonzero(n_clips == 1)
            own[single], other[single], which[single] = self._apart(rows[single], among, self.grouping.groups)
        return own, other, which

    def _apart(
        self, rows: np.ndarray, among: np.ndarray, places: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance to the own class and to the other classes in other places (n,), and the rows of the latter (n,)."""
        own, other = np.full(len(self.labels), np.inf), np.full(len(self.labels), np.inf)
        which = np.full(len(self.labels), -1)
        for name in np.unique(self.labels[rows]):
            of_class, is_there = rows[self.labels[rows] == name], self.labels[among] == name
            own[of_class] = self.neighbours.nearest_elsewhere(places, of_class, among[is_there])[0][of_class]
            found, where = self.neighbours.nearest_elsewhere(places, of_class, among[~is_there])
            other[of_class], which[of_class] = found[of_class], where[of_class]
        return own[rows], other[rows], which[rows]


@threadpool_limits.wrap(limits=1)
def _ask(X: np.ndarray, labels: np.ndarray, asked: np.ndarray, random_state: int) -> np.ndarray:
    """Train the judge and ask it: probabilities (n, C), of the classes in the training part, which has them all."""
    some = slice(None, None, math.ceil(len(X) / _JUDGE_SAMPLES))
    model = make_pose_pipeline(_JUDGE, random_state=random_state, performers=1)[1:]
    return model.fit(X[some], labels[some]).predict_proba(asked)


def _mutual(
    distances: np.ndarray, which: np.ndarray, rows: np.ndarray, limit: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs that are near and not much nearer to others: a copy and its original, not the original's clip."""
    near = distances <= limit
    first, second = rows[near], which[near]
    back = np.maximum(distances[second], 5e-4)
    mutual = distances[near] <= _MUTUAL * back
    return first[mutual], second[mutual], distances[near][mutual]


def _begins_with(file: str, name: str) -> bool:
    """Whether a file is named after a class: by its whole name, so that video_1 is not named after vid."""
    return file.startswith(name) and not file[len(name) : len(name) + 1].isalpha()


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _and(names: np.ndarray) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
