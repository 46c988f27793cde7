"""Settings of all tests, and servers that several test modules use, started once per test process when needed."""

import importlib
import logging
import os
import sys
from pathlib import Path

import pytest

# Tests run side by side, one process per processor: more threads of the numeric libraries only wait for each other, and
# more processes of joblib first import everything anew. Tests that are about processes ask for two.
# Set before NumPy is imported, and inherited by the processes that tests start.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"):
    os.environ.setdefault(_name, "1")


# Modules that `make quick` leaves out, by the reason; single tests have the marker themselves.
MARKED = {
    "slow": (
        "cli/test_cli.py",
        "cli/test_skeletons.py",
        "data/formats/test_damaged.py",
        "data/test_fuzz.py",
        "datasets/test_video.py",
        "evaluation/test_audit.py",
        "evaluation/test_comparison.py",
        "evaluation/test_features.py",
        "evaluation/test_importance.py",
        "evaluation/test_inspection.py",
        "evaluation/test_signature.py",
        "live/test_live_cli.py",
        "live/test_real_film.py",
        "live/test_stream.py",
        "model/test_adaptation.py",
        "model/test_arrays.py",
        "model/test_candidates.py",
        "model/test_other_skeletons.py",
        "model/test_pixels.py",
        "persistence/test_artifact.py",
        "persistence/test_onnx.py",
        "persistence/test_safe.py",
        "report/test_drawing.py",
        "report/test_report.py",
        "test_assumptions.py",
        "test_examples.py",
        "test_notebooks.py",
        "test_real_performers.py",
        "training/test_permuted_labels.py",
        "training/test_processes.py",
        "training/test_search.py",
        "training/test_training.py",
    ),
    "server": (
        "data/test_distributed.py",
        "data/test_storage.py",
        "data/test_urls.py",
        "live/test_page.py",
        "live/test_server.py",
        "persistence/test_hub.py",
    ),
    "clock": ("data/test_cache.py", "live/test_watching.py"),
}
MARKERS = {Path(__file__).parent / name: mark for mark, names in MARKED.items() for name in names}


def pytest_ignore_collect(collection_path, config):
    """Leave out whole modules, as importing some of them takes seconds."""
    marker = MARKERS.get(collection_path)
    return True if marker and f"not {marker}" in config.option.markexpr else None


def pytest_collection_modifyitems(items):
    for item in items:
        if marker := MARKERS.get(item.path):
            item.add_marker(marker)


@pytest.fixture(scope="session")
def s3_server():
    """An S3 server on this machine with the bucket "poses", found by all that look where credentials usually are."""
    pytest.importorskip("s3fs", reason="needs heatpose[s3]")
    moto = pytest.importorskip("moto.server", reason="needs moto[s3] and flask")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it logs every request
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("poses")
        yield f"http://{host}:{port}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="session")
def permute_within_groups():
    """Permute the class names of each group, so that nothing learned of one group holds for another."""
    import numpy as np
    import pandas as pd

    def permute(labels, groups, seed):
        rng = np.random.default_rng(seed)

        def rename(of_group):
            names = of_group.unique()
            return of_group.map(dict(zip(names, rng.permutation(names), strict=True)))

        return pd.Series(np.asarray(labels)).groupby(np.asarray(groups)).transform(rename).to_numpy(dtype=str)

    return permute


@pytest.fixture
def no_learning_curve(monkeypatch):
    """Leave out the learning curve, half of the work of a small training, for tests that are about other parts."""
    from heatpose.training import plan

    monkeypatch.setattr(plan, "learning_curve", lambda *_, **__: None)


@pytest.fixture
def import_anew(monkeypatch):
    """Import modules of heatpose as for the first time, with all others that they need, where libraries are missing."""

    def import_all(*names, without=()):
        for name in [name for name in sys.modules if name.partition(".")[0] in ("heatpose", *without)]:
            monkeypatch.delitem(sys.modules, name)
        for name in without:
            monkeypatch.setitem(sys.modules, name, None)
        return [importlib.import_module(name) for name in names]

    yield import_all
    for name in [name for name in sys.modules if name.partition(".")[0] == "heatpose"]:
        del sys.modules[name]  # what was there before comes back
