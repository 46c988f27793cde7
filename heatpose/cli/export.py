"""``heatpose export``: write a saved model in another format."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from heatpose.cli._console import UsageError, check_writable, here, results, say

SUMMARY = "write a saved model as a safe file, an ONNX graph or a folder for the Hugging Face Hub"
EXAMPLES = (
    "heatpose export models/pose.joblib pose.heatpose --format safe",
    "heatpose export models/pose.joblib pose.onnx --format onnx",
    "heatpose export models/pose.joblib hub --format hub",
)

FORMATS = ("safe", "onnx", "hub")
"""The names in ``heatpose.persistence.export.FORMATS``, which takes a while to import."""


def details() -> str:
    """Return the text before the examples."""
    return (
        "formats:\n"
        "  safe  a file for heatpose.load_model that contains no executable code\n"
        "  onnx  a graph from heatmaps to label and probabilities, and its .json (needs heatpose[onnx])\n"
        "  hub   a folder to upload: the safe file, a model card, an example (needs heatpose[hub])\n\n"
        "The export is compared with the model first; nothing is written if their predictions differ."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="saved model (.joblib, .heatpose)")
    parser.add_argument("out", metavar="OUT", type=here, help="file to write; with --format hub a folder")
    parser.add_argument("--format", choices=FORMATS, default="safe", help="default: %(default)s")
    parser.add_argument(
        "--source",
        choices=("heatmaps", "keypoints"),
        default="heatmaps",
        help="input of an ONNX graph (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if args.format == "hub":
        if args.out.exists() and not args.out.is_dir():
            raise UsageError(f"Expected a folder to write, got a file: {args.out}")
    else:
        check_writable(args.out)
    if args.source != "heatmaps" and args.format != "onnx":
        raise UsageError("--source requires --format onnx")
    if args.out.resolve() == Path(args.model).resolve():
        raise UsageError("Expected OUT to be another file than MODEL")

    from rich.filesize import decimal

    from heatpose.persistence.export import export_model

    try:
        manifest = export_model(args.model, args.out, args.format, source=args.source)
    except ImportError as error:
        raise UsageError(str(error)) from error
    console = results()
    out = shlex.quote(str(args.out))
    if args.format == "hub":
        say(console, f"Wrote {args.out}: pose.heatpose ({decimal(manifest['size'])} unpacked), README.md and more")
        console.print(f"Next: heatpose push {out} USER/NAME", soft_wrap=True)
        return
    size = decimal(args.out.stat().st_size)
    beside = f" with {args.out.name}.json" if args.format == "onnx" else ""
    say(console, f"Wrote {args.out} ({size}){beside}; same predictions as {args.model}")
    if args.format == "safe":
        console.print(f"Next: heatpose predict {out} PATH...", soft_wrap=True)
