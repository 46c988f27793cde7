"""DeepLabCut and LightningPose: a table with rows of headers, as ``.csv`` or in ``.h5``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heatpose.data.formats.source import Format, Poses, Source
from heatpose.data.plain_pickle import load_plain

__all__ = ["DEEPLABCUT"]

_PARTS = ("x", "y", "likelihood")
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


def _sniff(source: Source) -> bool:
    if source.files[0].lower().endswith(".csv"):
        return source.head().partition(",")[0] == "scorer"
    try:
        import h5py
    except ImportError:
        return False
    with h5py.File(source.path(0)) as file:
        return any("pandas_type" in group.attrs for group in file.values())


def _read(source: Source, file: int, poses: Poses) -> None:
    path = source.path(file)
    columns, values, names = _csv(path) if path.suffix.lower() == ".csv" else _hdf5(path)
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
        poses.frame(name, video=source.stem(file))
        for individual, pose in zip(individuals, row, strict=True):
            if not np.isnan(pose[:, :2]).all():
                poses.add(pose, track=individual or None)


def _csv(path: Path) -> tuple[list[tuple[str, ...]], np.ndarray, Sequence[Any]]:
    """Return the columns (individual, body part, coordinate), the values, and the names of the frames, if any."""
    table = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, encoding="utf-8-sig", low_memory=False)
    n_rows = 4 if table.iloc[1, 0] == "individuals" else 3
    if table.iloc[:n_rows, 0].tolist() != [level for level in _LEVELS if n_rows == 4 or level != "individuals"]:
        raise ValueError(f"Expected rows of {', '.join(_LEVELS)}, got {', '.join(table.iloc[:n_rows, 0])[:80]}.")
    numbers = [at for at, part in enumerate(table.iloc[n_rows - 1]) if part in _PARTS]
    columns = [tuple(table.iloc[:n_rows, at]) for at in numbers]
    body = table.iloc[n_rows:]
    values = body[numbers].replace("", "nan").to_numpy(dtype=float)
    names = body[list(range(numbers[0]))].agg("/".join, axis=1).str.strip("/").tolist()  # folders, then the image
    return columns, values, [None if name.replace(".", "").isdigit() else name for name in names]


def _hdf5(path: Path) -> tuple[list[tuple[str, ...]], np.ndarray, Sequence[Any]]:
    """Do as `_csv` does; the names of the columns are a pickle inside, of which only plain texts are taken."""
    import h5py

    with h5py.File(path) as file:
        group = next(group for group in file.values() if "pandas_type" in group.attrs)
        if "table" in group:
            table = group["table"]
            columns = load_plain(bytes(table.attrs["values_block_0_kind"]))
            values = np.concatenate(
                [table[name] for name in table.dtype.names if name.startswith("values_block")], axis=1
            )
        else:  # pandas' fixed form, with a level of the columns in a dataset each
            levels = [group[f"axis0_level{at}"][:] for at in range(4) if f"axis0_level{at}" in group]
            codes = [group[f"axis0_label{at}"][:] for at in range(len(levels))]
            columns = [
                tuple(level[code].decode() for level, code in zip(levels, of, strict=True))
                for of in zip(*codes, strict=True)
            ]
            values = group["block0_values"][:]
    columns = [tuple(map(str, column)) for column in columns]
    if not columns or values.ndim != 2 or values.shape[1] != len(columns):
        raise ValueError(f"Expected a column for each of {len(columns)} names, got values of shape {values.shape}.")
    return columns, values.astype(float), [None] * len(values)


DEEPLABCUT = Format(
    "deeplabcut",
    "DeepLabCut or LightningPose",
    (".csv", ".h5"),
    _sniff,
    _read,
    groups=("video", "track"),
)
