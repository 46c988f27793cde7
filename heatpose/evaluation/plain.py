"""Results as plain Python values, ready for JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

__all__ = ["from_plain", "to_plain"]


def to_plain(value: Any) -> Any:
    """Return a record (a dataclass), or what it holds, as plain Python values, ready for JSON; NaN becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [to_plain(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def from_plain(values: Mapping[str, Any], floats: Sequence[str], ints: Sequence[str]) -> dict[str, Any]:
    """Restore the arrays in plain values, by their names."""
    restored = dict(values)
    restored.update({name: np.array(values[name], dtype=float) for name in floats})
    restored.update({name: np.array(values[name], dtype=np.int64) for name in ints})
    return restored
