"""Write a saved model as a safe file, an ONNX graph or a folder for the Hugging Face Hub.

formats:
  safe  a file for heatpose.load_model that contains no executable code
  onnx  a graph from heatmaps to label and probabilities, and its .json (needs heatpose[onnx])
  hub   a folder to upload: the safe file, a model card, an example (needs heatpose[hub])

The export is compared with the model first; nothing is written if their predictions differ.

Examples
--------
  heatpose export models/pose.joblib pose.heatpose
  heatpose export models/pose.joblib pose.onnx
  heatpose export models/pose.joblib hub --format hub
"""

from __future__ import annotations

import argparse

from heatpose.cli._console import say, say_next
from heatpose.cli._options import UsageError, check_writable, here, option, shared
from heatpose.persistence.formats import FORMATS, MODEL_FILE, find_format

OPTIONS = {
    **shared("model"),
    "out OUT": option("file to write; with --format hub a folder", type=here),
    "--format": option("default: safe where OUT ends in .heatpose, onnx where in .onnx", choices=tuple(FORMATS)),
    "--source": option("input of an ONNX graph", choices=("heatmaps", "keypoints"), default="heatmaps"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    try:
        args.format = find_format(args.out, args.format)
    except ValueError as error:
        raise UsageError(str(error)) from error
    check_writable(args.out / "README.md" if args.format == "hub" else args.out)
    if args.source != "heatmaps" and args.format != "onnx":
        raise UsageError("--source requires --format onnx")

    from rich.filesize import decimal

    from heatpose.persistence.export import export_model

    export_model(args.model, args.out, args.format, source=args.source)
    file, others, following = args.out, "", ("predict", args.out, "PATH...")
    if args.format == "hub":
        file, others, following = args.out / MODEL_FILE, ", README.md and more", ("push", args.out, "USER/NAME")
    elif args.format == "onnx":
        others = f" with {args.out.name}.json"
    say(f"Wrote {file} ({decimal(file.stat().st_size)}){others}; same predictions as {args.model}")
    if args.format != "onnx":
        say_next(*following)
