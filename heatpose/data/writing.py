"""Writing class folders of heatmap files, each file whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

__all__ = ["DTYPES", "whole_file", "write_class_folders"]

DTYPES = ("float16", "float32", "float64")
"""What heatmaps can be stored as."""


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
        raise FileExistsError(f"Expected an empty folder or a new one, got files in {out}.")
    for label in sorted({name.partition("/")[0] for name in names}):
        (out / label).mkdir(exist_ok=True)
    for done, (name, sample) in enumerate(zip(names, heatmaps, strict=True), start=1):
        with whole_file(out / name) as file:
            np.save(file, sample[None].astype(dtype, copy=False))
        if progress is not None:
            progress(done, len(names))
    return out


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that gets its name once it is complete; on an error nothing is left."""
    hidden = path.with_name(f".{path.name}.part")
    try:
        with hidden.open("wb") as file:
            yield file
        hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)
