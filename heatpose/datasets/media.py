"""Photos and films as files: their listing, tables that go with them, and the heatmaps that they become.

A run that was stopped goes on where it was, with the same files in the end: each is written whole or not at all, and
the settings are kept beside them, so that files of two kinds are never mixed.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from heatpose.data.delimited import read_columns
from heatpose.data.sources import LocalFiles, list_files
from heatpose.data.wording import format_plural, some_names
from heatpose.data.writing import PART_SUFFIX, whole_file

__all__ = ["HeatmapWriter", "Written", "list_media", "read_rows"]

logger = logging.getLogger(__name__)

RECORD = "heatmaps.json"
"""File beside the class folders that holds the settings of the run."""

_FOUND_NONE = 20  # pictures without a person that are named in the log


def list_media(root: str | os.PathLike[str], suffixes: tuple[str, ...], *, names_others: bool = False) -> list[str]:
    """List the files with some suffixes in a folder and the folders in it, in natural order; hidden ones are ignored.

    With `names_others` the log says how many others there are.

    Returns
    -------
    list of str
        Paths relative to `root`, with forward slashes.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    ValueError
        Two would have one name as heatmaps.
    """
    source = LocalFiles(Path(root))
    source.require_folder()
    names: dict[str, str] = {}
    listing = list_files(source, suffixes)
    others = Counter(Path(path).suffix.lower() for path in listing.ignored)
    if names_others and (found := [f"{count:,} {suffix}" for suffix, count in others.most_common() if suffix]):
        logger.warning("%s files in %s were ignored", " and ".join(found), root, extra={"kind": "Note"})
    for path in (file.path for file in listing.files):
        other = names.setdefault(path.rpartition(".")[0], path)
        if other != path:
            raise ValueError(f"Expected names that differ before their ending in {root}, got {other} and {path}.")
    return list(names.values())


def read_rows(
    file: str | os.PathLike[str],
    kind: str,
    columns: Mapping[str, type],
    fits: Callable[[pd.DataFrame], pd.Series],
    expected: str,
) -> pd.DataFrame:
    """Read a table of text and finite numbers from a CSV file, and check each row.

    Parameters
    ----------
    file : path-like
        The file.
    kind : str
        Content, for messages.
    columns : mapping of str to type
        Names of the columns, and ``str`` or ``float``. Others are left out.
    fits : callable
        Returns for each row whether it is as expected.
    expected : str
        Description of a row, for messages.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it holds something else.
    """
    texts = [name for name, of in columns.items() if of is str]
    table, name = read_columns(file, kind, columns, dtype=dict.fromkeys(texts, str))
    numbers = [name for name, of in columns.items() if of is float]
    table[numbers] = table[numbers].apply(pd.to_numeric, errors="coerce").astype(np.float64)
    is_wrong = ~(np.isfinite(table[numbers].to_numpy()).all(axis=1) & fits(table).to_numpy(dtype=bool))
    if is_wrong.any():
        raise ValueError(
            f"Expected {expected} in each row of {name}, got something else in {is_wrong.sum()} rows, the first of "
            f"them row {np.argmax(is_wrong) + 1}."
        )
    return table[list(columns)]


@dataclass(frozen=True)
class Written:
    """Result of a run.

    Parameters
    ----------
    n_files : int
        Files of this run.
    n_before : int
        Pictures or frames that were done by an earlier run.
    n_empty : int
        Pictures or frames without a person, in this run; they have no file.
    """

    n_files: int
    n_before: int
    n_empty: int


class HeatmapWriter:
    """Write the heatmaps of people, one picture after the other.

    Parameters
    ----------
    out : path-like
        The folder.
    dtype : {"float32", "float16"}
        Type to store.
    settings : mapping
        Everything else that the files depend on, for JSON.

    Raises
    ------
    ValueError, FileExistsError
        The folder was begun with other settings, or has heatmaps of something else.
    """

    def __init__(self, out: str | os.PathLike[str], dtype: str, settings: Mapping[str, Any]):
        self.out, self._dtype = Path(out), dtype
        self._n_files = 0
        self._empty: list[str] = []
        settings, record = {**settings, "dtype": dtype}, self.out / RECORD
        if not record.exists():
            if any(not path.name.startswith(".") for path in self.out.rglob("*.npy")):
                raise FileExistsError(
                    f"Expected a new folder or one that an earlier run began, got .npy files in {self.out}."
                )
            with whole_file(record) as file:
                file.write(json.dumps(settings, indent=2).encode() + b"\n")
            return
        try:
            before = dict(json.loads(record.read_text()))
        except (ValueError, TypeError):
            before = {}
        if before != settings:
            changed = [name for name in settings if name not in before or before[name] != settings[name]]
            raise ValueError(
                f"Expected the settings that {self.out} was begun with (see {record}), got another "
                f"{', '.join(changed)}. Write to a new folder, or go on with the same ones."
            )
        for part in self.out.rglob(f".*{PART_SUFFIX}"):  # of an earlier run that was killed while it wrote
            part.unlink(missing_ok=True)

    def path(self, stem: str, suffix: str = "") -> Path:
        """Return the path of a person's heatmaps."""
        return self.out / f"{stem}{suffix}.npy"

    def write(self, stem: str, people: Mapping[str, np.ndarray]) -> None:
        """Write the heatmaps (17, H, W) of the people in a picture, by the ends of their names.

        The first person's file is written last: where it exists, all do.
        """
        if not people:
            self._empty.append(stem)
        for suffix, heatmaps in reversed(list(people.items())):
            with whole_file(self.path(stem, suffix)) as file:
                np.save(file, heatmaps[np.newaxis].astype(self._dtype))
        self._n_files += len(people)

    def finish(self, n_before: int) -> Written:
        """Log which pictures show no person, and return the result."""
        if self._empty:
            named = some_names(self._empty, _FOUND_NONE)
            logger.warning("No file for %s without a person: %s", format_plural(len(self._empty), "picture"), named)
        return Written(self._n_files, n_before, len(self._empty))
