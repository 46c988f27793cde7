"""Terminal output of trainings, evaluations and comparisons, from 80 columns on, with and without colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from heatpose.cli._console import say
from heatpose.data.wording import (
    PERFECT_SCORE,
    capitalised,
    format_interval,
    format_number,
    format_percent,
    format_plural,
)
from heatpose.evaluation.advice import WEAK
from heatpose.evaluation.comparison import Comparison
from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.scores import list_scores
from heatpose.training.result import TrainingResult

__all__ = ["show_comparison", "show_evaluation", "show_training", "table"]

_MAX_CONFUSIONS = 8
_MAX_ADVICE = 5
_BAR_WIDTH = 12
_NARROW = 70  # columns below which bars are left out
_WIDE = 90  # columns from which the log loss fits into the leaderboard


def show_training(console: Console, result: TrainingResult) -> None:
    """Print the results of a training, the held-out score first."""
    evaluation = result.evaluation
    trusted = result.audit.better_than_chance and not result.audit.leaks
    _show_headline(console, evaluation, f"{result.classifier}, {result.n_folds} folds")
    _show_beside(console, result)
    _show_leaderboard(console, result)
    _show_classes(console, evaluation, trusted)
    _show_advice(console, result)


def show_evaluation(console: Console, evaluation: Evaluation) -> None:
    """Print a model's scores on other data."""
    _show_headline(console, evaluation)
    _show_classes(console, evaluation)


def show_comparison(console: Console, comparison: Comparison) -> None:
    """Print the difference of two models and its interval."""
    low, high = comparison.interval
    span = "" if np.isnan(low) else f"[{low:+.3f}, {high:+.3f}]"
    scores = table(["", "balanced accuracy", "95 % interval"], "lrr")
    scores.add_row("A", f"{comparison.first:.3f}", "")
    scores.add_row("B", f"{comparison.second:.3f}", "")
    scores.add_row("B - A", f"{comparison.difference:+.3f}", span)
    console.print("", scores, "", sep="\n")
    say(comparison.statement, console)
    if comparison.first_only is not None:
        say(
            f"Of {comparison.n_samples:,} samples both classify {comparison.both_right:,} correctly and "
            f"{comparison.both_wrong:,} wrongly; only A is correct for {comparison.first_only:,}, only B for "
            f"{comparison.second_only:,} (McNemar's p for independent samples: {comparison.p_value:.2g}).",
            console,
        )


# Parts ------------------------------------------------------------------------------------------------------


def _show_headline(console: Console, evaluation: Evaluation, how: str = "") -> None:
    scores = _grid("lrl")
    scores.add_row(
        Text("balanced accuracy", "bold"),
        Text(format_number(evaluation.balanced_accuracy), "bold"),
        format_interval(evaluation.balanced_accuracy_interval),
    )
    scores.add_row("macro-F1", format_number(evaluation.macro_f1), format_interval(evaluation.macro_f1_interval))
    facts = [f"{format_plural(evaluation.n_samples, 'sample')} of {evaluation.class_count} classes", how]
    unit = f"{capitalised(evaluation.interval_description)}."
    console.print("", scores, ", ".join(filter(None, facts)), "", unit, sep="\n")

    if evaluation.calibration is not None:
        coverage, error = evaluation.calibration.coverage, evaluation.calibration.coverage_error
        console.print(
            f"Expected calibration error {format_number(evaluation.calibration.expected_calibration_error)}; "
            f"{format_percent(error[coverage == 1][0])} of all predictions are wrong, "
            f"{format_percent(error[coverage == 0.95][0])} of the most confident 95 %."
        )
    if evaluation.balanced_accuracy == 1:
        console.print(PERFECT_SCORE)


def _show_beside(console: Console, result: TrainingResult) -> None:
    """Print the held-out score beside a random split, the training score and the baselines."""
    beside = _grid("lrrl")
    beside.add_row("", "score", "duplicates", "near-identical samples in training", style="bold")
    for row in list_scores(result.to_record()):
        near = "" if row.near_identical is None else format_percent(row.near_identical)
        beside.add_row(row.title, format_number(row.score), near, row.remark)
    console.print("", beside, "", result.audit.verdict, sep="\n")
    if (curve := result.learning_curve) is not None:
        most = max(1, (console.width - 18) // 8)  # scores that fit beside their name
        console.print("")
        for start in range(0, len(curve.n_groups), most):
            some = slice(start, start + most)
            points = _grid("l" + "r" * len(curve.n_groups[some]))
            points.add_row("training groups", *(f"{n:,}" for n in curve.n_groups[some]))
            points.add_row(f"score of {curve.classifier}", *map(format_number, curve.balanced_accuracy[some]))
            console.print(points)
        console.print(curve.verdict)
    partial = _grid("lrlr")
    parts = [(f"without {part}", format_number(score)) for part, score in result.partial.items()]
    for first, second in zip_longest(parts[::2], parts[1::2], fillvalue=()):
        partial.add_row(*first, *second)
    console.print("", "Score with a part of the body hidden:", partial, sep="\n")


def _show_advice(console: Console, result: TrainingResult) -> None:
    """Print advice for the classes with the lowest recall."""
    weak = sorted((advice for advice in result.advice if advice.recall < WEAK), key=lambda advice: advice.recall)
    if weak and result.audit.better_than_chance:
        lines = [f"  {advice.name}: {advice.advice}" for advice in weak[:_MAX_ADVICE]]
        split = "" if result.audit.proposed is None else " by detected clips"
        console.print(f"Advice for the weakest classes{split}:", *lines, "", sep="\n")


def _show_leaderboard(console: Console, result: TrainingResult) -> None:
    is_wide = console.width >= _WIDE
    more = ("log loss", "s/fit") if is_wide else ("s/fit",)
    board = table(["  candidate", "balanced accuracy", "macro-F1", "training", "calib. error", *more])
    for row in result.leaderboard.to_dict("records"):
        is_chosen = row["classifier"] == result.classifier
        interval = format_interval((row["balanced_accuracy_low"], row["balanced_accuracy_high"]))
        board.add_row(
            f"{'>' if is_chosen else ' '} {row['classifier']}",
            f"{format_number(row['balanced_accuracy'])} {interval}",
            *(format_number(row[name]) for name in ("macro_f1", "train_balanced_accuracy", "calibration_error")),
            *([f"{row['log_loss']:.3f}"] if is_wide else []),
            f"{row['fit_seconds']:.1f}",
            style="bold" if is_chosen else "",
        )
    console.print("", board, "", result.note, sep="\n")


def _show_classes(console: Console, evaluation: Evaluation, trusted: bool = True) -> None:
    """Print recall by class, lowest first, and confusions; without colours where the split is not trusted."""
    classes = table(["class", "recall", "95 % interval", "samples"], "nllr")
    if has_bars := trusted and console.width >= _NARROW:  # names and numbers need it
        classes.add_column(no_wrap=True)
    for c in np.argsort(evaluation.recall, kind="stable"):  # classes without samples are NaN and go last
        recall = evaluation.recall[c]
        classes.add_row(
            evaluation.classes[c],
            format_number(recall),
            format_interval(evaluation.recall_interval[c]),
            f"{evaluation.support[c]:,}",
            *([_bar(recall, console)] if has_bars else []),
        )
    confusions = _confusions(evaluation)
    side_by_side = Table.grid(padding=(0, 4, 0, 0))
    side_by_side.add_row(classes, confusions)
    console.print("", *([side_by_side] if _fits(console, side_by_side) else [classes, "", confusions]), sep="\n")
    # Each class needs a column: one of hundreds would be laid out in vain, cell by cell.
    matrix = _matrix(console, evaluation) if len(evaluation.classes) < console.width else None
    console.print(*(["", matrix, ""] if matrix is not None and _fits(console, matrix) else [""]), sep="\n")


def _confusions(evaluation: Evaluation) -> RenderableType:
    errors = np.where(np.eye(*evaluation.confusion.shape), 0, evaluation.confusion)
    n_kinds = int(np.count_nonzero(errors))
    if not n_kinds:
        return Text("no confusions")
    confusions = table(["true class", "predicted", "samples"], "nnl")
    shown = np.argsort(-errors, axis=None, kind="stable")[: min(_MAX_CONFUSIONS, n_kinds)]
    for true, predicted in zip(*np.unravel_index(shown, errors.shape), strict=True):
        samples = f"{errors[true, predicted]:,} of {evaluation.support[true]:,}"
        confusions.add_row(evaluation.classes[true], evaluation.predicted_labels[predicted], samples)
    if n_kinds > len(shown):
        rest = errors.sum() - errors.flat[shown].sum()
        confusions.add_row(f"({format_plural(n_kinds - len(shown), 'other pair')})", "", f"{rest:,}")
    return confusions


def _matrix(console: Console, evaluation: Evaluation) -> Table:
    """Return the confusion matrix: true classes in rows, predicted ones in columns, by number."""
    numbers = [str(number) for number in range(1, len(evaluation.classes) + 1)]
    headers = [*numbers, *evaluation.predicted_labels[len(numbers) :]]
    matrix = table(["predicted:", "", *headers], "lr" + "r" * len(headers))
    matrix.padding = 0
    for column in matrix.columns[1:]:
        column.min_width = len(str(max(len(numbers), evaluation.confusion.max())))
    nothing = "." if console.options.ascii_only else "·"
    for c, (name, row) in enumerate(zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)):
        cells = [Text(str(n) if n else nothing, "bold" if c == k else "") for k, n in enumerate(row)]
        matrix.add_row(name, numbers[c], *cells)
    return matrix


# Bits -------------------------------------------------------------------------------------------------------


def _grid(columns: str) -> Table:
    """Return an empty table without headers; `columns` has l for each left and r for each right one."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    for column in columns:
        grid.add_column(justify="right" if column == "r" else "left")
    return grid


def table(headers: Sequence[str], columns: str = "") -> Table:
    """Return an empty table with headers; `columns` as in `_grid`, by default all left, and n for names that wrap."""
    empty = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for header, column in zip_longest(headers, columns):
        wraps = column == "n"
        empty.add_column(header, no_wrap=not wraps, overflow="fold", justify="right" if column == "r" else "left")
    return empty


def _fits(console: Console, wide: Table) -> bool:
    return Measurement.get(console, console.options.update(max_width=10_000), wide).maximum <= console.width


def _bar(share: float, console: Console) -> Text:
    if np.isnan(share):
        return Text("no samples")
    style = "green" if share >= 0.95 else "yellow" if share >= 0.8 else "red"
    n_halves = round(share * 2 * _BAR_WIDTH)
    full, half = ("-", "") if console.options.ascii_only else ("━", "╸")
    return Text(full * (n_halves // 2) + half * (n_halves % 2), style)
