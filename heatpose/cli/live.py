"""Recognise poses before a camera or in a film; JSON lines on stdout.

Lines are those of heatpose watch. Of a camera the newest picture is taken and others are dropped; of a film every
frame is taken, and times begin at 0. Without --detector one person is followed. Needs heatpose[live]. Ctrl-C ends the
command; poses in progress are then left.

Examples
--------
  heatpose live models/pose.joblib --source 0 --estimator vitpose.onnx --serve 8000
  heatpose live models/pose.joblib --source film.mp4 --estimator rtmpose.onnx --events
  heatpose live models/pose.joblib --source rtsp://camera/1 --estimator vitpose.onnx --detector yolox.onnx
"""

from __future__ import annotations

import argparse
from contextlib import closing

import heatpose
from heatpose.cli._options import UsageError, folder_to_write, option, shared
from heatpose.cli._stream import OUTPUT, TIMING, make_estimator, make_stream, page, wanted_records, write_stream

OPTIONS = {
    **shared("model", help="saved model (.joblib, .heatpose, .onnx)"),
    **shared("--source"),
    **shared("--estimator", required=True),
    **shared("--input-size", "--normalization"),
    "--detector FILE.onnx": "person detector, YOLOX or RT-DETR: several people are followed",
    "--people": option("with --detector: people to follow (default: all)", choices=("all", "largest")),
    "output:": {
        **OUTPUT,
        **shared("--serve", "--allow-origin"),
        "--record OUT": option("with --serve: let the page record clips into OUT", type=folder_to_write),
        "--keep-pictures": "with --record: keep the pictures too",
    },
    "timing, in seconds:": TIMING,
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    wanted_records(args)
    if args.record and args.serve is None:
        raise UsageError("--record requires --serve; to record without the page, use heatpose record")
    if args.keep_pictures and not args.record:
        raise UsageError("--keep-pictures requires --record")
    if args.people and not args.detector:
        raise UsageError("--people requires --detector; without it one person is followed")

    from heatpose.data.storage import redact
    from heatpose.datasets.boxes import OnnxDetector, PersonTracker
    from heatpose.live.camera import open_source
    from heatpose.live.recognition import find_people, person_frames
    from heatpose.live.recording import Recorder
    from heatpose.live.view import Presenter

    estimator = make_estimator(args)
    tracker = PersonTracker(estimator, OnnxDetector(args.detector) if args.detector else None, args.people or "all")
    model, stream = make_stream(args)
    if stream.skeleton != heatpose.COCO_17:
        raise UsageError(f"MODEL takes heatmaps of {stream.skeleton.name}, and estimators are read for coco-17")
    recorder = args.record and Recorder(args.record, keep_pictures=args.keep_pictures, mirrored=args.mirrored)
    with (
        closing(open_source(args.source, is_paced=args.serve is not None)) as source,
        page(args, stream.labels, recorder) as server,
    ):
        presenter = Presenter(server, stream, recorder)
        frames = person_frames(find_people(source, tracker), decoder=stream.decoder, on_scene=presenter.on_scene)
        title = f"Reading {redact(args.source)}, people from {tracker.description}"
        write_stream(args, title, model, stream, frames, server, presenter)
