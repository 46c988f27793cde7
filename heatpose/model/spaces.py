"""Search spaces: ranges and choices of parameters, independent of the search library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Range", "Space", "within"]


@dataclass(frozen=True)
class Range:
    """Interval of numbers, both ends included.

    Parameters
    ----------
    low, high : int or float
        The ends; between integers, integers are drawn.
    log : bool, default False
        Draw uniformly on a logarithmic scale.
    """

    low: float
    high: float
    log: bool = False


Space = Mapping[str, Range | tuple[bool | int | float | str, ...]]
"""Parameters, named as in ``set_params``, and their ranges or choices, which include the default."""


def within(part: str, space: Space) -> Space:
    """Prefix the parameters of a nested estimator with its name.

    Examples
    --------
    >>> within("svc", {"C": (1, 10)})
    {'svc__C': (1, 10)}
    """
    return {f"{part}__{parameter}": choices for parameter, choices in space.items()}
