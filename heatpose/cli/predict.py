"""``heatpose predict``: class names as CSV."""

from __future__ import annotations

import argparse
import csv
import sys

from heatpose.cli._console import add_jobs, add_skip_bad, progress

SUMMARY = "name the poses in files, as CSV on stdout: path,label,confidence"


def epilog() -> str:
    return (
        "One row a sample, in the order of the paths; without --skip-bad none unless every file is good.\n\n"
        "examples:\n"
        "  heatpose predict models/pose.joblib frame.npy\n"
        "  heatpose predict models/pose.joblib data/others --mirrored --unknown > poses.csv"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help="model that heatpose train saved (.joblib)")
    parser.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help="heatmaps (.npy), a folder with heatmaps at any depth, or a keypoint table (.csv, .parquet); can be URLs",
    )
    parser.add_argument("--mirrored", action="store_true", help="the pictures come from a selfie camera")
    parser.add_argument(
        "--unknown", action="store_true", help='say "unknown" of a pose that is none of the classes for sure'
    )
    add_skip_bad(parser)
    add_jobs(parser)


def run(args: argparse.Namespace) -> None:
    from heatpose.data.folder import BadFilesError
    from heatpose.model.prediction import Prediction, list_pose_files, predict_files
    from heatpose.persistence.artifact import load_model

    files = list_pose_files(args.paths)  # before the model is loaded, which takes longer
    pipeline = load_model(args.model)
    try:
        with progress("Predicting") as advance:
            predictions = list(
                predict_files(
                    pipeline,
                    files,
                    mirrored=args.mirrored,
                    unknown=args.unknown,
                    skip_bad=args.skip_bad,
                    n_jobs=args.jobs,
                    progress=advance,
                )
            )
    except BadFilesError as error:
        hint = "Mend or remove them, or leave them out with --skip-bad."
        raise ValueError(f"{error}\n{hint}") from error
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(Prediction._fields)
    table.writerows((path, label, f"{confidence:.4f}") for path, label, confidence in predictions)
