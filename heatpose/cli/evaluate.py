"""``heatpose evaluate``: a saved model's scores on other data."""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from heatpose.cli._console import (
    add_cache,
    add_data,
    add_groups,
    add_jobs,
    add_mirrored,
    add_report,
    add_skip_bad,
    check_groups,
    check_report,
    complain,
    read_for_models,
    results,
    say,
    warn_of_differences,
    write_page,
)

SUMMARY = "score a saved model on other data"
EXAMPLES = (
    "heatpose evaluate models/pose.joblib data/others",
    "heatpose evaluate models/pose.joblib others.parquet --json",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("model", metavar="MODEL", help="saved model (.joblib, .heatpose)")
    add_data(parser)
    add_groups(parser, "groups to resample for confidence intervals, such as people")
    add_mirrored(parser)
    parser.add_argument("--json", action="store_true", help="write all scores as JSON")
    add_skip_bad(parser)
    add_cache(parser)
    add_jobs(parser)
    add_report(parser)


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.cli._results import show_evaluation
    from heatpose.data.groups import resolve_groups
    from heatpose.data.storage import redact
    from heatpose.data.table import table_keypoints
    from heatpose.evaluation.scoring import evaluate_model, frames_with_body
    from heatpose.evaluation.signature import sign_poses
    from heatpose.model.prediction import mirror_table
    from heatpose.persistence.artifact import load_model, read_manifest
    from heatpose.persistence.provenance import check_training_data

    check_groups(args)
    check_report(args)
    pipeline, manifest = load_model(args.model), read_manifest(args.model)
    table, heatmaps = read_for_models(args, pipeline)
    seen, cautions = check_training_data(manifest, table)
    for caution in cautions:
        complain(f"Warning: {caution[0].lower()}{caution[1:]}")
    grouping = resolve_groups(table, args.groups or "auto")
    # Blocks by default are parts of the same recordings: intervals over them would be too narrow.
    groups = grouping.groups if args.groups or grouping.kind != "blocks" else None
    if args.mirrored:
        table = mirror_table(table)
        heatmaps = None if heatmaps is None else replace(heatmaps, mirrored=True)
    cautions += warn_of_differences(pipeline, [sign_poses(table_keypoints(table))])
    if n_empty := int((~frames_with_body(table)).sum()):
        cautions.append(
            f"{n_empty:,} of {len(table):,} samples show no body: they are predicted as the class of no pose, if there "
            "is one, and are otherwise errors."
        )
        complain(f"Warning: {cautions[-1]}")
    evaluation = evaluate_model(pipeline, table, groups, heatmaps=heatmaps)

    console = results()
    if args.json:
        facts = {
            "model": args.model,
            "data": redact(args.data),
            "mirrored": args.mirrored,
            "trained_on_these_data": seen,
            "cautions": cautions,
            "groups": None if groups is None else grouping.description,
        }
        console.print(json.dumps({**facts, **evaluation.to_dict()}, indent=2), soft_wrap=True)
    else:
        say(console, f"{args.model} on {redact(args.data)}")
        show_evaluation(console, evaluation)
    write_page(
        args,
        None if args.json else console,
        evaluation,
        table,
        pipeline=pipeline,
        groups=None if groups is None else grouping,
        cautions=cautions,
        # Files are not mirrored as the table is.
        heatmaps=args.data if heatmaps is None and not args.mirrored else heatmaps,
        facts={"model": f"{args.model}, sha256 {manifest['sha256']}", "mirrored": "yes" if args.mirrored else "no"},
    )
