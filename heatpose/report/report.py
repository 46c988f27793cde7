"""Write a training, an evaluation or an inspection as one page.

The page is a single HTML file without external resources: no network, no scripts. It begins with the held-out score
and its split; sections follow where there is data for them. A section is a function in
:mod:`heatpose.report.sections`, which returns a context, and a template of the same name in ``templates/sections``. All
text from the data, such as class names and paths, is escaped.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from sklearn.pipeline import Pipeline

from heatpose.data.folder import HeatmapRows
from heatpose.data.groups import Grouping
from heatpose.data.packages import import_extra
from heatpose.data.table import table_keypoints
from heatpose.data.wording import capitalised, format_interval, format_number, format_percent
from heatpose.data.writing import replace_files
from heatpose.evaluation.inspection import Inspection
from heatpose.evaluation.metrics import Evaluation
from heatpose.pose.skeleton import COCO_17
from heatpose.report.drawing import SIDE_COLOURS
from heatpose.report.sections import SECTIONS, Material, headline
from heatpose.training.result import TrainingResult

__all__ = ["check_installed", "write_report"]

_OPTION = re.compile(r"--[\w-]+")  # of the command line; not to be broken after a hyphen
_BREAK = re.compile(r"([/_.])(?=\w)")  # where a long name may wrap


def check_installed() -> None:
    """Raise ImportError where Jinja, the package of the extra ``report``, is not installed."""
    import_extra("jinja2", "report", "A report needs jinja2")


def write_report(
    result: TrainingResult | Evaluation | Inspection,
    path: str | os.PathLike[str],
    table: pd.DataFrame | None = None,
    *,
    pipeline: Pipeline | None = None,
    groups: Grouping | None = None,
    cautions: Sequence[str] = (),
    inspection: Inspection | None = None,
    heatmaps: str | os.PathLike[str] | HeatmapRows | None = None,
    facts: Mapping[str, str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write a report of a training, an evaluation or an inspection.

    Parameters
    ----------
    result : TrainingResult, Evaluation or Inspection
        The subject of the report.
    path : path-like
        The page, ``.html``; missing folders are created. An existing file is replaced atomically.
    table : DataFrame, optional
        Its keypoint table. Without it there are no skeletons, hardest frames and digest.
    pipeline : Pipeline, optional
        The evaluated model, for the hardest frames and the feature importance. Not needed for a training.
    groups : Grouping, optional
        Groups that were resampled for the intervals of an evaluation. Not needed for a training.
    cautions : sequence of str, optional
        Reasons to distrust the score, such as training data among the data. They are shown beside the score, which is
        then marked as doubtful.
    inspection : Inspection, optional
        Inspection of the data, for its own sections.
    heatmaps : path-like or HeatmapRows, optional
        Folder or URL of the table's paths, to show the heatmaps of the hardest frames. Only these files are read;
        unreadable ones are shown without heatmaps. A model that takes heatmaps needs HeatmapRows.
    facts : mapping of str to str, optional
        More facts for the section on reproduction, such as ``command`` and ``data``.
    progress : callable, optional
        ``progress(done, total)``, called after each section.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ImportError
        If Jinja is not installed.
    TypeError
        If `result` has another type.
    ValueError
        If the table has no keypoints of COCO-17.

    Examples
    --------
    >>> result = heatpose.train_pose_classifier(table)  # doctest: +SKIP
    >>> write_report(result, "report.html", table)  # doctest: +SKIP
    """
    check_installed()
    if not isinstance(result, TrainingResult | Evaluation | Inspection):
        raise TypeError(f"Expected a TrainingResult, an Evaluation or an Inspection, got {type(result).__name__}.")
    training = evaluation = None
    if isinstance(result, TrainingResult):
        training, evaluation, groups = result, result.evaluation, result.grouping
    elif isinstance(result, Evaluation):
        evaluation = result
    else:
        inspection, table = result, result.table if table is None else table
        facts = {"data": result.data, **(facts or {})}
    if table is not None:
        table_keypoints(table.head(0), COCO_17)  # refuses tables of other keypoints, which cannot be drawn
    folder = heatmaps if heatmaps is None or isinstance(heatmaps, HeatmapRows) else os.fspath(heatmaps)
    material = Material(training, evaluation, inspection, table, pipeline, groups, cautions, folder, facts or {})
    path = Path(path)
    replace_files([(path, _render(material, progress).encode("utf-8", "backslashreplace"))])
    return path


def _render(material: Material, progress: Callable[[int, int], object] | None) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    environment = Environment(
        loader=PackageLoader("heatpose.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": format_number,
        "interval": format_interval,
        "percent": lambda share, digits=1: format_percent(share, digits).replace(" ", "\u00a0"),
        "sentence": capitalised,
        "breakable": lambda text: Markup("<bdi>" + _BREAK.sub(r"\1<wbr>", str(escape(text))) + "</bdi>"),
        "options": lambda text: Markup(_OPTION.sub(r'<span class="option">\g<0></span>', str(escape(text)))),
    }
    sections = []
    # A report of data alone begins with its problems.
    names = sorted(SECTIONS, key=lambda name: material.evaluation is not None or name not in ("problems", "data"))
    for done, name in enumerate(names, start=1):
        title, needed, describe = SECTIONS[name]
        part = getattr(material, needed)
        if part is not None and (context := describe(material, part)) is not None:
            sections.append({"name": name, "title": title, **context})
        if progress is not None:
            progress(done, len(SECTIONS))
    return environment.get_template("page.html").render(
        head=headline(material), sections=sections, colours=SIDE_COLOURS, created=datetime.now(UTC), material=material
    )
