"""Delimited text as programs of all kinds write it: comma, semicolon or tab; UTF-8 or UTF-16, with or without a BOM."""

from __future__ import annotations

import codecs
import csv
import os
import re
import warnings
from collections.abc import Collection
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpose.data.storage import open_file
from heatpose.data.wording import some_names

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_columns", "read_delimited", "separator_of", "text_encoding"]

_HEAD_BYTES = 1 << 16  # more than the header of any keypoint table, and its first row


def read_delimited(source: Path | BytesIO, **options: Any) -> pd.DataFrame:
    r"""Read a table of delimited text with a header.

    The separator is the most frequent one of comma, semicolon and tab in the header. Between semicolons or tabs a comma
    is the decimal sign where one of the first rows has one between digits.

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
        The text is in another encoding, is no table, has rows that are longer than the header, or ends within a row.

    Examples
    --------
    >>> read_delimited(BytesIO("path;x\nup_1.npy;0,5\n".encode("utf-16"))).to_numpy().tolist()
    [['up_1.npy', 0.5]]
    """
    import pandas as pd  # half a second, which the process that reads HDF5 files does without

    if isinstance(source, BytesIO):
        head, tail = source.getvalue()[:_HEAD_BYTES], source.getvalue()[-_HEAD_BYTES:]
    else:
        with source.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            file.seek(max(0, source.stat().st_size - _HEAD_BYTES))
            tail = file.read()
    encoding = text_encoding(head)
    # Lines of Excel's CSV for Macintosh end in a bare \r.
    text, end = (re.sub("\r\n?", "\n", part.decode(encoding, errors="ignore")) for part in (head, tail))
    header, _, rows = text.partition("\n")
    separator = separator_of(header)
    has_comma = separator != "," and re.search(r"""(^|[;\t]) *"?-?\d*,\d+"? *([;\t]|$)""", rows, re.MULTILINE)
    decimal = "," if has_comma else "."
    last = end.rpartition("\n")[2]  # empty where the last row is complete
    n_last, n_columns = (len(next(csv.reader([line], delimiter=separator), [])) for line in (last, header))
    if 0 < n_last < n_columns and encoding != "utf-16":  # whose end alone has no mark of its byte order
        raise ValueError(
            f"Expected {n_columns} columns in each row, got {n_last} in the last one: the file is truncated"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            options |= {"sep": separator, "decimal": decimal, "encoding": encoding, "low_memory": False}
            return pd.read_csv(source, index_col=False, skipinitialspace=True, **options)
        except pd.errors.ParserWarning as error:  # pandas names the line of a later row itself
            raise ValueError(f"Expected {n_columns} columns in each row, got more in the first one") from error
        except UnicodeDecodeError as error:
            raise ValueError(f"Expected text in UTF-8, such as Excel's 'CSV UTF-8': {error}") from error


def read_columns(
    file: str | os.PathLike[str], kind: str, columns: Collection[str], **options: Any
) -> tuple[pd.DataFrame, str]:
    """Read a table that has certain columns, from a file or a URL; return it, and the file's name for messages.

    Errors name the content, such as "groups": a FileNotFoundError, or a ValueError where it cannot be read or lacks a
    column. Options are those of :func:`read_delimited`.
    """
    source, name = open_file(file, f"file of {kind}")
    try:
        table = read_delimited(source, **options)
    except ValueError as error:
        raise ValueError(f"Cannot read {kind} from {name}: {error}") from error
    if not set(columns) <= set(table):
        raise ValueError(f"Expected columns {', '.join(columns)} in {name}, got {some_names(table.columns)}.")
    return table, name


def separator_of(line: str) -> str:
    """Return the most frequent one of comma, semicolon and tab; a comma where there is none."""
    return max(",;\t", key=line.count)


def text_encoding(head: bytes) -> str:
    """Return the encoding of a text from its first bytes: UTF-16 with a byte order mark, else UTF-8."""
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
