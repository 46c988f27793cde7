"""The command line: one module for each command, which parses its arguments and calls the library.

May import everything else. A command is a name in ``COMMANDS`` and a module of that name with

- a docstring, which is its help: a line for the list of commands, details if there are any, and examples, which are
  command lines that parse; the first one is shown by ``heatpose --help``;
- ``OPTIONS``, as :func:`heatpose.cli._options.add_options` takes them;
- ``run(args)``, which imports the library, so that ``--help`` does not wait for it;
- ``details()``, if there are more details that take the library.

Exit codes: 0 success, 1 a problem with the data or the model, 2 wrong usage, 130 interrupted. Results go to stdout,
everything else to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import BrokenExecutor
from functools import partial
from importlib import import_module
from io import TextIOWrapper
from itertools import groupby
from pathlib import Path
from pickle import PicklingError
from types import ModuleType

import heatpose
from heatpose.cli._console import command_line, complain, complaints_on_stderr, interrupted_by_sigterm, is_reader_gone
from heatpose.cli._options import UsageError, add_options, check_paths

__all__ = ["COMMANDS", "command_parsers", "main"]

COMMANDS = (
    *("simulate", "recorded", "heatmaps", "convert"),  # data
    *("inspect", "audit", "extract"),
    *("train", "evaluate", "compare"),  # models
    *("predict", "watch", "live", "record"),
    *("export", "push"),
)
"""The commands, in the order of ``heatpose --help``."""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Wrap descriptions and epilogs to the terminal, except for indented lines: examples and lists."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        parts: list[str] = []
        for is_prose, group in groupby(text.splitlines(), lambda line: line[:1] not in ("", " ")):
            lines = list(group)
            parts += textwrap.wrap(" ".join(lines), width) if is_prose else lines
        return "\n".join(indent + part for part in parts)


class _Parser(argparse.ArgumentParser):
    """A parser whose epilog can be a function, called when help is requested."""

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
    if sys.stderr is None:  # closed by the caller: print would write to stdout instead
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (stays open)
    if sys.stdout is None:
        complain("Error: Expected an open standard output, got a closed one.")
        return 1
    if isinstance(sys.stdout, TextIOWrapper):  # whatever the locale: class names and paths can be in any script
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        with complaints_on_stderr(), interrupted_by_sigterm():
            code = _run(argv)
        sys.stdout.flush()  # a closed pipe raises here, not when Python exits
    except KeyboardInterrupt:
        complain("Interrupted.")
        return 130
    except (ValueError, OSError, ImportError) as error:  # problems with data, models and missing extras
        try:
            sys.stdout.flush()
        except OSError:  # its reader is gone or its disk is full, which would be another error when Python exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if is_reader_gone(error):  # like head
            return 0
        complain(f"Error: {error}")
        return 1
    except (MemoryError, BrokenExecutor) as error:  # the system ends processes that take too much
        complain(f"Error: Out of memory, as it seems; fewer processes take less (--jobs). {error}")
        return 1
    except PicklingError as error:  # of joblib, which keeps the reason as context
        reason = error.__context__ or error
        complain(f"Error: Cannot hand data to other processes, as when TMPDIR is full; --jobs 1 has none. {reason}")
        return 1
    return code


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each command by its name, for the documentation."""
    return _add_commands(_Parser(prog="heatpose"))


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = _parser().parse_args(argv)
        args.command_line = command_line(*(sys.argv[1:] if argv is None else argv))
        try:
            check_paths(args)
            args.run(args)
        except UsageError as error:
            args.parser.error(str(error))
    except SystemExit as request:  # raised by argparse after help and after wrong usage
        return int(request.code or 0)
    return 0


def _parser() -> argparse.ArgumentParser:
    first = [_help(name)[1].partition("examples:\n")[2].partition("\n")[0] for name in COMMANDS]
    parser = _Parser(
        prog="heatpose",
        description="Classify body poses from keypoint heatmaps, with scores estimated on held-out groups such as "
        "people.",
        epilog="\n".join(["examples:", *first, "", "heatpose COMMAND --help describes each."]),
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"heatpose {heatpose.__version__}")
    _add_commands(parser)
    return parser


def _add_commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name in COMMANDS:
        module, (summary, details) = _module(name), _help(name)
        command = commands.add_parser(
            name,
            help=summary[:1].lower() + summary[1:].removesuffix("."),
            description=summary,
            epilog=partial(_epilog, module, details),  # type: ignore[arg-type]  # called by _Parser
            formatter_class=_Formatter,
        )
        add_options(command, module.OPTIONS)
        command.set_defaults(run=module.run, parser=command)
    return commands.choices


def _module(name: str) -> ModuleType:
    return import_module(f"heatpose.cli.{name}")


def _help(name: str) -> tuple[str, str]:
    """Return the first line of a command's help, and the rest."""
    summary, _, details = (_module(name).__doc__ or "").partition("\n\n")
    return summary, details.replace("Examples\n--------\n", "examples:\n")


def _epilog(module: ModuleType, details: str) -> str:
    return f"{module.details()}\n\n{details}" if hasattr(module, "details") else details
