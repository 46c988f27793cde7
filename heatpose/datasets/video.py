"""Films to heatmaps: people are found and followed, and each sampled frame becomes a heatmap file.

A run that was stopped goes on where it was, with the same files in the end: beside them is kept where people were when
the last batch was written, so that they are followed from there as if nothing had happened.
"""

from __future__ import annotations

import json
import logging
import math
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from numpy.typing import NDArray

from heatpose.data.writing import whole_file
from heatpose.datasets.boxes import PersonTracker
from heatpose.datasets.estimator import need_live
from heatpose.datasets.media import HeatmapWriter, Written, list_media, read_rows
from heatpose.datasets.photos import SUFFIXES as PHOTO_SUFFIXES

__all__ = ["FILM_SUFFIXES", "FilmReader", "is_class_name", "list_films", "read_clips", "write_film_heatmaps"]

logger = logging.getLogger(__name__)

FILM_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
"""Endings of films' names."""

_STATE = ".films.json"
_SAVE_EVERY = 50  # sampled frames between two records of where people are; as many are done again after a stop
_LAST_FAILURES = 1000  # frames in a row that cannot be read, after which a film has ended: 40 s, and quickly tried
_TICK = 0.001  # seconds to which files round times: a frame no further from an even rate is at that rate


class FilmFrame(NamedTuple):
    """Frame of a film.

    Parameters
    ----------
    number : int
        Its position in the film, from 0, at the film's frame rate; different for each frame. Where frames are missing,
        it follows their times.
    turn : int
        Its position among the frames that were asked for.
    seconds : float
        Its time, from the begin of the film.
    pixels : ndarray, shape (H, W, 3), uint8
        In B, G, R.
    """

    number: int
    turn: int
    seconds: float
    pixels: NDArray


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
        if not Path(file).exists():
            raise FileNotFoundError(f"No such film: {file}")
        if Path(file).suffix.lower() in PHOTO_SUFFIXES:  # OpenCV would read it, sideways where its metadata turn it
            raise ValueError(f"Expected a film, got a picture, which heatpose heatmaps reads: {file}")
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
            raise ValueError(f"Expected a film, got what cannot be read as one: {file}")
        # OpenCV turns pictures as the film says, and does not mirror them.
        turn = self._film.get(cv2.CAP_PROP_ORIENTATION_META)
        self._axis = int(turn % 180 == 90) if Path(file).is_file() and _is_mirrored(file) else None

    def frames(self, start: int = 0, every: int = 1, fps: float | None = None) -> Iterator[FilmFrame]:
        """Yield frames by their number, or so many a second, from the `start`-th of these on."""
        cv2, film = self._cv2, self._film
        step = every if fps is None else self.fps / fps
        number, position = -1, -1.0  # by its count, and by its time
        n_read = n_bad = in_a_row = 0
        while in_a_row < _LAST_FAILURES:
            number += 1
            if not film.grab():
                in_a_row += 1
                continue
            n_read, n_bad, in_a_row = n_read + 1, n_bad + in_a_row, 0
            told = film.get(cv2.CAP_PROP_POS_MSEC) * self.fps / 1000
            if told > position:  # else the film does not say
                number = max(number, round(told))
            is_even = told <= position or abs(told - number) <= _TICK * self.fps
            position = number if is_even else told
            place = number if fps is None else position
            if place < start * step:
                continue
            is_there, pixels = film.retrieve()
            n_bad += not is_there
            if is_there:
                turn = max(start, math.floor(place / step))
                upright = pixels if self._axis is None else cv2.flip(pixels, self._axis)
                yield FilmFrame(number, turn, position / self.fps, upright)
                start = turn + 1
        if n_bad:
            logger.warning("Left out %d frames of %s that cannot be read", n_bad, self._file)
        if n_read + n_bad < self.n_frames and position < self.n_frames - 2:
            logger.warning(
                "%s ends at %.2f s, after %d frames that can be read; it should have %d, %g a second",
                *(self._file, max(position, 0) / self.fps, n_read, self.n_frames, self.fps),
            )

    def close(self) -> None:
        """Close the file."""
        self._film.release()


def _is_mirrored(file: str | os.PathLike[str]) -> bool:
    """Tell whether a track's header in an MP4 or MOV, which begins each part with its size and kind, mirrors it."""
    with Path(file).open("rb") as film, suppress(struct.error, OSError, ValueError):
        while head := film.read(8):
            size, kind = struct.unpack(">I4s", head)
            if size == 1:  # a long part has its size behind its kind
                size = struct.unpack(">Q", film.read(8))[0] - 8
            if kind == b"tkhd":
                a, b, _, c, d = struct.unpack(">5i", film.read(min(max(size - 8, 0), 96))[-44:-24])
                if a * d < b * c:
                    return True
            elif kind not in (b"moov", b"trak"):
                film.seek(max(size - 8, 0), os.SEEK_CUR)
    return False


class Clip(NamedTuple):
    """A part of a film that shows one class; times in seconds, the end not included."""

    start: float
    end: float
    label: str


def list_films(source: str | os.PathLike[str], *, names_others: bool = False) -> list[str]:
    """List the films in a folder, see :func:`heatpose.datasets.media.list_media`, or the one that is given itself."""
    source = Path(source)
    if source.is_file():  # a picture can be read as a film of one frame, but not turned upright
        return [] if source.suffix.lower() in PHOTO_SUFFIXES else [source.name]
    return list_media(source, FILM_SUFFIXES, names_others=names_others)


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
    table = read_rows(
        file,
        "labels",
        {"start": float, "end": float, "label": str},
        lambda rows: (rows["start"] >= 0) & (rows["end"] > rows["start"]) & rows["label"].map(is_class_name),
        "a start of 0 or more, a later end and a label that can be a folder",
    )
    clips = sorted(Clip(*row) for row in table.itertuples(index=False))
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
    if not isinstance(name, str) or not name.isprintable() or set(name) & set('/\\:*?"<>|'):
        return False
    return name == name.strip(" .") and 0 < len(name.encode()) <= 100


def write_film_heatmaps(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    make_tracker: Callable[[], PersonTracker],
    *,
    every: int = 1,
    fps: float | None = None,
    clips: list[Clip] | None = None,
    dtype: str = "float32",
    progress: Callable[[int, int], object] | None = None,
) -> Written:
    """Write the heatmaps of the people in a film, or in each film of a folder.

    Parameters
    ----------
    source : path-like
        A film; or a folder of films, best in one folder for each class: ``<source>/<class>/<film>.mp4``.
    out : path-like
        Where to write ``<out>/<class>/<film>_f<frame>.npy``, each (1, 17, H, W), with ``_p<person>`` before the ending
        where there can be several people. With `clips` the names are ``<out>/<label>/<film>_c<clip>_f<frame>.npy``.
    make_tracker : callable
        Makes a :class:`PersonTracker`, for each film one.
    every : int, default 1
        Take every so many frames.
    fps : float, optional
        Take so many frames a second instead, or all where the film has no more.
    clips : list of Clip, optional
        Of one film: which parts to take, and what they show. See :func:`read_clips`.
    dtype : {"float32", "float16"}
        What to store.
    progress : callable, optional
        Called with the frames done and their total.

    Returns
    -------
    Written

    Raises
    ------
    FileNotFoundError, ValueError, FileExistsError
        There are no films, or `out` was begun with something else; before any work.
    """
    films, root = list_films(source, names_others=True), Path(source)
    if not films:
        raise ValueError(f"Expected films ({', '.join(FILM_SUFFIXES)}) in {root}, got none.")
    if clips is not None and root.is_dir():
        raise ValueError(f"Expected one film for a file of labels, got the folder {root}.")
    root = root if root.is_dir() else root.parent
    rate = {"every": every} if fps is None else {"fps": fps}
    settings = {**make_tracker().settings, **rate, "clips": [list(clip) for clip in clips or []]}
    writer = HeatmapWriter(out, dtype, settings)
    totals = [_length(root / film) for film in films]  # every film is opened before the work begins
    # Progress at the last record: the turn of each film's next frame, frames that were taken, and the tracker's state.
    record = writer.out / _STATE
    states = json.loads(record.read_text()) if record.exists() else {}

    def save() -> None:
        state["tracker"] = tracker.state
        with whole_file(record) as file:
            file.write(json.dumps(states).encode())

    n_before = sum(states.setdefault(film, {"next": 0, "frames": 0})["frames"] for film in films)
    for position, film in enumerate(films):
        tracker, state = make_tracker(), states[film]
        if "tracker" in state:
            tracker.state = state["tracker"]
        with closing(FilmReader(root / film)) as reader:
            uneven, seconds = 0.0, math.inf
            for n_taken, (number, turn, seconds, picture) in enumerate(reader.frames(state["next"], **rate), 1):
                uneven = max(uneven, abs(number / reader.fps - seconds))
                people = tracker(picture, seconds)  # also between clips, so that who comes next is followed already
                if stem := _stem(film, clips, seconds):
                    named = {f"_p{each.number}" if tracker.has_several else "": each.heatmaps for each in people}
                    writer.write(f"{stem}_f{number:06d}", named)
                    state["frames"] += 1
                state["next"] = turn + 1
                if n_taken % _SAVE_EVERY == 0:
                    save()
                if progress is not None:
                    progress(sum(totals[:position]) + number + 1, max(sum(totals), number + 1))
            save()
            if late := [f"{clip.label} at {clip.start:g} s" for clip in clips or [] if clip.start > seconds]:
                logger.warning("%s ends at %.2f s, before clips begin: %s", film, seconds, ", ".join(late))
            if uneven * reader.fps > 1:
                logger.warning(
                    "The frames of %s come unevenly: their numbers, %g a second, are up to %.1f s off their times",
                    *(film, reader.fps, uneven),
                )
    return writer.finish(n_before)


def _length(file: Path) -> int:
    with closing(FilmReader(file)) as reader:
        return reader.n_frames


def _stem(film: str, clips: list[Clip] | None, seconds: float) -> str | None:
    """Return the beginning of a frame's file name, None outside all clips."""
    name = film.rpartition(".")[0]
    if clips is None:
        return name
    inside = (number for number, clip in enumerate(clips) if clip.start <= seconds < clip.end)
    return next((f"{clips[number].label}/{name}_c{number:02d}" for number in inside), None)
