"""A cluster gives what one machine gives, whoever did the work and whoever died in the middle of it."""

import io
import os
import shutil
import signal
import sys
from functools import partial
from importlib.util import find_spec
from uuid import uuid4

import fsspec
import numpy as np
import pandas as pd
import pytest

from heatpose.cli import main
from heatpose.data import distributed as module
from heatpose.data.distributed import check_data, connect, map_tasks, scan_files, side_by_side
from heatpose.data.folder import HeatmapFolder
from heatpose.data.npy import BadFilesError
from heatpose.data.table import extract_keypoints, load_data
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.pose.skeleton import COCO_17
from heatpose.training.training import train_pose_classifier

pytestmark = pytest.mark.skipif(find_spec("distributed") is None, reason="needs heatpose[dask]")  # slow to import

CLASSES = ["action_up", "action_down", "select_avatar"]


@pytest.fixture(scope="module")
def client(s3_server):
    """Two workers, each a process, which find the S3 server where this process does; none is killed before the end."""
    with connect(n_workers=2) as client:
        yield client


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "gestures"
    write_heatmaps(simulate_poses(3, 1, 8, classes=CLASSES, random_state=0), root)
    return root


@pytest.fixture
def small_shares(monkeypatch):
    """Tasks of four files, so that few files make many tasks."""
    monkeypatch.setattr(module, "_SHARE_BYTES", 4 * 4 * 17 * 64 * 48)


def assert_same(result, expected):
    pd.testing.assert_frame_equal(result, expected, check_exact=True)


def on_s3(root):
    """Copy a folder to the S3 server."""
    url = f"s3://poses/{uuid4().hex}"
    fsspec.filesystem("s3").put(str(root), url, recursive=True)
    return url


class TestTable:
    def test_the_same_as_on_one_machine(self, client, root, small_shares):
        folder, seen = HeatmapFolder(root), []
        table = extract_keypoints(folder, client=client, progress=lambda *numbers: seen.append(numbers))
        assert_same(table, extract_keypoints(folder))
        assert seen[0] == (0, len(folder))
        assert seen[-1] == (len(folder), len(folder))
        assert len(seen) > 10
        assert sorted(seen) == seen

    def test_bad_samples_are_found_and_left_out(self, client, tmp_path, small_shares):
        root = tmp_path / "data"
        write_heatmaps(simulate_poses(2, 1, 6, classes=CLASSES, random_state=1), root)
        files = sorted(root.rglob("*.npy"))
        heatmaps = np.load(files[3])
        heatmaps[0, 0, 0, 0] = np.nan
        folder, skipping = HeatmapFolder(root), HeatmapFolder(root, skip_bad=True)
        np.save(files[3], heatmaps)
        files[5].write_bytes(files[5].read_bytes()[:-1])
        messages = []
        for options in ({}, {"client": client}):
            with pytest.raises(BadFilesError) as caught:
                extract_keypoints(folder, **options)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
        assert messages[0].startswith("2 bad files in ")
        assert_same(extract_keypoints(skipping, client=client), extract_keypoints(skipping))

    def test_what_the_cache_knows_is_not_read_again(self, client, root, tmp_path, small_shares, monkeypatch):
        first = load_data(root, cache=tmp_path / "cache", client=client)
        assert_same(first, load_data(root))
        monkeypatch.setattr(module, "map_tasks", lambda *args: pytest.fail("read again"))
        assert_same(load_data(root, cache=tmp_path / "cache", client=client), first)

    def test_some_files(self, client, root, small_shares):
        folder = HeatmapFolder(root)
        some = [1, 2, 7, 8, 20]
        here, there = (
            list(scan(lambda heatmaps: heatmaps.max(axis=(2, 3)), files=some))
            for scan in (
                folder.reader.scan,
                partial(scan_files, client, folder.reader, progress=lambda *_: None),
            )
        )
        for name in ("results", "positions", "finished"):
            np.testing.assert_array_equal(
                np.concatenate([getattr(part, name) for part in there]),
                np.concatenate([getattr(part, name) for part in here]),
            )


class TestTasks:
    def test_in_order_and_few_at_a_time(self, client):
        taken = []

        def tasks():
            for number in range(40):
                taken.append(number)
                yield number, 2

        for number, result in enumerate(map_tasks(client, pow, tasks())):
            assert result == number**2
            assert len(taken) <= number + 1 + 2 * module._AHEAD

    def test_a_large_argument_is_sent_once(self, client, monkeypatch):
        sent = []
        send = module._send
        monkeypatch.setattr(module, "_send", lambda *args: sent.append(args) or send(*args))
        large = np.arange(module._LARGE, dtype=float)
        tasks = [(large, number) for number in range(10)]
        results = list(map_tasks(client, lambda array, number: (array[number], array.sum()), tasks))
        assert results == [(number, large.sum()) for number in range(10)]
        assert len(sent) == 1

    def test_numeric_libraries_run_in_one_thread(self, client):
        def threads(_):
            from threadpoolctl import threadpool_info

            np.ones((2, 2)) @ np.ones((2, 2))
            return [library["num_threads"] for library in threadpool_info()]

        assert all(set(counts) == {1} for counts in map_tasks(client, threads, [(0,), (1,)]))

    def test_processes_of_this_machine(self):
        assert list(side_by_side(pow, [(2, 3), (3, 2), (5, 1)], n_jobs=2)) == [8, 9, 5]

    def test_an_error_comes_out(self, client):
        with pytest.raises(ZeroDivisionError):
            list(map_tasks(client, divmod, [(1, 1), (1, 0)]))


class TestWorkersThatWillNotDo:
    def test_another_version(self, client, monkeypatch):
        versions = client.get_versions(packages=["heatpose", "numpy", "scipy", "scikit-learn"])
        first = min(versions["workers"])
        versions["workers"][first]["packages"]["heatpose"] = "0.0.1"
        monkeypatch.setattr(type(client), "get_versions", lambda self, **options: versions)
        with pytest.raises(ValueError, match=rf"Expected heatpose .* on every Dask worker, .*\n  {first}: 0\.0\.1$"):
            module.check_workers(client)
        versions["workers"][first]["packages"]["heatpose"] = None
        with pytest.raises(ValueError, match=f"{first}: none"):
            module.check_workers(client)

    def test_another_version_of_a_worker_that_came_later(self, client, monkeypatch):
        monkeypatch.setattr(module, "__version__", "9.9.9")
        with pytest.raises(ValueError, match=r"Expected heatpose 9\.9\.9 on every Dask worker, got .* on tcp://"):
            list(map_tasks(client, pow, [(1, 1)]))

    def test_another_numpy_is_worth_a_warning(self, client, monkeypatch, caplog):
        versions = client.get_versions(packages=["heatpose", "numpy", "scipy", "scikit-learn"])
        for worker in versions["workers"].values():
            worker["packages"]["numpy"] = "1.0.0"
        monkeypatch.setattr(type(client), "get_versions", lambda self, **options: versions)
        module.check_workers(client)
        assert "Dask workers have numpy 1.0.0, here is" in caplog.text

    def test_data_that_workers_do_not_see(self, client):
        url = f"memory://{uuid4().hex}"  # is in this process alone
        fs, place = fsspec.url_to_fs(url)
        content = io.BytesIO()
        np.save(content, np.zeros((17, 64, 48), dtype=np.float32))
        fs.pipe_file(f"{place}/up/1.npy", content.getvalue())
        with pytest.raises(ValueError) as caught:
            extract_keypoints(HeatmapFolder(url), client=client)
        lines = str(caught.value).splitlines()
        assert lines[0].startswith(f"Expected every Dask worker to see {url}")
        assert len(lines) == 3
        assert all("No such file or folder" in line for line in lines[1:])

    def test_one_that_dies_while_it_is_asked_is_none_of_them(self, client, root, monkeypatch):
        from distributed.comm import CommClosedError

        answers = {"tcp://dead": CommClosedError("Stream is closed"), "tcp://alive": None}
        monkeypatch.setattr(type(client), "run", lambda self, *args, on_error: answers)
        check_data(client, HeatmapFolder(root).reader)

    def test_data_that_are_others_there(self, client, root, tmp_path):
        copy = tmp_path / "gestures"
        shutil.copytree(root, copy)
        folder = HeatmapFolder(copy)
        path = copy / folder.files[0].path
        path.write_bytes(path.read_bytes()[:-4])
        with pytest.raises(ValueError, match=rf"{folder.files[0].path}: expected an unchanged file"):
            check_data(client, folder.reader)

    def test_an_address_without_an_answer(self, monkeypatch):
        monkeypatch.setattr(module, "_TIMEOUT", 0.2)
        with (
            pytest.raises(OSError, match=r"Expected a Dask scheduler at tcp://127\.0\.0\.1:1, got no answer"),
            connect("tcp://127.0.0.1:1"),
        ):
            pass

    def test_dask_is_not_there(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "distributed", None)
        with pytest.raises(ImportError, match=r'pip install "heatpose\[dask\]"'), connect():
            pass


def test_a_scheduler_that_is_there(client, root):
    with connect(client.scheduler.address) as other:
        assert_same(load_data(root, client=other), load_data(root))


class TestCommandLine:
    def test_a_table_and_a_model(self, client, root, tmp_path, capsys, no_learning_curve):
        for options in ([], ["--dask", client.scheduler.address]):
            out = tmp_path / str(len(options))
            extract = ["extract", str(root), f"{out}/table.csv", "--groups", r"_(\d)\.npy$", "--no-cache", *options]
            train = ["train", f"{out}/table.csv", "--classifiers", "lda", "--out", f"{out}/model.joblib", *options]
            assert main(extract) == main(train) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        one, other = tmp_path / "0", tmp_path / "2"
        assert (one / "table.csv").read_bytes() == (other / "table.csv").read_bytes()
        assert (one / "model.joblib").read_bytes() == (other / "model.joblib").read_bytes()

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--dask", "data", "out.csv"], "got 'data'; put --dask last, or write --dask=local"),
            (["data", "out.csv", "--dask", "tcp://127.0.0.1:1", "--jobs", "2"], "--jobs applies to this machine"),
        ],
    )
    def test_wrong_usage(self, options, message, capsys):
        assert main(["extract", "--no-cache", *options]) == 2
        assert message in capsys.readouterr().err

    def test_an_address_without_an_answer(self, monkeypatch, capsys):
        monkeypatch.setattr(module, "_TIMEOUT", 0.2)
        assert main(["extract", "data", "out.csv", "--no-cache", "--dask", "tcp://127.0.0.1:1"]) == 1
        assert "Expected a Dask scheduler at tcp://127.0.0.1:1, got no answer" in capsys.readouterr().err


# Workers that die: these tests are the last, as they leave the others' cluster changed. Reading comes after training:
# a worker that has come back imports little for it.


class Killer:
    """A progress callback that kills one worker when a part of the work is done."""

    def __init__(self, client, after):
        self.client, self.after, self.killed = client, after, None

    def __call__(self, done, total):
        if self.killed is None and done >= self.after * total:
            self.killed = min(self.client.run(os.getpid).values())
            os.kill(self.killed, getattr(signal, "SIGKILL", signal.SIGTERM))  # Windows has the latter alone


def table_of_poses():
    poses = simulate_poses(4, 1, 4, classes=CLASSES, random_state=0)
    table = pd.DataFrame(poses.keypoints.reshape(-1, 51), columns=COCO_17.columns)
    return table.assign(
        label=poses.labels, group=[f"performer {number}" for number in poses.performers], path=poses.labels
    )


def test_scores_and_model_are_the_same_when_a_worker_is_killed(client, monkeypatch, no_learning_curve):
    monkeypatch.setattr(module, "_LARGE", 1000)  # also what is sent once
    table = table_of_poses()
    killer = Killer(client, after=0.3)
    here = train_pose_classifier(table, classifiers="lda", n_jobs=1)
    there = train_pose_classifier(table, classifiers="lda", client=client, progress=killer)
    assert killer.killed is not None
    assert there.classifier == here.classifier
    assert (there.temperature, there.threshold, there.partial) == (here.temperature, here.threshold, here.partial)
    assert there.evaluation.to_dict() == here.evaluation.to_dict()
    assert_same(there.predictions, here.predictions)
    assert_same(there.leaderboard.drop(columns="fit_seconds"), here.leaderboard.drop(columns="fit_seconds"))
    X = table[list(COCO_17.columns)].to_numpy()
    np.testing.assert_array_equal(there.pipeline[1:].predict_proba(X), here.pipeline[1:].predict_proba(X))


def test_a_table_is_the_same_when_a_worker_is_killed(client, root, small_shares):
    client.wait_for_workers(2, timeout=60)  # the one that was killed came back
    killer = Killer(client, after=0.2)
    assert_same(load_data(on_s3(root), client=client, progress=killer), load_data(root))
    assert killer.killed is not None
