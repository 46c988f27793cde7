"""Numbers, counts, names and sentences as messages, the terminal, the report and the model card show them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

__all__ = [
    "PERFECT_SCORE",
    "capitalised",
    "first_lines",
    "format_interval",
    "format_number",
    "format_percent",
    "format_plural",
    "join_names",
    "some_names",
]

PERFECT_SCORE = "A score without a single error is a reason to check: are frames of one recording on both sides?"

_MISSING = "-"


def format_number(value: float | None) -> str:
    """Format a score with three decimals; a dash for None and NaN.

    Examples
    --------
    >>> format_number(0.91849), format_number(float("nan"))
    ('0.918', '-')
    """
    return _MISSING if value is None or math.isnan(value) else f"{value:.3f}"


def format_interval(ends: Iterable[float | None] | None) -> str:
    """Format both ends of an interval; nothing for None and NaN.

    Examples
    --------
    >>> format_interval((0.9, 1)), format_interval(None)
    ('[0.900, 1.000]', '')
    """
    if ends is None or any(end is None or math.isnan(end) for end in ends):
        return ""
    return f"[{', '.join(map(format_number, ends))}]"


def format_percent(share: float | None, digits: int = 1) -> str:
    """Format a share as a percentage; a dash for None and NaN.

    Examples
    --------
    >>> format_percent(0.0149), format_percent(0.5, digits=0), format_percent(None)
    ('1.5 %', '50 %', '-')
    """
    return _MISSING if share is None or math.isnan(share) else f"{100 * share:.{digits}f} %"


def format_plural(count: int, noun: str) -> str:
    """Format a count with its noun.

    Examples
    --------
    >>> format_plural(1, "frame"), format_plural(1200, "frame"), format_plural(2, "class")
    ('1 frame', '1,200 frames', '2 classes')
    """
    return f"{count:,} {noun}{'' if count == 1 else 'es' if noun.endswith('s') else 's'}"


def join_names(names: Iterable[str]) -> str:
    """Join names with commas and a last "and".

    Examples
    --------
    >>> join_names(["a", "b", "c"]), join_names(["a"])
    ('a, b and c', 'a')
    """
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else str(last)


def first_lines(lines: Sequence[str], most: int = 20, others: str = "more") -> list[str]:
    """Return the first lines, by default a screenful, and one that counts the others.

    Examples
    --------
    >>> first_lines(["up: empty", "down: empty"], 2), first_lines(["up: empty", "down: empty"], 1)
    (['up: empty', 'down: empty'], ['up: empty', '... and 1 more'])
    """
    return [*lines[:most], *([f"... and {len(lines) - most:,} {others}"] if len(lines) > most else [])]


def some_names(names: Iterable[object], most: int = 3) -> str:
    """Join the first names with commas and count the others.

    Examples
    --------
    >>> some_names("abc"), some_names("abcdef"), some_names("abc", 1)
    ('a, b, c', 'a, b, c and 3 more', 'a and 2 more')
    """
    texts = [str(name) for name in names]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most:,} more" if len(texts) > most else "")


def capitalised(text: str) -> str:
    """Return a sentence with its first letter in upper case."""
    return text[:1].upper() + text[1:]
