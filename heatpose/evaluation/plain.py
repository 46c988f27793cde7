"""Results as plain Python values, ready for JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

__all__ = ["Record", "to_plain"]


@dataclass(frozen=True, eq=False)
class Record:
    """Base of results: dataclasses that are written as JSON."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)


def to_plain(value: Any, where: str = "the result") -> Any:
    """Convert a record (a dataclass), or what it holds, to types of JSON; NaN becomes None, errors name the place."""
    if isinstance(value, Record):
        return {field.name: to_plain(getattr(value, field.name), f"{where}.{field.name}") for field in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        if wrong := [key for key in value if not isinstance(key, str)]:
            raise TypeError(f"Expected texts as keys, got {wrong[0]!r} in {where}.")
        return {str(key): to_plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item, f"{where}[{position}]") for position, item in enumerate(value)]
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, float) and math.isinf(value):
        raise ValueError(f"Expected finite numbers or NaN, got {value} in {where}.")
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(
        f"Expected texts, numbers, and lists and dictionaries of them, got {type(value).__name__} in {where}."
    )
