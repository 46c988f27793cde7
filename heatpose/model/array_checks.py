"""Checks of the arrays and numbers that blocks are made of; each raises a ValueError."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST = {
    "columns": 1 << 19,  # between blocks: the features of 1,000 keypoints
    "levels of trees": 1000,
    "trees times columns": 1 << 25,
    "blocks in blocks": 20,  # each holds its outputs until those in it are done
}
"""Bounds of the time and the memory that a manipulated file takes, far above any model that was trained."""


def check_array(name: str, array: Any, shape: Sequence[int | None], kind: str) -> None:
    """Refuse what is no finite array of that kind and shape, in which None is any length but 0."""
    if not isinstance(array, np.ndarray) or array.dtype.kind != kind:
        got = getattr(array, "dtype", type(array).__name__)
        raise ValueError(f"Expected an array of kind {kind!r} as {name}, got {got}.")
    fits = len(shape) == array.ndim and all(
        n > 0 if wanted is None else n == wanted for wanted, n in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if n is None else str(n) for n in shape)
        raise ValueError(f"Expected {name} of shape ({wanted}), got {array.shape}.")
    if kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"Expected finite numbers as {name}, got others.")


def check_range(name: str, array: np.ndarray, least: int, end: int | None) -> None:
    """Refuse an array with numbers below `least`, or of `end` and above."""
    if array.min() < least or (end is not None and array.max() >= end):
        wanted = f"{least} or more" if end is None else f"{least} to {end - 1}"
        raise ValueError(f"Expected {name} of {wanted}, got {array.min()} to {array.max()}.")


def check_number(name: str, value: Any, kind: type, least: float = -1e300, most: float = 1e300) -> None:
    """Refuse what is not of that very type (a bool is no int), or outside `least` to `most`."""
    if not isinstance(value, int | float) or type(value) is not kind or not least <= value <= most:
        raise ValueError(f"Expected a {kind.__name__} as {name}, from {least} to {most}, got {value!r}.")


def check_most(name: str, number: int) -> int:
    """Refuse a number above that of :data:`MOST`, and return it."""
    if number > MOST[name]:
        raise ValueError(f"Expected at most {MOST[name]:,} {name}, got {number:,}.")
    return number


def check_width(wanted: int, width: int) -> None:
    """Refuse another number of columns."""
    if width != wanted:
        raise ValueError(f"Expected {wanted} columns, got {width}.")
