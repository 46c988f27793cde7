"""Times of frames: conversion to seconds, and a check of the clock's unit."""

from __future__ import annotations

import math
import time
import warnings
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["ROUNDING", "ClockCheck", "SteadyClock", "as_seconds"]

_LONG_STEPS = 5
"""Consecutive steps of `gap` or more that are reported: at the default gap, five seconds without a usable stream."""

_STILL_STEPS = 10
"""Consecutive steps that are too short which are reported: more than the frames of one array that share a time."""

_SHORTEST = 0.001
"""Seconds between frames below which a clock stands still: no camera takes a thousand frames a second."""

ROUNDING = 1e-6
"""Seconds, the float64 resolution of times since 1970: up to it, frames can be exactly the gap apart."""


def as_seconds(time: ArrayLike, count: int) -> list[float]:
    """Convert times of frames to seconds.

    Parameters
    ----------
    time : array_like, shape () or (count,)
        Numbers are seconds. ``datetime`` and ``datetime64`` become seconds since 1970, in UTC where they have no time
        zone; ``timedelta`` and ``timedelta64`` become their length.
    count : int
        Number of frames.

    Returns
    -------
    list of float

    Raises
    ------
    TypeError
        For other types.
    ValueError
        For another number of times, or times that are not finite.

    Examples
    --------
    >>> as_seconds([1, 2.5], 2), as_seconds(np.datetime64("1970-01-01T00:01"), 1), as_seconds(timedelta(minutes=2), 1)
    ([1.0, 2.5], [60.0], [120.0])
    """
    times = np.atleast_1d(np.asarray(time))
    if times.shape != (count,):
        raise ValueError(f"Expected one time for each of {count} frames, got {times.size}.")
    if times.dtype.kind in "Mm":
        unit = np.dtype(f"{times.dtype.kind}8[ns]")
        seconds = np.where(np.isnat(times), np.nan, times.astype(unit).astype(np.int64) / 1e9)
    elif times.dtype.kind == "O":
        seconds = np.array([_one_as_seconds(value) for value in times.tolist()])
    elif times.dtype.kind in "iuf":
        seconds = times.astype(np.float64)
    else:
        raise TypeError(f"Expected times in seconds, or datetimes, got {times[0]!r}.")
    if not np.isfinite(seconds).all():
        raise ValueError(f"Expected times in seconds, got {seconds[~np.isfinite(seconds)][0]}.")
    return seconds.tolist()


def _one_as_seconds(value: Any) -> float:
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, np.datetime64 | np.timedelta64 | int | float | np.number) and not isinstance(value, bool):
        return as_seconds(np.array([value]), 1)[0]
    raise TypeError(f"Expected times in seconds, or datetimes, got {value!r}.")


class SteadyClock:
    """Seconds since 1970 that go on where the system's clock is set back."""

    def __init__(self) -> None:
        self._ahead = -math.inf  # of the time since the system was started

    def __call__(self) -> float:
        """Return the time."""
        steady = time.monotonic()
        self._ahead = max(self._ahead, time.time() - steady)
        return self._ahead + steady


class ClockCheck:
    """Warn once when the times of frames do not look like seconds.

    Parameters
    ----------
    gap : float
        Seconds between frames from which on a stream is interrupted.
    """

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._long = self._still = 0
        self._warned = False

    def add(self, step: float) -> None:
        """Take the seconds since the last frame of the same person.

        Warns
        -----
        UserWarning
            Several steps in a row are as long as the gap or longer, or time stands still.
        """
        self._long = self._long + 1 if step >= self._gap - ROUNDING else 0
        self._still = self._still + 1 if step < _SHORTEST else 0
        if self._long >= _LONG_STEPS:
            found = (
                f"{self._long} frames in a row at least {self._gap:g} s (gap) after the one before, the last one "
                f"{step:g} s: poses end at longer gaps. If the times have another unit (milliseconds, nanoseconds, "
                "frame numbers), convert them to seconds; if frames are this rare, increase gap."
            )
        elif self._still >= _STILL_STEPS:
            found = (
                f"{self._still} frames in a row less than {_SHORTEST:g} s after the one before: nothing can be entered "
                "or held while time stands still. Pass the time of each frame, or a fixed rate (--fps)."
            )
        else:
            return
        if not self._warned:
            self._warned = True
            warnings.warn(f"Expected times in seconds, got {found}", UserWarning, stacklevel=4)
