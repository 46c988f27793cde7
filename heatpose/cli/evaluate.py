"""Score a saved model on other data.

Examples
--------
  heatpose evaluate models/pose.joblib data/others
  heatpose evaluate models/pose.joblib others.parquet --json
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import heatpose
from heatpose.cli._console import (
    check_report_of,
    complain,
    read_for_models,
    results,
    say_json,
    say_subject,
    warn_of_differences,
    write_page,
)
from heatpose.cli._options import DATA, groups_option, shared

OPTIONS = {
    **shared("model", *DATA),
    **groups_option("groups to resample for confidence intervals, such as people"),
    **shared("--mirrored", "--json", "--skip-bad", "--cache", "--jobs", "--report"),
}


def run(args: argparse.Namespace) -> None:
    """Run the command."""
    from heatpose.cli._results import show_evaluation
    from heatpose.data.storage import redact
    from heatpose.evaluation.scoring import better_mirrored, frames_with_body
    from heatpose.model.inputs import skeleton_of
    from heatpose.model.prediction import mirror_table
    from heatpose.persistence.provenance import check_training_data

    pipeline, manifest = heatpose.load_model(args.model), heatpose.read_manifest(args.model)
    skeleton = skeleton_of(pipeline)
    check_report_of(args, skeleton)
    table, heatmaps, grouping = read_for_models(args, pipeline)
    seen, cautions = check_training_data(manifest, table, grouping)
    for caution in cautions:
        complain(f"Warning: {caution[0].lower()}{caution[1:]}")
    if args.mirrored:
        table = mirror_table(table, skeleton)
        heatmaps = None if heatmaps is None else replace(heatmaps, mirrored=True)
    differences = warn_of_differences(pipeline, table)
    cautions += differences
    if n_empty := int((~frames_with_body(table)).sum()):
        cautions.append(
            f"{n_empty:,} of {len(table):,} samples show no body: they are predicted as the class of no pose, if there "
            "is one, and are otherwise errors."
        )
        complain(f"Warning: {cautions[-1]}")
    described = None if grouping is None else grouping.description
    evaluation = heatpose.evaluate_model(pipeline, table, grouping, heatmaps=heatmaps)
    if heatmaps is None and not differences:  # whose cure is another one
        least = better_mirrored(pipeline, table, evaluation)
        if least is not None:
            advice = "leave out --mirrored." if args.mirrored else "the pictures look mirrored, use --mirrored."
            cautions.append(f"Mirrored, the balanced accuracy would be at least {least:.3f}: {advice}")
            complain(f"Warning: {cautions[-1]}")

    if args.json:
        facts = {
            "model": args.model,
            "data": redact(args.data),
            "mirrored": args.mirrored,
            "trained_on_these_data": seen,
            "cautions": cautions,
            "groups": described,
        }
        say_json({**facts, **evaluation.to_dict()})
    else:
        say_subject(f"{args.model} on {redact(args.data)}", described)
        show_evaluation(results(), evaluation)
    write_page(
        args,
        evaluation,
        table,
        pipeline=pipeline,
        groups=grouping,
        cautions=cautions,
        # Files are not mirrored as the table is.
        heatmaps=args.data if heatmaps is None and not args.mirrored else heatmaps,
        facts={"model": f"{args.model}, sha256 {manifest['sha256']}", "mirrored": "yes" if args.mirrored else "no"},
    )
