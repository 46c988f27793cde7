"""Films to heatmaps: people are found and followed, and each sampled frame becomes a heatmap file.

A run that was stopped goes on where it was, with the same files in the end: beside them is kept where people were when
the last batch was written, so that they are followed from there as if nothing had happened.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from heatpose.data.sources import is_hidden, natural_key
from heatpose.data.writing import whole_file
from heatpose.datasets.boxes import PersonTracker
from heatpose.datasets.estimator import need_live
from heatpose.datasets.photos import begin_record

__all__ = [
    "FILM_SUFFIXES",
    "FilmReader",
    "FilmsWritten",
    "is_class_name",
    "list_films",
    "read_clips",
    "write_film_heatmaps",
]

logger = logging.getLogger(__name__)

FILM_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
"""Endings of films' names."""

_STATE = ".films.json"
_SAVE_EVERY = 50  # sampled frames between two records of where people are; as many are done again after a stop
_LAST_FAILURES = 100  # frames in a row that cannot be read, in a film that does not say how many it has


class FilmReader:
    """Frames of a film file in their order, with those left out that cannot be read.

    Parameters
    ----------
    file : path-like
        Whatever OpenCV reads.

    Raises
    ------
    FileNotFoundError, ImportError, ValueError
        There is no such file, OpenCV is missing, or it is no film.
    """

    def __init__(self, file: str | os.PathLike[str]):
        if not Path(file).is_file():
            raise FileNotFoundError(f"No such film: {file}")
        need_live()
        import cv2

        self._cv2 = cv2
        self._file = file
        self._film = cv2.VideoCapture(os.fspath(file))
        self.fps = self._film.get(cv2.CAP_PROP_FPS)
        """Frames a second."""
        self.n_frames = max(0, int(self._film.get(cv2.CAP_PROP_FRAME_COUNT)))
        """Number of frames according to the file; 0 where it does not say."""
        if not self._film.isOpened() or not 0 < self.fps < math.inf:
            raise ValueError(f"Expected a film, got a file that cannot be read as one: {file}")

    def frames(self, start: int = 0, step: float = 1.0) -> Iterator[tuple[int, NDArray]]:
        """Yield every `step`-th frame from a number on.

        Yields
        ------
        number : int
            Position in the film at its frame rate, from 0. Where frames do not come at an even rate or are missing, it
            follows their times.
        picture : ndarray, shape (H, W, 3), uint8
            In B, G, R.
        """
        cv2, film = self._cv2, self._film
        number, n_bad, in_a_row = -1, 0, 0
        wanted = math.ceil(start / step)
        while not self.n_frames or number < self.n_frames - 1:
            is_there = film.grab()
            number += 1
            if is_there:
                number = max(number, round(film.get(cv2.CAP_PROP_POS_MSEC) * self.fps / 1000))
                if number < wanted * step:
                    in_a_row = 0
                    continue
                is_there, picture = film.retrieve()
            if is_there:
                in_a_row = 0
                wanted = math.floor(number / step) + 1
                yield number, picture
            else:
                n_bad, in_a_row = n_bad + 1, in_a_row + 1
                if in_a_row == _LAST_FAILURES and not self.n_frames:
                    n_bad -= in_a_row  # its end
                    break
        if n_bad:
            logger.warning("Left out %d frames of %s that cannot be read", n_bad, self._file)

    def close(self) -> None:
        """Close the file."""
        self._film.release()


class Clip(NamedTuple):
    """A part of a film that shows one class; times in seconds, the end not included."""

    start: float
    end: float
    label: str


@dataclass(frozen=True)
class FilmsWritten:
    """Result of a run.

    Parameters
    ----------
    n_files : int
        Files of this run.
    n_before : int
        Frames that were done by an earlier run.
    n_empty : int
        Sampled frames without a person, in this run; they have no file.
    """

    n_files: int
    n_before: int
    n_empty: int


def list_films(source: str | os.PathLike[str]) -> list[str]:
    """List the films in a folder and the folders in it, in natural order; hidden ones are ignored.

    Parameters
    ----------
    source : path-like
        A folder, or one film, which is then the only one.

    Returns
    -------
    list of str
        Paths relative to the folder, with forward slashes. Empty where there are none.

    Raises
    ------
    FileNotFoundError
        There is no such file or folder.
    ValueError
        Two films would have the same names for their heatmaps.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"No such film or folder: {source}")
    if source.is_file():
        return [source.name]
    found = [file.relative_to(source) for file in source.rglob("*") if file.suffix.lower() in FILM_SUFFIXES]
    films = sorted((file.as_posix() for file in found if not any(map(is_hidden, file.parts))), key=natural_key)
    stems: dict[str, str] = {}
    for film in films:
        other = stems.setdefault(film.rpartition(".")[0], film)
        if other != film:
            raise ValueError(f"Expected films whose names differ before their ending, got {other} and {film}.")
    return films


def read_clips(file: str | os.PathLike[str]) -> list[Clip]:
    """Read which parts of a film show which class.

    Parameters
    ----------
    file : path-like
        A CSV with columns ``start`` and ``end`` in seconds and ``label``.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such file, or it holds something else, or clips overlap.
    """
    if not Path(file).is_file():
        raise FileNotFoundError(f"No such file of labels: {file}")
    names = ["start", "end", "label"]
    try:
        table = pd.read_csv(file, dtype={"label": str}, skipinitialspace=True)
    except ValueError as error:
        raise ValueError(f"Cannot read labels from {file}: {error}") from error
    if not set(names) <= set(table):
        raise ValueError(f"Expected columns {', '.join(names)} in {file}, got {', '.join(map(str, table.columns))}.")
    times = table[names[:2]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    is_wrong = ~(np.isfinite(times).all(axis=1) & (times[:, 0] >= 0) & (times[:, 1] > times[:, 0]))
    is_wrong |= [not is_class_name(label) for label in table["label"]]
    if is_wrong.any():
        raise ValueError(
            f"Expected a start of 0 or more, a later end and a label that can be a folder in each row of {file}, got "
            f"something else in {is_wrong.sum()} rows, the first of them row {np.argmax(is_wrong) + 1}."
        )
    clips = sorted(Clip(start, end, label) for (start, end), label in zip(times.tolist(), table["label"], strict=True))
    for one, other in pairwise(clips):
        if other.start < one.end:
            raise ValueError(f"Expected clips that do not overlap in {file}, got {tuple(one)} and {tuple(other)}.")
    return clips


def is_class_name(name: object) -> bool:
    """Tell whether a name can be that of a class and its folder, on any file system.

    Examples
    --------
    >>> [is_class_name(name) for name in ("action_up", "arms up", "", "..", "a/b", ".hidden", "a:b")]
    [True, True, False, False, False, False, False]
    """
    return (
        isinstance(name, str)
        and 0 < len(name) <= 100
        and name == name.strip(" .")
        and name.isprintable()
        and not set(name) & set('/\\:*?"<>|')
    )


def write_film_heatmaps(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    tracker: Callable[[], PersonTracker],
    *,
    every: int = 1,
    fps: float | None = None,
    clips: list[Clip] | None = None,
    settings: dict[str, Any] | None = None,
    dtype: str = "float32",
    progress: Callable[[int, int], object] | None = None,
) -> FilmsWritten:
    """Write the heatmaps of the people in a film, or in each film of a folder.

    Parameters
    ----------
    source : path-like
        A film; or a folder of films, best in one folder for each class: ``<source>/<class>/<film>.mp4``.
    out : path-like
        Where to write ``<out>/<class>/<film>_f<frame>.npy``, each (1, 17, H, W), with ``_p<person>`` before the ending
        where there can be several people. With `clips` the names are ``<out>/<label>/<film>_c<clip>_f<frame>.npy``.
    tracker : callable
        Makes a :class:`PersonTracker`, for each film one.
    every : int, default 1
        Take every so many frames.
    fps : float, optional
        Take so many frames a second instead, or all where the film has no more.
    clips : list of Clip, optional
        Of one film: which parts to take, and what they show. See :func:`read_clips`.
    settings : dict, optional
        What else an earlier run must have been started with for this one to go on with its files.
    dtype : {"float32", "float16"}
        What to store.
    progress : callable, optional
        Called with the frames done and their total.

    Returns
    -------
    FilmsWritten

    Raises
    ------
    FileNotFoundError, ValueError, FileExistsError
        There are no films, or `out` was begun with something else; before any work.
    """
    films = list_films(source)
    root, out = Path(source), Path(out)
    if not films:
        raise ValueError(f"Expected films ({', '.join(FILM_SUFFIXES)}) in {root}, got none.")
    if clips is not None and root.is_dir():
        raise ValueError(f"Expected one film for a file of labels, got the folder {root}.")
    root = root if root.is_dir() else root.parent
    rate = {"fps": fps} if fps is not None else {"every": every}
    begin_record(out, {**(settings or {}), **rate, "dtype": dtype, "clips": [list(clip) for clip in clips or []]})
    totals = [_length(root / film) for film in films]  # every film is opened before the work begins
    states = _States(out / _STATE)
    n_files = n_before = n_empty = 0
    for position, film in enumerate(films):
        run = _Film(film, tracker(), out, clips, dtype, states)
        reader = FilmReader(root / film)
        n_before += run.n_before
        try:
            for number, picture in reader.frames(run.next, every if fps is None else max(1.0, reader.fps / fps)):
                run.take(number, number / reader.fps, picture)
                if progress is not None:
                    progress(sum(totals[:position]) + number + 1, max(sum(totals), number + 1))
        finally:
            reader.close()
        run.finish(max(run.next, reader.n_frames))
        n_files, n_empty = n_files + run.n_files, n_empty + run.n_empty
    if n_empty:
        logger.warning("Found no person in %d frames; they have no files", n_empty)
    return FilmsWritten(n_files, n_before, n_empty)


def _length(file: Path) -> int:
    reader = FilmReader(file)
    reader.close()
    return reader.n_frames


class _States:
    """Tracker states of each film at the last record."""

    def __init__(self, file: Path):
        self._file = file
        self.films: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}

    def save(self, film: str, state: dict[str, Any]) -> None:
        self.films[film] = state
        with whole_file(self._file) as file:
            file.write(json.dumps(self.films).encode())


class _Film:
    """One film on its way to files."""

    def __init__(
        self, film: str, tracker: PersonTracker, out: Path, clips: list[Clip] | None, dtype: str, states: _States
    ):
        self._film, self._tracker, self._out, self._clips, self._dtype = film, tracker, out, clips, dtype
        self._states = states
        self.n_files = self.n_empty = self._n_unsaved = 0
        before = states.films.get(film, {"next": 0, "frames": 0})
        self.next: int = before["next"]
        self.n_before = self._n_frames = int(before["frames"])
        if "tracker" in before:
            tracker.state = before["tracker"]

    def take(self, number: int, seconds: float, picture: NDArray) -> None:
        """Find the people in a frame, and write them."""
        people = self._tracker(picture)  # also between clips, so that who comes next is followed already
        stem = self._stem(seconds)
        if stem is not None:
            self._n_frames += 1
            self.n_empty += not people
            for person in people:
                whose = f"_p{person.number}" if self._tracker.has_several else ""
                path = self._out / f"{stem}_f{number:06d}{whose}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                with whole_file(path) as file:
                    np.save(file, person.heatmaps[np.newaxis].astype(self._dtype))
                self.n_files += 1
        self.next = number + 1
        self._n_unsaved += 1
        if self._n_unsaved >= _SAVE_EVERY:
            self.finish(self.next)

    def finish(self, number: int) -> None:
        """Record that everything before a frame is done."""
        self.next, self._n_unsaved = number, 0
        self._states.save(self._film, {"next": number, "frames": self._n_frames, "tracker": self._tracker.state})

    def _stem(self, seconds: float) -> str | None:
        """Return the beginning of a frame's file name, None outside all clips."""
        name = self._film.rpartition(".")[0]
        if self._clips is None:
            return name
        for number, clip in enumerate(self._clips):
            if clip.start <= seconds < clip.end:
                return f"{clip.label}/{name}_c{number:02d}"
        return None
