"""Options, data reading, progress and messages that the commands share."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import reduce
from importlib.util import find_spec
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client
    from rich.console import Console
    from sklearn.pipeline import Pipeline

    from heatpose.data.folder import HeatmapRows
    from heatpose.evaluation.signature import Signature

Progress = Callable[[int, int], None]


class UsageError(Exception):
    """Wrong usage that only shows once the command runs: exit code 2."""


# Options ----------------------------------------------------------------------------------------------------


class _Decoders:
    """The names of the decoders, looked up when they are needed: importing them takes a while."""

    def __iter__(self) -> Iterator[str]:
        from heatpose.pose.decoding import DECODERS

        return iter(DECODERS)


def add_data(parser: argparse.ArgumentParser, optional: bool = False) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?" if optional else None,
        help="folder of <class>/<anything>.npy, a keypoint table (.csv, .parquet), or poses of another tool (see "
        "heatpose convert); can be a URL such as s3://bucket/actions",
    )
    add_poses(parser)
    add_reading(parser)


def add_reading(parser: argparse.ArgumentParser) -> None:
    """Add the options that decide what folders and numbers of DATA mean."""
    parser.add_argument(
        "--layout",
        choices=("class", "group/class"),
        default="auto",
        help="folders in DATA: classes, or groups such as people with the classes in them (default: class, but an "
        "error where they look like groups)",
    )
    add_placeholders(parser)


def add_placeholders(parser: argparse.ArgumentParser) -> None:
    """Add --keep-placeholders."""
    parser.add_argument(
        "--keep-placeholders",
        action="store_true",
        help="take many keypoints of a table at exactly one corner point, such as 0,0, as they are, not as missing",
    )


def add_poses(parser: argparse.ArgumentParser, labelled: bool = True) -> None:
    """Add what poses of another tool, and arrays of heatmaps, can need beside their files."""
    parser.add_argument("--format", metavar="NAME", help="format of poses of another tool (default: by their content)")
    if labelled:
        parser.add_argument(
            "--labels",
            metavar="folder|FILE",
            help="for arrays and poses of another tool: labels from the folders, a CSV of path,label, or a .npy or "
            ".txt with one a frame (default: those in the files, else the folders)",
        )
    parser.add_argument(
        "--skeleton",
        metavar="NAME",
        help="their order of keypoints where the number does not tell, such as body-25 or halpe-26",
    )
    parser.add_argument(
        "--image-size",
        metavar="WxH",
        type=image_size,
        help="size of the images, where x and y are fractions of it; 1x1 for fractions of one length",
    )


def image_size(text: str) -> tuple[int, int]:
    """Read WIDTHxHEIGHT for argparse."""
    size = re.fullmatch(r"([1-9]\d{0,5})[xX]([1-9]\d{0,5})", text)
    if size is None:
        raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 1280x720, got {text!r}")
    return int(size[1]), int(size[2])


def pose_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_poses` that were given."""
    given = {name: getattr(args, name, None) for name in ("format", "labels", "skeleton", "image_size")}
    return {name: value for name, value in given.items() if value is not None}


def add_decoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--decoder",
        metavar="NAME",
        choices=_Decoders(),
        default="gaussian",
        help="method that decodes heatmaps into keypoints: %(choices)s (default: %(default)s)",
    )


def add_dtype(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default=default, help="number format (default: %(default)s)"
    )


def add_groups(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--groups",
        metavar="SPEC",
        help=f"{purpose}: a regular expression with one capturing group, searched in the path; blocks:N (N contiguous "
        "runs of each class in file order); or a CSV of path,group (default: the table's column group)",
    )


def add_mirrored(parser: argparse._ActionsContainer) -> None:
    parser.add_argument("--mirrored", action="store_true", help="the pictures are mirrored, as by a selfie camera")


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-bad", action="store_true", help="leave out files that cannot be used")


def add_cache(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--cache",
        metavar="DIR",
        type=here,
        default=True,
        help="folder for decoded keypoints, so that later runs read new and changed files only (default: .heatpose "
        "beside DATA, or the user's cache folder)",
    )
    where.add_argument("--no-cache", dest="cache", action="store_false", help="read all of DATA, store nothing")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", metavar="N", type=count, help="processors to use (default: all)")


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--report",
        metavar="PAGE.html",
        type=here,
        help="write a self-contained report with figures (needs heatpose[report])",
    )


def add_dask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        nargs="?",
        const="local",
        type=_scheduler,
        help="compute on a Dask cluster: the address of its scheduler, such as tcp://10.0.0.1:8786; without ADDRESS a "
        "cluster on this machine (needs heatpose[dask])",
    )


def _scheduler(text: str) -> str:
    """Parse the address of a scheduler; argparse passes whatever follows --dask."""
    if text == "local" or re.fullmatch(r"(\w+://)?[^/]+:\d+", text):
        return text
    raise argparse.ArgumentTypeError(
        f"expected an address such as tcp://10.0.0.1:8786, got {text!r}; put --dask last, or write --dask=local"
    )


def add_random_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--random-state",
        metavar="N",
        type=lambda text: count(text, least=0),
        default=0,
        help="seed: the same number gives the same result (default: %(default)s)",
    )


def count(text: str, least: int = 1) -> int:
    """Parse a whole number."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
    return int(text)


def here(text: str) -> Path:
    """Parse a path on this machine; Path would make a folder "s3:" of a URL."""
    from heatpose.data.storage import is_url, local_path

    if is_url(text):
        raise argparse.ArgumentTypeError(f"expected a path on this machine, got a URL: {text}")
    return Path(local_path(text))


# Checks before any work -------------------------------------------------------------------------------------


def check_groups(args: argparse.Namespace) -> None:
    """Reject a --groups that is wrong whatever the data."""
    from heatpose.data.groups import check_spec

    if args.groups:
        try:
            check_spec(args.groups)
        except ValueError as error:
            raise UsageError(f"--groups: {error}") from error


def check_writable(path: Path) -> None:
    """Reject a file that cannot be written; missing folders will be created."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise UsageError(f"Expected a file to write, got a folder: {path}")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"Expected a writable folder for {path}, got {folder}")


def check_report(args: argparse.Namespace) -> None:
    """Reject a --report that cannot be written."""
    if args.report is None:
        return
    if args.report.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"Expected --report to end in .html, got {args.report}")
    from heatpose.report.report import missing_packages

    if missing := missing_packages():
        raise UsageError(f'--report needs {" and ".join(missing)}: pip install "heatpose[report]"')
    check_writable(args.report)


@contextmanager
def dask_client(args: argparse.Namespace) -> Iterator[Client | None]:
    """Connect to the cluster of --dask, if there is one, for as long as the context lasts."""
    if args.dask is None:
        yield None
        return
    if find_spec("distributed") is None:
        raise UsageError('--dask needs Dask: pip install "heatpose[dask]"')
    from heatpose.data.distributed import LOCAL, connect

    if args.jobs is not None and args.dask != LOCAL:
        raise UsageError("--jobs applies to this machine; with --dask ADDRESS the cluster has its own workers")
    with connect(args.dask, n_workers=args.jobs) as client:
        yield client


# Data -------------------------------------------------------------------------------------------------------


def read_data(
    args: argparse.Namespace,
    decoder: str,
    check: Callable[[pd.DataFrame], object] | None = None,
    client: Client | None = None,
) -> pd.DataFrame:
    """Read DATA as a keypoint table, and print its notes; `check` gets labels and paths before anything is decoded."""
    from heatpose.data.table import load_data

    if isinstance(args.cache, Path):
        check_writable(args.cache / "keypoints")
    with progress("Reading heatmaps") as advance:
        table = load_data(
            args.data,
            decoder,
            skip_bad=args.skip_bad,
            n_jobs=args.jobs,
            client=client,
            progress=advance,
            cache=args.cache,
            check=check,
            poses=pose_options(args),
            layout=args.layout,
            keep_placeholders=args.keep_placeholders,
        )
    for note in table.attrs.get("notes", ()):
        complain(f"Note: {note}")
    return table


def read_for_models(args: argparse.Namespace, *models: Pipeline) -> tuple[pd.DataFrame, HeatmapRows | None]:
    """Read DATA with the decoder of saved models, and its heatmaps if one of them takes heatmaps."""
    from heatpose.data.groups import resolve_groups
    from heatpose.model.inputs import input_of, read_samples, shared_decoder

    check = (lambda index: resolve_groups(index, args.groups)) if args.groups else None
    table = read_data(args, shared_decoder(*models), check=check)
    return table, read_samples(map(input_of, models), args.data, table, skip_bad=args.skip_bad)


def write_page(args: argparse.Namespace, console: Console | None, *content: Any, **options: Any) -> None:
    """Write the report of --report, if any; report it on the console unless stdout carries something else."""
    if args.report is None:
        return
    from heatpose.data.storage import redact
    from heatpose.report.report import write_report

    # A report never holds the credentials of a URL.
    facts = {"command": redact(args.command_line), "data": redact(args.data), **options.pop("facts", {})}
    with progress("Writing the report") as advance:
        write_report(args.report, *content, facts=facts, progress=advance, **options)
    if console is not None:
        say(console, f"Wrote {args.report}")


# Output -----------------------------------------------------------------------------------------------------


def results() -> Console:
    """Return the console of stdout, without markup: texts can come from file names."""
    from rich.console import Console

    class Results(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            """Print without the trailing spaces that pad tables."""
            with self.capture() as captured:
                super().print(*objects, **options)
            self.file.write(re.sub(" +$", "", captured.get(), flags=re.MULTILINE))

    return Results(markup=False, highlight=False, emoji=False)


def say(console: Console, text: str) -> None:
    """Print text, on one line unless it goes to a terminal."""
    console.print(text, soft_wrap=not console.is_terminal)


@contextmanager
def progress(description: str) -> Iterator[Progress | None]:
    """Show progress, elapsed and remaining time, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich import progress as rich
    from rich.console import Console

    bar = rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(24, style="default", complete_style="green", pulse_style="green"),
        rich.MofNCompleteColumn(),
        rich.TimeElapsedColumn(),
        rich.TextColumn("left:"),
        rich.TimeRemainingColumn(compact=True),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # stdout carries results only
        speed_estimate_period=600,  # a step of a training can take many seconds
    )
    with bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def complain(message: str) -> None:
    """Print a message to stderr."""
    print(message, file=sys.stderr)  # noqa: T201


def warn_of_differences(model: Any, signatures: Sequence[Signature]) -> list[str]:
    """Print differences between data and the training data of a model to stderr, and return them."""
    from heatpose.evaluation.signature import check_data

    findings = check_data(model, reduce(add, signatures)) if signatures else []
    for finding in findings:
        complain(f"Warning: {finding}")
    return [str(finding) for finding in findings]


class _Handler(logging.Handler):
    """Print records to the current stderr, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.capitalize()}: {record.getMessage()}")


@contextmanager
def complaints_on_stderr() -> Iterator[None]:
    """Print the library's log and Python's warnings to stderr, one line each."""

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        complain(f"Warning: {' '.join(str(message).split())}")

    logger, handler = logging.getLogger("heatpose"), _Handler(logging.WARNING)
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show
            yield
    finally:
        logger.removeHandler(handler)
