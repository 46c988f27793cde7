"""Data behind URLs are read as those at a path: the same index, the same tables, the same complaints."""

import re
import sys
import time
import zipfile
from pathlib import Path
from uuid import uuid4

import fsspec
import numpy as np
import pandas as pd
import pytest

from heatpose.cli import main
from heatpose.data import storage
from heatpose.data.folder import HeatmapFolder
from heatpose.data.groups import resolve_groups
from heatpose.data.npy import BadFilesError, read_heatmaps
from heatpose.data.storage import join_url
from heatpose.data.table import extract_keypoints, load_data, read_table, write_table
from heatpose.datasets.rendering import render_heatmaps
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.model.prediction import predict_files

PLACES = ["memory", "zip", "s3"]


def put(root, path, content):
    """Write a file at a path, and make the folders above it."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, np.ndarray):
        np.save(file, content)
    else:
        file.write_bytes(content)


@pytest.fixture(scope="module")
def heatmaps():
    poses = simulate_poses(1, 1, 12, classes=["action_up"], random_state=0)
    return render_heatmaps(poses.keypoints.reshape(-1, 17, 3))


@pytest.fixture
def root(tmp_path, heatmaps):
    """Files of each kind: of one and of several samples, of other types, nested, and some that are no heatmaps."""
    root = tmp_path / "gestures"
    put(root, "up/up_10_1.npy", heatmaps[:1])
    put(root, "up/up_9_0.npy", heatmaps[1])
    put(root, "up/clip 2/up_1_1.npy", heatmaps[2:5].astype(np.float16))
    put(root, "down/down_1_0.npy", heatmaps[5:6].astype(np.float64))
    put(root, "down/down_2_1.npy", np.asfortranarray(heatmaps[6:9]))
    put(root, "down/down_3_1.npy", heatmaps[9:].astype(">f4"))
    for ignored in ("notes.txt", "up/.hidden.npy", "__MACOSX/up/x.npy", ".git/config"):
        put(root, ignored, b"")
    return root


@pytest.fixture(params=PLACES)
def copied(request):
    """A function that copies a folder behind a URL and returns that."""

    def copy(root):
        files = [path for path in sorted(root.rglob("*")) if path.is_file()]
        if request.param == "zip":
            archive = root.parent / f"{uuid4().hex}.zip"
            with zipfile.ZipFile(archive, "w") as out:
                for path in files:
                    out.write(path, path.relative_to(root))
                for path in root.rglob("*"):
                    if path.is_dir() and not any(path.iterdir()):
                        out.mkdir(path.relative_to(root).as_posix())
            return f"zip://::{archive}"
        if request.param == "s3":
            request.getfixturevalue("s3_server")
        url = f"{request.param}://poses/{uuid4().hex}"
        fs, place = fsspec.url_to_fs(url)
        for path in files:
            fs.pipe_file(f"{place}/{path.relative_to(root).as_posix()}", path.read_bytes())
        for path in root.rglob("*"):
            if path.is_dir() and not any(path.iterdir()):
                where = f"{place}/{path.relative_to(root).as_posix()}"
                fs.pipe_file(where + "/", b"") if request.param == "s3" else fs.makedirs(where)
        return url

    return copy


def complaint(function, *args, root, **options):
    """What a function complains of, without the place."""
    with pytest.raises((ValueError, OSError)) as caught:
        function(*args, **options)
    return str(caught.value).replace(str(root), "DATA")


class TestFolder:
    def test_index_and_table_are_the_same(self, root, copied):
        url = copied(root)
        local, remote = HeatmapFolder(root), HeatmapFolder(url)
        pd.testing.assert_frame_equal(remote.index, local.index)
        assert (remote.classes, remote.heatmap_shape) == (local.classes, local.heatmap_shape)
        assert remote.root == url
        pd.testing.assert_frame_equal(extract_keypoints(remote), extract_keypoints(local), check_exact=True)

    @pytest.mark.parametrize("batch_size", [2, 64])
    def test_batches_are_the_same(self, root, copied, batch_size):
        for (one, rows), (other, others) in zip(
            HeatmapFolder(root).batches(batch_size), HeatmapFolder(copied(root)).batches(batch_size), strict=True
        ):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(rows, others)

    def test_all_bad_files_are_reported_in_the_same_words(self, root, copied, heatmaps):
        whole = (root / "up/up_10_1.npy").read_bytes()
        put(root, "up/bad_1.npy", whole[:-1])
        put(root, "up/bad_2.npy", whole + b"x")
        put(root, "up/bad_3.npy", b"")
        put(root, "up/bad_4.npy", whole[:20])
        put(root, "up/bad_5.npy", b"PK, not an array")
        put(root, "up/bad_6.npy", np.array([{"never": "unpickled"}]))
        put(root, "up/bad_7.npy", heatmaps[:1, :, :32])
        put(root, "up/bad_8.npy", heatmaps[:1].astype(np.complex64))
        put(root, "up/bad_9.npy/inside.txt", b"")
        put(root, "bad_10.npy", whole)
        url = copied(root)
        here, there = complaint(HeatmapFolder, root, root=root), complaint(HeatmapFolder, url, root=url)
        assert there == here
        assert all(f"bad_{number}.npy:" in here for number in range(1, 11))
        assert len(HeatmapFolder(url, skip_bad=True)) == len(HeatmapFolder(root, skip_bad=True)) == 12

    def test_nan_is_found_when_it_is_read(self, root, copied, heatmaps):
        spoilt = heatmaps[:3].copy()
        spoilt[1, 3, 2, 2] = np.nan
        put(root, "up/up_11_1.npy", spoilt)
        url = copied(root)
        folder = HeatmapFolder(url)
        with pytest.raises(BadFilesError, match=r"up/up_11_1\.npy: expected finite values, .* in sample 1"):
            extract_keypoints(folder)
        with pytest.raises(BadFilesError, match=r"up/up_11_1\.npy: expected finite values, .* in sample 1"):
            list(folder.batches(2))
        assert len(extract_keypoints(HeatmapFolder(url, skip_bad=True))) == 14

    def test_folders_that_cannot_be_used(self, root, copied, tmp_path):
        for make in (
            lambda data: (data / "empty").mkdir(parents=True),
            lambda data: put(data, "notes.txt", b""),
        ):
            data = tmp_path / uuid4().hex
            make(data)
            url = copied(data)
            assert complaint(HeatmapFolder, url, root=url) == complaint(HeatmapFolder, data, root=data)
        with pytest.raises(NotADirectoryError, match="Expected a folder, got a file"):
            HeatmapFolder(join_url(copied(root), "notes.txt"))
        with pytest.raises(FileNotFoundError, match=r"nowhere"):
            HeatmapFolder(join_url(copied(root), "nowhere"))

    def test_a_file_that_changed_or_went_is_refused(self, root, heatmaps):
        url = f"memory://{uuid4().hex}"
        fs, place = fsspec.url_to_fs(url)
        for name, part in (("1", heatmaps[:1]), ("2", heatmaps[:4]), ("3", heatmaps[:1]), ("4", heatmaps[:4])):
            put(root, f"up/{name}.npy", part)
            fs.pipe_file(f"{place}/up/{name}.npy", (root / f"up/{name}.npy").read_bytes())
        folder = HeatmapFolder(url)
        fs.pipe_file(f"{place}/up/1.npy", (root / "up/2.npy").read_bytes())
        fs.pipe_file(f"{place}/up/2.npy", (root / "up/1.npy").read_bytes())
        fs.rm_file(f"{place}/up/3.npy")
        fs.pipe_file(f"{place}/up/4.npy", (root / "up/4.npy").read_bytes()[:-1])
        for batch_size in (1, 3, 64):
            with pytest.raises(BadFilesError) as caught:
                list(folder.batches(batch_size))
            reasons = {bad.path: bad.reason for bad in caught.value.bad_files}
            assert reasons.keys() == {"up/1.npy", "up/2.npy", "up/3.npy", "up/4.npy"}
            assert all("changed since it was listed" in reasons[f"up/{number}.npy"] for number in (1, 2, 4))
            assert "expected a readable file, got: No such file" in reasons["up/3.npy"]
        fs.pipe_file(f"{place}/up/2.npy", (root / "up/2.npy").read_bytes() + b"more")
        with pytest.raises(BadFilesError, match=r"up/2\.npy: .* changed since it was listed"):
            folder.read([1])  # its first sample alone

    def test_a_path_may_be_written_as_a_url(self, root):
        folder = HeatmapFolder(root.as_uri())
        assert folder.root == root
        assert len(load_data(root.as_uri())) == 12

    def test_reading_asks_for_many_files_at_once(self, root, heatmaps, monkeypatch):
        url = f"memory://{uuid4().hex}"
        fs, place = fsspec.url_to_fs(url)
        content = (root / "up/up_10_1.npy").read_bytes()
        for number in range(200):
            fs.pipe_file(f"{place}/up/{number}.npy", content)
        read, waiting, most = storage.Storage.read, [0], [0]

        def noting(self, *args):
            waiting[0] += 1
            most[0] = max(most[0], waiting[0])
            time.sleep(0.005)
            waiting[0] -= 1
            return read(self, *args)

        monkeypatch.setattr(storage.Storage, "read", noting)
        assert len(extract_keypoints(HeatmapFolder(url), "argmax", n_jobs=1)) == 200
        assert 8 < most[0] <= storage.CONCURRENCY


class TestFiles:
    def test_heatmaps(self, root, copied):
        url = copied(root)
        for path in ("up/up_9_0.npy", "down/down_2_1.npy", "up/clip 2/up_1_1.npy"):
            np.testing.assert_array_equal(read_heatmaps(join_url(url, path)), read_heatmaps(root / path))
        with pytest.raises(FileNotFoundError, match=r"No such file.*up/none\.npy"):
            read_heatmaps(join_url(url, "up/none.npy"))
        with pytest.raises(BadFilesError, match=r"notes\.txt.*: expected an \.npy file, got an empty one"):
            read_heatmaps(join_url(url, "notes.txt"))

    @pytest.mark.parametrize("suffix", [".csv", ".parquet"])
    @pytest.mark.parametrize("place", ["memory", "s3"])
    def test_tables_are_written_and_read_back(self, root, place, suffix, request):
        if place == "s3":
            request.getfixturevalue("s3_server")
        table = load_data(root)
        url = f"{place}://poses/{uuid4().hex}/table{suffix}"
        write_table(table, url)
        pd.testing.assert_frame_equal(load_data(url), table, check_exact=True)
        with pytest.raises(FileNotFoundError, match="No such file"):
            read_table(url.replace("/table", "/none"))

    def test_what_is_no_table_is_refused(self):
        url = f"memory://{uuid4().hex}/table.parquet"
        storage.Storage(url).write(b"nothing")
        with pytest.raises(ValueError, match=f"Expected a .parquet table, got a file that cannot be read: {url}"):
            read_table(url)
        with pytest.raises(ValueError, match=r"Expected a table that ends in \.parquet or \.csv, got memory://x"):
            read_table("memory://x")


def test_the_cache_knows_files_behind_urls(root, copied, tmp_path, monkeypatch):
    url = copied(root)
    if url.startswith("memory"):  # tells only times, of which those just gone are not trusted
        monkeypatch.setattr(storage, "COARSE_TICK", 0)
    first = load_data(url, cache=tmp_path / "cache")
    reads = []
    read = storage.Storage.read
    monkeypatch.setattr(storage.Storage, "read", lambda self, *args: reads.append(args) or read(self, *args))
    pd.testing.assert_frame_equal(load_data(url, cache=tmp_path / "cache"), first, check_exact=True)
    assert reads == []


@pytest.fixture(scope="module")
def model():
    poses = simulate_poses(2, 1, 4, classes=["action_up", "action_down"], random_state=0)
    table = poses.keypoints.reshape(-1, 51)
    pipeline = make_pose_pipeline("lda")
    pipeline[1:].fit(table, poses.labels)
    pipeline.steps[0][1].fit(np.zeros((1, 17, 64, 48), dtype=np.float32))
    return pipeline


class TestPrediction:
    def test_the_same_files_get_the_same_names(self, root, copied, model):
        url = copied(root)
        here, there = (list(predict_files(model, [data])) for data in (root, url))
        assert [(one.label, one.confidence) for one in there] == [(one.label, one.confidence) for one in here]
        for near, far in zip(here, there, strict=True):
            path, bracket, number = str(Path(near.path).relative_to(root)).partition("[")
            assert far.path == join_url(url, path) + bracket + number
        assert len(here) == 12

    def test_single_files_and_tables(self, root, model):
        url = f"memory://{uuid4().hex}"
        storage.Storage(f"{url}/up_9_0.npy").write((root / "up/up_9_0.npy").read_bytes())
        write_table(load_data(root).drop(columns="path"), f"{url}/table.csv")
        paths = [f"{url}/table.csv", f"{url}/up_9_0.npy", str(root / "up/up_9_0.npy")]
        predicted = list(predict_files(model, paths))
        assert [one.path for one in predicted] == [f"{paths[0]}[{row}]" for row in range(12)] + paths[1:]
        assert predicted[-1][1:] == predicted[-2][1:]

    def test_what_is_not_there(self, model):
        with pytest.raises(FileNotFoundError, match=r"No such file or folder: memory://none/x\.npy"):
            list(predict_files(model, ["memory://none/x.npy"]))
        storage.Storage("memory://some/notes.txt").write(b"")
        with pytest.raises(ValueError, match=r"Expected folders or files that end in .*, got memory://some/notes\.txt"):
            list(predict_files(model, ["memory://some/notes.txt"]))
        with pytest.raises(ValueError, match=r"Expected \.npy files in memory://some, got none"):
            list(predict_files(model, ["memory://some"]))


def test_groups_can_be_in_a_file_behind_a_url(root):
    index = HeatmapFolder(root).index
    url = f"memory://{uuid4().hex}/groups.csv"
    storage.Storage(url).write(index.drop_duplicates("path").assign(group="ann")[["path", "group"]].to_csv().encode())
    grouping = resolve_groups(index, url)
    assert set(grouping.groups) == {"ann"}
    assert "groups.csv" in grouping.description


class TestCommandLine:
    def test_from_one_url_to_another(self, root, s3_server, capsys, tmp_path):
        url, out = f"s3://poses/{uuid4().hex}", f"s3://poses/{uuid4().hex}.parquet"
        fsspec.filesystem("s3").put(str(root), url, recursive=True)
        assert main(["extract", url, out, "--groups", r"_(\d)\.npy$", "--cache", str(tmp_path)]) == 0
        expected = load_data(root)
        table = read_table(out)
        pd.testing.assert_frame_equal(table.drop(columns="group"), expected.drop(columns="group"), check_exact=True)
        assert table["group"].tolist() == [Path(path).stem[-1] for path in expected["path"]]
        assert capsys.readouterr().out == f"Wrote {out}: 12 samples of 2 classes in 2 groups\n"

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["extract", "s3://none/data", "out.csv", "--no-cache"], 1, "No such file or folder: s3://none/data"),
            (
                ["extract", "nope://data", "out.csv", "--no-cache"],
                1,
                "Expected a URL that fsspec knows, got nope://data",
            ),
            (["extract", f"zip://::{__file__}", "out.csv", "--no-cache"], 1, "Cannot open zip://::.*not a zip file"),
            (["extract", "zip://::none.zip", "out.csv", "--no-cache"], 1, "No such file or folder: zip://::none.zip"),
            (["extract", "data", "s3://none/out.csv"], 1, "Cannot write s3://none/out.csv|No such file or folder"),
            (["extract", "data", "s3://none/out.txt"], 2, "argument OUT: expected a name to end in .parquet or .csv"),
            (["train", "data", "--out", "s3://none/m.joblib"], 2, "expected a path on this machine, got a URL"),
            (["predict", "model", "s3://none/data"], 1, "No such file or folder: s3://none/data"),
        ],
    )
    def test_complaints(self, arguments, code, message, s3_server, capsys, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(arguments) == code
        captured = capsys.readouterr()
        assert re.search(message, captured.err)
        assert "Traceback" not in captured.err
        assert not list(tmp_path.iterdir())

    def test_a_missing_library(self, capsys, monkeypatch):
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
        monkeypatch.setitem(sys.modules, "s3fs", None)
        assert main(["extract", "s3://bucket/data", "out.csv", "--no-cache"]) == 1
        assert 'pip install "heatpose[s3]"' in capsys.readouterr().err
