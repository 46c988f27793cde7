"""``heatpose export``: a saved model in a form for others."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from heatpose.cli._console import UsageError, check_writable, here, results, say

SUMMARY = "write a saved model as a safe file, an ONNX graph or a folder for the Hugging Face Hub"

FORMATS = ("safe", "onnx", "hub")
"""The names in ``heatpose.persistence.export.FORMATS``, which takes a while to import."""


def epilog() -> str:
    return (
        "formats:\n"
        "  safe  a file that heatpose.load_model loads and that nothing can be run from\n"
        "  onnx  a graph from heatmaps to label and probabilities, and its .json (needs heatpose[onnx])\n"
        "  hub   a folder to upload: the safe file, a model card, an example (needs heatpose[hub])\n\n"
        "Whatever is written predicts what the model predicts, or nothing is written.\n\n"
        "examples:\n"
        "  heatpose export models/pose.joblib pose.heatpose --format safe\n"
        "  heatpose export models/pose.joblib pose.onnx --format onnx"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model that heatpose saved (.joblib, .heatpose)")
    parser.add_argument("out", metavar="OUT", type=here, help="file to write; with --format hub a folder")
    parser.add_argument("--format", choices=FORMATS, default="safe", help="default: %(default)s")
    parser.add_argument(
        "--source",
        choices=("heatmaps", "keypoints"),
        default="heatmaps",
        help="what goes into an ONNX graph (default: %(default)s)",
    )


def run(args: argparse.Namespace) -> None:
    if args.format == "hub":
        if args.out.exists() and not args.out.is_dir():
            raise UsageError(f"Expected a folder to write, got a file: {args.out}")
    else:
        check_writable(args.out)
    if args.source != "heatmaps" and args.format != "onnx":
        raise UsageError("--source goes with --format onnx")
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
    say(console, f"Wrote {args.out} ({size}){beside}: it predicts what {args.model} predicts")
    if args.format == "safe":
        console.print(f"Next: heatpose predict {out} PATH...", soft_wrap=True)
