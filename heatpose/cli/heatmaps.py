"""``heatpose heatmaps``: estimate heatmaps from photos or films."""

from __future__ import annotations

import argparse
import shlex
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from heatpose.cli._console import UsageError, add_dtype, count, progress, results, say
from heatpose.cli._stream import add_onnx_options, make_estimator, seconds

SUMMARY = "estimate heatmaps from photos or films"
EXAMPLES = (
    "heatpose heatmaps photos data/photos --detector",
    "heatpose heatmaps photos data/photos --boxes people.csv --people all --dtype float16",
    "heatpose heatmaps films data/films --estimator vitpose.onnx --fps 5",
    "heatpose heatmaps film.mp4 data/film --estimator vitpose.onnx --labels film.csv",
)

_NEEDS = {"torch": "PyTorch", "transformers": "transformers", "PIL": "Pillow"}


def details() -> str:
    """Return the text before the examples."""
    return (
        "Without --estimator a ViTPose model is downloaded from the Hugging Face Hub once (needs heatpose[vitpose]); "
        "with --estimator no PyTorch is needed (heatpose[live]). Films need --estimator; in a film people are followed "
        "from frame to frame. An interrupted run continues when it is started again."
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument(
        "images", metavar="IMAGES", help="folder of <class>/<anything>.jpg (.png, .webp, .mp4, .mov, ...), or one film"
    )
    parser.add_argument("out", metavar="OUT", help="folder to write: OUT/<class>/<name>.npy")
    parser.add_argument("--model", metavar="NAME", help="ViTPose model: its name on the Hub, or a folder")
    parser.add_argument("--estimator", metavar="FILE.onnx", help="top-down estimator instead: heatmaps or SimCC")
    add_onnx_options(parser)
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
        help="detect people with an object detector: its name on the Hub, or a folder; with --estimator a file "
        "of YOLOX or RT-DETR in ONNX",
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
    films = parser.add_argument_group("films")
    rate = films.add_mutually_exclusive_group()
    rate.add_argument("--every", metavar="N", type=count, default=1, help="take every N-th frame (default: all)")
    rate.add_argument(
        "--fps",
        metavar="N",
        type=lambda text: seconds(text, above_zero=True),
        help="take N frames a second",
    )
    films.add_argument(
        "--labels",
        metavar="FILE",
        type=Path,
        help="of one film: a CSV of start,end,label, in seconds (default: the film's folder is its class)",
    )
    parser.add_argument("--skip-bad", action="store_true", help="leave out pictures that cannot be read")


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.datasets.video import list_films

    if Path(args.images).exists() and list_films(args.images):
        if args.estimator is None:
            raise UsageError("films need --estimator FILE.onnx")
        if args.boxes is not None:
            raise UsageError("--boxes applies to photos")
        _run_films(args)
        return
    if args.labels is not None:
        raise UsageError(f"--labels applies to a film, got {args.images}")
    if args.estimator is not None:
        _run_photos(args, make_estimator(args))
        return
    if missing := [name for package, name in _NEEDS.items() if find_spec(package) is None]:
        raise UsageError(f'heatmaps needs {", ".join(missing)}: pip install "heatpose[vitpose]"')

    from heatpose.datasets.photos import MODEL, PoseEstimator, list_photos

    list_photos(args.images)  # before models are downloaded, which takes longer
    _run_photos(args, PoseEstimator(args.model or MODEL, dataset_index=args.dataset_index, device=args.device))


def _run_photos(args: argparse.Namespace, estimator: Any) -> None:
    from heatpose.datasets.boxes import OnnxDetector
    from heatpose.datasets.photos import (
        DETECTOR,
        Boxes,
        BoxFile,
        PersonDetector,
        WholePicture,
        list_photos,
        write_photo_heatmaps,
    )

    list_photos(args.images)
    boxes: Boxes = WholePicture()
    if args.boxes:
        boxes = BoxFile(args.boxes)
    elif args.detector is not None and args.estimator is None:
        boxes = PersonDetector(args.detector or DETECTOR, device=args.device)
    elif args.estimator is not None:
        boxes = _tracker(args, estimator, OnnxDetector(args.detector) if args.detector else None)
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


def _run_films(args: argparse.Namespace) -> None:
    from heatpose.datasets.boxes import OnnxDetector
    from heatpose.datasets.video import read_clips, write_film_heatmaps

    clips = read_clips(args.labels) if args.labels else None
    estimator = make_estimator(args)
    detector = OnnxDetector(args.detector) if args.detector else None
    described = _tracker(args, estimator, detector).describe()
    with progress("Estimating poses") as advance:
        written = write_film_heatmaps(
            args.images,
            args.out,
            lambda: _tracker(args, estimator, detector),
            every=args.every,
            fps=args.fps,
            clips=clips,
            settings={"model": estimator.model, "boxes": described, "people": args.people},
            dtype=args.dtype,
            progress=advance,
        )
    console = results()
    before = f", {written.n_before:,} frames were done before" if written.n_before else ""
    say(console, f"Wrote {written.n_files:,} files to {args.out}{before}")
    if written.n_empty:
        say(console, f"No person in {written.n_empty:,} frames; they have no file.")
    console.print(f"Next: heatpose train {shlex.quote(args.out)} --groups '([^/]+)_f\\d+'", soft_wrap=True)


def _tracker(args: argparse.Namespace, estimator: Any, detector: Any) -> Any:
    from heatpose.datasets.boxes import PersonTracker

    return PersonTracker(estimator, detector, args.people)
