"""Prediction of files: in the order given, in blocks, with all bad files reported together."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from heatpose.data.folder import ignored_data, media_advice
from heatpose.data.formats.arrays import holds_keypoints
from heatpose.data.npy import BadFile, BadFilesError, heatmap_parts
from heatpose.data.reading import count_workers
from heatpose.data.sources import HEATMAP_SUFFIX, has_suffix, list_files, open_source
from heatpose.data.storage import FOLDER, Storage, concurrently, file_name, is_url, join_url, local_path, redact
from heatpose.data.table import TABLE_SUFFIXES, is_pose_source, read_table, table_keypoints
from heatpose.model.checks import select_columns
from heatpose.model.estimators import PoseClassifier
from heatpose.model.inputs import before_last, heatmap_skeleton_of, input_of, shared_decoder, skeleton_of
from heatpose.model.openset import UNKNOWN, OpenSetMixin, predict_with_known
from heatpose.pose.geometry import mirror_keypoints
from heatpose.pose.skeleton import COCO_17, Skeleton

__all__ = ["Prediction", "list_pose_files", "mirror_table", "number_samples", "predict_files"]

logger = logging.getLogger(__name__)

_BLOCK = 256  # files classified together: 50 MB of heatmaps for a network on pixels
_SOME = 4  # heatmaps of a run that are handed on
_RUN = 16  # files that a thread reads and decodes together; larger runs are no faster

# The path of each sample, and what the classifier takes: keypoints (n, 51) or heatmaps (n, 17, H, W).
_Poses = tuple[list[str], np.ndarray]


class Prediction(NamedTuple):
    """Prediction of one sample.

    Parameters
    ----------
    path : str
        The file; for a keypoint table the path in its row, if there is one. Samples of one path are numbered from 0:
        ``clip.npy[3]``.
    label : str
        A class, or "unknown".
    confidence : float
        Probability of the most probable class; where "unknown" is enabled, that the pose is known and of this class,
        to which the model's threshold applies.
    """

    path: str
    label: str
    confidence: float


def predict_files(
    pipeline: Pipeline,
    paths: Iterable[str | os.PathLike[str]],
    *,
    mirrored: bool = False,
    unknown: bool = False,
    skip_bad: bool = False,
    rows: Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
    progress: Callable[[int, int], object] | None = None,
    on_poses: Callable[[np.ndarray, list[np.ndarray], np.ndarray | None], object] | None = None,
) -> Iterator[Prediction]:
    """Predict the classes of the poses in files.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted, from heatmaps to class names; see :func:`heatpose.load_model`.
    paths : iterable of path-like
        See :func:`list_pose_files`.
    mirrored : bool, default False
        The pictures come from a selfie camera, which shows a mirror image: keypoints are mirrored back first.
    unknown : bool, default False
        Predict "unknown" where the confidence is below the model's threshold; see
        :meth:`heatpose.PoseClassifier.predict_or_unknown`.
    skip_bad : bool, default False
        Leave bad files out and log their number.
    rows : mapping, optional
        Options of :func:`heatpose.read_table` for keypoint tables and poses of other tools; its notes are logged.
    n_jobs : int, optional
        Threads that read and decode; by default one for each processor. Results do not depend on it.
    progress : callable, optional
        ``progress(done, total)`` in files, called from the calling thread.
    on_poses : callable, optional
        Called with the samples of each block as the model sees them, keypoints (n, 51) or heatmaps (n, 17, H, W), some
        of its heatmaps as they were read, (1, 17, H, W) each, and whether the confidence of each sample is below the
        model's threshold, (n,), or None if it has none.

    Yields
    ------
    Prediction
        One for each sample, in the order of the files and within each of its samples.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`list_pose_files`, before anything is read; or the model has no "unknown".
    BadFilesError
        After the last prediction: some files could not be used, and `skip_bad` is not set.
    """
    if unknown and not hasattr(pipeline[-1], "predict_or_unknown"):
        raise ValueError(
            f"Expected a model that ends in a PoseClassifier for unknown, got {type(pipeline[-1]).__name__}."
        )
    files = list_pose_files(paths)
    rows = {"labelled": False, "skip_bad": skip_bad, **(rows or {})}
    bad: list[BadFile] = []
    notes: dict[str, object] = {}
    with ThreadPoolExecutor(count_workers(n_jobs)) as pool:
        for start in range(0, len(files), _BLOCK):
            block = files[start : start + _BLOCK]
            runs = [block[first : first + _RUN] for first in range(0, len(block), _RUN)]
            names, poses, heatmaps = [], [], list[np.ndarray]()
            for results, some in pool.map(lambda run: _load(pipeline, run, rows, notes), runs):
                heatmaps += some
                for result in results:
                    if isinstance(result, BadFile):
                        bad.append(result)
                    else:
                        names += result[0]
                        poses.append(result[1])
            if names:
                samples = np.concatenate(poses)
                if mirrored:
                    samples = input_of(pipeline).mirror(samples, skeleton_of(pipeline))
                labels, confidences, is_unsure = _predict(pipeline, samples, unknown)
                if on_poses is not None:
                    on_poses(samples, heatmaps, is_unsure)
                yield from map(Prediction, names, map(str, labels), confidences.tolist())
            if progress is not None:
                progress(start + len(block), len(files))
    if bad and not skip_bad:
        raise BadFilesError(bad)
    if bad:
        logger.warning("Left out %d bad file%s of %d", len(bad), "s" if len(bad) > 1 else "", len(files))


def list_pose_files(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """List files of poses, folders replaced by the files in them.

    Parameters
    ----------
    paths : iterable of path-like
        Heatmaps (.npy), keypoint tables (.csv, .parquet) and folders of heatmaps at any depth, or their URLs; files
        and folders of other tools, see `heatpose.read_poses`. Hidden files and folders in a folder of heatmaps are
        ignored, as are files that do not end in .npy.

    Returns
    -------
    list of str
        In the order given, within a folder in natural order (frame 9 before frame 10).

    Raises
    ------
    FileNotFoundError
        A path does not exist.
    ValueError
        A file is neither heatmaps, a table nor another tool's, a folder has no heatmaps, or no path was given.

    Examples
    --------
    >>> import tempfile
    >>> root = tempfile.mkdtemp()
    >>> for name in ("up_10.npy", "up_9.npy", "notes.txt"):
    ...     Path(root, name).touch()
    >>> [Path(file).name for file in list_pose_files([root])]
    ['up_9.npy', 'up_10.npy']
    """
    names = [local_path(path) for path in paths]
    if not names:
        raise ValueError("Expected at least one path, got none.")
    if missing := [name for name in names if not is_url(name) and not Path(name).exists()]:
        raise FileNotFoundError(f"No such file or folder: {', '.join(missing)}")
    files = []
    for name in names:
        if not is_url(name) and is_pose_source(name):  # also single .npy files
            files.append(name)
        elif Storage(name).kind() == FOLDER if is_url(name) else Path(name).is_dir():
            listing = list_files(open_source(name))
            for note in ignored_data(listing, redact(name)):
                logger.warning("%s", note, extra={"kind": "Note"})
            if not listing.files:
                raise ValueError(f"Expected {HEATMAP_SUFFIX} files in {redact(name)}, got none.")
            # As it was given: Path would strip a leading ./
            join = join_url if is_url(name) else os.path.join
            files += [join(name, file.path) for file in listing.files]
        elif has_suffix(file_name(name), kinds := (HEATMAP_SUFFIX, *TABLE_SUFFIXES)):
            files.append(name)
        else:
            raise ValueError(
                f"Expected folders or files that end in {', '.join(kinds)}, or poses of another tool, got "
                f"{redact(name)}.{media_advice(name)}"
            )
    return files


def mirror_table(table: pd.DataFrame, skeleton: Skeleton = COCO_17) -> pd.DataFrame:
    """Mirror the keypoints of a table, see :func:`heatpose.pose.geometry.mirror_keypoints`.

    Parameters
    ----------
    table : DataFrame
        Keypoint table.
    skeleton : Skeleton
        Of the keypoints.

    Returns
    -------
    DataFrame
        A copy; columns other than the keypoints are unchanged.
    """
    mirrored = mirror_keypoints(table_keypoints(table, skeleton), skeleton)
    return table.assign(**dict(zip(skeleton.columns, mirrored.reshape(len(table), -1).T, strict=True)))


def _load(
    pipeline: Pipeline, files: Sequence[str], rows: Mapping[str, Any], notes: dict[str, object]
) -> tuple[list[_Poses | BadFile], list[np.ndarray]]:
    """Read files, and decode the heatmaps of small files together; return also a few of these, (1, K, H, W) each."""
    results: list[_Poses | BadFile] = []
    some: list[np.ndarray] = []

    def read(file: str) -> tuple[str, Any]:
        return file, _read(file, pipeline, rows, notes, some)

    def shape_of(file_and_part: tuple[str, Any]) -> tuple[Any, ...]:
        """Return what files that are decoded together share; those of many samples are decoded alone."""
        file, part = file_and_part
        return (part.shape[1:], None if len(part) < _RUN else file) if isinstance(part, np.ndarray) else ()

    reads = (concurrently if any(map(is_url, files)) else map)(read, files)
    for shape, group in groupby(reads, shape_of):
        together = list(group)
        if shape:
            heatmaps = np.concatenate([part for _, part in together])
            some += [heatmaps[row : row + 1].copy() for row in range(0, len(heatmaps), -(-len(heatmaps) // _SOME))]
            names = (number_samples([redact(file)] * len(part), range(len(part))) for file, part in together)
            results.append((list(chain.from_iterable(names)), pipeline[0].transform(heatmaps)))
        else:
            results += chain.from_iterable(part for _, part in together)
    return results, some


def _read(
    file: str, pipeline: Pipeline, rows: Mapping[str, Any], notes: dict[str, object], some: list[np.ndarray]
) -> np.ndarray | list[_Poses] | list[BadFile]:
    """Read heatmaps (n, 17, H, W) from a file, or the poses of a large one or a table; BadFile where that fails."""
    shown = redact(file)
    try:
        file.encode()  # names can be bytes that are no UTF-8, which a table cannot hold
        is_plain = not rows.keys() & {"format", "skeleton", "image_size"}  # else how to read it is said
        if has_suffix(file_name(file)) and is_plain:
            parts = heatmap_parts(file, _BLOCK, n_keypoints=len(heatmap_skeleton_of(pipeline).keypoints))
            try:
                heatmaps = next(parts)
            except BadFilesError:
                if is_url(file) or not holds_keypoints(Path(file)):
                    raise
            else:
                input_of(pipeline).check_read(pipeline, heatmaps.shape[1:])
                if len(heatmaps) < _BLOCK:
                    return heatmaps
                decoded = []
                for part in chain([heatmaps], parts):  # never all at once: a file can be larger than the memory
                    some.append(part[:1].copy())
                    decoded.append(pipeline[0].transform(part))
                poses = np.concatenate(decoded)
                return [(number_samples([shown] * len(poses), range(len(poses))), poses)]
        input_of(pipeline).check_read(pipeline, None)
        if (source := heatmap_skeleton_of(pipeline)) != COCO_17:
            rows = {"skeleton": source, **rows}
        table = read_table(file, decoder=shared_decoder(pipeline), **rows)
        for note in table.attrs.get("notes", ()):
            # Once, though each file of a folder may have it, in any thread: setdefault is atomic.
            if notes.setdefault(note, mine := object()) is mine:
                logger.warning("%s", note, extra={"kind": "Note"})  # what heatpose.cli prints before it
        numbers = table["sample"].where(table["path"].notna(), np.arange(len(table)))
        return [
            (
                number_samples(table["path"].replace(file_name(file), shown).fillna(shown).tolist(), numbers),
                select_columns(table, skeleton_of(pipeline)).astype(np.float32),
            )
        ]
    except UnicodeEncodeError:
        return [BadFile(file.encode(errors="backslashreplace").decode(), "expected a name in UTF-8")]
    except BadFilesError as error:
        inside = not is_url(file) and Path(file).is_dir()
        return [BadFile(f"{shown}/{bad.path}" if inside else shown, bad.reason) for bad in error.bad_files]
    except (ValueError, OSError) as error:
        return [BadFile(shown, str(error))]


def number_samples(names: Sequence[str], numbers: Iterable[int]) -> list[str]:
    """Return names of samples, with their numbers where several share a name."""
    counts = Counter(names)
    return [f"{name}[{number}]" if counts[name] > 1 else name for name, number in zip(names, numbers, strict=True)]


def _predict(
    pipeline: Pipeline, samples: np.ndarray, unknown: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Return labels (n,), confidences (n,), and which a threshold makes unknown, (n,), or None without a threshold."""
    samples, model = before_last(pipeline, samples)
    if unknown:
        labels, confidences = model.predict_or_unknown(samples, return_confidence=True)
        return labels, confidences, labels == UNKNOWN
    probabilities, known = predict_with_known(model, samples)
    labels, confidences = model.classes_[probabilities.argmax(axis=1)], probabilities.max(axis=1)
    is_unsure = known * confidences < model.threshold if isinstance(model, OpenSetMixin) else None
    if isinstance(model, PoseClassifier):
        confidences[~model.has_body(samples)] = 0
    return labels, confidences, is_unsure
