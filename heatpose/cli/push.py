"""``heatpose push``: upload an exported folder to the Hugging Face Hub."""

from __future__ import annotations

import argparse
from pathlib import Path

from heatpose.cli._console import UsageError, results, say

SUMMARY = "upload a folder that heatpose export --format hub wrote to the Hugging Face Hub"


def epilog() -> str:
    return (
        "Log in first: hf auth login, or the environment variable HF_TOKEN. HF_ENDPOINT names another address than the "
        "Hub's.\n\nexample:\n"
        "  heatpose export models/pose.joblib hub --format hub\n"
        "  heatpose push hub USER/pose-classifier --private"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder that heatpose export wrote")
    parser.add_argument("repo", metavar="USER/NAME", help="repository, made if it is not there")
    parser.add_argument("--private", action="store_true", help="for its owner only, if it is made")
    parser.add_argument(
        "--message", metavar="TEXT", default="Upload a pose classifier", help="of the commit (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> None:
    from heatpose.persistence.hub import push_folder

    try:
        address = push_folder(args.folder, args.repo, private=args.private, message=args.message)
    except ImportError as error:
        raise UsageError(str(error)) from error
    say(results(), f"Uploaded {args.folder}: {address}")
