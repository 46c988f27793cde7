"""Upload a folder written by heatpose export --format hub to the Hugging Face Hub.

Log in first with `hf auth login`, or set the environment variable HF_TOKEN. HF_ENDPOINT selects another server than
the Hub.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import say
from heatpose.cli._options import add_option

EXAMPLES = ("heatpose push hub USER/pose-classifier --private",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_option(parser, "folder DIR", "folder written by heatpose export --format hub", type=Path)
    add_option(parser, "repo USER/NAME", "repository, created if it does not exist")
    add_option(parser, "--private", "create the repository as private")
    add_option(parser, "--message TEXT", "commit message (default: %(default)s)", default="Upload a pose classifier")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.persistence.hub import push_folder

    address = push_folder(args.folder, args.repo, private=args.private, message=args.message)
    say(f"Uploaded {args.folder}: {address}")
