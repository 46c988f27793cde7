"""Results as plain Python values, ready for JSON, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Self, get_args, get_origin, get_type_hints

import numpy as np

__all__ = ["Record", "to_plain"]


class Record:
    """Base of results: dataclasses that are written as JSON and restored from it, by the types of their fields."""

    def to_dict(self) -> dict[str, Any]:
        """Return plain Python values, ready for JSON; NaN becomes None."""
        return to_plain(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Restore what :meth:`to_dict` gave."""
        kinds = get_type_hints(cls)
        return cls(**{name: _restore(kinds[name], value) for name, value in values.items()})


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


def _restore(kind: Any, value: Any) -> Any:
    """Restore a value of a field of this type."""
    if value is None:
        return math.nan if kind is float else None
    if kind is np.ndarray:
        array = np.array(value)
        return array.astype(float) if array.dtype == object else array  # None stands for NaN
    if get_origin(kind) is tuple:
        return tuple(_restore(get_args(kind)[0], item) for item in value)
    for record in (kind, *get_args(kind)):
        if isinstance(record, type) and issubclass(record, Record):
            return record.from_dict(value)
    return value
