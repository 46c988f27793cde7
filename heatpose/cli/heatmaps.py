"""Estimate heatmaps from photos or films.

Without --estimator a ViTPose model is downloaded from the Hugging Face Hub once (needs heatpose[vitpose]); with
--estimator no PyTorch is needed (heatpose[live]). Films need --estimator; in a film people are followed from frame to
frame. An interrupted run continues when it is started again.

Examples
--------
  heatpose heatmaps photos data/photos --detector
  heatpose heatmaps photos data/photos --boxes people.csv --people all --dtype float16
  heatpose heatmaps films data/films --estimator vitpose.onnx --fps 5
  heatpose heatmaps film.mp4 data/film --estimator vitpose.onnx --labels film.csv
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from heatpose.cli._console import progress, say, say_next
from heatpose.cli._options import UsageError, folder_to_write, option, positive, shared, whole
from heatpose.cli._stream import make_estimator
from heatpose.data.wording import format_plural

if TYPE_CHECKING:
    from heatpose.datasets.boxes import PersonTracker
    from heatpose.datasets.estimator import OnnxEstimator
    from heatpose.datasets.media import Written


OPTIONS = {
    "images IMAGES": "folder of <class>/<anything>.jpg (.png, .webp, .mp4, .mov, ...), or one picture or film",
    "out OUT": option("folder to write: OUT/<class>/<name>.npy", type=folder_to_write),
    "--model NAME": "ViTPose model: its name on the Hub, or a folder",
    **shared("--estimator", help="top-down estimator instead: heatmaps or SimCC"),
    **shared("--input-size", "--normalization"),
    "people|": {
        "--boxes FILE": "bounding boxes of people: a CSV of path,x,y,w,h in pixels (default: the whole picture is one "
        "person)",
        "--detector NAME": option(
            "detect people with an object detector: its name on the Hub, or a folder; with --estimator a file "
            "of YOLOX or RT-DETR in ONNX",
            nargs="?",
            const="",
        ),
    },
    "--people": option(
        "people to keep of several in a picture; all are numbered: <name>_p0.npy",
        choices=("largest", "all"),
        default="largest",
    ),
    "--dataset-index N": option("expert of a ViTPose+ model; 0 is COCO", type=whole(0), default=0),
    **shared("--dtype"),
    "--batch N": option("batch size", type=whole(1), default=16),
    "--device NAME": "PyTorch device, such as cuda (default: a GPU if any)",
    "films:": {
        "rate|": {
            "--every N": option("take every N-th frame (default: all)", type=whole(1), default=1),
            "--fps N": option("take N frames a second", type=positive),
        },
        "--labels FILE": "of one film: a CSV of start,end,label, in seconds (default: the film's folder is its class)",
    },
    **shared("--skip-bad", help="leave out pictures that cannot be read"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.datasets.video import list_films

    if args.estimator is not None and args.model is not None:
        raise UsageError("expected either --estimator or --model, got both")
    if list_films(args.images):
        if args.estimator is None:
            raise UsageError("films need --estimator FILE.onnx")
        if args.boxes is not None:
            raise UsageError("--boxes applies to photos")
        written, groups = _write_films(args), ["--groups", r"([^/]+)_f\d+"]
    else:
        if args.labels is not None or args.fps is not None or args.every != 1:
            raise UsageError(f"--labels, --fps and --every apply to films, got photos in {args.images}")
        written, groups = _write_photos(args), []
    before = f", after {format_plural(written.n_before, 'picture')} before" if written.n_before else ""
    say(f"Wrote {format_plural(written.n_files, 'file')} to {args.out}{before}")
    if any(args.out.glob("*.npy")):  # of no class
        say_next("predict", "MODEL", args.out)
    else:
        say_next("train", args.out, *groups)


def _write_photos(args: argparse.Namespace) -> Written:
    from heatpose.datasets.boxes import TrackedBoxes
    from heatpose.datasets.photos import Boxes, BoxFile, Estimator, WholePicture, list_photos, write_photo_heatmaps
    from heatpose.datasets.vitpose import DETECTOR, MODEL, PersonDetector, PoseEstimator

    list_photos(args.images)  # before models are loaded, which takes longer
    boxes: Boxes = BoxFile(args.boxes) if args.boxes else WholePicture()
    estimator: Estimator
    if args.estimator is not None:
        estimator = onnx = make_estimator(args)
        boxes = boxes if args.boxes else TrackedBoxes(_tracker_maker(args, onnx))
    else:
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
    if isinstance(boxes, WholePicture):
        say("Each picture was treated as one person. For pictures with more background, use --detector.")
    return written


def _write_films(args: argparse.Namespace) -> Written:
    from heatpose.datasets.video import read_clips, write_film_heatmaps

    clips = read_clips(args.labels) if args.labels else None
    make_tracker = _tracker_maker(args, make_estimator(args))
    with progress("Estimating poses") as advance:
        return write_film_heatmaps(
            args.images,
            args.out,
            make_tracker,
            every=args.every,
            fps=args.fps,
            clips=clips,
            dtype=args.dtype,
            progress=advance,
        )


def _tracker_maker(args: argparse.Namespace, estimator: OnnxEstimator) -> Callable[[], PersonTracker]:
    from heatpose.datasets.boxes import OnnxDetector, PersonTracker

    return partial(PersonTracker, estimator, OnnxDetector(args.detector) if args.detector else None, args.people)
