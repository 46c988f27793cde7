"""Packages: optional ones, the versions that are imported, and conflicts between distributions."""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

__all__ = ["distribution_of", "import_extra", "imported_version", "xgboost_conflict"]

_MODULES = {"scikit-learn": "sklearn"}
_XGBOOST = ("xgboost", "xgboost-cpu")  # both install the module xgboost


def import_extra(module: str, extra: str, purpose: str) -> Any:
    """Import a module that an extra of heatpose installs; ImportError with the purpose and the command if missing.

    One that is there and cannot be loaded says itself why, such as for want of a library of the system.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise ImportError(f'{purpose}: pip install "heatpose[{extra}]"') from error


def imported_version(package: str) -> str | None:
    """Return the version of the module that is imported for a package, None if it cannot be imported.

    The metadata of an installed distribution can differ from its module, where another distribution has replaced its
    files.

    Examples
    --------
    >>> imported_version("numpy") == __import__("numpy").__version__, imported_version("no-such-package")
    (True, None)
    """
    try:
        return str(import_module(_MODULES.get(package, package)).__version__)
    except Exception:  # a broken installation can raise anything
        return None


def distribution_of(package: str) -> str:
    """Return the name by which pip installs another version of a package here: XGBoost has two that conflict."""
    return next(iter(_installed_xgboost()), package) if package == "xgboost" else package


def _installed_xgboost() -> dict[str, str]:
    """Return the installed distributions of XGBoost and their versions."""
    found = {}
    for name in _XGBOOST:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def xgboost_conflict() -> str:
    """Describe two distributions of XGBoost, or one whose files are gone, and the command that repairs it.

    Returns
    -------
    str
        Sentences, empty without a conflict.
    """
    found, here = _installed_xgboost(), imported_version("xgboost")
    if len(found) == len(_XGBOOST):
        names = " and ".join(f"{name} {number}" for name, number in found.items())
        return (
            f"{names} are both installed and overwrite each other's files; the imported version is {here or 'broken'}. "
            "Repair with: pip uninstall -y xgboost xgboost-cpu && pip install xgboost-cpu"
        )
    if found and here is None:
        ((name, number),) = found.items()
        openmp = "brew install libomp, or " if sys.platform == "darwin" else ""  # not in its wheel for macOS
        return (
            f"{name} {number} is registered as installed, but the module xgboost cannot be imported. "
            f"Repair with: {openmp}pip install --force-reinstall --no-deps {name}"
        )
    return ""
