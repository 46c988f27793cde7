"""``heatpose heatmaps``: estimate heatmaps from photos with a ViTPose model."""

from __future__ import annotations

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path

from heatpose.cli._console import UsageError, add_dtype, count, progress, results, say

SUMMARY = "estimate heatmaps from photos with a ViTPose model"
EXAMPLES = (
    "heatpose heatmaps photos data/photos --detector",
    "heatpose heatmaps photos data/photos --boxes people.csv --people all --dtype float16",
)

_NEEDS = {"torch": "PyTorch", "transformers": "transformers", "PIL": "Pillow"}


def details() -> str:
    """Return the text before the examples."""
    return (
        "Models are downloaded from the Hugging Face Hub once, or read from a folder. An interrupted run continues "
        "when it is started again."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("images", metavar="IMAGES", help="folder of <class>/<anything>.jpg (or .png, .webp, ...)")
    parser.add_argument("out", metavar="OUT", help="folder to write: OUT/<class>/<name>.npy")
    parser.add_argument("--model", metavar="NAME", help="ViTPose model: its name on the Hub, or a folder")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--boxes",
        metavar="FILE",
        type=Path,
        help="bounding boxes of people: a CSV of path,x,y,w,h in pixels (default: the whole picture is one person)",
    )
    where.add_argument(
        "--detector",
        metavar="NAME",
        nargs="?",
        const="",
        help="detect people with an object detector: its name on the Hub, or a folder",
    )
    parser.add_argument(
        "--people",
        choices=("largest", "all"),
        default="largest",
        help="people to keep of several in a picture; all are numbered: <name>_p0.npy (default: %(default)s)",
    )
    parser.add_argument(
        "--dataset-index",
        metavar="N",
        type=lambda text: count(text, least=0),
        default=0,
        help="expert of a ViTPose+ model; 0 is COCO (default: %(default)s)",
    )
    add_dtype(parser, "float32")
    parser.add_argument("--batch", metavar="N", type=count, default=16, help="batch size (default: %(default)s)")
    parser.add_argument("--device", metavar="NAME", help="PyTorch device, such as cuda (default: a GPU if any)")
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if missing := [name for package, name in _NEEDS.items() if find_spec(package) is None]:
        raise UsageError(f'heatmaps needs {", ".join(missing)}: pip install "heatpose[vitpose]"')

    from heatpose.datasets.photos import (
        DETECTOR,
        MODEL,
        Boxes,
        BoxFile,
        PersonDetector,
        PoseEstimator,
        WholePicture,
        list_photos,
        write_photo_heatmaps,
    )

    list_photos(args.images)  # before models are downloaded, which takes longer
    boxes: Boxes = WholePicture()
    if args.boxes:
        boxes = BoxFile(args.boxes)
    estimator = PoseEstimator(args.model or MODEL, dataset_index=args.dataset_index, device=args.device)
    if args.detector is not None:
        boxes = PersonDetector(args.detector or DETECTOR, device=args.device)
    with progress("Estimating poses") as advance:
        written = write_photo_heatmaps(
            args.images,
            args.out,
            estimator,
            boxes,
            people=args.people,
            dtype=args.dtype,
            batch_size=args.batch,
            skip_bad=args.skip_bad,
            progress=advance,
        )
    console = results()
    before = f", {written.n_before:,} pictures were done before" if written.n_before else ""
    say(console, f"{args.out} has {written.n_files:,} files now{before}")
    if isinstance(boxes, WholePicture):
        say(console, "Each picture was treated as one person. For pictures with more background, use --detector.")
    console.print(f"Next: heatpose train {shlex.quote(args.out)}", soft_wrap=True)
