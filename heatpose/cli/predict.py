"""Predict the pose class of each sample; CSV on stdout: path,label,confidence.

Writes one row for each sample, in the order of the paths; nothing if a file is bad, without --skip-bad. The
confidence is the probability of the class among the known ones; with --unknown, that the pose is also known.

Examples
--------
  heatpose predict models/pose.joblib frame.npy
  heatpose predict models/pose.joblib data/others --mirrored --unknown > poses.csv
"""

from __future__ import annotations

import argparse
import csv
import sys
from functools import reduce
from operator import add

import heatpose
from heatpose.cli._console import pose_options, progress, warn_of_differences
from heatpose.cli._options import POSES, option, shared

OPTIONS = {
    **shared("model"),
    "paths PATH": option(
        "heatmaps (.npy), a folder with heatmaps at any depth, a keypoint table (.csv, .parquet), or poses of "
        "another tool (see heatpose convert); can be URLs",
        nargs="+",
    ),
    **shared(*POSES, "--mirrored"),
    "--unknown": 'predict "unknown" where the confidence is below the model\'s threshold',
    **shared("--skip-bad", "--jobs"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.evaluation.signature import Signature, sign_samples
    from heatpose.model.prediction import Prediction, list_pose_files, predict_files

    signatures: list[Signature] = []
    files = list_pose_files(args.paths)  # before the model is loaded, which takes longer
    pipeline = heatpose.load_model(args.model)
    try:
        with progress("Predicting") as advance:
            predictions = list(
                predict_files(
                    pipeline,
                    files,
                    mirrored=args.mirrored,
                    unknown=args.unknown,
                    skip_bad=args.skip_bad,
                    rows=pose_options(args),
                    n_jobs=args.jobs,
                    progress=advance,
                    on_poses=lambda samples, *more: signatures.append(sign_samples(samples, pipeline, *more)),
                )
            )
    except heatpose.BadFilesError as error:
        all_bad = {bad.path for bad in error.bad_files} >= set(files)
        hint = "" if all_bad else "\nFix or remove them, or leave them out with --skip-bad."
        raise ValueError(f"{error}{hint}") from error
    if signatures:
        warn_of_differences(pipeline, reduce(add, signatures))
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(Prediction._fields)
    table.writerows((path, label, f"{confidence:.4f}") for path, label, confidence in predictions)
