"""``heatpose push``: upload an exported folder to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import say

SUMMARY = "upload a folder written by heatpose export --format hub to the Hugging Face Hub"
EXAMPLES = ("heatpose push hub USER/pose-classifier --private",)
DETAILS = (
    "Log in first with `hf auth login`, or set the environment variable HF_TOKEN. HF_ENDPOINT selects another server "
    "than the Hub."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder written by heatpose export --format hub")
    parser.add_argument("repo", metavar="USER/NAME", help="repository, created if it does not exist")
    parser.add_argument("--private", action="store_true", help="create the repository as private")
    parser.add_argument(
        "--message", metavar="TEXT", default="Upload a pose classifier", help="commit message (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.persistence.hub import push_folder

    address = push_folder(args.folder, args.repo, private=args.private, message=args.message)
    say(f"Uploaded {args.folder}: {address}")
