"""Groups of samples that belong together, and folds that never split a group.

Neighbouring frames of a recording are near-duplicates. A split that puts one of them on each side measures memory;
only folds that hold out whole groups (people, recordings) estimate the score on new people.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics.cluster import contingency_matrix
from sklearn.model_selection import StratifiedKFold
from sklearn.utils import check_random_state

from heatpose.data.delimited import read_columns
from heatpose.data.storage import file_name
from heatpose.data.wording import first_lines, format_plural, join_names, some_names

__all__ = [
    "DEFAULT_FOLDS",
    "Folds",
    "Grouping",
    "check_enough",
    "check_spec",
    "describe_apart",
    "describe_same_names",
    "grouped_folds",
    "random_folds",
    "resolve_groups",
]

Folds = list[tuple[np.ndarray, np.ndarray]]
"""Positions of the training and the test samples of each fold."""

DEFAULT_FOLDS = 5
"""Folds of a cross-validation: 4 of 5 samples train, as is usual."""

_SEPARATORS = re.compile(r"(?<=[^\W\d_])[\s_.-]+|[\s_.-]+(?=[^\W\d_]|$)")  # of letters: 1_11 is not 11_1, 1 not -1

_MAX_NAMED = 40  # classes that an error names: a column of numbers may have been given as that of classes

_MAX_DEALS = 50  # tries to have every class in every fold; the best of them is kept


@dataclass(frozen=True, eq=False)
class Grouping:
    """Group of each sample, and the source of the groups.

    Parameters
    ----------
    groups : ndarray of str, shape (n_samples,)
        The group of each sample.
    description : str
        One line that names what a score is split by.
    kind : {"regex", "blocks", "csv", "column", "proposed"}
        Source of the groups. ``blocks`` are no real groups, and neither are ``proposed`` ones, which
        :func:`heatpose.evaluation.audit.propose_groups` finds in the frames: their score is not one for new people.

    Examples
    --------
    >>> import numpy as np
    >>> Grouping(np.array(["ann", "bob", "ann"]), "two people", "column").n_groups
    2
    """

    groups: np.ndarray
    description: str
    kind: Literal["regex", "blocks", "csv", "column", "proposed"]

    @property
    def n_groups(self) -> int:
        """The number of different groups."""
        return len(np.unique(self.groups))


def resolve_groups(index: pd.DataFrame, spec: Grouping | str | os.PathLike[str] | ArrayLike = "auto") -> Grouping:
    r"""Find the group of each sample.

    Parameters
    ----------
    index : DataFrame, n_samples rows
        Columns ``path`` (relative, with forward slashes; needed for a pattern and for a CSV), ``label``
        (needed for blocks) and maybe ``group``, with the rows in natural file order.
    spec : str, path, array-like of shape (n_samples,) or Grouping, default="auto"
        The group of each sample, a Grouping as it is, or one of

        - a regular expression with one capturing group, searched for in the path: it captures the group,
        - ``blocks:N``: N contiguous runs of each class in the rows' order; run b of each is ``block b``,
        - a CSV file, or its URL, with the columns ``path`` and ``group``; rows for other paths are ignored,
        - ``auto``: the column ``group`` when no value of it is missing, otherwise ``blocks:5``.

    Returns
    -------
    Grouping
        The group of each sample, and their source.

    Raises
    ------
    ValueError
        If the spec is none of these, or leaves a sample without a group; all such samples are counted.
    FileNotFoundError
        If the spec names a CSV file that does not exist.

    Examples
    --------
    >>> import pandas as pd
    >>> index = pd.DataFrame({"path": ["up/up_1_ann.npy", "up/up_1_bob.npy", "up/up_2_ann.npy"]})
    >>> grouping = resolve_groups(index, r"_([a-z]+)\.npy$")
    >>> grouping.groups.tolist()
    ['ann', 'bob', 'ann']
    >>> grouping.description
    "groups: 2 (ann, bob), from the file names by '_([a-z]+)\\.npy$'"
    """
    if len(index) == 0:
        raise ValueError("Expected an index with at least one sample, got none.")
    if isinstance(spec, str | os.PathLike):
        return _parse(os.fspath(spec))(index)
    groups = np.asarray(spec.groups if isinstance(spec, Grouping) else spec, dtype=object)
    if groups.shape != (len(index),):
        got = f"{type(spec).__name__} of shape {groups.shape}"
        raise ValueError(f"Expected {len(index)} groups, one for each sample, or a SPEC, got {got}.")
    if isinstance(spec, Grouping):
        return spec
    if n_missing := int(pd.isna(groups).sum()):
        raise ValueError(f"Expected groups without missing values, got {n_missing}.")
    return _held_out(index, groups.astype(str), "as given", "column")


def check_spec(spec: str) -> str:
    """Return a spec; raise the ValueError of :func:`resolve_groups` for one that is wrong for any data."""
    _parse(spec)
    return spec


def check_enough(labels: ArrayLike, groups: ArrayLike, n_folds: int | Literal["auto"] = "auto") -> None:
    """Check that the data can be split at all, before any work is done.

    Parameters
    ----------
    labels, groups : array-like of str, shape (n_samples,)
        The class and the group of each sample.
    n_folds : int or "auto", default="auto"
        As for :func:`grouped_folds`.

    Raises
    ------
    ValueError
        If there is a single class, or any class has fewer samples or groups than there are folds; with a fold for
        each group two groups suffice. All such classes are named.

    Examples
    --------
    >>> check_enough(["up", "up", "down", "down"], ["ann", "bob", "ann", "ann"], 2)
    Traceback (most recent call last):
        ...
    ValueError: Cannot make 2 folds that share no group:
      class 'down' has 1 group (ann), 2 folds need at least 2
    No number of folds helps a class with one group: add other groups, leave it out, or give --groups blocks:5.
    """
    classes, names, counts = _count(labels, groups)
    if len(classes) < 2:
        raise ValueError(f"Expected at least 2 classes, got only {str(classes[0])!r} in {counts.sum()} samples.")
    wanted = _n_folds(n_folds, counts)

    n_samples, n_groups = counts.sum(axis=0), (counts > 0).sum(axis=0)
    problems, need = [], f"{wanted} folds need at least {wanted}"
    least = 2 if wanted == len(names) else wanted  # a fold for each group tests the classes that it has
    if len(names) < wanted:
        problems.append(f"the data have {format_plural(len(names), 'group')} ({some_names(names)}), {need}")
    # Where all groups together are too few, each class is; then only those are named that lack some of these.
    for c in np.flatnonzero((n_groups < min(least, len(names))) | (n_samples < wanted)):
        problem = f"{format_plural(n_groups[c], 'group')} ({some_names(names[counts[:, c] > 0])}), {need}"
        if n_samples[c] < wanted:
            problem = f"{format_plural(n_samples[c], 'sample')} in {problem} of each"
        problems.append(f"class {str(classes[c])!r} has {problem}")
    if problems:
        feasible = n_groups.min()
        each = f"{len(names)} to leave out each group once, " if feasible < len(names) <= n_samples.min() else ""
        remedy = f"Give --folds {feasible} (n_folds={feasible}) or fewer, {each}or add data from other groups."
        if feasible < 2:
            remedy = "No number of folds helps a class with one group: add other groups, leave it out, or give "
            remedy += "--groups blocks:5."
        if len(names) > n_groups.max() == 1:
            remedy = "Each class has one group, so groups cannot be told from classes: give groups that show several "
            remedy += "classes, such as people. A pattern may have captured the class."
        if n_samples.min() < 2:
            remedy = "No split helps a class with one sample: add others, or leave it out."
        lines = "\n  ".join(first_lines(problems, _MAX_NAMED))
        raise ValueError(f"Cannot make {wanted} folds that share no group:\n  {lines}\n{remedy}")


def grouped_folds(
    labels: ArrayLike,
    groups: ArrayLike,
    n_folds: int | Literal["auto"] = "auto",
    random_state: int | np.random.RandomState | None = 0,
) -> Folds:
    """Split samples into folds that share no group.

    With as many folds as groups each fold leaves one group out, in the order of the group names. Otherwise
    whole groups are dealt out, the large ones first, each to the fold which so far has least of the group's
    classes. While a class is left out of some fold they are dealt again, at random; the best deal is kept.

    Parameters
    ----------
    labels, groups : array-like of str, shape (n_samples,)
        The class and the group of each sample.
    n_folds : int or "auto", default="auto"
        The number of folds; ``auto`` takes 5, or fewer where some class has fewer groups.
    random_state : int, RandomState or None, default=0
        For the order in which groups of the same size, and groups in further deals, are dealt out.

    Returns
    -------
    list of (train, test)
        Positions of the samples on both sides, each sorted, int. Each sample is tested once. Every class
        is in every training part and, as far as its groups go round, in every test part.

    Raises
    ------
    ValueError
        If there are fewer groups than folds, or no way was found to keep every class in every training part.

    See Also
    --------
    check_enough : name the classes with too little data, and the remedy.

    Notes
    -----
    scikit-learn's StratifiedGroupKFold is not used here: up to version 1.7 its ``shuffle`` loses the
    stratification, and no version tries to have every class in every fold.

    Examples
    --------
    >>> for train, test in grouped_folds(["up", "down", "up", "down"], ["ann", "ann", "bob", "bob"]):
    ...     print(train.tolist(), test.tolist())
    [2, 3] [0, 1]
    [0, 1] [2, 3]
    """
    classes, names, counts = _count(labels, groups)
    n_folds = _n_folds(n_folds, counts)
    if len(names) < n_folds:
        raise ValueError(
            f"Expected at least {n_folds} groups for {n_folds} folds, got {len(names)} ({some_names(names)})."
        )
    one_each = len(names) == n_folds
    fold_of_group = np.arange(n_folds) if one_each else _deal(counts, n_folds, check_random_state(random_state))
    for f in range(n_folds):
        if len(lost := classes[~counts[fold_of_group != f].any(axis=0)]):
            raise ValueError(
                f"Expected every class in the training part of every fold, but all groups of {some_names(lost)} "
                f"fall in the test part of fold {f + 1} of {n_folds}. Add other groups that show these classes, leave "
                "the classes out, or give --groups blocks:5."
            )
    fold = fold_of_group[np.searchsorted(names, np.asarray(groups).astype(str))]
    return [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(n_folds)]


def random_folds(labels: ArrayLike, n_folds: int, random_state: int | np.random.RandomState | None = 0) -> Folds:
    """Split samples at random within each class, ignoring their groups.

    On frames of a recording this *leaks*: it is there to show by how much.

    Parameters
    ----------
    labels : array-like of str, shape (n_samples,)
        The class of each sample; every class needs at least `n_folds` samples.
    n_folds : int
        The number of folds, best that of the grouped folds beside which the score is put.
    random_state : int, RandomState or None, default=0
        For the shuffling.

    Returns
    -------
    list of (train, test)
        Positions of the samples on both sides, each sorted, int. Each sample is tested once.
    """
    labels = np.asarray(labels).astype(str)
    splitter = StratifiedKFold(n_folds, shuffle=True, random_state=random_state)
    return list(splitter.split(np.zeros((len(labels), 1)), labels))


# Where groups come from


def _parse(spec: str) -> Callable[[pd.DataFrame], Grouping]:
    """Return the function from an index to its groups that a spec stands for."""
    if spec == "auto":
        return _from_column
    if spec.startswith("blocks:"):
        n_blocks = spec.removeprefix("blocks:")
        if not n_blocks.isdecimal() or int(n_blocks) < 2:
            raise ValueError(f"Expected blocks:N with a whole number N of at least 2, got {spec!r}.")
        return partial(_from_blocks, n_blocks=int(n_blocks))
    # What ends in .csv is meant as a file, also one that is not there, unless it captures something.
    if spec.lower().endswith(".csv") and (Path(spec).is_file() or "(" not in spec):
        return partial(_from_csv, file=spec)
    expected = "Expected groups as a regular expression with one capturing group, as blocks:N or as a .csv file"
    try:
        pattern = re.compile(spec)
    except re.error as error:
        raise ValueError(f"{expected}, got {spec!r}, which is no regular expression: {error}.") from error
    if pattern.groups != 1:
        found = format_plural(pattern.groups, "capturing group")
        advice = "(?:...) groups without capturing." if pattern.groups else "A column 'group' is the default."
        raise ValueError(f"{expected}, got {spec!r} with {found}. {advice}")
    return partial(_from_pattern, pattern=pattern)


def _from_column(index: pd.DataFrame) -> Grouping:
    if "group" not in index or index["group"].isna().all():
        return _from_blocks(index, DEFAULT_FOLDS, because="no groups were given")
    if n_missing := int(index["group"].isna().sum()):
        return _from_blocks(index, DEFAULT_FOLDS, f"the column 'group' lacks {n_missing} of {len(index)} values")
    return _held_out(index, index["group"].astype(str).to_numpy(dtype=str), "as the data have them", "column")


def _from_blocks(index: pd.DataFrame, n_blocks: int, because: str = "") -> Grouping:
    labels = _column(index, "label", "blocks of each class")
    samples = labels.groupby(labels.to_numpy())
    run = samples.cumcount() * n_blocks // samples.transform("size")
    verdict = "scores and intervals by these do not hold for new people"
    if because:
        verdict = f"{because}, so {verdict}"
    return Grouping(
        groups=np.array([f"block {b}" for b in run]),
        description=f"contiguous blocks of each class ({n_blocks} runs): {verdict}",
        kind="blocks",
    )


def _from_csv(index: pd.DataFrame, file: str) -> Grouping:
    table, name = read_columns(file, "groups", ("path", "group"), dtype=str, keep_default_na=False)
    paths = _column(index, "path", "groups from a CSV file").str.replace("\\", "/")
    shown = repr(table["path"].iloc[0]) if len(table) else "none"
    table["path"] = _match_paths(table["path"], paths)
    table = table[table["path"].isin(paths)]
    _refuse(table.loc[table["path"].duplicated(), "path"], f"with more than one in {name}")
    groups = paths.map(table[table["group"].str.strip() != ""].set_index("path")["group"])
    _refuse(paths[groups.isna()], f"without one in {name}, whose paths are like {shown}")
    return _held_out(index, groups.to_numpy(dtype=str), f"from {file_name(name)}", "csv")


def _match_paths(given: pd.Series, paths: pd.Series) -> pd.Series:
    """Return paths of a CSV as those of the samples: with forward slashes, without ./ or the folders above the data.

    A path that is none of a sample's is that of the one sample's whose end it is, or that is its end.
    """
    known = set(paths)
    ends: dict[str, set[str]] = {}
    for path in known:
        for tail in _tails(path):
            ends.setdefault(tail, set()).add(path)

    def match(name: str) -> str:
        meant = next(({tail} for tail in _tails(name) if tail in known), ends.get(name, set()))
        return next(iter(meant)) if len(meant) == 1 else name

    return given.str.replace("\\", "/").str.replace(r"^(\./)+", "", regex=True).map(match)


def _tails(path: str) -> list[str]:
    """Return a path, then without its first folder, and so on, down to its name."""
    parts = path.split("/")
    return ["/".join(parts[first:]) for first in range(len(parts))]


def _from_pattern(index: pd.DataFrame, pattern: re.Pattern[str]) -> Grouping:
    paths = _column(index, "path", "groups from the file names")
    groups = [match[1] if (match := pattern.search(path)) else None for path in paths]
    _refuse(paths[[not group for group in groups]], f"without one by {pattern.pattern!r}")
    return _held_out(index, np.array(groups, dtype=str), f"from the file names by '{pattern.pattern}'", "regex")


def _held_out(
    index: pd.DataFrame, groups: np.ndarray, source: str, kind: Literal["regex", "csv", "column"]
) -> Grouping:
    """Describe real groups; the description warns of groups of one sample each, and of one class each."""
    names = sorted(set(groups.tolist()))
    description = f"groups: {len(names):,} ({some_names(names)}), {source}"
    if same := describe_same_names(names, "groups"):
        description += f"; {same[0]}"
    labels = index["label"].tolist() if "label" in index else []
    if 1 < len(names) == len(groups):
        description += "; each sample is a group of its own, so this is no more than a random split"
    elif 1 < len(set(labels)) < len(names) == len(set(zip(groups.tolist(), labels, strict=True))):
        description += "; each shows one class, as clips do, so scores by these may not hold for new people"
    return Grouping(groups, description, kind)


def _column(index: pd.DataFrame, name: str, purpose: str) -> pd.Series:
    if name not in index:
        raise ValueError(f"Expected a column {name!r} for {purpose}, got {some_names(index.columns)}.")
    if n_missing := int(index[name].isna().sum()):
        raise ValueError(
            f"Expected a {name} in each of {len(index)} rows for {purpose}, got none in {n_missing}; "
            "a column 'group' needs none."
        )
    return index[name].astype(str)


def _refuse(paths: Iterable[str], what: str) -> None:
    paths = list(dict.fromkeys(paths))
    if paths:
        raise ValueError(f"Expected one group for each path, got {len(paths)} {what}: {some_names(paths)}")


# Folds


def _count(labels: ArrayLike, groups: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count samples by group and class: class names (C,), group names (G,), counts (G, C)."""
    labels, groups = np.asarray(labels).astype(str), np.asarray(groups).astype(str)
    if labels.ndim != 1 or labels.shape != groups.shape or not len(labels):
        raise ValueError(
            f"Expected one label and one group for each sample, got shapes {labels.shape} and {groups.shape}."
        )
    return np.unique(labels), np.unique(groups), contingency_matrix(groups, labels)


def _n_folds(n_folds: int | str, counts: np.ndarray) -> int:
    if isinstance(n_folds, str):
        if n_folds != "auto":
            raise ValueError(f"Expected a number of folds or 'auto', got {n_folds!r}.")
        return max(2, min(DEFAULT_FOLDS, int((counts > 0).sum(axis=0).min())))
    if n_folds < 2:
        raise ValueError(f"Expected at least 2 folds, got {n_folds}.")
    return int(n_folds)


def _deal(counts: np.ndarray, n_folds: int, rng: np.random.RandomState) -> np.ndarray:
    """Deal groups out to folds: counts (G, C) -> fold of each group (G,)."""
    seen = (counts > 0).astype(int)
    share = weight = _shares(counts)
    best, best_cost = np.empty(0, dtype=np.intp), (np.inf, np.inf, np.inf)
    for deal in range(_MAX_DEALS):
        order = rng.permutation(len(counts))
        if deal == 0:
            order = order[np.argsort(-share[order].sum(axis=1), kind="stable")]
        else:  # the sizes led astray: from now on it only counts where a class is seen at all
            weight = _shares(seen)
        fold = np.empty(len(counts), dtype=np.intp)
        held = np.zeros((n_folds, weight.shape[1]))
        for g in order:
            # To the fold where it adds least to the sum of squared weights: that is least when all are even.
            fold[g] = np.argmin(held @ weight[g])
            held[fold[g]] += weight[g]
        in_fold = np.eye(n_folds, dtype=int)[fold].T  # (n_folds, G)
        not_trained = (in_fold @ seen == seen.sum(axis=0)).sum()
        not_tested = (in_fold @ seen == 0).sum()
        cost = (not_trained, not_tested, ((in_fold @ share) ** 2).sum())
        if cost < best_cost:
            best, best_cost = fold, cost
        if not_tested == 0:  # then no class is in one fold only either
            break
    return best


def _shares(counts: np.ndarray) -> np.ndarray:
    """Share that each group has of each class, and of all as if that were one class more: (G, C + 1)."""
    return np.column_stack([counts / counts.sum(axis=0), counts.sum(axis=1) / counts.sum()])


def describe_apart(labels: ArrayLike, groups: ArrayLike) -> list[str]:
    """Return a sentence for classes whose groups show no other class, unless these are all classes.

    Examples
    --------
    >>> describe_apart(["up", "down", "none", "none"], ["ann", "ann", "x1", "x2"])[0].partition(":")[0]
    'The groups of none show no other class'
    """
    shown = pd.DataFrame({"label": labels, "group": groups}).drop_duplicates()
    is_apart = (~shown.duplicated("group", keep=False)).groupby(shown["label"].astype(str)).all()
    if is_apart.all() or not is_apart.any():
        return []
    return [
        f"The groups of {some_names(is_apart.index[is_apart])} show no other class: what is recognised there may be "
        "other people, cameras or places, and not the pose."
    ]


def describe_same_names(names: Iterable[str], what: str = "classes") -> list[str]:
    """Return a clause for names that are one but for capitals, separators and the coding of letters.

    Examples
    --------
    >>> describe_same_names(["Anna Lena", "bob", "anna-lena "], "groups")
    ["'Anna Lena' and 'anna-lena ' are groups whose names differ in spelling only: they may be one"]
    """
    spellings: dict[str, list[str]] = {}
    for name in names:
        text = unicodedata.normalize("NFKC", name)  # é can be one character, or e and an accent
        spellings.setdefault(_SEPARATORS.sub("", text).casefold(), []).append(name)
    return [
        f"{join_names(map(repr, same))} are {what} whose names differ in spelling only: they may be one"
        for same in spellings.values()
        if len(same) > 1
    ]
