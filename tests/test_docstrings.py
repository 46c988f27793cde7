"""Docstrings of public names are complete, by numpydoc's own validation."""

import inspect
import re

import pytest

import heatpose

validate = pytest.importorskip("numpydoc.validate", reason="numpydoc is not installed: see the extra 'dev'").validate

# A docstring, parameters (all, in order, with types and descriptions) and return values.
REQUIRED = {"GL08", "PR01", "PR02", "PR03", "PR04", "PR05", "PR06", "PR07", "PR10", "RT01", "RT02", "RT03", "YD01"}

# Results and errors, made by functions whose examples show them.
RETURNED = [
    "Advice",
    "Audit",
    "Baseline",
    "BadFile",
    "BadFilesError",
    "Calibration",
    "CannotExportError",
    "Comparison",
    "Curve",
    "Evaluation",
    "Inspection",
    "ModelError",
    "OnnxModel",
    "PoseEvent",
    "Problem",
    "Summary",
    "TrainingResult",
    "UntrustedError",
]


def public_objects():
    """Functions and classes that are imported from heatpose."""
    return {f"{home}.{name}": getattr(heatpose, name) for name, home in heatpose._HOME.items()}


OBJECTS = {path: value for path, value in public_objects().items() if callable(value)}


@pytest.mark.parametrize("path", OBJECTS)
def test_docstring_is_complete(path):
    codes = REQUIRED if path.endswith(tuple(RETURNED)) else REQUIRED | {"EX01"}
    errors = [f"{code} {message}" for code, message in validate(f"heatpose.{path}")["errors"] if code in codes]
    assert not errors


@pytest.mark.parametrize("path", [path for path, value in OBJECTS.items() if inspect.isclass(value)])
def test_public_methods_have_a_docstring(path):
    methods = [name for name, value in vars(OBJECTS[path]).items() if callable(value) and not name.startswith("_")]
    assert not [name for name in methods if not vars(OBJECTS[path])[name].__doc__]


@pytest.mark.parametrize("path", [path for path, value in OBJECTS.items() if inspect.isfunction(value)])
def test_errors_that_are_raised_are_documented(path):
    function = OBJECTS[path]
    if re.search(r"^\s+raise ", inspect.getsource(function), re.MULTILINE):
        assert re.search(r"^Raises\n-+$", inspect.getdoc(function), re.MULTILINE)
