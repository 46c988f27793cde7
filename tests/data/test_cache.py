"""The cache of keypoints: only new and changed files are read, whatever happened before."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import heatpose
from heatpose.data import cache as cache_module
from heatpose.data.cache import KeypointCache, cache_folder
from heatpose.data.folder import HeatmapFolder
from heatpose.data.npy import BadFilesError
from heatpose.data.reading import HeatmapFile
from heatpose.data.sources import LocalFiles, _stamp
from heatpose.data.table import table_keypoints
from heatpose.pose.decoding import decode_heatmaps, decode_skeleton

SHAPE = (17, 8, 6)
LONG_AGO = 1_700_000_000_123_456_789


def heatmaps(n=1, seed=0):
    return np.random.default_rng(seed).random((n, *SHAPE), dtype=np.float32)


def save(path, array, when=LONG_AGO):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)
    os.utime(path, ns=(when, when))


@pytest.fixture
def data(tmp_path):
    """Two classes, five files, seven samples."""
    for seed, name in enumerate(["down/1.npy", "down/2.npy", "up/9.npy", "up/10.npy", "up/11.npy"]):
        save(tmp_path / "data" / name, heatmaps(3 if name == "up/10.npy" else 1, seed))
    return tmp_path / "data"


@pytest.fixture
def decoded(monkeypatch):
    """How many samples have been decoded since it was last emptied."""
    counts = []

    def count(maps, **options):
        counts.append(len(maps))
        return decode_skeleton(maps, **options)

    monkeypatch.setattr("heatpose.data.table.decode_skeleton", count)
    return counts


def load(data, counts=None, **options):
    """Load through the cache; the table, and how many samples were decoded for it."""
    if counts is None:
        return heatpose.load_data(data, cache=True, **options)
    counts.clear()
    return heatpose.load_data(data, cache=True, **options), sum(counts)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def cached_file(data):
    (path,) = cache_folder(data).glob("*.npz")
    return path


# What is read again -----------------------------------------------------------------------------------------


def test_the_second_time_nothing_is_opened_and_the_table_is_the_same(data, decoded, monkeypatch):
    undisturbed = heatpose.load_data(data)
    first, count = load(data, decoded)
    assert count == 7
    pd.testing.assert_frame_equal(first, undisturbed)

    def refuse(*arguments):
        raise AssertionError("a heatmap file was opened")

    for name in ("header", "read"):
        monkeypatch.setattr(LocalFiles, name, refuse)
    second, count = load(data, decoded)
    assert count == 0
    pd.testing.assert_frame_equal(second, undisturbed)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="benchmarks of reading are for Linux")
def test_benchmarks_drop_files_from_memory_and_not_from_the_cache(data, decoded):
    from benchmarks.processes import forget

    load(data)
    forget(sorted(data.rglob("*.npy")))
    assert load(data, decoded)[1] == 0


def test_nothing_is_kept_unless_asked_for(data):
    heatpose.load_data(data)
    assert names(data.parent) == ["data"]


@pytest.mark.parametrize("change", ["content", "time", "length", "new", "moved", "exchanged"])
def test_only_new_and_changed_files_are_read(data, decoded, change):
    load(data)
    if change == "content":
        save(data / "up/10.npy", heatmaps(3, seed=50), LONG_AGO + 10**9)
    elif change == "time":
        os.utime(data / "up/10.npy", ns=(LONG_AGO, LONG_AGO + 1))
    elif change == "length":
        save(data / "up/10.npy", heatmaps(4, seed=50))
    elif change == "new":
        save(data / "up/12.npy", heatmaps(2, seed=60))
    elif change == "moved":
        (data / "up/9.npy").rename(data / "down/9.npy")
    else:  # two files of one size and time
        for old, new in (("up/9.npy", "other"), ("down/1.npy", "up/9.npy"), ("other", "down/1.npy")):
            (data / old).rename(data / new)
    table, count = load(data, decoded)
    assert count == {"content": 3, "time": 3, "length": 4, "new": 2, "moved": 1, "exchanged": 2}[change]
    pd.testing.assert_frame_equal(table, heatpose.load_data(data))


def test_files_that_were_read_under_another_layout_are_in_no_class(data):
    load(data)
    with pytest.raises(BadFilesError, match=r"down/1\.npy: expected it in the folder of its class: <group>/<class>"):
        load(data, layout="group/class")


def test_removed_files_are_gone_from_the_table(data, decoded):
    load(data)
    (data / "down/2.npy").unlink()
    table, count = load(data, decoded)
    assert (len(table), count) == (6, 0)
    pd.testing.assert_frame_equal(table, heatpose.load_data(data))


@pytest.mark.parametrize("options", [{"decoder": "argmax"}, {"skeleton": "h36m-17"}])
def test_each_decoder_and_skeleton_has_its_own(data, decoded, options):
    load(data)
    table, count = load(data, decoded, **options)
    assert count == 7
    pd.testing.assert_frame_equal(table, heatpose.load_data(data, **options))
    assert load(data, decoded)[1] == 0
    with pytest.raises(ValueError, match="Expected a decoder out of"):
        KeypointCache(cache_folder(data), "mean")


@pytest.mark.parametrize("what", ["DECODING_VERSION", "_FORMAT"])
def test_another_version_reads_anew(data, decoded, monkeypatch, what):
    load(data)
    monkeypatch.setattr(cache_module, what, getattr(cache_module, what) + 1)
    assert load(data, decoded)[1] == 7
    assert load(data, decoded)[1] == 0


def test_bad_samples_are_reported_each_time(data, decoded, caplog):
    maps = heatmaps(3, seed=80)
    maps[1, 4, 0, 0] = np.nan
    maps[2, 0, 3, 3] = -np.inf
    save(data / "up/10.npy", maps)
    for count in (5, 0):  # bad samples are not decoded
        decoded.clear()
        with pytest.raises(BadFilesError, match=r"up/10\.npy: expected finite .* in sample 1 and 1 more"):
            load(data)
        assert sum(decoded) == count
    for _ in range(2):
        caplog.clear()
        table, count = load(data, decoded, skip_bad=True)
        assert (len(table), count) == (5, 0)
        assert "Left out 1 bad file in" in caplog.text
        pd.testing.assert_frame_equal(table, heatpose.load_data(data, skip_bad=True))


def test_what_could_not_be_read_is_tried_again(data, decoded, monkeypatch):
    read = LocalFiles.read

    def read_or_fail(self, path, *args):
        if path == "up/10.npy":
            raise OSError(116, "Stale file handle")
        return read(self, path, *args)

    with monkeypatch.context() as patch:
        patch.setattr(LocalFiles, "read", read_or_fail)
        with pytest.raises(BadFilesError, match="Stale file handle"):
            load(data)
    table, count = load(data, decoded)
    assert count == 3
    pd.testing.assert_frame_equal(table, heatpose.load_data(data))


# Stops, other runs, damage ----------------------------------------------------------------------------------


def test_a_run_that_ends_early_leaves_what_it_has_read(data, decoded, monkeypatch):
    monkeypatch.setattr("heatpose.data.reading.CHUNK_BYTES", 4 * np.prod(SHAPE))  # a sample at a time

    def stop(done, total):
        if done == 5:  # within a file
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load(data, progress=stop, n_jobs=1)
    table, count = load(data, decoded)
    assert 3 <= count <= 5  # two samples more are of a file that was not finished, or are done
    pd.testing.assert_frame_equal(table, heatpose.load_data(data))


def test_killed_at_any_moment_it_goes_on_and_ends_the_same(tmp_path):
    data = tmp_path / "data"
    for number in range(300):
        save(data / f"class_{number % 3}" / f"{number}.npy", heatmaps(seed=number))
    undisturbed = heatpose.load_data(data)
    # A sample at a time, written to the disk at once, a millisecond each.
    slow = (
        "import sys, time\n"
        "from heatpose.data import cache, reading, table\n"
        "reading.CHUNK_BYTES, cache._FLUSH_SECONDS, cache._FLUSH_SHARE = 1, 0, float('inf')\n"
        "def progress(done, total): print(done, flush=True); time.sleep(.001)\n"
        "table.load_data(sys.argv[1], cache=True, n_jobs=1, progress=progress)\n"
    )
    read = 0
    for moment in (40, 70):
        with subprocess.Popen([sys.executable, "-c", slow, data], stdout=subprocess.PIPE, text=True) as run:
            for _ in range(moment):
                done = int(run.stdout.readline())
            run.kill()
        assert done >= read  # it went on where it was
        cached = len(KeypointCache(cache_folder(data)).known)
        assert cached >= done - 2
        read = cached
    pd.testing.assert_frame_equal(load(data), undisturbed)
    assert len(KeypointCache(cache_folder(data)).known) == 300


def test_runs_side_by_side_do_not_disturb_each_other(tmp_path):
    data = tmp_path / "data"
    for number in range(60):
        save(data / f"class_{number % 3}" / f"{number}.npy", heatmaps(seed=number))
    undisturbed = heatpose.load_data(data)
    code = (
        "import sys\n"
        "from heatpose.data import cache, reading, table\n"
        "reading.CHUNK_BYTES, cache._FLUSH_SECONDS, cache._FLUSH_SHARE = 1, 0, float('inf')\n"
        "table.load_data(sys.argv[1], cache=True, n_jobs=1).to_pickle(sys.argv[2])\n"
    )
    runs = [subprocess.Popen([sys.executable, "-c", code, data, tmp_path / f"{k}.pickle"]) for k in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    for k in range(2):
        pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / f"{k}.pickle"), undisturbed)
    assert len(KeypointCache(cache_folder(data)).known) == 60
    pd.testing.assert_frame_equal(load(data), undisturbed)
    assert not list(cache_folder(data).glob(".*.part"))


@pytest.mark.parametrize(
    "damage", ["bit", "type", "length", "short", "empty", "text", "no keypoints", "missing keypoints", "missing finite"]
)
def test_damage_is_reported_and_repaired(data, decoded, caplog, damage):
    save(data / "up/10.npy", heatmaps(60, 3))  # more bytes than are read, and compared with a checksum, at once
    load(data)
    path = cached_file(data)
    content = path.read_bytes()
    if damage == "bit":
        at = content.index(b"keypoints") + 500  # in the numbers
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    elif damage in ("type", "length"):  # in the header
        name, by, byte = (b"f4", 1, b"2") if damage == "type" else (b"NUMPY", 7, b"\x01")
        at = content.index(name, content.index(b"keypoints")) + by
        path.write_bytes(content[:at] + byte + content[at + 1 :])
    elif damage == "short":
        path.write_bytes(content[:-10])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_bytes(b"not a table")
    else:
        arrays = dict(np.load(path))
        if damage == "no keypoints":
            del arrays["keypoints"]
        else:  # of a sample
            name = damage.removeprefix("missing ")
            arrays[name] = arrays[name][1:]
        np.savez(path, **arrays)
    table, count = load(data, decoded)
    assert count == 64
    assert "Threw away a damaged cache" in caplog.text
    pd.testing.assert_frame_equal(table, heatpose.load_data(data))
    caplog.clear()
    assert load(data, decoded)[1] == 0
    assert not caplog.text


def test_files_that_are_gone_are_forgotten_once_they_are_most(data, decoded):
    leftover, of_another_run = cache_folder(data) / ".x.part", cache_folder(data) / ".y.part"
    cache_module._make_folder(leftover.parent)
    leftover.touch()
    of_another_run.touch()
    os.utime(leftover, (0, 0))
    load(data)
    assert not leftover.exists() and of_another_run.exists()
    for gone, kept in (("up/9.npy", 5), ("up/10.npy", 3)):  # of 7 samples one, then four
        (data / gone).unlink()
        assert load(data, decoded)[1] == 0
        assert len(KeypointCache(cache_folder(data)).known) == kept
    pd.testing.assert_frame_equal(load(data), heatpose.load_data(data))


# Where it is ------------------------------------------------------------------------------------------------


def test_the_folder_is_beside_the_data_and_says_what_it_is(data, tmp_path):
    load(data)
    assert cache_folder(data) == tmp_path.resolve() / ".heatpose" / "data"
    assert names(tmp_path) == [".heatpose", "data"]
    assert HeatmapFolder(data).bad_files == ()
    assert {path.name for path in cache_folder(data).iterdir()} > {"README", ".gitignore", "CACHEDIR.TAG"}


def test_data_that_move_keep_their_cache_beside_them(data, decoded, tmp_path):
    load(data)
    shutil.move(tmp_path, tmp_path.with_name("elsewhere"))
    assert load(tmp_path.with_name("elsewhere") / "data", decoded)[1] == 0


def test_where_nothing_can_be_written_it_is_the_users_folder(data, decoded, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    monkeypatch.setattr("sys.platform", "linux")
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != str(tmp_path.resolve()) and access(path, mode))
    assert load(data, decoded)[1] == 7
    assert load(data, decoded)[1] == 0
    assert names(tmp_path) == ["caches", "data"]
    (folder,) = (tmp_path / "caches" / "heatpose").iterdir()
    assert folder.name.startswith("data-")


def test_a_folder_for_many_data(data, decoded, tmp_path):
    shutil.copytree(data, tmp_path / "other" / "data")
    save(tmp_path / "other" / "data" / "up/12.npy", heatmaps(seed=100))
    for root, count in ((data, 7), (tmp_path / "other" / "data", 8)) * 2:
        table = heatpose.load_data(root, cache=tmp_path / "told")
        pd.testing.assert_frame_equal(table, heatpose.load_data(root))
        decoded.clear()
        heatpose.load_data(root, cache=tmp_path / "told")
        assert (len(table), decoded) == (count, [])
    assert len(list((tmp_path / "told").iterdir())) == 2
    assert not (tmp_path / ".heatpose").exists()


def test_what_cannot_be_written_costs_a_warning_and_not_the_run(data, tmp_path, caplog):
    (tmp_path / "told").write_text("a file")
    table = heatpose.load_data(data, cache=tmp_path / "told")
    pd.testing.assert_frame_equal(table, heatpose.load_data(data))
    assert caplog.text.count("Could not keep keypoints in") == 1


def test_a_write_that_fails_leaves_the_file_of_before(data, monkeypatch):
    load(data)
    before = cached_file(data).read_bytes()

    def fail(out, **arrays):
        out.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", fail)
    save(data / "up/12.npy", heatmaps())
    load(data)
    assert cached_file(data).read_bytes() == before


def test_a_user_without_a_home_gets_a_folder_all_the_same(monkeypatch):
    def home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("pathlib.Path.home", home)
    assert cache_folder("s3://bucket/actions").is_relative_to("/.cache/heatpose")


def test_urls_are_kept_in_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")
    folder = cache_folder("s3://bucket/actions/")
    assert folder.parent == tmp_path / "heatpose"
    assert folder.name.startswith("actions-")
    assert folder == cache_folder("s3://bucket/actions")
    assert folder != cache_folder("s3://other/actions")


# What it holds ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("age", "kept"), [(0, False), (10**6, False), (10**8, True), (-(10**6), False)])
def test_a_file_that_was_written_just_now_gets_no_stamp(age, kept):
    """It could be written again within a tick of the clock, and look the same."""
    now = LONG_AGO
    assert (_stamp(100, now - age, now) is not None) == kept
    # A clock that counts whole seconds ticks every two of them.
    now = LONG_AGO // 10**9 * 10**9
    assert _stamp(100, now - 10**9, now) is None
    assert _stamp(100, now - 2 * 10**9, now) is not None


def test_files_without_a_stamp_are_read_each_time(data, decoded, monkeypatch):
    monkeypatch.setattr("heatpose.data.sources._stamp", lambda *arguments: None)
    assert load(data, decoded)[1] == 7
    assert load(data, decoded)[1] == 7
    assert not cache_folder(data).exists()


def test_it_is_plain_arrays(data):
    load(data)
    expected = heatpose.load_data(data)
    with np.load(cached_file(data), allow_pickle=False) as arrays:
        paths = [path for path, _, shape, _ in json.loads(arrays["files"].tobytes()) for _ in range(shape[0])]
        assert paths == expected["path"].tolist()
        np.testing.assert_array_equal(arrays["keypoints"], table_keypoints(expected))


def test_numbers_of_this_version_of_the_decoding():
    """If this fails since a decoder gives other numbers, raise DECODING_VERSION and put them here."""
    rows, columns = np.mgrid[:16, :12]
    heatmap = np.exp(-((columns - 5.3) ** 2 + (rows - 8.1) ** 2) / 8) + 0.02 * np.cos(7 * columns + 3 * rows)
    numbers = {name: decode_heatmaps([heatmap], name)[0, 0, :2] for name in heatpose.pose.decoding.DECODERS}
    assert heatpose.pose.decoding.DECODING_VERSION == 5
    for name, numbers_then in {
        "argmax": (5, 8),
        "quarter": (5.25, 8.25),
        "soft-argmax": (5.293, 8.101),
        "gaussian": (5.301, 8.099),
    }.items():
        np.testing.assert_allclose(numbers.pop(name), numbers_then, atol=6e-4)
    assert not numbers


def test_files_are_told_apart_by_all_that_is_known_of_them(tmp_path):
    cache = KeypointCache(tmp_path)
    file = HeatmapFile("up/1.npy", "1-2", (2, *SHAPE), "float32")
    cache.add(file, np.ones((2, 17, 3)), np.array([True, False]))
    cache.flush()
    assert file in KeypointCache(tmp_path)
    for other in (
        file._replace(path="up/2.npy"),
        file._replace(stamp="1-3"),
        file._replace(stamp=None),
        file._replace(shape=(1, *SHAPE)),
    ):
        assert other not in KeypointCache(tmp_path)
