"""Terminal output of trainings, evaluations and comparisons, from 80 columns on, with and without colour."""

from __future__ import annotations

import numpy as np
from rich import box
from rich.console import Console, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from heatpose.cli._console import say
from heatpose.evaluation.comparison import Comparison
from heatpose.evaluation.learning_curve import LearningCurve
from heatpose.evaluation.metrics import Evaluation
from heatpose.evaluation.scores import list_scores
from heatpose.evaluation.wording import PERFECT_SCORE, capitalised, format_interval, format_number, format_percent
from heatpose.training.result import TrainingResult

__all__ = ["data_table", "show_comparison", "show_evaluation", "show_training"]

_MAX_CONFUSIONS = 8
_MAX_ADVICE = 5
_WEAK = 0.9  # recall below which a class is given advice
_BAR_WIDTH = 12
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
    scores = data_table("", "balanced accuracy", "95 % interval")
    scores.add_row("A", f"{comparison.first:.3f}", "")
    scores.add_row("B", f"{comparison.second:.3f}", "")
    span = "" if np.isnan(low) else f"[{low:+.3f}, {high:+.3f}]"
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
    scores = _grid("left", "right", "left")
    for name, score, interval, style in (
        ("balanced accuracy", evaluation.balanced_accuracy, evaluation.balanced_accuracy_interval, "bold"),
        ("macro-F1", evaluation.macro_f1, evaluation.macro_f1_interval, ""),
    ):
        scores.add_row(Text(name, style), Text(format_number(score), style), format_interval(interval))
    facts = [f"{evaluation.n_samples:,} samples of {len(evaluation.classes)} classes", how]
    console.print(
        "",
        scores,
        Text(", ".join(filter(None, facts))),
        "",
        f"{capitalised(evaluation.interval_description)}.",
        sep="\n",
    )

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
    beside = _grid("left", "right", "right", "left")
    beside.add_row("", "score", "duplicates", "near-identical samples in training", style="bold")
    for row in list_scores(result.to_record()):
        near = "" if row.near_identical is None else format_percent(row.near_identical)
        beside.add_row(row.title, format_number(row.score), near, row.remark)
    console.print("", beside, "", result.audit.verdict, sep="\n")
    if result.learning_curve is not None:
        _show_learning_curve(console, result.learning_curve)
    console.print("", "Score with a part of the body hidden:", sep="\n")
    partial = _grid("left", "right", "left", "right")
    parts = [(f"without {part}", format_number(score)) for part, score in result.partial.items()]
    for first, second in zip(parts[::2], [*parts[1::2], ("", "")], strict=False):
        partial.add_row(*first, *second)
    console.print(partial)


def _show_learning_curve(console: Console, curve: LearningCurve) -> None:
    points = _grid("left", *["right"] * len(curve.n_groups))
    points.add_row("training groups", *map(str, curve.n_groups))
    points.add_row(f"score of {curve.classifier}", *map(format_number, curve.balanced_accuracy))
    console.print("", points, curve.verdict, sep="\n")


def _show_advice(console: Console, result: TrainingResult) -> None:
    """Print advice for the classes with the lowest recall."""
    weak = sorted((advice for advice in result.advice if advice.recall < _WEAK), key=lambda advice: advice.recall)
    if not weak or not result.audit.better_than_chance:
        return
    console.print("Advice for the weakest classes:")
    for advice in weak[:_MAX_ADVICE]:
        console.print(f"  {advice.name}: {advice.advice}")
    console.print()


def _show_leaderboard(console: Console, result: TrainingResult) -> None:
    wide = console.width >= _WIDE
    more = ("log loss", "s/fit") if wide else ("s/fit",)
    board = _table("  candidate", "balanced accuracy", "macro-F1", "training", "calib. error", *more)
    for row in result.leaderboard.to_dict("records"):
        chosen = row["classifier"] == result.classifier
        interval = format_interval((row["balanced_accuracy_low"], row["balanced_accuracy_high"]))
        seconds = f"{row['fit_seconds']:.1f}"
        board.add_row(
            f"{'>' if chosen else ' '} {row['classifier']}",
            f"{format_number(row['balanced_accuracy'])} {interval}",
            format_number(row["macro_f1"]),
            format_number(row["train_balanced_accuracy"]),
            format_number(row["calibration_error"]),
            *((f"{row['log_loss']:.3f}", seconds) if wide else (seconds,)),
            style="bold" if chosen else "",
        )
    console.print("", board, "", result.note, sep="\n")


def _show_classes(console: Console, evaluation: Evaluation, trusted: bool = True) -> None:
    """Print recall by class, lowest first, and confusions; without colours where the split is not trusted."""
    classes = _table("class", "recall", "95 % interval", "samples", "")
    classes.columns[3].justify = "right"
    for c in np.argsort(evaluation.recall, kind="stable"):  # classes without samples are NaN and go last
        recall = evaluation.recall[c]
        classes.add_row(
            evaluation.classes[c],
            format_number(recall),
            format_interval(evaluation.recall_interval[c]),
            f"{evaluation.support[c]:,}",
            _bar(recall, _is_unicode(console)) if trusted else "",
        )
    confusions = _confusions(evaluation)
    side_by_side = Table.grid(padding=(0, 4, 0, 0))
    side_by_side.add_row(classes, confusions)
    if _fits(console, side_by_side):
        console.print("", side_by_side, sep="\n")
    else:
        console.print("", classes, "", confusions, sep="\n")
    matrix = _matrix(console, evaluation)
    if _fits(console, matrix):
        console.print("", matrix, sep="\n")
    console.print()


def _confusions(evaluation: Evaluation) -> RenderableType:
    errors = evaluation.confusion.copy()
    np.fill_diagonal(errors, 0)
    kinds = np.count_nonzero(errors)
    if not kinds:
        return Text("no confusions")
    table = _table("true class", "predicted", "samples")
    shown = np.argsort(-errors, axis=None, kind="stable")[: min(_MAX_CONFUSIONS, kinds)]
    for true, predicted in zip(*np.unravel_index(shown, errors.shape), strict=True):
        table.add_row(
            evaluation.classes[true],
            evaluation.predicted_labels[predicted],
            f"{errors[true, predicted]:,} of {evaluation.support[true]:,}",
        )
    if kinds > len(shown):
        rest = errors.sum() - errors.flat[shown].sum()
        table.add_row(f"({kinds - len(shown)} other pairs)", "", f"{rest:,}")
    return table


def _matrix(console: Console, evaluation: Evaluation) -> Table:
    """Return the confusion matrix: true classes in rows, predicted ones in columns, by number."""
    numbers = [str(number) for number in range(1, len(evaluation.classes) + 1)]
    others = evaluation.predicted_labels[len(numbers) :]
    matrix = _table("predicted:", "", *numbers, *others)
    matrix.padding = 0
    width = len(str(max(len(numbers), evaluation.confusion.max())))
    for column in matrix.columns[1:]:
        column.justify, column.min_width = "right", width
    nothing = "·" if _is_unicode(console) else "."
    for c, (name, row) in enumerate(zip(evaluation.classes, evaluation.confusion.tolist(), strict=True)):
        cells = [Text(str(n) if n else nothing, "bold" if c == k else "") for k, n in enumerate(row)]
        matrix.add_row(name, numbers[c], *cells)
    return matrix


# Bits -------------------------------------------------------------------------------------------------------


def _grid(*justify: str) -> Table:
    grid = Table.grid(padding=(0, 3, 0, 0))
    for how in justify:
        grid.add_column(justify=how)  # type: ignore[arg-type]
    return grid


def _table(*headers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=True)
    return table


def data_table(first: str, *numbers: str) -> Table:
    """Return an empty table of names and right-aligned numbers."""
    table = _table(first, *numbers)
    for column in table.columns[1:]:
        column.justify = "right"
    return table


def _fits(console: Console, table: Table) -> bool:
    return Measurement.get(console, console.options.update(max_width=10_000), table).maximum <= console.width


def _bar(share: float, is_unicode: bool) -> Text:
    if np.isnan(share):
        return Text("no samples")
    style = "green" if share >= 0.95 else "yellow" if share >= 0.8 else "red"
    halves = round(share * 2 * _BAR_WIDTH)
    if not is_unicode:
        return Text("-" * (halves // 2), style)
    return Text("━" * (halves // 2) + "╸" * (halves % 2), style)


def _is_unicode(console: Console) -> bool:
    return not console.options.ascii_only
