"""Atomic writing of files, and class folders of heatmap files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

import numpy as np

__all__ = ["DTYPES", "PART_SUFFIX", "name_errors", "replace_files", "whole_file", "write_class_folders"]

DTYPES = ("float16", "float32", "float64")
"""Types that heatmaps can be stored in."""

PART_SUFFIX = ".part"
"""End of the hidden name of a file that is being written."""


def write_class_folders(
    out: str | os.PathLike[str],
    names: Sequence[str],
    heatmaps: Iterable[np.ndarray],
    *,
    dtype: str = "float32",
    exist_ok: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Path:
    """Write heatmaps, a file for each sample.

    Parameters
    ----------
    out : path
        The folder, which is created.
    names : sequence of str
        ``<class>/<file>.npy`` for each sample.
    heatmaps : iterable of ndarray, shape (K, H, W)
        The samples, in the same order; stored as (1, K, H, W).
    dtype : str
        One of :data:`DTYPES`.
    exist_ok : bool, default False
        Write into a folder that has files already, over those of the same name; others stay.
    progress : callable (done, total), optional
        Called after each file.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If the folder isn't empty and `exist_ok` is False.
    ValueError
        For another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"Expected dtype {', '.join(DTYPES[:-1])} or {DTYPES[-1]}, got {dtype!r}.")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    if not exist_ok and any(out.iterdir()):
        raise FileExistsError(
            f"Expected an empty folder or a new one, got files in {out}. To replace those of the same names give "
            "--overwrite (exist_ok=True)."
        )
    for done, (name, sample) in enumerate(zip(names, heatmaps, strict=True), start=1):
        with whole_file(out / name) as file:
            np.save(file, sample[None].astype(dtype, copy=False))
        if progress is not None:
            progress(done, len(names))
    return out


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name once it is complete; on an error nothing is left.

    Parameters
    ----------
    path : Path
        A file there is replaced. Until then the new one has a hidden name that ends in `PART_SUFFIX`. Its folder is
        made if there is none.

    Yields
    ------
    binary file
        To write to.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid4().hex}{PART_SUFFIX}")
    try:
        with name_errors(path), part.open("xb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def replace_files(contents: Sequence[tuple[Path, bytes]]) -> None:
    """Write files completely and to the disk, then give them their names, one after the other.

    Parameters
    ----------
    contents : sequence of (Path, bytes)
        Target and content of each; their folders are made. On an error while they are written no target is changed.
    """
    with ExitStack() as stack:
        for path, content in reversed(contents):  # the last one that is opened is the first one that gets its name
            stack.callback(_sync_folder, path.parent)
            file = stack.enter_context(whole_file(path))
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def name_errors(path: Path) -> Iterator[None]:
    """Give errors of writing, such as a full disk, the name of the file."""
    try:
        yield
    except OSError as error:
        of_part = error.filename is not None and os.fspath(error.filename).endswith(PART_SUFFIX)
        named = error.filename2 is not None or (error.filename is not None and not of_part)
        if error.errno is None:  # as of numpy.save, whose text a file name would replace
            error.args = (f"Cannot write {os.fspath(path)}, as on a full disk: {error}",)
        elif not named:
            error.filename = os.fspath(path)
        raise


def _sync_folder(folder: Path) -> None:
    """Make new names outlive a power cut, in their order; Windows offers no way."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
