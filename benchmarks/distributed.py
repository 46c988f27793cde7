"""Whether a cluster of two workers gives what one machine gives, also when one of them is killed, and how fast.

    python -m benchmarks.distributed [DATA] [--groups SPEC] [--classifiers lda,mlp]

Without DATA, with simulated performers. The workers are processes of this machine, so with two processors they can be
twice as fast as one thread at best. The S3 server is moto's, in this process: what it takes says nothing of S3.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd

from benchmarks import describe_machine, print_table
from heatpose.data import distributed
from heatpose.data.folder import HeatmapFolder
from heatpose.data.storage import join_url
from heatpose.data.table import extract_keypoints
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.pose.skeleton import COCO_17
from heatpose.training.result import TrainingResult
from heatpose.training.training import train_pose_classifier


@contextmanager
def s3_server() -> Iterator[str]:
    """An S3 server with a bucket, found by this process and those that it starts."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    host, port = server.get_host_and_port()
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    fsspec.filesystem("s3").mkdir("poses")
    yield "s3://poses"
    server.stop()


class Killer:
    """A progress callback that kills one worker when half of the work is done."""

    def __init__(self, client: Any):
        self.client, self.killed = client, False

    def __call__(self, done: int, total: int) -> None:
        """Count."""
        if not self.killed and 2 * done >= total:
            self.killed = True
            os.kill(min(self.client.run(os.getpid).values()), signal.SIGKILL)


def timed(function: Callable[..., Any], *args: Any, **options: Any) -> tuple[Any, float]:
    start = time.perf_counter()
    return function(*args, **options), time.perf_counter() - start


def same_tables(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return one.equals(other) and list(one.dtypes) == list(other.dtypes)


def same_results(X: np.ndarray, one: TrainingResult, other: TrainingResult) -> bool:
    """Tell whether scores, predictions and models are the same to the last bit."""
    return (
        one.classifier == other.classifier
        and one.evaluation.to_dict() == other.evaluation.to_dict()
        and one.predictions.equals(other.predictions)
        and np.array_equal(one.pipeline[1:].predict_proba(X), other.pipeline[1:].predict_proba(X))
    )


def rows(
    run: Callable[..., Any], same: Callable[[Any, Any], bool], runs: dict[str, dict[str, Any]], client: Any
) -> Iterator[dict[str, str]]:
    """Compare runs with the first one, which one machine does; a run whose options say so loses a worker."""
    expected, reference = None, 0.0
    for name, options in runs.items():
        killer = Killer(client) if options.pop("kills", False) else None
        result, seconds = timed(run, **options, **({"progress": killer} if killer else {}))
        if expected is None:
            expected, reference = result, seconds
        if killer:
            assert killer.killed
            client.wait_for_workers(2, timeout=120)
        yield {
            "run": name,
            "identical": "yes" if same(expected, result) else "NO",
            "seconds": f"{seconds:.2f}",
            "times the first": f"{seconds / reference:.2f}",
        }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", metavar="DATA", nargs="?", help="folder of class folders (default: simulated)")
    parser.add_argument("--groups", default=r"_(\d+)\.npy$")
    parser.add_argument("--classifiers", default="lda,mlp")
    parser.add_argument("--quick", action="store_true", help="to see that it runs, not for the figures")
    options = parser.parse_args(argv)

    with tempfile.TemporaryDirectory() as temporary, s3_server() as bucket, distributed.connect(n_workers=2) as client:
        root = Path(options.data or f"{temporary}/simulated")
        if options.data is None:
            write_heatmaps(simulate_poses(4, 1, 4 if options.quick else 24, random_state=0), root)
        folder = HeatmapFolder(root)
        url = join_url(bucket, "data")
        fsspec.filesystem("s3").put(f"{root}/", url, recursive=True)
        behind, url_seconds = timed(HeatmapFolder, url)
        # Some twenty tasks, also of few files, and each worker has imported what it takes.
        distributed._SHARE_BYTES = min(distributed._SHARE_BYTES, len(folder) * 4 * 17 * 64 * 48 // 20)
        for warm in (folder, behind):
            distributed.check_data(client, warm.reader)

        def extract(of: HeatmapFolder = folder, **how: Any) -> pd.DataFrame:
            return extract_keypoints(of, **how)

        runs: dict[str, dict[str, Any]] = {
            "one machine, one thread": {"n_jobs": 1},
            "two workers": {"client": client},
            "two workers, one killed": {"client": client, "kills": True},
            "S3, one machine": {"of": behind, "n_jobs": 1},
            "S3, two workers": {"of": behind, "client": client},
            "S3, two workers, one killed": {"of": behind, "client": client, "kills": True},
        }
        title = f"The keypoint table of {len(folder)} samples; {url_seconds:.1f} s to list and check them on S3"
        print_table(title, rows(extract, same_tables, runs, client))

        table = extract()
        X = table[list(COCO_17.columns)].to_numpy()
        train = partial(train_pose_classifier, table, options.groups, classifiers=options.classifiers)
        runs = {
            "one machine, one process": {"n_jobs": 1},
            "two workers": {"client": client},
            "two workers, one killed": {"client": client, "kills": True},
        }
        title = f"Scores and model of {options.classifiers} on {len(table)} samples"
        print_table(title, rows(train, partial(same_results, X), runs, client))


if __name__ == "__main__":
    print(describe_machine())
    main()
