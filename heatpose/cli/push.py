"""Upload a folder written by heatpose export --format hub to the Hugging Face Hub.

Log in first with `hf auth login`, or set the environment variable HF_TOKEN. HF_ENDPOINT selects another server than
the Hub.

Examples
--------
  heatpose push hub USER/pose-classifier --private
"""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import say
from heatpose.cli._options import option

OPTIONS = {
    "folder DIR": option("folder written by heatpose export --format hub", type=Path),
    "repo USER/NAME": "repository, created if it does not exist",
    "--private": "create the repository as private",
    "--message TEXT": option("commit message", default="Upload a pose classifier"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.persistence.hub import push_folder

    address = push_folder(args.folder, args.repo, private=args.private, message=args.message)
    say(f"Uploaded {args.folder}: {address}")
