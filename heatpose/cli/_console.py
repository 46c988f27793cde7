"""What the subcommands share: options, reading data, progress and complaints."""

from __future__ import annotations

import argparse
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heatpose.cli._ahead import begin

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client
    from rich.console import Console

    from heatpose.data.cache import KeypointCache
    from heatpose.data.folder import HeatmapFolder

    Opened = pd.DataFrame | tuple[HeatmapFolder, KeypointCache | None]


class _Decoders:
    """The names in ``heatpose.pose.decoding.DECODERS``, looked up when somebody asks: importing it takes a while."""

    def __iter__(self) -> Iterator[str]:
        from heatpose.pose.decoding import DECODERS

        return iter(DECODERS)


Progress = Callable[[int, int], None]


class UsageError(Exception):
    """Wrong usage that only shows once the command runs: exit code 2."""


# Options ----------------------------------------------------------------------------------------------------


def add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "data",
        metavar="DATA",
        help="folder of <class>/<anything>.npy, or a keypoint table (.csv, .parquet); can be a URL such as "
        "s3://bucket/actions",
    )


def add_decoder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--decoder",
        metavar="NAME",
        choices=_Decoders(),
        default="gaussian",
        help="how heatmaps become keypoints: %(choices)s (default: %(default)s)",
    )


def add_dtype(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default=default, help="numbers (default: %(default)s)"
    )


def add_groups(parser: argparse.ArgumentParser, purpose: str) -> None:
    parser.add_argument(
        "--groups",
        metavar="SPEC",
        help=f"{purpose}: a regular expression whose one capturing group is found in the path, blocks:N "
        "(N runs of each class in file order), or a CSV of path,group (default: the table's column group)",
    )


def add_skip_bad(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--skip-bad", action="store_true", help="go on without files that cannot be used")


def add_cache(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--cache",
        metavar="DIR",
        type=here,
        default=True,
        help="keep decoded keypoints there, so that only new and changed files are read another time (default: "
        ".heatpose beside DATA, or the user's folder for caches)",
    )
    where.add_argument("--no-cache", dest="cache", action="store_false", help="read all of DATA and keep nothing")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--jobs", metavar="N", type=count, help="processors to use (default: all)")


def add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--report",
        metavar="PAGE.html",
        type=here,
        help="write a page for people, complete in itself (needs heatpose[report])",
    )


def add_dask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        nargs="?",
        const="local",
        type=_scheduler,
        help="let the workers of a Dask cluster do it: the address of its scheduler, such as tcp://10.0.0.1:8786, or "
        "nothing for one on this machine (needs heatpose[dask])",
    )


def _scheduler(text: str) -> str:
    """Read the address of a scheduler for argparse, which takes what follows --dask for one, whatever it is."""
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
        help="the same number gives the same result (default: %(default)s)",
    )


def count(text: str, least: int = 1) -> int:
    """Read a whole number for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least {least}, got {text!r}")
    return int(text)


def here(text: str) -> Path:
    """Read a path of this machine for argparse; Path would make a folder "s3:" of a URL."""
    from heatpose.data.storage import is_url, local_path

    if is_url(text):
        raise argparse.ArgumentTypeError(f"expected a path of this machine, got a URL: {text}")
    return Path(local_path(text))


def check_groups(args: argparse.Namespace) -> None:
    """Refuse a --groups that is wrong whatever the data, before any work."""
    from heatpose.data.groups import check_spec

    if args.groups:
        try:
            check_spec(args.groups)
        except ValueError as error:
            raise UsageError(f"--groups: {error}") from error


def check_writable(path: Path) -> None:
    """Refuse a file that cannot be written, before any work; folders that do not exist yet will be made."""
    folder = path.absolute().parent
    while not folder.exists():
        folder = folder.parent
    if path.is_dir():
        raise UsageError(f"Expected a file to write, got a folder: {path}")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"Expected a folder that can be written in for {path}, got {folder}")


def check_report(args: argparse.Namespace) -> None:
    """Refuse a --report that cannot be written, before any work."""
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
        raise UsageError("--jobs is of this machine: with --dask ADDRESS the cluster has its own workers")
    with connect(args.dask, n_workers=args.jobs) as client:
        yield client


# Data -------------------------------------------------------------------------------------------------------


def open_data(args: argparse.Namespace) -> Callable[[], Opened] | None:
    """List DATA, if it is a folder here, while libraries are imported; what is returned is for `read_data`."""
    return begin(_open_folder, args) if Path(args.data).is_dir() else None


def _open_folder(args: argparse.Namespace) -> Opened:
    """List DATA; a table if there is nothing left to read."""
    from heatpose.data.table import extract_keypoints, open_folder

    folder, cache = open_folder(args.data, args.decoder, skip_bad=args.skip_bad, cache=args.cache)
    if cache is not None and all(file in cache for file in folder.files):
        return extract_keypoints(folder, args.decoder, cache=cache)
    return folder, cache


def read_data(
    args: argparse.Namespace,
    decoder: str,
    check: Callable[[pd.DataFrame], object] | None = None,
    client: Client | None = None,
    opened: Callable[[], Opened] | None = None,
) -> pd.DataFrame:
    """Read DATA as a keypoint table; what file names can tell is checked before anything is decoded."""
    from heatpose.data.table import extract_keypoints, load_data

    if isinstance(args.cache, Path):
        check_writable(args.cache / "keypoints")
    with progress("Reading heatmaps") as advance:
        if opened is not None:
            found = opened()
            if check is not None:
                check(found[0].index if isinstance(found, tuple) else found)
            if not isinstance(found, tuple):
                if advance is not None:
                    advance(len(found), len(found))
                return found
            folder, cache = found
            return extract_keypoints(folder, decoder, n_jobs=args.jobs, progress=advance, cache=cache, client=client)
        return load_data(
            args.data,
            decoder,
            skip_bad=args.skip_bad,
            n_jobs=args.jobs,
            client=client,
            progress=advance,
            cache=args.cache,
            check=check,
        )


def write_page(args: argparse.Namespace, console: Console | None, *content: Any, **options: Any) -> None:
    """Write the page that --report asks for, if it does, and say so unless something else is on stdout."""
    if args.report is None:
        return
    from heatpose.data.storage import redact
    from heatpose.report.report import write_report

    # No user name and password of a URL belongs on a page.
    facts = {"command": redact(args.command_line), "data": redact(args.data), **options.pop("facts", {})}
    with progress("Writing the report") as advance:
        write_report(args.report, *content, facts=facts, progress=advance, **options)
    if console is not None:
        say(console, f"Wrote {args.report}")


# Output -----------------------------------------------------------------------------------------------------


def results() -> Console:
    """Return the console of stdout; it takes nothing for markup, since what is printed can come from file names."""
    from rich.console import Console

    class Results(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            """Print without the spaces at the ends of lines that fill up tables."""
            with self.capture() as captured:
                super().print(*objects, **options)
            self.file.write(re.sub(" +$", "", captured.get(), flags=re.MULTILINE))

    return Results(markup=False, highlight=False, emoji=False)


def say(console: Console, text: str) -> None:
    """Print text that is one line wherever no width is given: in a file or a pipe."""
    console.print(text, soft_wrap=not console.is_terminal)


@contextmanager
def progress(description: str, wanted: bool = True) -> Iterator[Progress | None]:
    """Show how far the work is, how long it took and how long it will, if somebody sits before stderr."""
    if not wanted or not sys.stderr.isatty():
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
        redirect_stdout=False,  # stdout is for results alone
        speed_estimate_period=600,  # steps of a training take many seconds
    )
    with bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def complain(message: str) -> None:
    print(message, file=sys.stderr)  # noqa: T201


class _Handler(logging.Handler):
    """Hands a record to stderr as it is at that moment, so that progress bars make room for it."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{record.levelname.capitalize()}: {record.getMessage()}")


@contextmanager
def complaints_on_stderr() -> Iterator[None]:
    """Send the library's log and Python's warnings to stderr, each as one line."""

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
