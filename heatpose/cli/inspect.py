r"""Report the contents and problems of a data set; changes nothing.

Examples
--------
  heatpose inspect data/gestures --groups '_(\d+)\.npy$'
  heatpose inspect data/others --model models/pose.joblib
  heatpose inspect data/gestures --fix-list problems.csv --json > inspection.json
"""

from __future__ import annotations

import argparse
from itertools import groupby
from typing import TYPE_CHECKING

import heatpose
from heatpose.cli._console import inspect, results, say, say_json, write_page
from heatpose.cli._options import DATA, file_to_write, groups_option, option, shared, whole
from heatpose.data.wording import capitalised, first_lines, format_percent, format_plural, some_names

if TYPE_CHECKING:
    from rich.console import Console


OPTIONS = {
    **shared(*DATA),
    **groups_option("groups that a split must not divide, such as people"),
    "--model MODEL": "compare the data with the training data of a saved model",
    **shared("--json"),
    "--fix-list FILE": option(
        "write the samples to check as CSV, most severe first: path,kind,severity,score,message", type=file_to_write()
    ),
    "--show N": option("problems of each kind to print", type=whole(1), default=5),
    **shared("--decoder", "--random-state", "--jobs", "--report"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.evaluation.inspection import write_fix_list

    inspection = inspect(args, heatpose.read_manifest(args.model)["record"].get("signature") if args.model else None)
    n_lines = write_fix_list(inspection, args.fix_list) if args.fix_list else 0
    if args.json:
        say_json(inspection.to_dict())
    else:
        console = results()
        _show_contents(console, inspection)
        _show_problems(console, inspection, args.show)
        if args.fix_list:
            say(f"Wrote {args.fix_list}: {format_plural(n_lines, 'line')}")
    write_page(args, inspection, heatmaps=args.data)


def _show_contents(console: Console, inspection: heatpose.Inspection) -> None:
    from heatpose.cli._results import table

    files = f" in {format_plural(inspection.n_files, 'file')}" if inspection.source == "folder" else ""
    size = f", {inspection.n_bytes / 1e6:,.0f} MB" if inspection.n_bytes else ""
    samples, n_classes = format_plural(inspection.n_samples, "sample"), len(inspection.classes)
    say(f"{inspection.data}: {samples}{files}, {format_plural(n_classes, 'class')}{size}")
    if not inspection.n_samples:
        return
    say(capitalised(inspection.groups))
    if inspection.shapes:
        shapes, dtypes = (
            ", ".join(f"{name} ({n:,})" for name, n in counts.items())
            for counts in (inspection.shapes, inspection.dtypes)
        )
        say(f"Shapes: {shapes}; number formats: {dtypes}")
    values = inspection.values
    span = f"{values['lowest']:.3g} to {values['highest']:.3g}; " if inspection.source == "folder" else ""
    low, median, high = (f"{values[f'{name}_peak']:.3g}" for name in ("low", "median", "high"))
    say(f"Values: {span}peaks {median} (median), {low} to {high} (98 %)")
    alike = [
        f"{format_percent(share)} in {where.replace('_', ' ').replace('own class', 'the same class')}"
        for where, share in inspection.near_identical.items()
    ]
    if alike:
        say(f"Samples with a near-identical sample: {', '.join(alike)}")
    counts = ["samples", "files", "groups"] if inspection.n_files else ["samples", "groups"]
    classes = table(["class", *counts], "n" + "r" * len(counts))
    for each in inspection.classes:
        classes.add_row(each.name, *(f"{getattr(each, f'n_{name}'):,}" for name in counts))
    keypoints = table(["keypoint", "visible", "no peak", "median peak"], "lrrr")
    for point in inspection.keypoints:
        shares = format_percent(point.seen), format_percent(point.missing)
        keypoints.add_row(point.name, *shares, f"{point.confidence:.2f}")
    console.print("", classes, "", keypoints, sep="\n")


def _show_problems(console: Console, inspection: heatpose.Inspection, shown: int) -> None:
    if not inspection.problems:
        console.print("", "No problems found. This does not predict the score of a model.", sep="\n")
    for _, same in groupby(inspection.problems, key=lambda problem: (problem.severity, problem.kind)):
        problems = list(same)
        n_files = len({path for problem in problems for path in problem.paths})
        files = f", {format_plural(n_files, 'file')}" if n_files else ""
        console.print("", f"{problems[0].severity.upper()}  {problems[0].title}: {len(problems):,}{files}", sep="\n")
        for line in first_lines([*map(_line, problems)], shown, "more: see --fix-list, --json or --show"):
            say(f"  {line}")


def _line(problem: heatpose.Problem) -> str:
    """Return the message after its first files, unless it already begins with a file."""
    if not problem.paths or problem.message.startswith(problem.paths[0]):
        return problem.message
    return f"{some_names(problem.paths)}: {problem.message}"
