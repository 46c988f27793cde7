"""What parameters can be: ranges and choices that a search draws from, in plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Range", "Space", "within"]


@dataclass(frozen=True)
class Range:
    """Numbers between two ends, both included.

    Parameters
    ----------
    low, high : int or float
        The ends; whole numbers are drawn between whole ones.
    log : bool, default False
        Whether small numbers are told apart more finely, as 1 from 2 and 10 from 20.
    """

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | tuple[bool | int | float | str, ...]]
"""Parameter, named as in ``set_params``, to what it can be; the default must be in it."""


def within(part: str, space: Space) -> Space:
    """Name the parameters of a part as the whole calls them.

    Examples
    --------
    >>> within("svc", {"C": (1, 10)})
    {'svc__C': (1, 10)}
    """
    return {f"{part}__{parameter}": choices for parameter, choices in space.items()}
