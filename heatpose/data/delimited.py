"""Delimited text as programs of all kinds write it: comma, semicolon or tab; UTF-8 or UTF-16, with or without a BOM."""

from __future__ import annotations

import codecs
import re
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_delimited", "separator_of", "text_encoding"]

_HEAD_BYTES = 1 << 16  # more than the header of any keypoint table, and its first row


def read_delimited(source: Path | BytesIO, **options: Any) -> pd.DataFrame:
    r"""Read a table of delimited text with a header.

    The separator is the most frequent one of comma, semicolon and tab in the header. Between semicolons a comma is the
    decimal sign where the first row has one between digits.

    Parameters
    ----------
    source : Path or BytesIO
        The file, or its content.
    **options
        Of :func:`pandas.read_csv`.

    Returns
    -------
    DataFrame

    Raises
    ------
    ValueError
        The text is in another encoding, or is no table.

    Examples
    --------
    >>> read_delimited(BytesIO("path;x\nup_1.npy;0,5\n".encode("utf-16"))).to_numpy().tolist()
    [['up_1.npy', 0.5]]
    """
    import pandas as pd  # half a second, which the process that reads HDF5 files does without

    if isinstance(source, BytesIO):
        head = source.getvalue()[:_HEAD_BYTES]
    else:
        with source.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    encoding = text_encoding(head)
    header, _, rest = head.decode(encoding, errors="ignore").partition("\n")
    separator = separator_of(header)
    row = rest.partition("\n")[0]
    decimal = "," if separator == ";" and re.search(r"(^|;)\s*-?\d*,\d+\s*(;|$)", row) else "."
    return pd.read_csv(source, sep=separator, decimal=decimal, encoding=encoding, **options)


def separator_of(line: str) -> str:
    """Return the most frequent one of comma, semicolon and tab; a comma where there is none."""
    return max(",;\t", key=line.count)


def text_encoding(head: bytes) -> str:
    """Return the encoding of a text from its first bytes: UTF-16 with a byte order mark, else UTF-8."""
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
