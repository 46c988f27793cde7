"""Contents and problems of a data set: ranked, with paths. Nothing is changed.

Bad files are collected, not raised. A file or a frame is reported with the reason, for a person to look at and decide.
The checks are in :mod:`heatpose.evaluation.frame_checks` and :mod:`heatpose.evaluation.label_checks`.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from heatpose.data.folder import Layout
from heatpose.data.groups import Grouping, resolve_groups
from heatpose.data.reading import Progress
from heatpose.data.storage import local_path, redact
from heatpose.data.table import keypoint_frame
from heatpose.data.wording import format_plural
from heatpose.data.writing import whole_file
from heatpose.evaluation import frame_checks, label_checks
from heatpose.evaluation.checks import KINDS, CheckContext, Problem, Severity
from heatpose.evaluation.frames import Frames, read_frames
from heatpose.evaluation.plain import Record, to_plain
from heatpose.evaluation.signature import UPRIGHT, Signature
from heatpose.pose.geometry import CLEARLY_VISIBLE, mask_uncertain
from heatpose.pose.skeleton import COCO_17

__all__ = ["ClassSummary", "Inspection", "KeypointSummary", "Problem", "inspect_data", "write_fix_list"]

Check = Callable[[CheckContext], Iterator[Problem]]

FILE_CHECKS: tuple[Check, ...] = (frame_checks.bad_files, frame_checks.reading_notes, frame_checks.small_classes)
"""Checks that need no frame."""

CHECKS: tuple[Check, ...] = (
    *FILE_CHECKS,
    label_checks.wrong_folders,
    label_checks.judged_labels,
    frame_checks.mirrored_groups,
    frame_checks.mirrored_frames,
    frame_checks.exchanged_sides,
    frame_checks.missing_in_class,
    frame_checks.similar_names,
    frame_checks.differences,
    frame_checks.exact_duplicates,
    frame_checks.near_duplicates,
    frame_checks.dark_frames,
    frame_checks.swapped_sides,
    frame_checks.odd_peaks,
)
"""All checks; their problems are sorted by kind."""

_SEVERITIES, _KINDS = get_args(Severity), list(KINDS)


@dataclass(frozen=True)
class ClassSummary(Record):
    """Number of files, samples and groups of one class.

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
class KeypointSummary(Record):
    """Visibility of one keypoint.

    Parameters
    ----------
    name : str
        The keypoint.
    seen : float
        Share of the samples in which it is as visible as the rest of the body, see
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
class Inspection(Record):
    """Contents and problems of a data set.

    Parameters
    ----------
    data : str
        Its path; of a table in memory "table".
    source : {"folder", "table"}
        Its kind. A table has keypoints only, no files and heatmaps.
    n_files, n_samples : int
        Good files and their samples; rows of a table have no files.
    n_bytes : int
        Size of all files.
    classes : tuple of ClassSummary
        By class.
    groups : str
        Description of the groups, in one line.
    n_groups : int
        Their number.
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
    table : DataFrame
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
    table: pd.DataFrame

    def __repr__(self) -> str:
        samples, problems = format_plural(self.n_samples, "sample"), format_plural(len(self.problems), "problem")
        return f"Inspection({self.data!r}): {samples} of {len(self.classes)} classes, {problems}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain({each.name: getattr(self, each.name) for each in fields(self) if each.name != "table"})


def inspect_data(
    data: str | os.PathLike[str] | pd.DataFrame,
    groups: Grouping | str | ArrayLike = "auto",
    *,
    decoder: str = "gaussian",
    random_state: int = 0,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    signature: Mapping[str, Any] | None = None,
    layout: Layout = "auto",
    keep_placeholders: bool = False,
    **poses: Any,
) -> Inspection:
    r"""Find the problems of a data set. Nothing is changed.

    Parameters
    ----------
    data : path-like or DataFrame
        A folder, ``<data>/<class>/<anything>.npy``, or a keypoint table, ``.csv``, ``.parquet`` or in memory, which is
        taken as it is: `decoder`, `layout` and `keep_placeholders` are for reading.
    groups : str, array_like of shape (N,) or Grouping, default "auto"
        Samples that belong together, see :func:`heatpose.resolve_groups`.
    decoder : str, default "gaussian"
        See :func:`heatpose.decode_heatmaps`.
    random_state : int, default 0
        For the folds by which labels are checked.
    n_jobs : int, optional
        Processors; by default all. Results do not depend on it.
    progress : callable, optional
        ``progress(done, total)``, in samples that were read, and then in checks, which can take longer.
    signature : mapping, optional
        The ``signature`` of a model's record, to compare the data with its training data; by default people are
        expected to stand.
    layout : {"auto", "class", "group/class"}, default "auto"
        For a folder: see :class:`heatpose.HeatmapFolder`.
    keep_placeholders : bool, default False
        For a table: see :func:`heatpose.read_table`.
    **poses
        Options of :func:`heatpose.read_poses`, such as ``skeleton``.

    Returns
    -------
    Inspection
        Bad files are among its problems.

    Raises
    ------
    FileNotFoundError
        There is nothing at `data`.
    TypeError
        A table in memory comes with options of :func:`heatpose.read_poses`.
    ValueError
        It is a table that cannot be read or is empty, `groups` leaves a sample without one, or `signature` is not of
        persons.

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
    expected = UPRIGHT if signature is None else Signature.from_dict(signature)
    if expected.keypoints != UPRIGHT.keypoints:
        raise ValueError(f"Expected a model of persons, got one of {', '.join(expected.keypoints[:3])}, ...")
    where = data if isinstance(data, pd.DataFrame) else local_path(data)
    frames = read_frames(where, decoder, n_jobs, progress, layout, keep_placeholders, poses)
    grouping = resolve_groups(frames.index, groups) if len(frames) else Grouping(np.array([], str), "none", "blocks")
    context = CheckContext(frames, grouping, random_state, n_jobs, expected)
    checks, problems = CHECKS if len(frames) else FILE_CHECKS, list[Problem]()
    progress = progress or (lambda done, total: None)
    progress(0, len(checks))
    for done, check in enumerate(checks, start=1):
        problems += check(context)
        progress(done, len(checks))
    problems.sort(key=lambda each: (_SEVERITIES.index(each.severity), _KINDS.index(each.kind), -each.score, each.paths))
    index = frames.index.assign(group=grouping.groups)
    return Inspection(
        data=redact(where) if isinstance(where, str) else "table",
        source=frames.source,
        n_files=len(frames.files),
        n_samples=len(frames),
        n_bytes=sum(math.prod(file.shape) * np.dtype(file.dtype).itemsize for file in frames.files),
        classes=tuple(
            ClassSummary(str(name), int(rows["path"].nunique()), len(rows), int(rows["group"].nunique()))
            for name, rows in index.groupby("label", sort=False)
        ),
        groups=grouping.description,
        n_groups=int(grouping.n_groups),
        shapes=dict(Counter(str(list(file.shape)) for file in frames.files).most_common()),
        dtypes=dict(Counter(file.dtype for file in frames.files).most_common()),
        values=_values(frames),
        keypoints=_keypoints(frames.keypoints),
        near_identical=context.near_identical,
        problems=tuple(problems),
        table=pd.concat([index, keypoint_frame(frames.keypoints)], axis=1).set_index(frames.names),
    )


def write_fix_list(inspection: Inspection, path: str | os.PathLike[str]) -> int:
    """Write problems as CSV, the most harmful first: path, kind, severity, score, message.

    Parameters
    ----------
    inspection : Inspection
        Of :func:`inspect_data`.
    path : path-like
        The file, which is replaced in one step.

    Returns
    -------
    int
        Number of rows: one for each file of each problem.
    """
    rows = [
        (file, problem.kind, problem.severity, f"{problem.score:.3f}", problem.message)
        for problem in inspection.problems
        for file in problem.paths
    ]
    table = pd.DataFrame(rows, columns=["path", "kind", "severity", "score", "message"])
    with whole_file(Path(path)) as file:
        file.write(table.to_csv(index=False, lineterminator="\n").encode())
    return len(rows)


def _values(frames: Frames) -> dict[str, float]:
    samples = frames.samples
    peaks = samples["keypoints"][..., 2][samples["keypoints"][..., 2] > 0]
    if not len(peaks):
        return dict.fromkeys(("lowest", "highest", "median_peak", "low_peak", "high_peak"), math.nan)
    low, median, high = np.quantile(peaks, [0.01, 0.5, 0.99]).tolist()
    lowest = math.nan if frames.source == "table" else float(samples["low"].min())
    highest = float(samples["high"].max())
    return {"lowest": lowest, "highest": highest, "median_peak": median, "low_peak": low, "high_peak": high}


def _keypoints(keypoints: np.ndarray) -> tuple[KeypointSummary, ...]:
    if not len(keypoints):
        return ()
    seen = ~np.isnan(mask_uncertain(keypoints, CLEARLY_VISIBLE)[..., 0])
    missing = np.isnan(keypoints[..., 0])
    return tuple(
        KeypointSummary(name, float(seen[:, k].mean()), float(missing[:, k].mean()), float(np.median(heights)))
        for k, (name, heights) in enumerate(zip(COCO_17.keypoints, keypoints[..., 2].T, strict=True))
    )
