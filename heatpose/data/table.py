"""The keypoint table: one row a sample, made from heatmaps or read from a file.

Its columns are ``path``, ``sample``, ``label`` and ``group``, then ``nose_x``, ``nose_y``,
``nose_confidence``, ``left_eye_x``, ... for the 17 keypoints of COCO, or those of another skeleton.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from heatpose.data.cache import KeypointCache, cache_folder
from heatpose.data.columns import keypoint_numbers, require_columns, sample_column, settle_keypoints, text_column
from heatpose.data.delimited import read_delimited
from heatpose.data.folder import HeatmapFolder, Layout, media_advice, peaks_below_zero
from heatpose.data.npy import NOT_FINITE
from heatpose.data.reading import Progress, rows_of
from heatpose.data.sources import has_suffix, walk_files
from heatpose.data.storage import Storage, file_name, is_url, local_path, open_file, redact
from heatpose.data.wording import some_names
from heatpose.data.writing import whole_file
from heatpose.pose.decoding import decode_skeleton
from heatpose.pose.inputs import as_array
from heatpose.pose.skeleton import COCO_17, Skeleton
from heatpose.pose.skeletons import find_skeleton, table_skeleton

if TYPE_CHECKING:
    from distributed import Client

__all__ = [
    "TABLE_SUFFIXES",
    "extract_keypoints",
    "is_folder",
    "is_pose_source",
    "keypoint_frame",
    "load_data",
    "open_table",
    "read_table",
    "table_keypoints",
    "table_labels",
    "write_table",
]

TABLE_SUFFIXES = (".parquet", ".csv")
"""File name endings of keypoint tables."""

_TEXTS = ["path", "label", "group"]
_NOT_NUMBERS = ["", "nan", "NaN", "NAN", "NA", "null"]


def keypoint_frame(keypoints: np.ndarray, skeleton: Skeleton = COCO_17) -> pd.DataFrame:
    """Give keypoints their column names.

    Parameters
    ----------
    keypoints : array_like or tensor, shape (N, K, 3)
        x (column), y (row, pointing down) and confidence; x and y are NaN where a keypoint is missing.
    skeleton : Skeleton
        Of the keypoints.

    Returns
    -------
    DataFrame of shape (N, 3 K), float32
        Columns ``nose_x``, ``nose_y``, ``nose_confidence``, ``left_eye_x``, ...

    Raises
    ------
    ValueError
        They have another shape.

    Examples
    --------
    >>> frame = keypoint_frame(np.arange(51).reshape(1, 17, 3))
    >>> frame[["nose_confidence", "left_eye_x", "right_ankle_confidence"]].to_numpy()
    array([[ 2.,  3., 50.]], dtype=float32)
    """
    keypoints = as_array(keypoints)
    if keypoints.shape[1:] != (len(skeleton.keypoints), 3):
        raise ValueError(f"Expected keypoints of shape (n, {len(skeleton.keypoints)}, 3), got {keypoints.shape}.")
    values = keypoints.astype(np.float32).reshape(len(keypoints), len(skeleton.columns))
    return pd.DataFrame(values, columns=list(skeleton.columns))


def table_keypoints(table: pd.DataFrame, skeleton: Skeleton | None = None) -> np.ndarray:
    """Return the keypoints of a table, by the names of its columns; the reverse of `keypoint_frame`.

    Parameters
    ----------
    table : DataFrame
        With the keypoint columns, in any order and among others.
    skeleton : Skeleton, optional
        By default COCO-17 where the table has its columns, else all keypoints of the table, in its order.

    Returns
    -------
    ndarray of shape (N, K, 3), float32
        x, y and confidence, a new array.

    Examples
    --------
    >>> keypoints = np.arange(51, dtype=np.float32).reshape(1, 17, 3)
    >>> bool((table_keypoints(keypoint_frame(keypoints)) == keypoints).all())
    True
    """
    columns = list((skeleton or COCO_17).columns)
    if skeleton is None and not set(columns) <= set(table.columns):
        found = re.findall(r"^(.+)_(?:x|y|confidence)$", "\n".join(map(str, table.columns)), re.MULTILINE)
        names = [f"{name}_{part}" for name in dict.fromkeys(found) for part in ("x", "y", "confidence")]
        columns = names if names and set(names) <= set(table.columns) else columns
    if not set(columns) <= set(table.columns):
        require_columns(table.columns, "the table", skeleton=skeleton or COCO_17)
    return table[columns].to_numpy(np.float32, na_value=np.nan, copy=True).reshape(len(table), len(columns) // 3, 3)


def table_labels(table: pd.DataFrame) -> np.ndarray:
    """Return the labels of a table as text, (N,); ValueError where some are missing, since text has no missing values.

    Examples
    --------
    >>> table_labels(pd.DataFrame({"label": ["up", "down"]})).tolist()
    ['up', 'down']
    """
    if not isinstance(table, pd.DataFrame):
        kind = f"{type(table).__module__.partition('.')[0]}.{type(table).__name__}".removeprefix("builtins.")
        raise TypeError(f"Expected a keypoint table in pandas, as heatpose.load_data returns it, got {kind}.")
    if "label" not in table:
        others = [name for name in map(str, table) if not name.endswith(("_x", "_y", "_confidence"))]
        raise ValueError(f"Expected a column 'label' in the table, got {some_names(others) or 'keypoints alone'}.")
    if n_missing := int(table["label"].isna().sum()):
        raise ValueError(f"Expected a label in every row of the table, got none in {n_missing}.")
    return table["label"].to_numpy(dtype=str)


def extract_keypoints(
    folder: HeatmapFolder,
    decoder: str = "gaussian",
    *,
    n_jobs: int | None = None,
    progress: Progress | None = None,
    cache: KeypointCache | None = None,
    client: Client | None = None,
    skeleton: Skeleton = COCO_17,
) -> pd.DataFrame:
    """Read and decode all heatmaps of a folder.

    Parameters
    ----------
    folder : HeatmapFolder
        Files with the keypoints of `skeleton`.
    decoder : str, default "gaussian"
        How to decode, see `heatpose.decode_heatmaps`.
    n_jobs : int, optional
        Number of threads; one for each processor by default. The table does not depend on it.
    progress : callable, optional
        Called in the caller's thread with the samples done and their total.
    cache : KeypointCache, optional
        Of the same decoder: files in it are not read again, others are added.
    client : distributed.Client, optional
        Connected to a Dask cluster whose workers are to read and decode, see
        :func:`heatpose.data.distributed.connect`. The table does not depend on it.
    skeleton : Skeleton
        Of the heatmaps. The table has its keypoints, or those of COCO-17 if it is of a person, see
        :func:`heatpose.pose.skeletons.table_skeleton`.

    Returns
    -------
    DataFrame
        One row a sample in the order of ``folder.index``: its columns ``path``, ``sample``, ``label``,
        ``group``, then the keypoint columns in float32. x is the column and y the row, in heatmap cells, y
        pointing down; a keypoint without a peak has NaN for both and confidence 0. ``attrs["notes"]`` are the notes of
        the folder, and one on heatmaps below 0.

    Raises
    ------
    BadFilesError
        Some heatmaps hold NaN or infinity, and the folder does not skip bad files; raised after the last one
        was read.
    TypeError
        `folder` is something else, such as a path.
    ValueError
        The heatmaps are not of the skeleton, or a class has no finite sample left.

    Examples
    --------
    >>> import tempfile
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 2, classes=["action_up", "action_down"])
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = heatpose.write_heatmaps(poses, folder.name, exist_ok=True)
    >>> table = extract_keypoints(heatpose.HeatmapFolder(folder.name))
    >>> table[["path", "label"]].iloc[0].tolist()
    ['action_down/action_down_0_0.npy', 'action_down']
    >>> folder.cleanup()
    """
    if not isinstance(folder, HeatmapFolder):
        raise TypeError(f"Expected a HeatmapFolder, got {type(folder).__name__}: heatpose.load_data takes a path.")
    if folder.heatmap_shape[0] != len(skeleton.keypoints):
        raise ValueError(
            f"Expected heatmaps of {len(skeleton.keypoints)} keypoints, got {folder.heatmap_shape[0]} in {folder.root}."
        )
    own = table_skeleton(skeleton)
    keypoints = np.empty((len(folder), len(own.keypoints), 3), dtype=np.float32)
    good = np.zeros(len(folder), dtype=bool)
    bad: dict[int, str] = {}
    kept = [] if cache is None else [position for position, file in enumerate(folder.files) if file in cache]
    rows = rows_of(folder.starts, np.array(kept, dtype=np.intp))
    if cache is not None and kept:
        keypoints[rows], good[rows] = cache.read([folder.files[position] for position in kept])
        bad.update(dict.fromkeys(rows[~good[rows]].tolist(), NOT_FINITE))

    def advance(done: int, total: int) -> None:
        if progress is not None:
            progress(len(rows) + done, len(rows) + total)

    if client is None:
        scan = partial(folder.reader.scan, n_jobs=n_jobs)
    else:
        from heatpose.data.distributed import scan_files

        scan = partial(scan_files, client, folder.reader)
    advance(0, len(folder) - len(rows))
    try:
        for part in scan(
            partial(decode_skeleton, source=skeleton, skeleton=own, method=decoder),
            files=sorted({*range(len(folder.files))} - {*kept}),
            progress=advance,
        ):
            if part.results is not None:
                keypoints[part.positions], good[part.positions] = part.results, True
            bad |= part.bad
            if cache is not None:
                for file in part.finished:
                    first, end = folder.starts[file : file + 2]
                    if all(bad.get(row) in (None, NOT_FINITE) for row in range(first, end)):
                        cache.add(folder.files[file], keypoints[first:end], good[first:end])
    finally:
        if cache is not None:
            cache.flush()
    folder.refuse_samples(bad)
    if cache is not None:
        cache.tidy(folder.files)
    index = folder.index[good].reset_index(drop=True)
    labels = set(index["label"].unique())
    if lost := [name for name in folder.classes if name not in labels]:
        raise ValueError(f"Expected finite heatmaps in every class of {folder.root}, got none in {', '.join(lost)}.")
    table = pd.concat([index, keypoint_frame(keypoints[good], own)], axis=1)
    notes = [*folder.notes, *peaks_below_zero(folder, keypoints[good], np.flatnonzero(good))]
    table.attrs |= {"notes": notes, "heatmap_shape": list(folder.heatmap_shape[1:]), "decoder": decoder}
    if own != skeleton:
        table.attrs["notes"].append(f"Heatmaps of {skeleton.name}: their keypoints of {own.name} were taken.")
    return table


def write_table(table: pd.DataFrame, path: str | os.PathLike) -> None:
    """Write a keypoint table; a file of that name is replaced at the end, in one step.

    Parameters
    ----------
    table : DataFrame
        As from `extract_keypoints`.
    path : path-like or str
        Ends in ``.parquet`` or ``.csv``. Either gives the very same numbers back. Can be a URL: the table is written
        beside it, under a name that starts with a dot, and moved there.

    Raises
    ------
    ValueError
        The name ends in something else.
    FileNotFoundError
        The folder to write in does not exist.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from heatpose import COCO_17
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "table.csv")
    >>> import pandas as pd
    >>> write_table(pd.DataFrame([[1.0] * 51 + ["up"]], columns=[*COCO_17.columns, "label"]), path)
    >>> path.read_text()[:18]
    'nose_x,nose_y,nose'
    >>> folder.cleanup()
    """
    write = table.to_csv if _table_suffix(path) == ".csv" else table.to_parquet
    if is_url(path):
        content = BytesIO()
        write(content, index=False)
        Storage(os.fspath(path)).write(content.getvalue())
        return
    path = Path(local_path(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(f"No such folder to write {path.name} in: {path.parent}")
    with whole_file(path) as file:
        write(file, index=False)


def read_table(
    path: str | os.PathLike,
    *,
    labelled: bool = True,
    image_size: tuple[float, float] | None = None,
    keep_placeholders: bool = False,
    skip_bad: bool = False,
    skeleton: str | Skeleton | None = None,
    decoder: str = "gaussian",
    **poses: Any,
) -> pd.DataFrame:
    r"""Read and check a keypoint table, or poses of another tool.

    Parameters
    ----------
    path : path-like or str
        A ``.csv`` or ``.parquet`` file, or the URL of one, with the keypoint columns and ``label``, optionally with
        ``path``, ``sample`` and ``group``. x and y are in one unit, any will do. Other columns are ignored. Text can be
        separated by commas, semicolons or tabs. Or poses of another tool with their labels, see `heatpose.read_poses`.
    labelled : bool, default True
        Whether every row needs a label; without, ``label`` is NA where none is given.
    image_size : (float, float), optional
        Width and height of the images, where x and y are fractions of them: they are multiplied by it. Only the ratio
        matters; (1, 1) declares fractions of one length.
    keep_placeholders : bool, default False
        Take keypoints at (0, 0), (-1, -1) and the like as they are, instead of as missing; see
        :func:`heatpose.pose.checks.find_placeholders`.
    skip_bad : bool, default False
        For poses of another tool: leave out files that cannot be read.
    skeleton : str or Skeleton, optional
        Of the data; the table has its keypoints, or those of COCO-17 if it is of a person.
    decoder : str, default "gaussian"
        For arrays of heatmaps: how to decode; a table that was extracted by another decoder gets a note.
    **poses
        Other options of `heatpose.read_poses`, such as ``labels``: then the data are read by it, also arrays and
        folders of heatmaps.

    Returns
    -------
    DataFrame
        Columns ``path`` (NA if not given), ``sample`` (counts the rows of a path if not given), ``label``, ``group``
        (NA if not given), then the keypoint columns in float32. Labels, groups and paths are text: a label 007 stays
        ``"007"``. Where any of a keypoint's three numbers is NaN or its confidence is not above 0, it is missing: x and
        y are NaN and the confidence is 0. ``attrs["notes"]`` lists what was decided or ignored, a line each; a Parquet
        file keeps those of its making.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It is not a table, columns or labels are missing, values are not finite numbers, or x and y are fractions of an
        image whose size is not given.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from heatpose import COCO_17
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name, "table.csv")
    >>> _ = path.write_text(",".join([*COCO_17.columns, "label"]) + "\n" + "9," * 51 + "007\n")
    >>> read_table(path)["label"].tolist()
    ['007']
    >>> folder.cleanup()
    """
    own = table_skeleton(COCO_17 if skeleton is None else find_skeleton(skeleton))
    if poses or is_pose_source(path) or (skeleton is not None and _suffix(path) not in TABLE_SUFFIXES):
        from heatpose.data.formats.reading import read_labelled

        poses |= {"skeleton": skeleton, "image_size": image_size, "keep_placeholders": keep_placeholders}
        return read_labelled(path, labelled=labelled, skip_bad=skip_bad, decoder=decoder, **poses)
    # Only numbers can be NaN: a class may well be called "NA" or "null".
    not_numbers = dict.fromkeys(("sample", *own.columns), _NOT_NUMBERS)
    texts = dict.fromkeys(_TEXTS, str)
    table, where = open_table(path, dtype=texts, na_values=not_numbers, keep_default_na=False)
    require_columns(table.columns, where, *(["label"] if labelled else []), skeleton=own)
    if table.empty:
        raise ValueError(f"Expected at least one row, got none in {where}.")
    known = {*_TEXTS, "sample", *own.columns}
    extra = [name for name in table.columns if name not in known]
    index = pd.DataFrame({name: text_column(table, name, where) for name in _TEXTS})
    index.insert(1, "sample", sample_column(table, where))
    unlabelled = np.flatnonzero(index["label"].isna())
    if labelled and len(unlabelled):
        raise ValueError(
            f"Expected a label in every row of {where}, got none in {len(unlabelled)}, "
            f"the first of them row {unlabelled[0] + 1}."
        )
    keypoints = keypoint_numbers(table, where, own).reshape(len(table), len(own.keypoints), 3)
    notes = settle_keypoints(keypoints, where, image_size, keep_placeholders, skeleton=own)
    result = pd.concat([index, keypoint_frame(keypoints, own)], axis=1)
    if extra:
        groups = "" if "group" in table else " Groups, such as people, are read from a column called group."
        notes.append(f"Ignored columns of {where}: {some_names(extra)}.{groups}")
    if (own_decoder := table.attrs.get("decoder")) not in (None, decoder):
        notes.append(f"The keypoints of {where} were decoded by {own_decoder}, not by {decoder} as is set (--decoder).")
    result.attrs |= {"notes": [*map(str, table.attrs.get("notes", ())), *notes], "decoder": own_decoder}
    return result


def load_data(
    data: str | os.PathLike,
    decoder: str = "gaussian",
    *,
    skip_bad: bool = False,
    n_jobs: int | None = None,
    client: Client | None = None,
    progress: Progress | None = None,
    cache: bool | str | os.PathLike = False,
    check: Callable[[pd.DataFrame], object] | None = None,
    skeleton: str | Skeleton | None = None,
    layout: Layout = "auto",
    image_size: tuple[float, float] | None = None,
    keep_placeholders: bool = False,
    **poses: Any,
) -> pd.DataFrame:
    """Return the keypoint table of a folder of heatmaps, of a table's file, or of poses of another tool.

    Parameters
    ----------
    data : path-like or str
        A folder, ``<data>/<class>/<anything>.npy``, or a keypoint table, ``.csv`` or ``.parquet``; or the URL of one.
    decoder : str, default "gaussian"
        How to decode heatmaps, see `heatpose.decode_heatmaps`; a table that was decoded otherwise gets a note.
    skip_bad : bool, default False
        For a folder: see `HeatmapFolder`.
    n_jobs : int, optional
        For a folder: see `extract_keypoints`.
    client : distributed.Client, optional
        For a folder: see `extract_keypoints`.
    progress : callable, optional
        For a folder: see `extract_keypoints`.
    cache : bool or path-like, default False
        For a folder: whether to keep its keypoints, so that another time only new and changed files are read, or the
        folder to keep them in; see `heatpose.data.cache.cache_folder`.
    check : callable, optional
        For a folder: called with its index before any heatmap is read, to raise errors that file names show.
    skeleton : str or Skeleton, optional
        Of the data; the table has its keypoints, or those of COCO-17 if it is of a person.
    layout : {"auto", "class", "group/class"}, default "auto"
        For a folder: see `HeatmapFolder`.
    image_size : (float, float), optional
        Not for a folder: width and height of the images where x and y are fractions of them; see `read_table`.
    keep_placeholders : bool, default False
        For a table: see `read_table`.
    **poses
        Other options of `heatpose.read_poses`, as for `read_table`.

    Returns
    -------
    DataFrame
        As from `extract_keypoints` and `read_table`.

    Raises
    ------
    FileNotFoundError
        There is nothing at ``data``.
    ValueError
        The data are bad; a BadFilesError lists all files that are.

    Examples
    --------
    >>> import tempfile
    >>> import heatpose
    >>> poses = heatpose.simulate_poses(2, 1, 2, classes=["action_up", "action_down"])
    >>> folder = tempfile.TemporaryDirectory()
    >>> _ = heatpose.write_heatmaps(poses, folder.name, exist_ok=True)
    >>> load_data(folder.name).shape  # path, sample, label, group, and three numbers for each keypoint
    (8, 55)
    >>> folder.cleanup()
    """
    if not is_url(data) and not Path(data := local_path(data)).exists():
        raise FileNotFoundError(f"No such folder or table: {data}")
    if poses or not is_folder(data) or (skeleton is not None and _of_keypoints(data)):
        poses |= {"image_size": image_size, "keep_placeholders": keep_placeholders, "skip_bad": skip_bad}
        return read_table(data, skeleton=skeleton, decoder=decoder, **poses)
    if image_size is not None:
        raise ValueError(
            f"Expected --image-size (image_size=) for a keypoint table only, got a folder of heatmaps: {redact(data)}"
        )
    skeleton = find_skeleton(COCO_17 if skeleton is None else skeleton)
    kept = None
    if cache is not False:
        kept = KeypointCache(cache_folder(data, None if cache is True else cache), decoder, skeleton)
    folder = HeatmapFolder(
        data,
        n_keypoints=len(skeleton.keypoints),
        skip_bad=skip_bad,
        layout=layout,
        cache=kept,
    )
    if check is not None:
        check(folder.index)
    return extract_keypoints(
        folder, decoder, n_jobs=n_jobs, progress=progress, cache=kept, client=client, skeleton=skeleton
    )


def _of_keypoints(data: str | os.PathLike) -> bool:
    """Return whether the first array in a folder on this machine is of keypoints, not of heatmaps."""
    from heatpose.data.formats.arrays import holds_keypoints

    files = [] if is_url(data) else walk_files(Path(data))
    first = next((Path(data, name) for name in files if has_suffix(name)), None)
    return first is not None and holds_keypoints(first)


def is_folder(data: str | os.PathLike) -> bool:
    """Return whether data are a folder of heatmaps; a URL is one unless it ends like a table."""
    if is_url(data):
        return _suffix(data) not in TABLE_SUFFIXES
    return Path(local_path(data)).is_dir() and not is_pose_source(data)


def is_pose_source(data: str | os.PathLike) -> bool:
    """Return whether data are poses of another tool, by names and the first line of a CSV alone."""
    if is_url(data) or (path := Path(local_path(data))).suffix.lower() == ".parquet":
        return False
    from heatpose.data.formats.reading import looks_foreign

    return looks_foreign(path)


def _table_suffix(path: str | os.PathLike) -> str:
    suffix = _suffix(path)
    if suffix not in TABLE_SUFFIXES:
        kinds = " or ".join(TABLE_SUFFIXES)
        raise ValueError(f"Expected a table that ends in {kinds}, got {redact(path)}.{media_advice(suffix)}")
    return suffix


def _suffix(path: str | os.PathLike) -> str:
    return PurePath(file_name(path)).suffix.lower()


def open_table(path: str | os.PathLike, **options: Any) -> tuple[pd.DataFrame, str]:
    """Read a ``.csv`` or ``.parquet`` file, or the URL of one; return its columns, and its name for messages.

    Options are those of :func:`heatpose.data.delimited.read_delimited`, for a ``.csv``.
    """
    suffix = _table_suffix(path)
    source, where = open_file(path, "table")
    try:
        table = read_delimited(source, **options) if suffix == ".csv" else pd.read_parquet(source)
    except (ValueError, OSError) as error:  # also pyarrow's, and text that is not UTF-8
        raise ValueError(f"Expected a {suffix} table, got a file that cannot be read: {where} ({error})") from error
    return table.reset_index(drop=table.index.names == [None]), where  # an index with a name is a column
