"""``heatpose inspect``: the contents and problems of a data set."""

from __future__ import annotations

import argparse
import json
from itertools import groupby
from typing import TYPE_CHECKING

from heatpose.cli._console import (
    add_data,
    add_decoder,
    add_groups,
    add_jobs,
    add_random_state,
    add_report,
    check_groups,
    check_report,
    check_writable,
    count,
    here,
    pose_options,
    progress,
    results,
    say,
    write_page,
)

if TYPE_CHECKING:
    from rich.console import Console

    from heatpose.evaluation.inspection import Inspection, Problem

SUMMARY = "report the contents and problems of a data set; changes nothing"
EXAMPLES = (
    "heatpose inspect data/gestures --groups '_(\\d+)\\.npy$'",
    "heatpose inspect data/others --model models/pose.joblib",
    "heatpose inspect data/gestures --fix-list problems.csv --json > inspection.json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add_data(parser)
    add_groups(parser, "groups that a split must not divide, such as people")
    parser.add_argument("--model", metavar="MODEL", help="compare the data with the training data of a saved model")
    parser.add_argument("--json", action="store_true", help="write the inspection as JSON")
    parser.add_argument(
        "--fix-list",
        metavar="FILE",
        type=here,
        help="write the samples to check as CSV, most severe first: path,kind,severity,score,message",
    )
    parser.add_argument(
        "--show", metavar="N", type=count, default=5, help="problems of each kind to print (default: %(default)s)"
    )
    add_decoder(parser)
    add_random_state(parser)
    add_jobs(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    check_groups(args)
    check_report(args)
    if args.fix_list is not None:
        check_writable(args.fix_list)
    from heatpose.evaluation.inspection import inspect_data, write_fix_list

    signature = None
    if args.model is not None:
        from heatpose.persistence.artifact import read_manifest

        signature = read_manifest(args.model)["record"].get("signature")
    with progress("Reading heatmaps") as advance:
        inspection = inspect_data(
            args.data,
            args.groups or "auto",
            decoder=args.decoder,
            random_state=args.random_state,
            n_jobs=args.jobs,
            progress=advance,
            poses=pose_options(args),
            signature=signature,
            layout=args.layout,
            keep_placeholders=args.keep_placeholders,
        )
    if args.fix_list is not None:
        args.fix_list.parent.mkdir(parents=True, exist_ok=True)
        write_fix_list(inspection, args.fix_list)
    console = results()
    if args.json:
        console.print(json.dumps(inspection.to_dict(), indent=2), soft_wrap=True)
    else:
        _show_contents(console, inspection)
        _show_problems(console, inspection, args.show)
        if args.fix_list is not None:
            say(console, f"Wrote {args.fix_list}: {sum(len(problem.paths) for problem in inspection.problems):,} lines")
    write_page(args, None if args.json else console, inspection, heatmaps=args.data)


def _show_contents(console: Console, inspection: Inspection) -> None:
    from heatpose.cli._results import data_table

    files = f" in {inspection.n_files:,} files" if inspection.source == "folder" else ""
    size = f", {inspection.n_bytes / 1e6:,.0f} MB" if inspection.n_bytes else ""
    say(console, f"{inspection.data}: {inspection.n_samples:,} samples{files}, {len(inspection.classes)} classes{size}")
    if not inspection.n_samples:
        return
    say(console, f"Groups: {inspection.groups}")
    if inspection.shapes:
        shapes, dtypes = (
            ", ".join(f"{name} ({n:,})" for name, n in counts.items())
            for counts in (inspection.shapes, inspection.dtypes)
        )
        say(console, f"Shapes: {shapes}; number formats: {dtypes}")
    values = inspection.values
    span = f"{values['lowest']:.3g} to {values['highest']:.3g}; " if inspection.source == "folder" else ""
    say(
        console,
        f"Values: {span}peaks {values['median_peak']:.3g} (median), {values['low_peak']:.3g} to "
        f"{values['high_peak']:.3g} (98 %)",
    )
    alike = [
        f"{share:.1%} in {where.replace('_', ' ').replace('own class', 'the same class')}"
        for where, share in inspection.near_identical.items()
    ]
    if alike:
        say(console, f"Samples with a near-identical sample: {', '.join(alike)}")
    classes = data_table("class", "samples", "files", "groups")
    for each in inspection.classes:
        classes.add_row(each.name, f"{each.n_samples:,}", f"{each.n_files:,}", f"{each.n_groups:,}")
    keypoints = data_table("keypoint", "visible", "no peak", "median peak")
    for keypoint in inspection.keypoints:
        keypoints.add_row(
            keypoint.name, f"{keypoint.seen:.1%}", f"{keypoint.missing:.1%}", f"{keypoint.confidence:.2f}"
        )
    console.print("", classes, "", keypoints, sep="\n")


def _show_problems(console: Console, inspection: Inspection, shown: int) -> None:
    from heatpose.evaluation.inspection import PROBLEM_KINDS

    if not inspection.problems:
        console.print("", "No problems found. This does not predict the score of a model.", sep="\n")
        return
    for (severity, kind), same in groupby(inspection.problems, key=lambda problem: (problem.severity, problem.kind)):
        problems = list(same)
        n_files = len({path for problem in problems for path in problem.paths})
        files = f", {n_files:,} file{'s' if n_files > 1 else ''}" if n_files else ""
        console.print("", f"{severity.upper()}  {PROBLEM_KINDS[kind]}: {len(problems):,}{files}", sep="\n")
        for problem in problems[:shown]:
            say(console, f"  {_line(problem)}")
        if len(problems) > shown:
            console.print(f"  ... and {len(problems) - shown:,} more: see --fix-list, --json or --show")


def _line(problem: Problem, shown: int = 3) -> str:
    """Return the message after its first files, unless it already begins with a file."""
    if not problem.paths or problem.message.startswith(problem.paths[0]):
        return problem.message
    more = f" and {len(problem.paths) - shown} more" if len(problem.paths) > shown else ""
    return f"{', '.join(problem.paths[:shown])}{more}: {problem.message}"
