"""Counts and names as messages show them."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["format_plural", "join_names", "some_names"]


def format_plural(count: int, noun: str) -> str:
    """Format a count with its noun.

    Examples
    --------
    >>> format_plural(1, "frame"), format_plural(1200, "frame")
    ('1 frame', '1,200 frames')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def join_names(names: Iterable[str]) -> str:
    """Join names with commas and a last "and".

    Examples
    --------
    >>> join_names(["a", "b", "c"]), join_names(["a"])
    ('a, b and c', 'a')
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)


def some_names(names: Iterable[object], most: int = 3) -> str:
    """Join the first names with commas and count the others.

    Examples
    --------
    >>> some_names("abc"), some_names("abcdef"), some_names("abc", 1)
    ('a, b, c', 'a, b, c and 3 more', 'a and 2 more')
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
