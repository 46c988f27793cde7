"""Heatmaps as they come, from a growing folder or a pipe, to records of what people do.

A folder is looked through again and again and not subscribed to: that takes no more than reading its names, and works
on network drives and in containers too, where the system tells nobody of new files. Folders in which nothing changes
are not read again.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from heatpose.data.npy import BadFilesError, UnfinishedFileError, read_heatmaps, read_stream
from heatpose.data.sources import has_suffix, is_hidden, natural_key
from heatpose.data.storage import COARSE_TICK
from heatpose.live.stream import PoseEvent, PoseStream

__all__ = ["Frame", "GrowingFolder", "event_record", "follow_folder", "follow_stream", "watch_frames"]

logger = logging.getLogger(__name__)

_PAUSE = 0.01  # seconds between two looks at a folder


class Frame(NamedTuple):
    """Heatmaps, and when they were made.

    Parameters
    ----------
    path : str or None
        The file relative to its folder, with forward slashes; None from a pipe.
    time : float
        Seconds since 1970: when the file was last written, or the array came out of the pipe.
    heatmaps : ndarray, shape (n, 17, H, W), float32
    """

    path: str | None
    time: float
    heatmaps: np.ndarray


class GrowingFolder:
    """A folder into which somebody writes heatmap files.

    Files count once they are complete, which their first bytes tell: they may be written slowly under their final name,
    or renamed in. A file that replaces another, or comes again after it was removed, is a new one; one that is written
    over in place is not. Hidden files and folders and what does not end in ``.npy`` are ignored.

    Parameters
    ----------
    root : path-like
        The folder; files are found in folders inside it too, also in those that come later.
    existing : bool, default False
        Also take the files that are there already.
    patience : float, default 10
        Seconds after which a file that is not complete and does not grow is given up, with a warning.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    """

    def __init__(self, root: str | os.PathLike[str], *, existing: bool = False, patience: float = 10.0):
        if not Path(root).exists():
            raise FileNotFoundError(f"No such folder: {root}")
        if not Path(root).is_dir():
            raise NotADirectoryError(f"Expected a folder to watch, got a file: {root}")
        self._root = Path(root)
        self._patience = patience
        self._folders = {"": _Folder(())}
        self._unfinished: dict[str, tuple[int, float]] = {}  # size, and since when it has been that
        if not existing:
            self._new_files()

    @property
    def n_unfinished(self) -> int:
        """How many files are not complete yet."""
        return len(self._unfinished)

    def poll(self) -> Iterator[Frame]:
        """Yield the files that are complete since the last time, in the order in which they were written.

        A file that cannot be used is left out with a warning.
        """
        found = {*self._unfinished, *self._new_files()}
        for path in sorted(found, key=lambda path: (self._written(path), natural_key(path))):
            try:
                heatmaps = read_heatmaps(self._root / path)
            except UnfinishedFileError as error:
                if self._may_grow(path):
                    continue
                logger.warning("%s, for %g s", error, self._patience)
            except BadFilesError as error:
                logger.warning("%s", error)
            except FileNotFoundError:
                pass  # renamed or removed before it was read
            else:
                self._unfinished.pop(path, None)
                yield Frame(path, self._written(path), heatmaps)
            self._unfinished.pop(path, None)

    def _written(self, path: str) -> float:
        try:
            return (self._root / path).stat().st_mtime
        except OSError:  # gone
            return time.time()

    def _may_grow(self, path: str) -> bool:
        """Tell whether a file that is not complete is still being written, for all one knows."""
        now = time.monotonic()
        try:
            size = (self._root / path).stat().st_size
        except OSError:
            return False
        known, since = self._unfinished.get(path, (-1, now))
        if size != known:
            since = now
        self._unfinished[path] = size, since
        return now - since < self._patience

    def _new_files(self) -> list[str]:
        """Look through all folders in which something may have changed."""
        files: list[str] = []
        waiting = list(self._folders)
        for prefix in waiting:
            folder = self._folders[prefix]
            try:
                if not folder.may_have_changed(os.stat(self._root / prefix).st_mtime_ns):  # noqa: PTH116 (no Path made)
                    continue
                names: dict[str, int] = {}
                with os.scandir(self._root / prefix) as entries:
                    for entry in entries:
                        if is_hidden(entry.name):
                            continue
                        if has_suffix(entry.name):
                            names[entry.name] = entry.inode()
                        elif entry.is_dir() and (inside := f"{prefix}{entry.name}/") not in self._folders:
                            real = os.path.realpath(self._root / prefix)
                            if os.path.realpath(entry.path) not in (above := (*folder.above, real)):
                                self._folders[inside] = _Folder(above)
                                waiting.append(inside)
            except OSError:
                if not prefix:
                    raise
                del self._folders[prefix]  # removed
                continue
            files += [prefix + name for name, inode in names.items() if folder.names.get(name) != inode]
            folder.names = names
        return files


class _Folder:
    """What was found in one folder, which is in these others: a link to one of them is not followed."""

    def __init__(self, above: tuple[str, ...]) -> None:
        self.above = above
        self.names: dict[str, int] = {}
        self._stamp: int | None = None
        self._changed = 0.0

    def may_have_changed(self, stamp: int) -> bool:
        """Tell whether there can be anything new, by the folder's time stamp."""
        now = time.monotonic()
        if stamp != self._stamp:
            self._stamp, self._changed = stamp, now
        # A file can come after the folder was read, and within the same tick of the clock.
        return now - self._changed <= COARSE_TICK


def follow_folder(
    folder: GrowingFolder, *, once: bool = False, until_idle: float | None = None, pause: float = _PAUSE
) -> Iterator[Frame | None]:
    """Yield the files of a growing folder as they come, and None whenever there is none.

    Parameters
    ----------
    folder : GrowingFolder
        See there.
    once : bool, default False
        End when all files that are there are complete.
    until_idle : float, optional
        End when no file came for that many seconds.
    pause : float, default 0.01
        Seconds between two looks.

    Yields
    ------
    Frame or None
    """
    last = time.monotonic()
    while True:
        begun = time.monotonic()
        any_came = False
        for frame in folder.poll():
            any_came = True
            yield frame
        now = time.monotonic()
        if any_came or folder.n_unfinished:
            last = now
        elif once or (until_idle is not None and now - last >= until_idle):
            return
        if not any_came:
            yield None
            # Of a folder with very many files the names alone take a while: half of the time is for others.
            time.sleep(max(pause, now - begun))


def follow_stream(stream: IO[bytes], pause: float = 0.1) -> Iterator[Frame | None]:
    """Yield arrays of heatmaps out of a pipe as they come, and None now and then when there is none.

    Parameters
    ----------
    stream : binary file
        What ``numpy.save`` writes, one array after the other, see :func:`heatpose.data.npy.read_stream`.
    pause : float, default 0.1
        Seconds without an array after which None is yielded, where the system can tell (not on Windows).

    Yields
    ------
    Frame or None
    """
    raw = getattr(stream, "raw", stream)  # what is in a buffer could not be waited for
    arrays = read_stream(raw)
    while True:
        while not _is_ready(raw, pause):
            yield None
        heatmaps = next(arrays, None)
        if heatmaps is None:
            return
        if np.isfinite(heatmaps).all():
            yield Frame(None, time.time(), heatmaps)
        else:
            logger.warning("Left out an array of the stream: expected finite values, got NaN or infinity")


def _is_ready(stream: IO[bytes], seconds: float) -> bool:
    try:
        return bool(select.select([stream], [], [], seconds)[0])
    except (OSError, ValueError, TypeError):  # no pipe, or Windows
        return True


def watch_frames(
    stream: PoseStream,
    frames: Iterable[Frame | None],
    *,
    person: Callable[[str], Hashable] | None = None,
    fps: float | None = None,
    wanted: Iterable[str] = ("frames",),
) -> Iterator[dict[str, Any]]:
    """Tell what each frame shows and what people do, as records for JSON.

    Parameters
    ----------
    stream : PoseStream
        Follows the people; it is closed at the end.
    frames : iterable of Frame or None
        None when there is nothing at the moment, so that people who are gone leave their poses.
    person : callable, optional
        Whose frame it is, by its path.
    fps : float, optional
        Frames a second of each person, whatever the clock says; times then begin at 0.
    wanted : iterable of {"frames", "events"}
        Which records.

    Yields
    ------
    dict
        Of a frame: ``kind`` ("frame"), ``label``, ``person``, ``time``, ``confidence``, ``path``, ``sample`` (its
        position in the file). Of an event: as :class:`heatpose.PoseEvent`.
    """
    wanted = set(wanted)
    last: dict[Hashable, tuple[int, float]] = {}  # frames so far, and the time of the last one
    newest, came = -np.inf, time.monotonic()

    def tell(events: Iterable[PoseEvent]) -> Iterator[dict[str, Any]]:
        return map(event_record, events) if "events" in wanted else iter(())

    for frame in frames:
        if frame is None:
            # By how much time has passed, since the files' clock can be another machine's.
            if fps is None and np.isfinite(newest):
                yield from tell(stream.advance(newest + time.monotonic() - came))
            continue
        who = person(frame.path) if person is not None and frame.path is not None else None
        for sample, heatmaps in enumerate(frame.heatmaps):
            count, before = last.get(who, (0, -np.inf))
            when = max(frame.time, before) if fps is None else count / fps  # files can be older than the one before
            last[who] = count + 1, when
            if when > newest:
                newest, came = when, time.monotonic()
            events = stream.push(heatmaps, when, who)
            if "frames" in wanted:
                label, confidence = stream.last(who)
                yield _rounded(
                    {
                        "kind": "frame",
                        "label": label,
                        "person": who,
                        "time": when,
                        "confidence": confidence,
                        "path": frame.path,
                        "sample": sample,
                    }
                )
            yield from tell(events)
    yield from tell(stream.close())


def event_record(event: PoseEvent) -> dict[str, Any]:
    """Make a record of an event."""
    return _rounded(asdict(event))


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    """Round to what is worth writing: times to tenths of a millisecond, which is finer than they are."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in record.items()}
