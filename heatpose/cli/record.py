"""Record clips of poses from a camera, in the layout that train reads.

With --serve clips are started on the page, until Ctrl-C; with --label one clip is recorded. Files are named
OUT/<class>/<class>_<clip>_<frame>_<performer>.npy. Nothing leaves this machine, and pictures are kept only with
--keep-pictures, in OUT-pictures. Needs heatpose[live].

Examples
--------
  heatpose record data/mine --source 0 --estimator vitpose.onnx --serve 8000
  heatpose record data/mine --source 0 --estimator vitpose.onnx --label action_up --performer anna
"""

from __future__ import annotations

import argparse
from collections import Counter
from contextlib import closing, suppress

from heatpose.cli._console import complain, say, say_next
from heatpose.cli._options import UsageError, folder_to_write, option, positive, shared
from heatpose.cli._stream import make_estimator, page
from heatpose.data.wording import format_plural, join_names

OPTIONS = {
    "out OUT": option("folder to write; clips are added to those there", type=folder_to_write),
    **shared("--source"),
    **shared("--estimator", required=True),
    **shared("--input-size", "--normalization", "--mirrored", "--serve", "--allow-origin"),
    "one clip, without the page:": {
        "--label CLASS": "class to record",
        "--performer NAME": option("letters and digits", default="0"),
        "--seconds SECONDS": option("length", type=positive, default=5),
        "--countdown SECONDS": option("time before it", default=3),
    },
    "--keep-pictures": "keep the pictures too, in OUT-pictures",
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    if (args.serve is None) == (args.label is None):
        raise UsageError("expected either --serve, to record from the page, or --label, to record one clip")

    from heatpose.data.storage import redact
    from heatpose.datasets.boxes import PersonTracker
    from heatpose.live.camera import open_source
    from heatpose.live.recognition import find_people
    from heatpose.live.recording import CLIPS, PERFORMERS, Recorder
    from heatpose.live.view import Presenter

    recorder = Recorder(args.out, keep_pictures=args.keep_pictures, mirrored=args.mirrored)
    if args.label is not None:
        recorder.start(args.label, args.performer, seconds=args.seconds, countdown=args.countdown)
    tracker = PersonTracker(make_estimator(args))
    with (
        suppress(KeyboardInterrupt),  # the usual end with the page
        closing(open_source(args.source, is_paced=args.serve is not None)) as source,
        page(args, (), recorder) as server,
    ):
        presenter = Presenter(server, recorder=recorder)
        complain(f"Reading {redact(args.source)}")
        for scene in find_people(source, tracker):
            if scene is not None:
                presenter.on_scene(scene)
            if args.label is not None and not recorder.is_busy:
                break
        if recorder.is_busy:
            complain(f"{redact(args.source)} ended before the clip did")
        if args.label is not None and not (recorder.status()["clip"] or {}).get("frames"):
            raise ValueError(f"Recorded nothing of {args.label}: expected a person after the countdown, got none")
    recorder.stop()
    counts = recorder.counts()
    several, groups = len({line["performer"] for line in counts}) > 1, Counter[str]()
    for line in counts:
        clips, frames = (format_plural(line[noun + "s"], noun) for noun in ("clip", "frame"))
        say(f"{line['label']}, performer {line['performer']}: {clips}, {frames}")
        groups[line["label"]] += bool(line["clips"]) if several else line["clips"]
    if once := [label for label, n_groups in groups.items() if n_groups < 2]:  # no fold could be scored
        say(f"Before training, record {'another performer' if several else 'another clip'} of {join_names(once)}")
    elif len(groups) > 1:
        say_next("train", args.out, "--groups", PERFORMERS if several else CLIPS)
