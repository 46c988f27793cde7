"""Unpickling restricted to the classes that models consist of.

A pickle names classes and functions, and the usual unpickler calls any of them. This one allows a list only: classes of
heatpose's models, scikit-learn and XGBoost, and the functions that rebuild NumPy arrays; ``os.system`` or
``builtins.eval`` are not among them. Nor does it change classes, which other models in the process have too, or take
bytes as addresses of objects. It stops known attacks but does not make untrusted pickles safe; use the safe file for
that.
"""

from __future__ import annotations

import inspect
import pickle
import zlib
from collections.abc import Collection
from copy import copy
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

__all__ = ["UntrustedError", "load_trusted"]

_PACKAGES = ("heatpose.model.", "heatpose.pose.", "sklearn.", "xgboost.callback.", "xgboost.sklearn.")
"""Packages of allowed classes. Others of heatpose and XGBoost open cameras, files and ports when they are made."""

_NAMES = frozenset(
    {
        *("builtins.bytearray", "builtins.complex", "builtins.frozenset", "builtins.object", "builtins.range"),
        *("builtins.set", "builtins.slice", "collections.OrderedDict", "collections.defaultdict"),
        *("copyreg._reconstructor", "numpy.dtype"),
        *(
            f"numpy.{core}.{name}"
            for core in ("core", "_core")
            for name in ("multiarray.scalar", "numeric._frombuffer")
        ),
        *(f"numpy.random._pickle.__{name}_ctor" for name in ("bit_generator", "generator", "randomstate")),
        "xgboost.core.Booster",
        *(f"numpy.random.{name}" for name in ("_mt19937.MT19937", "_pcg64.PCG64", "bit_generator.SeedSequence")),
    }
)
"""Other allowed names."""

_TYPES = ("bool", "bool_", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)))


class UntrustedError(ValueError):
    """A pickle that contains a name that is not allowed."""


def load_trusted(data: bytes, trusted: Collection[str] = ()) -> Any:
    """Unpickle the output of ``joblib.dump``, restricted to trusted names.

    Parameters
    ----------
    data : bytes
        Content of the file, optionally compressed by zlib.
    trusted : collection of str
        More packages whose classes and functions are allowed, such as ``"lightgbm"``.

    Returns
    -------
    object

    Raises
    ------
    UntrustedError
        An untrusted name was found; it was not called.
    Exception
        Any error of a damaged pickle.
    """
    if data[:1] == b"\x78":
        data = zlib.decompress(data)
    options: dict[str, Any] = {}
    if "ensure_native_byte_order" in inspect.signature(NumpyUnpickler).parameters:  # since joblib 1.5
        options["ensure_native_byte_order"] = True
    unpickler = _Unpickler("", BytesIO(data), **options)
    unpickler.trusted = frozenset(trusted)
    return unpickler.load()


class _Guard:
    """Check names before they are resolved."""

    trusted: frozenset[str] = frozenset()

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a trusted name; UntrustedError for others."""
        package = module.partition(".")[0]
        stand_in = _STAND_INS.get(f"{module}.{name}")
        if stand_in is _ArrayWrapper or (stand_in is not None and package not in self.trusted):
            return stand_in
        if package in self.trusted or f"{module}.{name}" in _NAMES or (module == "numpy" and name in _TYPES):
            return super().find_class(module, name)  # type: ignore[misc]
        if f"{module}.".startswith(_PACKAGES) and "." not in name:
            found = super().find_class(module, name)  # type: ignore[misc]
            if isinstance(found, type) and f"{found.__module__}.".startswith(_PACKAGES):
                return found
        raise UntrustedError(f"{module}.{name}")

    def load_build(self) -> None:
        """Set the state of an object; UnpicklingError where it is a class, whose methods that would replace.

        Or where it is the dtype of an array, whose bytes would become other numbers or addresses of objects.
        """
        changed, state = self.stack[-2:]  # type: ignore[attr-defined]
        if isinstance(changed, type):
            raise pickle.UnpicklingError(f"Expected an object with a state, got the class {changed.__qualname__}.")
        if isinstance(changed, np.dtype):
            trial: Any = copy(changed)
            trial.__setstate__(state)
            if trial.itemsize != changed.itemsize or (trial.hasobject and trial.kind != "O"):
                raise pickle.UnpicklingError(f"Expected the state of {changed}, got that of {trial}.")
        super().load_build()  # type: ignore[misc]

    dispatch: ClassVar[Any] = {**NumpyUnpickler.dispatch, pickle.BUILD[0]: load_build}


class _Unpickler(_Guard, NumpyUnpickler):
    """Unpickler for joblib's format: a pickle interleaved with array data."""


class _Inner(_Guard, pickle._Unpickler):
    """Unpickler for arrays of objects, which joblib writes as a nested pickle."""


class _ArrayWrapper(NumpyArrayWrapper):
    """Placeholder of an array whose data follow in the file."""

    def read_array(self, unpickler: _Unpickler, *options: Any) -> Any:
        """Read the data, or unpickle objects with the same restrictions."""
        self.subclass = np.ndarray
        if isinstance(self.dtype, np.dtype) and not self.dtype.hasobject:  # nothing that answers otherwise next time
            return super().read_array(unpickler, *options)
        inner = _Inner(unpickler.file_handle)
        inner.trusted = unpickler.trusted
        return inner.load()


class _Array:
    """Stand-in of ``numpy.ndarray``, whose constructor takes any bytes as addresses of objects."""


def _empty_array(*_: Any) -> np.ndarray:
    """Return an array whose state follows, in place of NumPy's function."""
    return np.empty(0, dtype=np.int8)


def _to_bytes(text: str, *_: Any) -> bytes:
    """Return bytes that protocol 2 writes as text, as joblib before 1.5 does within arrays of objects."""
    return text.encode("latin1")


_STAND_INS = {
    "_codecs.encode": _to_bytes,
    "joblib.numpy_pickle.NumpyArrayWrapper": _ArrayWrapper,
    "numpy.ndarray": _Array,
    "numpy.core.multiarray._reconstruct": _empty_array,
    "numpy._core.multiarray._reconstruct": _empty_array,
}
"""Substitutes of names that pickles of arrays contain."""
