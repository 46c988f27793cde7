"""Unpickling that makes only objects of the kinds that models are of.

A pickle names what it makes, and the usual unpickler calls whatever is named. This one looks each name up in a list
first: estimators and their helpers of heatpose, scikit-learn and XGBoost, and what rebuilds NumPy's arrays. Functions
such as ``os.system`` or ``builtins.eval`` are not in it. It keeps out what was crafted to run code; it does not make a
stranger's pickle harmless, for which there is the safe file.
"""

from __future__ import annotations

import inspect
import pickle
import zlib
from collections.abc import Collection
from io import BytesIO
from typing import Any

from joblib.numpy_pickle import NumpyArrayWrapper, NumpyUnpickler

__all__ = ["UntrustedError", "load_trusted"]

_PACKAGES = ("heatpose", "sklearn", "xgboost")
"""Classes defined in these packages can be made."""

_NAMES = frozenset(
    {
        *("builtins.bytearray", "builtins.complex", "builtins.frozenset", "builtins.object", "builtins.range"),
        *("builtins.set", "builtins.slice", "collections.OrderedDict", "collections.defaultdict"),
        *("copyreg._reconstructor", "numpy.dtype", "numpy.ndarray"),
        *(
            f"numpy.{core}.{name}"
            for core in ("core", "_core")
            for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer")
        ),
        *(f"numpy.random._pickle.__{name}_ctor" for name in ("bit_generator", "generator", "randomstate")),
        *(f"numpy.random.{name}" for name in ("_mt19937.MT19937", "_pcg64.PCG64", "bit_generator.SeedSequence")),
    }
)
"""What else can be named."""

_TYPES = ("bool", "bool_", *(f"{kind}{bits}" for kind in ("int", "uint", "float") for bits in (8, 16, 32, 64)))


class UntrustedError(ValueError):
    """A pickle that names something that no model needs."""


def load_trusted(data: bytes, trusted: Collection[str] = ()) -> Any:
    """Unpickle what ``joblib.dump`` wrote.

    Parameters
    ----------
    data : bytes
        Of the file, as they are or compressed by zlib.
    trusted : collection of str
        More packages whose classes and functions may be in it, such as ``"lightgbm"``.

    Raises
    ------
    UntrustedError
        Something is named that is not trusted; it was not called.
    Exception
        Anything that a damaged pickle raises.
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
    """Looks names up before they are resolved."""

    trusted: frozenset[str] = frozenset()

    def find_class(self, module: str, name: str) -> Any:
        """Resolve a name that is trusted; UntrustedError for others."""
        package = module.partition(".")[0]
        if (module, name) == ("joblib.numpy_pickle", "NumpyArrayWrapper"):
            return _ArrayWrapper
        if package in self.trusted or f"{module}.{name}" in _NAMES or (module == "numpy" and name in _TYPES):
            return super().find_class(module, name)  # type: ignore[misc]
        if package in _PACKAGES and "." not in name:
            found = super().find_class(module, name)  # type: ignore[misc]
            if isinstance(found, type) and found.__module__.partition(".")[0] == package:
                return found
        raise UntrustedError(f"{module}.{name}")


class _Unpickler(_Guard, NumpyUnpickler):
    """For what joblib writes: a pickle with the numbers of arrays in between."""


class _Inner(_Guard, pickle.Unpickler):
    """For arrays of objects, which joblib writes as a pickle in the pickle."""


class _ArrayWrapper(NumpyArrayWrapper):
    """Stands for an array until its numbers are read; they come where this is made."""

    def read_array(self, unpickler: _Unpickler, *options: Any) -> Any:
        """Read the numbers, or unpickle the objects with the same care."""
        if not self.dtype.hasobject:
            return super().read_array(unpickler, *options)
        inner = _Inner(unpickler.file_handle)
        inner.trusted = unpickler.trusted
        return inner.load()
