"""The command line: one module a subcommand, which says what it takes and hands it to the library.

A subcommand's module has a ``SUMMARY``, ``add_arguments(parser)``, ``epilog()`` with an example, and ``run(args)``.
It imports the library inside ``run``, so that ``heatpose --help`` does not wait for it.

Exit codes: 0 fine, 1 a problem with the data or the model, 2 wrong usage, 130 interrupted. Results go to stdout,
everything else to stderr.
"""

from __future__ import annotations

import argparse
import gc
import os
import shlex
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby

import heatpose
from heatpose.cli import (
    compare,
    evaluate,
    export,
    extract,
    heatmaps,
    inspect,
    predict,
    push,
    recorded,
    simulate,
    train,
    watch,
)
from heatpose.cli._console import UsageError, complain, complaints_on_stderr

__all__ = ["command_parsers", "main"]

_COMMANDS = {
    "simulate": simulate,
    "recorded": recorded,
    "heatmaps": heatmaps,
    "inspect": inspect,
    "extract": extract,
    "train": train,
    "evaluate": evaluate,
    "compare": compare,
    "predict": predict,
    "watch": watch,
    "export": export,
    "push": push,
}


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wraps descriptions and epilogs to the terminal, but for what is indented: examples and lists."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts: list[str] = []
        for is_prose, group in groupby(text.splitlines(), lambda line: line[:1] not in ("", " ")):
            lines = list(group)
            parts += textwrap.wrap(" ".join(lines), width) if is_prose else lines
        return "\n".join(indent + part for part in parts)


class _Parser(argparse.ArgumentParser):
    """A parser whose epilog can be a function, called when somebody asks for help."""

    def format_help(self) -> str:
        if callable(self.epilog):
            self.epilog = self.epilog()
        return super().format_help()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        The arguments, by default those of the process.

    Returns
    -------
    int
        The exit code.
    """
    try:
        with complaints_on_stderr(), _patient_collector():
            code = _run(argv)
        sys.stdout.flush()  # a reader that is gone shows here, and not when Python exits
    except KeyboardInterrupt:
        complain("Interrupted.")
        return 130
    except BrokenPipeError:  # the reader has seen enough, like head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError) as error:  # what the library says of data, models and missing extras
        complain(f"Error: {error}")
        return 1
    return code


@contextmanager
def _patient_collector() -> Iterator[None]:
    """Look for garbage less often: libraries and lists of files come to stay, and there are many objects in them."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.enable()  # whatever a command that ended early left


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        args.command_line = shlex.join(["heatpose", *(sys.argv[1:] if argv is None else argv)])
        try:
            args.run(args)
        except UsageError as error:
            args.parser.error(str(error))
    except SystemExit as request:  # how argparse ends, after help and after wrong usage
        return int(request.code or 0)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="heatpose",
        description="Names body poses from keypoint heatmaps, with a score that holds for people nobody trained on.",
        epilog="Begin with:\n  heatpose simulate data/simulated\n  heatpose train data/simulated\n\n"
        "heatpose COMMAND --help tells more about each.",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"heatpose {heatpose.__version__}")
    _add_commands(parser)
    return parser


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by its name, for the documentation."""
    return _add_commands(_Parser(prog="heatpose"))


def _add_commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, module in _COMMANDS.items():
        command = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
            epilog=module.epilog,  # called by _Parser
            formatter_class=_Formatter,
        )
        module.add_arguments(command)
        command.set_defaults(run=module.run, parser=command)
    return commands.choices
