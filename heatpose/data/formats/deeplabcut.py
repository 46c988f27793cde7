"""DeepLabCut and LightningPose: a table with rows of headers, as ``.csv`` or in ``.h5``."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from heatpose.data.delimited import read_delimited
from heatpose.data.formats.hdf5 import is_pytables, read_apart
from heatpose.data.formats.source import Format, Poses, Source
from heatpose.data.plain_pickle import load_plain

__all__ = ["DEEPLABCUT", "read_hdf5"]

_PARTS = ("x", "y", "likelihood")
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def _sniff(source: Source) -> bool:
    if source.files[0].lower().endswith(".csv"):
        return source.head().startswith(("scorer,", "scorer;", "scorer\t"))
    return is_pytables(source)


def _read(source: Source, file: int, poses: Poses) -> None:
    path, video = source.path(file), _video(source, file)
    if file and _video(source, file - 1) == video:  # in natural order they are neighbours
        raise ValueError(f"Expected one table of each video, got {source.files[file - 1]} of {video} too")
    if path.suffix.lower() == ".csv":
        _add(poses, *_csv(path), video)
        return
    if find_spec("h5py") is None:
        raise ImportError('.h5 files of DeepLabCut need h5py: pip install "heatpose[animal]"')
    read_apart(source, file, poses, read_hdf5, video)


def _video(source: Source, file: int) -> str:
    """Return the video of a table; DeepLabCut appends the name of the network, and _filtered."""
    stem = source.stem(file)
    return stem.partition("DLC_")[0] or stem


def _add(
    poses: Poses, columns: list[tuple[str, ...]], values: np.ndarray, names: Sequence[Any], video: str | None = None
) -> None:
    """Add a table; its columns are called (individual, body part, coordinate), its rows by a path or not."""
    individuals: dict[str, dict[str, dict[str, int]]] = {}
    for position, column in enumerate(columns):
        individual, bodypart, part = ("", *column[-2:]) if len(column) == 3 else column[-3:]
        if part in _PARTS:
            individuals.setdefault(individual, {}).setdefault(bodypart, {})[part] = position
    bodyparts = list(dict.fromkeys(bodypart for person in individuals.values() for bodypart in person))
    poses.name_keypoints(bodyparts)
    numbers = np.full((len(values), len(individuals), len(bodyparts), 3), np.nan)
    for person, parts in enumerate(individuals.values()):
        for bodypart, found in parts.items():
            for at, name in enumerate(_PARTS):
                numbers[:, person, bodyparts.index(bodypart), at] = values[:, found[name]] if name in found else 1.0
    for row, name in zip(numbers, names, strict=True):
        name = name and name.replace("\\", "/")
        poses.frame(name, video=name.rpartition("/")[0] if name and "/" in name else video)  # a video's own folder
        for individual, pose in zip(individuals, row, strict=True):
            if not np.isnan(pose[:, :2]).all():
                poses.add(pose, track=individual or None)


def _csv(path: Path) -> tuple[list[tuple[str, ...]], np.ndarray, list[str | None]]:
    table = read_delimited(path, header=None, dtype=str, keep_default_na=False)
    n_rows = 4 if table.iloc[1, 0] == "individuals" else 3
    if table.iloc[:n_rows, 0].tolist() != [level for level in _LEVELS if n_rows == 4 or level != "individuals"]:
        raise ValueError(f"Expected rows of {', '.join(_LEVELS)}, got {', '.join(table.iloc[:n_rows, 0])[:80]}.")
    numbers = [at for at, part in enumerate(table.iloc[n_rows - 1]) if part in _PARTS]
    columns = [tuple(table.iloc[:n_rows, at]) for at in numbers]
    body = table.iloc[n_rows:]
    values = body[numbers].replace("", "nan").to_numpy(dtype=float)
    names = body[list(range(numbers[0]))].agg("/".join, axis=1).str.strip("/").tolist()  # folders, then the image
    return columns, values, [None if name.replace(".", "").isdigit() else name for name in names]


def read_hdf5(path: Path, poses: Poses) -> None:
    """Add the poses of a file; the names of the columns can be a pickle inside, of which only plain texts are taken."""
    import h5py

    with h5py.File(path) as file:
        group = next(group for group in file.values() if "pandas_type" in group.attrs)
        if "table" in group:
            table = group["table"]
            columns = [tuple(map(str, column)) for column in load_plain(bytes(table.attrs["values_block_0_kind"]))]
            values = np.concatenate(
                [table[name] for name in table.dtype.names if name.startswith("values_block")], axis=1
            )
            rows: list[tuple[str, ...]] = []
        else:
            columns, rows = _axis(group, "axis0"), _axis(group, "axis1")
            values = group["block0_values"][:]
    if not columns or values.ndim != 2 or values.shape[1] != len(columns):
        raise ValueError(f"Expected a column for each of {len(columns)} names, got values of shape {values.shape}.")
    _add(poses, columns, values.astype(float), ["/".join(row) for row in rows] or [None] * len(values))


def _axis(group: Any, name: str) -> list[tuple[str, ...]]:
    """Return the names along an axis in pandas' fixed form, a level in a dataset each; none if they are numbers."""
    levels = [group[f"{name}_level{at}"][:] for at in range(4) if f"{name}_level{at}" in group]
    codes = [group[f"{name}_label{at}"][:] for at in range(len(levels))]
    if name in group and group[name].dtype.kind == "S":
        levels, codes = [group[name][:]], [range(len(group[name]))]
    return [
        tuple(level[code].decode() for level, code in zip(levels, of, strict=True)) for of in zip(*codes, strict=True)
    ]


DEEPLABCUT = Format("deeplabcut", "DeepLabCut or LightningPose", (".csv", ".h5"), _sniff, _read)
