"""Options that several commands share, each declared once, and the types of values."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any


class UsageError(argparse.ArgumentTypeError):
    """Wrong usage, seen in a single value or once the command runs: exit code 2."""


_INPUTS = ("data", "source", "model", "adapt", "labels", "groups")
_OUTPUTS = ("out", "report", "fix_list", "study")
"""Arguments of files that are read, and of files that are written."""

# Types of values --------------------------------------------------------------------------------------------


def _number(expected: str, fits: Callable[[float], bool], kind: type = float) -> Callable[[str], Any]:
    """Return a parser of numbers that fit."""

    def parse(text: str) -> Any:
        with suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise UsageError(f"expected {expected}, got {text!r}")

    return parse


def whole(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers."""
    return _number(f"a whole number of at least {least}", lambda value: value >= least, int)


duration = _number("a number of 0 or more", lambda value: 0 <= value < math.inf)
positive = _number("a number above 0", lambda value: 0 < value < math.inf)


def _sides(text: str) -> tuple[int, int]:
    """Parse two whole numbers with an x between them."""
    sides = re.fullmatch(r"([1-9]\d{0,5})[xX]([1-9]\d{0,5})", text)
    if sides is None:
        raise UsageError(f"expected two whole numbers such as 1280x720, got {text!r}")
    return int(sides[1]), int(sides[2])


def _origin(text: str) -> str:
    """Parse the origin of a page as browsers send it; anything else would match none."""
    if text not in ("null", "file://") and not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/\s]+/?", text.lower()):
        raise UsageError(f"expected an origin such as http://localhost:8601, got {text!r}")
    return text.lower()


def _scheduler(text: str) -> str:
    """Parse the address of a scheduler; argparse passes whatever follows --dask."""
    if text == "local" or re.fullmatch(r"(\w+://)?[^/]+:\d+", text):
        return text
    raise UsageError(
        f"expected an address such as tcp://10.0.0.1:8786, got {text!r}; put --dask last, or write --dask=local"
    )


def parsed_by(module: str, name: str) -> Callable[[str], Any]:
    """Return a parser that calls a function of the library, imported once the option is given."""

    def parse(text: str) -> Any:
        try:
            return getattr(import_module(module), name)(text)
        except ValueError as error:
            raise UsageError(str(error)) from error

    return parse


def here(text: str) -> Path:
    """Parse a path on this machine; Path would make a folder "s3:" of a URL."""
    from heatpose.data.storage import is_url, local_path

    if is_url(text):
        raise UsageError(f"expected a path on this machine, got a URL: {text}")
    return Path(local_path(text))


def check_writable(path: Path) -> None:
    """Reject a file that cannot be written; missing folders will be created."""
    path = path.absolute()
    folder = next(filter(Path.exists, path.parents), Path(path.anchor))  # not even a drive of Windows need be there
    if path.is_dir():
        raise UsageError(f"expected a file to write, got a folder: {path}")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"expected a writable folder, got {folder}")


def check_paths(args: argparse.Namespace) -> None:
    """Reject empty paths, and a file to write that the command reads, such as --out where it is that of --adapt."""
    given = vars(args)
    if "" in (*map(given.get, _INPUTS), *given.get("paths", ())):  # a shell's variable that is not set
        raise UsageError("expected a path, got an empty text, which would be the present folder")
    inputs = [Path(text).resolve() for name in _INPUTS if isinstance(text := given.get(name), str | Path)]
    for name in _OUTPUTS:
        if isinstance(path := given.get(name), Path) and path.is_file() and path.resolve() in inputs:
            argument = name.replace("_", "-")
            raise UsageError(f"argument {argument}: expected another file to write than one that is read: {path}")


def file_to_write(*suffixes: str, or_url: bool = False) -> Callable[[str], Any]:
    """Return a parser of a file that can be written, whose name ends in one of the suffixes, if there are any.

    It is a Path, or the text of a URL where these are allowed.
    """

    def parse(text: str) -> str | Path:
        from heatpose.data.storage import file_name, is_url

        if suffixes and Path(file_name(text)).suffix.lower() not in suffixes:
            raise UsageError(f"expected a name to end in {' or '.join(suffixes)}, got {text}")
        if or_url and is_url(text):
            return text
        check_writable(path := here(text))
        return path

    return parse


def _report(text: str) -> Path:
    """Parse a page to write, and reject it where a package for figures is missing."""
    path = file_to_write(".html", ".htm")(text)
    from heatpose.report.report import check_installed

    check_installed()
    return path


def folder_to_write(text: str) -> Path:
    """Parse a folder in which files can be written; it need not exist."""
    check_writable(here(text) / "file")
    return here(text)


# Options ----------------------------------------------------------------------------------------------------

Options = Mapping[str, Any]
"""Arguments of a command by their usage, such as ``"data DATA"``, ``"--jobs N"`` or ``"--json"``: their help, or what
`option` returns. A key that ends in a colon is the title of a group of arguments, one that ends in | stands for
alternatives; their values are such mappings again. A help without the word default gets the default at its end."""

_TYPES: Mapping[str, Callable[[str], Any]] = {"SECONDS": duration, "WxH": _sides, "HxW": _sides, "FILE": Path}
"""Types of values that their placeholders tell."""


def option(help: str, **settings: Any) -> dict[str, Any]:
    """Describe an argument by its help and other settings of ``add_argument``."""
    return {"help": help, **settings}


POSES = ("--format", "--skeleton", "--image-size", "--keep-placeholders")
"""Options that poses of another tool can need beside their files."""

DATA = ("data", "--labels", "--layout", *POSES)
"""Poses with their classes, and what can be needed beside their files."""

_SHARED: Options = {
    "model MODEL": "saved model (.joblib, .heatpose)",
    "data DATA": "folder of <class>/<anything>.npy, a keypoint table (.csv, .parquet), or poses of another tool (see "
    "heatpose convert); can be a URL such as s3://bucket/actions",
    "--format NAME": "format of poses of another tool (default: by their content)",
    "--labels folder|FILE": "for arrays and poses of another tool: labels from the folders, a CSV of path,label for "
    "frames or videos, or a .npy, a .txt or a CSV of label alone with one per frame (default: those in the files, else "
    "the folders)",
    "--skeleton NAME": "order of the keypoints or heatmaps, where it is not COCO-17's and the number does not tell, "
    "such as body-25 or coco-133; hand-21 and animal-17 are trained on their own keypoints",
    "--image-size WxH": "size of the images, where x and y are fractions of it; 1x1 for fractions of one length",
    "--layout": option(
        "folders in DATA: classes, or groups such as people with the classes in them (default: class, but an "
        "error where they look like groups)",
        choices=("class", "group/class"),
        default="auto",
    ),
    "--keep-placeholders": "take keypoints at exactly one corner point, such as 0,0, as they are, not as missing",
    "--decoder NAME": option(
        "method that decodes heatmaps into keypoints: argmax, quarter, soft-argmax or gaussian",
        type=parsed_by("heatpose.pose.decoding", "check_decoder"),
        default="gaussian",
    ),
    "--mirrored": "the pictures are mirrored, as by a selfie camera",
    "--skip-bad": "leave out files that cannot be used",
    "--cache|": {
        "--cache DIR": option(
            "folder for decoded keypoints, so that later runs read new and changed files only (default: .heatpose "
            "beside DATA, or the user's cache folder)",
            type=folder_to_write,
            default=True,
        ),
        "--no-cache": option("read all of DATA, store nothing", dest="cache", action="store_false"),
    },
    "--jobs N": option("processors to use (default: all)", type=whole(1)),
    "--json": "write the results as JSON",
    "--report PAGE.html": option("write a self-contained report with figures (needs heatpose[report])", type=_report),
    "--dask ADDRESS": option(
        "compute on a Dask cluster: the address of its scheduler, such as tcp://10.0.0.1:8786; without ADDRESS "
        "a cluster on this machine (needs heatpose[dask])",
        nargs="?",
        const="local",
        type=_scheduler,
    ),
    "--random-state N": option("seed: the same number gives the same result", type=whole(0), default=0),
    "--dtype": option("number format", choices=("float32", "float16"), default="float32"),
    "--overwrite": "replace files of the same names in an existing OUT",
    # Cameras and films
    "--source 0|FILM|URL": option("camera by its number, film, rtsp:// or http:// stream", required=True),
    "--estimator FILE.onnx": "top-down pose estimator: heatmaps or SimCC",
    "--input-size HxW": "height and width of the estimator's input, if the file does not fix them",
    "--normalization": option(
        "colours of the input: ImageNet's mean and deviation, 0 to 1, or 0 to 255 (default: imagenet)",
        choices=("imagenet", "unit", "none"),
    ),
    "--serve [HOST:]PORT": option(
        "serve a page and a WebSocket /events; on 127.0.0.1 unless HOST is given, which then needs a token",
        type=parsed_by("heatpose.live.server", "parse_address"),
    ),
    "--allow-origin ORIGIN": option(
        "origin whose pages may read the events too, such as http://localhost:8601; can be repeated",
        action="append",
        default=[],
        type=_origin,
    ),
}
_USAGES = {usage.partition(" ")[0].removesuffix("|"): usage for usage in _SHARED}


def shared(*names: str, **changes: Any) -> Options:
    """Return shared options by their names, such as ``"data"`` or ``"--jobs"``, with changes of their settings."""
    return {_USAGES[name]: _settings(_SHARED[_USAGES[name]]) | changes for name in names}


def groups_option(meaning: str) -> Options:
    """Return the option ``--groups`` with the meaning of the groups in its help."""
    text = (
        f"{meaning}: a regular expression with one capturing group, searched in the path; blocks:N (N contiguous "
        "runs of each class in file order); or a CSV of path,group (default: those of the data, as in a column group)"
    )
    return {"--groups SPEC": option(text, type=parsed_by("heatpose.data.groups", "check_spec"))}


def _settings(described: str | dict[str, Any]) -> dict[str, Any]:
    return option(described) if isinstance(described, str) else described


def add_options(parser: argparse._ActionsContainer, options: Options) -> None:
    """Add options to a parser, or to a group of one."""
    for usage, described in options.items():
        if usage.endswith(":"):
            add_options(parser.add_argument_group(usage.removesuffix(":")), described)
        elif usage.endswith("|"):
            add_options(parser.add_mutually_exclusive_group(), described)
        else:
            name, _, metavar = usage.partition(" ")
            settings = dict(_settings(described))
            if settings.get("default") not in (None, []) and "default" not in settings["help"]:
                settings["help"] += " (default: %(default)s)"
            if metavar:
                settings = {"metavar": metavar, "type": _TYPES.get(metavar), **settings}
            elif not settings.keys() & {"action", "choices"}:
                settings = {"action": "store_true", **settings}
            parser.add_argument(name, **settings)
