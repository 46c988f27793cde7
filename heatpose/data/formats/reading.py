"""Read poses of other tools as a keypoint table."""

from __future__ import annotations

import itertools
import logging
import os
import re
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from heatpose.data.columns import settle_keypoints
from heatpose.data.delimited import read_columns, text_encoding
from heatpose.data.folder import PARTS
from heatpose.data.formats.arrays import ARRAYS
from heatpose.data.formats.coco import ALPHAPOSE, COCO, COCO_RESULTS
from heatpose.data.formats.columns import MEDIAPIPE_CSV, MOVENET
from heatpose.data.formats.deeplabcut import DEEPLABCUT
from heatpose.data.formats.mediapipe import MEDIAPIPE
from heatpose.data.formats.mmpose import MMPOSE
from heatpose.data.formats.ntu import NTU
from heatpose.data.formats.openpose import OPENPOSE
from heatpose.data.formats.pyskl import PYSKL
from heatpose.data.formats.sleap import SLEAP
from heatpose.data.formats.source import Format, Poses, Source
from heatpose.data.formats.vitpose import EASY_VITPOSE
from heatpose.data.formats.yolo import ULTRALYTICS, YOLO
from heatpose.data.sources import walk_files
from heatpose.data.wording import format_plural, some_names
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import coco_names, find_skeleton, pick_keypoints, skeletons_of, table_skeleton

__all__ = ["FORMATS", "find_format", "looks_foreign", "read_labelled", "read_poses"]

logger = logging.getLogger(__name__)

_IN_JSON = (COCO, COCO_RESULTS, OPENPOSE, ALPHAPOSE, MMPOSE, EASY_VITPOSE, ULTRALYTICS, MEDIAPIPE)
_OTHERS = (YOLO, MEDIAPIPE_CSV, MOVENET, ARRAYS, PYSKL, NTU, DEEPLABCUT, SLEAP)
FORMATS: dict[str, Format] = {found.name: found for found in (*_IN_JSON, *_OTHERS)}
"""All formats by name."""

_SUFFIXES = tuple(sorted({suffix for found in FORMATS.values() for suffix in found.suffixes}))

_CANDIDATES = ("video", "track", "person", "image")
"""Columns that can group samples, the widest first."""


def read_poses(
    source: str | os.PathLike,
    format: str = "auto",
    *,
    skeleton: str | Skeleton | None = None,
    image_size: tuple[int, int] | None = None,
    labels: str | os.PathLike | ArrayLike | None = None,
    people: Literal["largest", "all"] = "largest",
    group: str = "auto",
    skip_bad: bool = False,
    keep_placeholders: bool = False,
    decoder: str = "gaussian",
) -> pd.DataFrame:
    """Read poses of another tool into a keypoint table.

    Parameters
    ----------
    source : path-like or str
        A file, or a folder of files of one format. Folders below it are classes unless labels come from elsewhere.
    format : str, default "auto"
        A name in :data:`FORMATS`; by default found from the content.
    skeleton : str or Skeleton, optional
        The order of the keypoints, a name in `heatpose.SKELETONS`; needed where their number fits several.
    image_size : (int, int), optional
        Width and height of the images in pixels: needed where x and y are fractions of them.
    labels : path-like, str or array_like, optional
        ``"folder"``: the first folder below ``source``. A CSV with the columns ``path`` and ``label``; a path is that
        of a frame or of its video, and can be a name without folder or suffix. A ``.npy`` or ``.txt`` file, or an
        array: one label a frame, or one a pose.
        ``"none"``: no labels.
        By default the labels in the files, else the folders.
    people : {"largest", "all"}, default "largest"
        Which poses of a frame to keep; the size of a person is that of the box around the keypoints.
    group : str, default "auto"
        The column that becomes ``group``: ``video``, ``track``, ``person`` or ``image``, or ``none``. By default the
        person if each video shows one, else the first of video, track and person; those that have several values,
        and several of each label.
    skip_bad : bool, default False
        Leave out files that cannot be read; a note counts them.
    keep_placeholders : bool, default False
        Take keypoints at (0, 0), (-1, -1) and the like as they are, instead of as missing: those of
        :func:`heatpose.pose.checks.find_placeholders`, and where no pose has confidences, each at exactly (0, 0).
    decoder : str, default "gaussian"
        For arrays of heatmaps: how to decode, see `heatpose.decode_heatmaps`.

    Returns
    -------
    DataFrame
        A row a pose: ``path``, ``sample``, ``label``, ``group``, the 51 keypoint columns in pixels, and those of
        ``video``, ``track``, ``person`` and ``image`` that the format knows. ``sample`` is the position of the frame
        among those that the files have of its path, from 0; with all people that of the pose. ``table.attrs["notes"]``
        lists what was chosen or left out, in lines.

    Raises
    ------
    FileNotFoundError
        There is nothing at ``source``.
    ValueError
        The format is not known or ambiguous, files are damaged (a BadFilesError lists all), or an argument is
        needed because the files lack the information.

    Examples
    --------
    >>> table = read_poses("person_keypoints.json", format="coco")  # doctest: +SKIP
    """
    if people not in ("largest", "all"):
        raise ValueError(f"Expected people to be 'largest' or 'all', got {people!r}.")
    if group not in ("auto", "none", *_CANDIDATES):
        raise ValueError(f"Expected group to be auto, none, {', '.join(_CANDIDATES)}, got {group!r}.")
    found, opened = find_format(source, format, labels if isinstance(labels, str | os.PathLike) else "")
    poses = Poses(decoder)
    opened.read(found.read, poses, skip_bad)
    n_frames = format_plural(len(poses.frames), "frame")
    notes = [f"Read {found.title}: {format_plural(len(poses.poses), 'pose')} in {n_frames}."]
    notes += [
        re.sub("{(.+)}", lambda noun: format_plural(count, noun[1]), f"{text}.")  # noqa: B023 (called at once)
        for text, count in poses.notes.items()
    ]
    if opened.others:
        notes.append(f"Left out {format_plural(len(opened.others), 'other file')}, such as {opened.others[0]}.")
    if not poses.poses:
        raise ValueError(f"Expected poses in {source}, got none in {n_frames}.")
    table = _facts(poses, opened)
    own = COCO_17 if skeleton is None else table_skeleton(find_skeleton(skeleton))
    numbers = poses.keypoints()
    confidence = numbers[..., 2]
    if not keep_placeholders:
        _hide_origin(numbers, notes)
    if n_equal := int((((confidence == 1) | ~(confidence > 0)).all(axis=1) & (confidence == 1).any(axis=1)).sum()):
        notes.append(f"{format_plural(n_equal, 'pose')} without confidences: each keypoint that is there has 1.")
    numbers = _to_coco(numbers, poses, found, skeleton, notes)
    sizes = table[["width", "height"]].astype(float).to_numpy() if found.unit != "pixels" else np.zeros((1, 2))
    notes += settle_keypoints(
        numbers,
        str(source),
        image_size,
        keep_placeholders,
        sizes=sizes if (sizes > 0).all() else None,
        fractions=found.unit == "fractions",
        skeleton=own,
    )
    _set_labels(table, labels, opened, len(poses.frames), notes)
    table["label"] = table["label"].mask(table["label"].str.strip() == "")
    kept = _choose(numbers, table, people, len(poses.frames), notes)
    if not len(kept):
        raise ValueError(
            f"Expected poses with keypoints of COCO-17 in {source}, got none; --skeleton NAME (skeleton=) names their "
            f"order. {' '.join(notes)}"
        )
    table = table.iloc[kept].reset_index(drop=True)
    if people == "all":  # whose poses share frames
        table["sample"] = table.groupby("path", sort=False, dropna=False).cumcount()
    _set_group(table, group, notes)
    columns = ["path", "sample", "label", "group"]
    ids = [name for name in _CANDIDATES if table[name].notna().any()]
    values = pd.DataFrame(numbers[kept].reshape(len(kept), -1), columns=list(own.columns))
    result = pd.concat([table[columns], values, table[ids]], axis=1)
    result.attrs["notes"] = notes
    for note in notes:
        logger.info("%s", note)
    return result


def find_format(
    source: str | os.PathLike, format: str = "auto", labels: str | os.PathLike = ""
) -> tuple[Format, Source]:
    """Return the format of a source, and the source opened with the files of it, without that of the labels.

    Raises
    ------
    FileNotFoundError
        There is nothing at ``source``.
    ValueError
        There is no format of that name, or the content fits none or several.
    """
    if format not in ("auto", *FORMATS):
        raise ValueError(f"Expected a format out of auto, {', '.join(FORMATS)}, got {format!r}.")
    everything = Source(source)
    everything.files = [
        name
        for name in everything.files
        if PurePosixPath(name).name != Path(labels).name or not everything.folder.joinpath(name).samefile(labels)
    ]
    by_suffix = {suffix: part for suffix in _SUFFIXES if (part := everything.of_suffix(suffix)).files}
    fits = [
        (candidate, by_suffix[suffix])
        for candidate in (FORMATS.values() if format == "auto" else [FORMATS[format]])
        for suffix in candidate.suffixes
        if suffix in by_suffix and (format != "auto" or candidate.fits(by_suffix[suffix]))
    ]
    if len({candidate.name for candidate, _ in fits}) == 1:  # the same poses in two kinds of files: the first
        return fits[0]
    if fits:
        names = ", ".join(f"{candidate.name} ({opened.files[0]})" for candidate, opened in fits)
        raise ValueError(
            f"Expected poses of one format in {source}, got several: {names}. Give --format NAME (format=)."
        )
    if format != "auto":
        raise ValueError(f"Expected {' or '.join(FORMATS[format].suffixes)} files in {source}, got none.")
    if not by_suffix:
        found = some_names(sorted({PurePosixPath(name).suffix for name in everything.files})) or "no file"
        raise ValueError(f"Expected poses in {', '.join(_SUFFIXES)} files in {source}, got {found}.")
    looks = "; ".join(map(_look, by_suffix.values()))
    raise ValueError(
        f"Expected poses in a known format ({', '.join(FORMATS)}), got {looks} in {source}. If it is one, give "
        "--format NAME (format=); else write a .npy of x, y and confidence, (n, K, 3)."
    )


def _look(source: Source) -> str:
    """Describe the first file of a source that fits no format."""
    name = source.files[0]
    if name.lower().endswith(".json"):
        content = source.peek()
        if isinstance(content, list) and content:
            content = content[0]
        if isinstance(content, dict):
            return f"JSON with {', '.join(map(repr, list(content)[:6])) or 'nothing'} ({name})"
        return f"{'JSON without objects' if content is not None else 'a file that is not JSON'} ({name})"
    head = source.head().partition("\n")[0][:60]
    look = "a binary file" if "\0" in head else repr(head)
    return f"{look} ({name})"


def looks_foreign(path: Path) -> bool:
    """Tell another tool's poses from heatmaps in class folders and keypoint tables, by names and columns alone."""
    if path.is_dir():
        foreign = False
        for name in map(str.lower, walk_files(path)):
            if name.endswith(".npy"):  # heatmaps, whatever lies beside them, such as clips.csv
                return False
            foreign = foreign or name.endswith(_SUFFIXES)
        return foreign
    if path.suffix.lower() == ".csv":
        header = Source(path).head() if path.is_file() else ""
        if "_confidence" in header.partition("\n")[0]:
            return False
        return bool(header) and any(found.fits(Source(path)) for found in (MEDIAPIPE_CSV, MOVENET, DEEPLABCUT))
    return path.name.lower().endswith(_SUFFIXES)


def read_labelled(source: str | os.PathLike, *, labelled: bool = True, **options: Any) -> pd.DataFrame:
    """Read poses of another tool with the columns of `heatpose.read_table`; ValueError where a label is missing.

    Parameters
    ----------
    source : path-like or str
        See `read_poses`.
    labelled : bool, default True
        Whether every pose needs a label; without, none is read.
    **options
        Of `read_poses`.

    Returns
    -------
    DataFrame
        As from `heatpose.read_table`, with the notes of `read_poses`.
    """
    table = read_poses(source, **(options if labelled else {"labels": "none", **options}))
    if labelled and (unlabelled := int(table["label"].isna().sum())):
        ignored = [note for note in table.attrs["notes"] if note.startswith("Ignored")]
        raise ValueError(
            f"Expected a label for every pose of {source}, got none for {unlabelled:,} of {len(table):,}; put the "
            "files into a folder for each class, call a table's column label, or give --labels FILE (labels=). "
            f"{' '.join(ignored)}".rstrip()
        )
    return table.drop(columns=[name for name in _CANDIDATES if name in table])


def _facts(poses: Poses, source: Source) -> pd.DataFrame:
    """Return what is known of each pose: path, label, frame, the candidates for groups, and sizes."""
    frames = pd.DataFrame(poses.frames, columns=Poses.FRAME_FACTS, dtype=object)
    frames["file"] = np.array(source.files, dtype=object)[frames["file"].to_numpy(dtype=np.intp)]
    inside = [name.rpartition("/")[0] or "." for name in source.files]
    frames["path"] = frames["path"].where(frames["path"].notna(), frames["file"])
    if set(inside) != {"."}:
        parents = frames["file"].str.rpartition("/")[0].replace("", ".")
        frames["path"] = [
            str(path if str(path).startswith(f"{parent}/") else PurePosixPath(parent, str(path)))
            for parent, path in zip(parents, frames["path"], strict=True)
        ]
    frames["sample"] = frames.groupby("path", sort=False, dropna=False).cumcount()
    table = pd.DataFrame(poses.poses, columns=Poses.POSE_FACTS, dtype=object)
    table["frame"] = table["frame"].astype(np.intp)
    of_frame = frames.iloc[table["frame"]].reset_index(drop=True)
    table["label"] = table["label"].where(table["label"].notna(), of_frame.pop("label"))
    table = pd.concat([of_frame, table], axis=1)
    if table["video"].isna().all() and len({len(PurePosixPath(name).parts) for name in source.files}) == 1:
        folders = [name for name in dict.fromkeys(inside) if "/" in name]
        if len(folders) > 1 and len(folders) == len(set(inside)):  # <class>/<video>/<frame>
            table["video"] = [str(PurePosixPath(file).parent) for file in table["file"]]
    table = table.astype(dict.fromkeys(("path", "label", *_CANDIDATES), "string"))
    if table["video"].notna().any():  # tracks are counted within one
        table["track"] = table["video"].fillna("") + "#" + table["track"]
    return table


def _hide_origin(numbers: np.ndarray, notes: list[str]) -> None:
    """Set the confidence of keypoints at exactly (0, 0) to 0, in place, where no pose has confidences.

    The origin is a position where coordinates are negative, measured from a body, or where that of each pose is the
    corner of its box.
    """
    confidence, zero = numbers[..., 2], numbers[..., :2] == 0
    missing = zero.all(axis=-1) & (confidence == 1)
    boxed = zero.any(axis=-2).all() and (zero[..., 0] != zero[..., 1]).any()
    bare = ((confidence == 1) | ~(confidence > 0)).all()
    if missing.any() and bare and not boxed and not (numbers[..., :2] < 0).any():
        confidence[missing] = 0
        notes.append(
            f"{format_plural(int(missing.sum()), 'keypoint')} at exactly (0, 0), without a confidence: taken as "
            "missing. --keep-placeholders (keep_placeholders=True) keeps them."
        )


def _to_coco(
    numbers: np.ndarray, poses: Poses, found: Format, skeleton: str | Skeleton | None, notes: list[str]
) -> np.ndarray:
    """Return the keypoints of COCO-17, by the names in the files or by the skeleton of their number."""
    n_keypoints = numbers.shape[1]
    numbered = [int(name) for name in poses.names or () if name.isdecimal()]
    if skeleton is not None:
        chosen = find_skeleton(skeleton)
        first = min(numbered, default=0)
        if len(numbered) == n_keypoints and n_keypoints + min(first, 1) <= max(numbered) < len(chosen.keypoints):
            notes.append(f"{n_keypoints} keypoints of {chosen.name}, by their numbers from 0.")
            return pick_keypoints(numbers, [chosen.keypoints[number] for number in numbered], table_skeleton(chosen))
        if len(chosen.keypoints) != n_keypoints:
            fits = ", ".join(skeletons_of(n_keypoints)) or "none"
            raise ValueError(
                f"Expected {len(chosen.keypoints)} keypoints for {chosen.name}, got {n_keypoints}; of that number: "
                f"{fits}."
            )
        order = dict(zip(coco_names(chosen.keypoints), chosen.keypoints, strict=True))
        for name, coco, own in zip(poses.names or (), coco_names(poses.names or ()), chosen.keypoints, strict=False):
            if coco is not None and order.get(coco, own) != own:
                raise ValueError(f"Expected the keypoints of {chosen.name} in its order, got {name} in place of {own}.")
        return pick_keypoints(numbers, chosen.keypoints, table_skeleton(chosen))
    if poses.names is not None:
        names = coco_names(poses.names)
        if sum(name is not None for name in names) > len(names) // 4 and len(names) == n_keypoints:
            if lost := [name for name in COCO_17.keypoints if name not in names]:
                notes.append(f"Its keypoints have no {', '.join(lost)}: {', '.join(poses.names)[:120]}.")
            return pick_keypoints(numbers, names)
    known = [name for name in found.skeletons if len(find_skeleton(name).keypoints) == n_keypoints]
    if len(known) != 1:
        own = "none, or that in which they have these numbers" if numbered else "none"
        own += " (in Python skeleton= takes a Skeleton of your own)"
        fits = ", ".join(known or skeletons_of(n_keypoints)) or own
        raise ValueError(
            f"Expected keypoints of a skeleton that {found.title} has ({', '.join(found.skeletons)}), got "
            f"{n_keypoints} a pose; give --skeleton NAME (skeleton=), of that number: {fits}."
        )
    # A tool that writes one skeleton leaves no doubt.
    alike = skeletons_of(n_keypoints) if len(found.skeletons) > 1 else ()
    others = " or ".join(name for name in alike if name != known[0])
    notes.append(f"{n_keypoints} keypoints: {known[0]}{others and f'; if {others}, give --skeleton NAME (skeleton=)'}.")
    return pick_keypoints(numbers, find_skeleton(known[0]).keypoints)


def _choose(numbers: np.ndarray, table: pd.DataFrame, people: str, n_frames: int, notes: list[str]) -> np.ndarray:
    """Return the rows to keep: poses with a keypoint, and of each frame all or the largest."""
    visible = numbers[..., 2] > 0
    kept = np.flatnonzero(visible.any(axis=1))
    frames = table["frame"].to_numpy()[kept]
    if lost := len(numbers) - len(kept):
        notes.append(f"Left out {format_plural(lost, 'pose')} without any keypoint of COCO-17.")
    unique, counts = np.unique(frames, return_counts=True)
    if empty := n_frames - len(unique):
        notes.append(f"Left out {format_plural(empty, 'frame')} without a person.")
    several = int((counts > 1).sum())
    if not several:
        return kept
    if people == "all":
        notes.append(f"Several people in {format_plural(several, 'frame')}: all were kept.")
        return kept
    area = table["area"].astype(float).to_numpy()[kept]
    if np.isnan(area).any():
        xy, seen = numbers[kept, :, :2].astype(float), visible[kept, :, None]
        box = np.where(seen, xy, -np.inf).max(axis=1) - np.where(seen, xy, np.inf).min(axis=1)
        area = box.prod(axis=1)
    notes.append(
        f"Several people in {format_plural(several, 'frame')}: the largest was kept; heatpose convert --people all "
        "(people='all') keeps all."
    )
    return kept[np.sort(pd.Series(area).groupby(frames).idxmax())]


def _set_labels(
    table: pd.DataFrame, labels: str | os.PathLike | ArrayLike | None, source: Source, n_frames: int, notes: list[str]
) -> None:
    """Fill the column label."""
    folders = table["file"].str.partition("/")[0].where(table["file"].str.contains("/"))
    if labels is None:
        if table["label"].isna().all() and (beside := _labels_beside(source)) is not None:
            notes.append(f"Labels: {beside.name}.")
            labels = beside
        elif _several(table["label"]):
            notes.append("Labels: from the files.")
        elif source.is_folder and folders.notna().all() and _several(folders):
            if all(map(PARTS.fullmatch, names := folders.unique().tolist())):
                raise ValueError(
                    f"Expected a folder for each class in {source.root}, got parts of a split "
                    f"({', '.join(names)}): give one of them as DATA, or --labels FILE (labels=), none or, if they "
                    "are classes, folder."
                )
            notes.append("Labels: the folders.")
            labels = "folder"
    if labels is None:
        return
    if isinstance(labels, str) and labels == "none":
        table["label"] = _none(table)
        return
    if isinstance(labels, str) and labels == "folder":
        if folders.isna().any():
            raise ValueError(f"Expected folders named after the classes in {source.root}, got files beside them.")
        table["label"] = folders.astype("string")
        return
    if not isinstance(labels, str | os.PathLike):
        values = np.asarray(labels)
    elif not (file := Path(labels)).is_file():
        raise FileNotFoundError(f"No such file of labels: {labels}")
    elif (suffix := file.suffix.lower()) == ".csv":
        given, name = read_columns(file, "labels", ("label",), dtype=str, keep_default_na=False)
        if list(given) != ["label"]:  # the names of others may be in another order than the frames
            table["label"] = _match(table, given, name)
            return
        values = given["label"].to_numpy()
    elif suffix in (".npy", ".txt"):
        content = file.read_bytes()
        try:
            if suffix == ".npy":
                values = np.load(BytesIO(content), allow_pickle=False)
            else:
                values = np.array(content.decode(text_encoding(content)).splitlines())
        except ValueError as error:  # also of Python objects, such as a column of a DataFrame
            raise ValueError(
                f"Expected text or numbers as labels in {file}, in UTF-8 or saved with labels.astype(str): {error}"
            ) from error
    else:
        raise ValueError(f"Expected labels in a .csv, .npy or .txt file, got {file}.")
    if values.ndim != 1 or len(values) not in (len(table), n_frames):
        raise ValueError(
            f"Expected one label for each of {format_plural(n_frames, 'frame')} or "
            f"{format_plural(len(table), 'pose')}, got an array of shape {values.shape}."
        )
    if len(values) == n_frames:
        values = values[table["frame"].to_numpy()]
    table["label"] = pd.Series(values, index=table.index).astype("string")


def _labels_beside(source: Source) -> Path | None:
    """Return the labels that lie beside an array: ``labels`` or ``<name>_labels``, as .npy, .csv or .txt."""
    if source.is_folder or source.root.suffix.lower() != ".npy":
        return None
    stems = f"{source.root.stem}_labels", "labels"
    names = [f"{stem}{suffix}" for stem in stems for suffix in (".npy", ".csv", ".txt")]
    return next((path for name in names if (path := source.folder / name).is_file() and path != source.root), None)


def _match(table: pd.DataFrame, given: pd.DataFrame, file: str) -> pd.Series:
    """Return the label of each path, else of each video: by the whole of it, its name, or its name without suffix."""
    if "path" not in given:
        raise ValueError(f"Expected columns path, label in {file}, or label alone, got {some_names(given.columns)}.")
    labels = given.set_index(given["path"].str.replace("\\", "/"))["label"]
    for column, part in itertools.product(("path", "video"), ("", "name", "stem")):
        known = labels.set_axis(pd.Index([_part(path, part) for path in labels.index], name="path"))
        known = known[~known.reset_index().duplicated().to_numpy()]
        wanted = table[column].dropna()
        if len(wanted) == len(table) and known.index.is_unique:
            meant = {path: _part(path, part) for path in wanted.unique()}
            found = wanted.map(meant).map(known)
            if found.notna().all() and len(set(meant.values())) == len(meant):  # a name of several says nothing
                return found.astype("string")
    lost = table["path"][~table["path"].isin(labels.index[~labels.index.duplicated(keep=False)])]
    raise ValueError(
        f"Expected one label for each path or video in {file}, got none or several for {len(lost):,}, such as "
        f"{lost.iloc[0]}."
    )


def _part(path: str, part: str) -> str:
    path = path.replace("\\", "/")
    return getattr(PurePosixPath(path), part) if part else path


def _set_group(table: pd.DataFrame, group: str, notes: list[str]) -> None:
    """Fill the column group out of the candidates."""
    several = [name for name in _CANDIDATES if _several(table[name]) and table[name].notna().all()]
    # A split needs two groups of each class: one film a class is no group.
    automatic = [name for name in several if name != "image" and table.groupby("label")[name].nunique().ne(1).all()]
    if {"video", "person"} <= {*automatic} and table.groupby("video")["person"].nunique().eq(1).all():
        automatic = ["person"]  # whose other clips, or cameras, would be in training
    chosen = (automatic[0] if automatic else "none") if group == "auto" else group
    if chosen == "none":
        table["group"] = _none(table)
    elif not table[chosen].notna().all():
        raise ValueError(
            f"Expected a {chosen} of every pose to group by, got none of some; known: "
            f"{', '.join(several) or 'nothing'}."
        )
    else:  # the same person or day can have a folder of one name in that of each class
        pairs = zip(table[chosen], table["label"].fillna(""), strict=True)
        table["group"] = pd.Series([name.removeprefix(f"{label}/") for name, label in pairs], table.index, "string")
    used = chosen if chosen == "none" else f"{chosen} ({table['group'].nunique():,})"
    if group == "auto" and chosen == "none" and (single := [name for name in several if name != "image"]):
        used += f", since some class has only one {single[0]}"
    others = " or ".join(name for name in several if name != chosen)
    notes.append(f"Groups: {used}{others and f'; {others} can be chosen by heatpose convert --groups (group=)'}.")


def _none(table: pd.DataFrame) -> pd.Series:
    return pd.Series(pd.NA, table.index, "string")


def _several(column: pd.Series) -> bool:
    return len(column.dropna().unique()) > 1
