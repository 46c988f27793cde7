"""Follow a growing folder or a pipe of heatmaps, and convert frames to records for JSON.

A folder is polled: that costs no more than listing its names, and works on network drives and in containers, where the
system sends no notifications of new files. Unchanged folders are not listed again.
"""

from __future__ import annotations

import logging
import os
import select
import time
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from heatpose.data.npy import BadFilesError, UnfinishedFileError, read_heatmaps, read_stream
from heatpose.data.sources import LocalFiles, has_suffix, is_hidden, natural_key
from heatpose.data.storage import COARSE_TICK
from heatpose.live.stream import PoseEvent, PoseStream
from heatpose.live.times import SteadyClock

__all__ = ["Frame", "GrowingFolder", "event_record", "follow_folder", "follow_stream", "watch_frames"]

logger = logging.getLogger(__name__)

_PAUSE = 0.01  # seconds between two polls of a folder: a third of a frame at 30 frames a second


class Frame(NamedTuple):
    """Heatmaps and their time.

    Parameters
    ----------
    path : str or None
        The file relative to its folder, with forward slashes; None from a pipe.
    time : float
        Seconds since 1970: modification time of the file, or arrival of the array in the pipe.
    heatmaps : ndarray, shape (n, 17, H, W), float32
        Samples; none where nobody is seen.
    person : hashable, optional
        The person shown, where that is known without a path.
    keypoints : ndarray, shape (n, 17, 3), optional
        Keypoints of the heatmaps, where they are decoded already, as the stream would.
    """

    path: str | None
    time: float
    heatmaps: np.ndarray
    person: Hashable = None
    keypoints: np.ndarray | None = None


class GrowingFolder:
    """A folder that receives heatmap files.

    Files are read once they are complete according to their header: they may be written slowly under their final name,
    or renamed. A file that replaces another one is new; one that is overwritten in place is not. Hidden files and
    folders and other suffixes than ``.npy`` are ignored.

    Parameters
    ----------
    root : path-like
        The folder; subfolders are included, also later ones.
    existing : bool, default False
        Include files that exist at the start.
    patience : float, default 10
        Seconds after which an incomplete file that stopped growing is left out with a warning.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        There is no such folder.
    """

    def __init__(self, root: str | os.PathLike[str], *, existing: bool = False, patience: float = 10.0):
        self._root = Path(root)
        LocalFiles(self._root).require_folder()
        self._patience = patience
        self._folders = {"": _Folder(())}
        self._unfinished: dict[str, tuple[int, float]] = {}  # size, and the time of its last change
        self._newest: tuple[str, os.stat_result, os.stat_result] | None = None  # the last file read, and its folder
        if not existing:
            self._new_files()

    @property
    def n_unfinished(self) -> int:
        """Number of incomplete files."""
        return len(self._unfinished)

    def poll(self, n_keypoints: int = 17) -> Iterator[Frame]:
        """Yield files completed since the last call, by modification time.

        Files that cannot be used are left out with a warning.

        Parameters
        ----------
        n_keypoints : int, default 17
            Of the heatmaps.

        Yields
        ------
        Frame
        """
        found = {*self._unfinished, *self._new_files()} or self._newest_again()
        for path in sorted(found, key=lambda path: (self._written(path), natural_key(path))):
            try:
                heatmaps = read_heatmaps(self._root / path, n_keypoints=n_keypoints)
            except UnfinishedFileError as error:
                if self._may_grow(path):
                    continue
                logger.warning("%s, for %g s", error, self._patience)
            except BadFilesError as error:
                logger.warning("%s", error)
            except FileNotFoundError:
                pass  # renamed or removed before it was read
            else:
                with suppress(OSError):
                    self._newest = path, *self._stats(path)
                yield Frame(path, self._written(path), heatmaps)
            self._unfinished.pop(path, None)

    def _newest_again(self) -> set[str]:
        """Return the last file where one with its inode replaced it; warn where it is overwritten in place."""
        with suppress(OSError):  # gone
            if self._newest is not None:
                path, before, folder_before = self._newest
                now, folder = self._stats(path)
                if now.st_ino == before.st_ino and now.st_mtime_ns > before.st_mtime_ns:
                    self._newest = None
                    if folder.st_mtime_ns != folder_before.st_mtime_ns:  # by a new name; inodes are used again
                        return {path}
                    logger.warning(
                        "%s was overwritten in place and is not read again: write each frame to a new name, or to a "
                        "hidden one that replaces it",
                        path,
                    )
        return set()

    def _stats(self, path: str) -> tuple[os.stat_result, os.stat_result]:
        file = self._root / path
        return file.stat(), file.parent.stat()

    def _written(self, path: str) -> float:
        try:
            return (self._root / path).stat().st_mtime
        except OSError:  # gone
            return time.time()

    def _may_grow(self, path: str) -> bool:
        """Return True while an incomplete file may still be written."""
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
        """List all folders that may have changed."""
        files: list[str] = []
        now = time.monotonic()
        waiting = list(self._folders)
        for prefix in waiting:
            folder = self._folders[prefix]
            try:
                if not folder.may_have_changed(os.stat(self._root / prefix).st_mtime_ns, now):  # noqa: PTH116 (no Path made)
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
    """Names found in one folder, and its parents: links to them are not followed."""

    def __init__(self, above: tuple[str, ...]) -> None:
        self.above = above
        self.names: dict[str, int] = {}
        self._stamp: int | None = None
        self._changed = 0.0

    def may_have_changed(self, stamp: int, now: float) -> bool:
        """Return True if the folder's time stamp allows new files."""
        if stamp != self._stamp:
            self._stamp, self._changed = stamp, now
        # A file can arrive after the folder was listed, within the same tick of the clock.
        return now - self._changed <= COARSE_TICK


def follow_folder(
    folder: GrowingFolder, *, once: bool = False, until_idle: float | None = None, n_keypoints: int = 17
) -> Iterator[Frame | None]:
    """Yield the files of a growing folder as they arrive, and None while there are none.

    Parameters
    ----------
    folder : GrowingFolder
        The folder.
    once : bool, default False
        End when all existing files are complete.
    until_idle : float, optional
        End after this many seconds without a file.
    n_keypoints : int, default 17
        Of the heatmaps.

    Yields
    ------
    Frame or None
    """
    last = time.monotonic()
    while True:
        begun = time.monotonic()
        any_came = False
        for frame in folder.poll(n_keypoints):
            any_came = True
            yield frame
        now = time.monotonic()
        if any_came or folder.n_unfinished:
            last = now
        elif once or (until_idle is not None and now - last >= until_idle):
            return
        if not any_came:
            yield None
            # Listing very many files takes time: at most half of it is used.
            time.sleep(max(_PAUSE, now - begun))


def follow_stream(stream: IO[bytes], pause: float = 0.1, n_keypoints: int = 17) -> Iterator[Frame | None]:
    """Yield arrays of heatmaps from a pipe as they arrive, and None while there are none.

    Parameters
    ----------
    stream : binary file
        Arrays in the format of ``numpy.save``, one after the other, see :func:`heatpose.data.npy.read_stream`.
    pause : float, default 0.1
        Seconds without an array after which None is yielded (not on Windows).
    n_keypoints : int, default 17
        Of the heatmaps.

    Yields
    ------
    Frame or None
    """
    raw = getattr(stream, "raw", stream)  # select does not see data in a buffer
    arrays, clock, is_finite = read_stream(raw, n_keypoints=n_keypoints), SteadyClock(), True
    while True:
        while not _is_ready(raw, pause):
            yield None
        heatmaps = next(arrays, None)
        if heatmaps is None:
            return
        was_finite, is_finite = is_finite, bool(np.isfinite(heatmaps).all())
        if was_finite and not is_finite:
            logger.warning("Left out arrays of the stream up to a finite one: expected no NaN or infinity, got some")
        yield Frame(None, clock(), heatmaps) if is_finite else None


def _is_ready(stream: IO[bytes], seconds: float) -> bool:
    try:
        return bool(select.select([stream], [], [], seconds)[0])
    except (OSError, ValueError, TypeError):  # not a pipe, or Windows
        return True


def watch_frames(
    stream: PoseStream,
    frames: Iterable[Frame | None],
    *,
    person: Callable[[str], Hashable] | None = None,
    fps: float | None = None,
    number: Callable[[str], int | None] | None = None,
    wanted: Collection[str] = ("frames",),
    on_frame: Callable[[Hashable, np.ndarray], object] | None = None,
) -> Iterator[dict[str, Any]]:
    """Classify frames and emit records of frames and events for JSON.

    Parameters
    ----------
    stream : PoseStream
        Tracks the people; it is closed at the end.
    frames : iterable of Frame or None
        None while there are no frames, so that people who are gone leave their poses.
    person : callable, optional
        Person of a frame, from its path.
    fps : float, optional
        Frames per second of each person, instead of the clock; times then begin at 0.
    number : callable, optional
        With `fps`, the position of a frame in its film, from its path; by default the position among the person's
        frames.
    wanted : collection of {"frames", "events"}
        Kinds of records.
    on_frame : callable, optional
        Called with the person and the heatmaps (17, H, W) after each frame was pushed.

    Yields
    ------
    dict
        Of a frame: ``kind`` ("frame"), ``label``, ``person``, ``time``, ``confidence``, ``path``, ``sample`` (its
        position in the file). Of an event: as :class:`heatpose.PoseEvent`.
    """
    last: dict[Hashable, tuple[int, float]] = {}  # frames so far, and the time of the last one
    newest, arrived = -np.inf, time.monotonic()

    def records(events: Iterable[PoseEvent]) -> Iterator[dict[str, Any]]:
        return map(event_record, events) if "events" in wanted else iter(())

    for frame in frames:
        if frame is None:
            # By elapsed time, since the clock of the files can be another machine's.
            if fps is None and np.isfinite(newest):
                yield from records(stream.advance(newest + time.monotonic() - arrived))
            continue
        who = person(frame.path) if person is not None and frame.path is not None else frame.person
        position = number(frame.path) if number is not None and frame.path is not None else None
        for sample, heatmaps in enumerate(frame.heatmaps):
            count, before = last.get(who, (0, -np.inf))
            count = count if position is None else position
            when = max(frame.time, before) if fps is None else count / fps  # files can be older than the previous one
            if when < before:
                raise ValueError(
                    f"Expected the frames of a film in their order, got {frame.path} at {when:g} s after {before:g} s; "
                    "where there are several films, each is a person."
                )
            last[who] = count + 1, when
            if when > newest:
                newest, arrived = when, time.monotonic()
            events = stream.push(heatmaps if frame.keypoints is None else frame.keypoints[sample], when, who)
            if on_frame is not None:
                on_frame(who, heatmaps)
            if "frames" in wanted:
                label, confidence = stream.last(who)
                record = {"kind": "frame", "label": label, "person": who, "time": when, "confidence": confidence}
                yield _rounded(record | {"path": frame.path, "sample": sample})
            yield from records(events)
        if fps is None:  # one clock for all, by which others can be gone
            yield from records(stream.advance(frame.time))
    yield from records(stream.close())


def event_record(event: PoseEvent) -> dict[str, Any]:
    """Return the record of an event."""
    return _rounded(asdict(event))


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    """Round times and probabilities to four decimals, finer than their accuracy."""
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in record.items()}
