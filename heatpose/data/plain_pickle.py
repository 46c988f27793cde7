"""Read pickles of plain containers and NumPy arrays, and of nothing else.

Nothing that a pickle names is imported or called: the few names that arrays are written with stand for functions here.
"""

from __future__ import annotations

import pickle
import pickletools
from io import BytesIO
from typing import Any

import numpy as np

__all__ = ["load_plain"]

_MOST_MEMOS = 50_000_000
"""Objects a pickle can refer back to: the list of them takes 8 bytes each."""


class _DType:
    """Stand-in for ``numpy.dtype``: numbers and booleans only."""

    def __init__(self, name: str, *flags: Any):
        self.dtype = np.dtype(str(name))
        if self.dtype.kind not in "biuf" or self.dtype.itemsize > 8:
            raise ValueError(f"Expected arrays of numbers, got {self.dtype}.")

    def __setstate__(self, state: tuple) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(np.ndarray):
    """Stand-in for ``numpy.ndarray``, filled by the state that NumPy writes."""

    def __new__(cls, *ignored: Any) -> _Array:
        """Return an array of nothing, whatever is asked for."""
        return super().__new__(cls, 0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, is_fortran, raw = state
        super().__setstate__((1, shape, dtype.dtype, is_fortran, _as_bytes(raw)))


def _as_bytes(raw: Any) -> bytes:
    if isinstance(raw, str):
        return raw.encode("latin-1")
    return raw if isinstance(raw, bytes) else bytes(memoryview(raw))  # of an array, whose memory a pickle could free


def _from_buffer(raw: Any, dtype: _DType, shape: tuple, order: str) -> np.ndarray:
    return np.frombuffer(_as_bytes(raw), dtype=dtype.dtype).reshape(shape, order="F" if order == "F" else "C")


def _scalar(dtype: _DType, raw: Any) -> Any:
    return _from_buffer(raw, dtype, (), "C").item()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError(f"Expected bytes written as latin1, got {str(encoding)[:40]!r}.")
    return text.encode("latin-1")


_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _DType,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): lambda: b"",  # which protocols before 3 call for
    **{
        (f"numpy.{core}.{module}", name): stand_in
        for core in ("core", "_core")
        for module, name, stand_in in (
            ("multiarray", "_reconstruct", _Array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in of a name; ValueError for names that arrays are not written with."""
        if (module, name) not in _NAMES:
            raise ValueError(f"Expected plain containers and NumPy arrays, got {module}.{name}"[:200])
        return _NAMES[module, name]


def load_plain(data: bytes) -> Any:
    """Return the content of a pickle of plain containers and arrays of numbers.

    Parameters
    ----------
    data : bytes
        A pickle of any protocol.

    Returns
    -------
    object
        Dictionaries, lists, tuples, texts, numbers and arrays.

    Raises
    ------
    ValueError
        The pickle is damaged or names anything else; nothing was called.
    """
    try:
        operations = pickletools.genops(data)  # checks every length against what is there
        for count, (opcode, argument, _) in enumerate(operations):
            if "PUT" in opcode.name and isinstance(argument, int) and argument > min(count, _MOST_MEMOS):
                raise ValueError(f"Expected memo numbers up to {count}, got {argument}.")
            if opcode.name in ("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ_EX"):
                raise ValueError(f"Expected plain containers and NumPy arrays, got {opcode.name}.")
        return _Unpickler(BytesIO(data), encoding="latin1").load()
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(f"Expected a pickle, got a damaged one ({type(error).__name__}: {error})"[:300]) from error
