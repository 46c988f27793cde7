"""Data reading, progress, results and messages that the commands share."""

from __future__ import annotations

import argparse
import json
import logging
import re
import shlex
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from errno import EINVAL
from functools import partial
from typing import TYPE_CHECKING, Any

import heatpose
from heatpose.cli._options import UsageError
from heatpose.data.wording import capitalised

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client
    from rich.console import Console
    from sklearn.pipeline import Pipeline

    from heatpose.data.folder import HeatmapRows
    from heatpose.evaluation.signature import Signature

Progress = Callable[[int, int], None]


# Data -------------------------------------------------------------------------------------------------------


def pose_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options for poses of another tool that were given."""
    names = ("format", "labels", "skeleton", "image_size", "keep_placeholders")
    given = {name: getattr(args, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def reading_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that decide how DATA are read."""
    return {"n_jobs": args.jobs, "layout": args.layout, **pose_options(args)}


def read_data(
    args: argparse.Namespace,
    decoder: str,
    check: Callable[[pd.DataFrame], object] | None = None,
    client: Client | None = None,
) -> pd.DataFrame:
    """Read DATA as a keypoint table, and print its notes; `check` gets labels and paths before anything is decoded."""
    if check is None and args.groups:
        check = partial(heatpose.resolve_groups, spec=args.groups)
    with progress("Reading heatmaps") as advance:
        table = heatpose.load_data(
            args.data,
            decoder,
            skip_bad=args.skip_bad,
            client=client,
            progress=advance,
            cache=args.cache,
            check=check,
            **reading_options(args),
        )
    for note in table.attrs.get("notes", ()):
        complain(f"Note: {note}")
    return table


def read_for_models(
    args: argparse.Namespace, *models: Pipeline
) -> tuple[pd.DataFrame, HeatmapRows | None, heatpose.Grouping | None]:
    """Read DATA with the decoder of saved models, its heatmaps if one of them takes these, and its groups.

    Blocks by default are parts of the same recordings: intervals over them would be too narrow, so they are no groups.
    """
    from heatpose.model.inputs import input_of, read_samples, shared_decoder, shared_skeleton

    if args.skeleton is None and (source := shared_skeleton(*models)) != heatpose.COCO_17:
        args.skeleton = source
    table = read_data(args, shared_decoder(*models))
    heatmaps = read_samples(map(input_of, models), args.data, table, skip_bad=args.skip_bad)
    grouping = heatpose.resolve_groups(table, args.groups or "auto")
    if args.groups or grouping.kind != "blocks":
        return table, heatmaps, grouping
    if n_given := int(table["group"].notna().sum()):
        complain(f"Warning: {n_given:,} of {len(table):,} samples have a group: as others have none, none is used.")
    return table, heatmaps, None


def inspect(args: argparse.Namespace, signature: Mapping[str, Any] | None = None) -> heatpose.Inspection:
    """Inspect DATA."""
    with progress("Inspecting the data") as advance:
        return heatpose.inspect_data(
            args.data,
            args.groups or "auto",
            decoder=args.decoder,
            random_state=args.random_state,
            progress=advance,
            signature=signature,
            **reading_options(args),
        )


def dask_client(args: argparse.Namespace) -> AbstractContextManager[Client | None]:
    """Connect to the cluster of --dask, if there is one, for as long as the context lasts."""
    if args.dask is None:
        return nullcontext()
    from heatpose.data.distributed import LOCAL, connect

    if args.jobs is not None and args.dask != LOCAL:
        raise UsageError("--jobs applies to this machine; with --dask ADDRESS the cluster has its own workers")
    return connect(args.dask, n_workers=args.jobs)


def check_report_of(args: argparse.Namespace, skeleton: heatpose.Skeleton) -> None:
    """Reject --report for hands and animals: its pictures are of persons."""
    from heatpose.pose.skeletons import is_person

    if args.report is not None and not is_person(skeleton):
        raise UsageError(f"--report shows poses of persons, and {skeleton.name} is of none")


def write_page(args: argparse.Namespace, result: Any, table: pd.DataFrame | None = None, **options: Any) -> None:
    """Write the report of --report, if any; report it on stdout unless that carries something else."""
    if args.report is None:
        return
    from heatpose.data.storage import redact

    # A report never holds the credentials of a URL.
    facts = {"command": redact(args.command_line), "data": redact(args.data), **options.pop("facts", {})}
    with progress("Writing the report") as advance:
        heatpose.write_report(result, args.report, table, facts=facts, progress=advance, **options)
    if not getattr(args, "json", False):
        say(f"Wrote {args.report}")


# Output -----------------------------------------------------------------------------------------------------


def results() -> Console:
    """Return the console of stdout, without markup: texts can come from file names."""
    from rich.console import Console, detect_legacy_windows

    class Results(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            """Print without the trailing spaces that pad tables; a reader that is gone, as head, ends no command."""
            try:
                with self.capture() as captured:
                    super().print(*objects, **options)
                self.file.write(re.sub(" +$", "", captured.get(), flags=re.MULTILINE))
            except OSError as error:
                if not is_reader_gone(error):
                    raise

        def on_broken_pipe(self) -> None:
            """Go on, where rich ends the process."""

    # cmd.exe shows escape sequences as they are.
    colours: Any = None if detect_legacy_windows() else "auto"
    return Results(markup=False, highlight=False, emoji=False, color_system=colours)


def say(text: str, console: Console | None = None) -> None:
    """Print text to stdout, on one line unless that is a terminal."""
    console = console or results()
    console.print(text, soft_wrap=not console.is_terminal)


def say_subject(text: str, groups: str | None) -> None:
    """Print what was measured, and the groups that are resampled for its intervals, if any."""
    say(text)
    if groups is not None:
        say(capitalised(groups))


def say_json(facts: Mapping[str, Any]) -> None:
    """Print facts to stdout as JSON."""
    results().print(json.dumps(facts, indent=2), soft_wrap=True)


def command_line(*words: object) -> str:
    """Return a command as it is typed: the shells of Windows share double quotes alone."""
    texts = ["heatpose", *map(str, words)]
    if sys.platform != "win32":
        return shlex.join(texts)
    return " ".join(text if re.fullmatch(r"[\w.:/\\-]+", text) else f'"{text}"' for text in texts)


def say_next(*words: object) -> None:
    """Print a command to stdout that usually comes next."""
    results().print(f"Next: {command_line(*words)}", soft_wrap=True)


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
        speed_estimate_period=86_400,  # a step of a training can take many minutes
    )
    with bar:
        task = bar.add_task(description, total=None)
        # More than 0 from the start, which the speed counts from: two models that end at once are not fast. Less than
        # all to the end, so that the clock goes on while results are evaluated.
        yield lambda done, total: bar.update(task, completed=done or 1e-9, total=total + 1e-9)


def complain(message: str) -> None:
    """Print a message to stderr."""
    print(message, file=sys.stderr)  # noqa: T201


def warn_of_differences(model: Any, data: pd.DataFrame | Signature) -> list[str]:
    """Print differences between data and the training data of a model to stderr, and return them."""
    findings = list(map(str, heatpose.check_data(model, data)))
    for finding in findings:
        complain(f"Warning: {finding}")
    return findings


def is_reader_gone(error: Exception) -> bool:
    """Return whether a pipe was closed by its reader, for which Windows has an invalid argument too, of no file."""
    of_windows = isinstance(error, OSError) and (sys.platform, error.errno, error.filename) == ("win32", EINVAL, None)
    return of_windows or isinstance(error, BrokenPipeError)


class _Handler(logging.Handler):
    """Print records to the current stderr, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        complain(f"{getattr(record, 'kind', record.levelname.capitalize())}: {record.getMessage()}")


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


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """Let SIGTERM interrupt a command like Ctrl-C, which also ends the processes at work for it: they would stay."""
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():  # others cannot
            stack.callback(signal.signal, signal.SIGTERM, signal.signal(signal.SIGTERM, signal.default_int_handler))
        yield
