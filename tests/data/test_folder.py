"""Reading class folders: what is found, what is refused, and that nothing else can happen."""

import errno
import io
import logging
import os
import pickle
import re
import threading
import tracemalloc
import warnings
from io import FileIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heatpose.data import reading
from heatpose.data.folder import HeatmapFolder
from heatpose.data.formats.reading import read_poses
from heatpose.data.npy import BadFile, BadFilesError, read_heatmaps
from heatpose.data.table import load_data
from heatpose.data.writing import replace_files, whole_file
from heatpose.datasets.rendering import render_heatmaps
from heatpose.model.prediction import list_pose_files
from heatpose.pose.decoding import decode_heatmaps

SHAPE = (17, 4, 3)


def heatmaps(n=1, seed=0, shape=SHAPE):
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, array)


def npy_bytes(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def header_only(descr="'<f4'", shape="(1, 17, 4, 3)"):
    """An .npy file that promises an array and holds not a byte of it."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.fixture
def root(tmp_path):
    """Two classes, four samples: up holds frames 9, 10 and 11, down one frame."""
    for seed, name in enumerate(["down/down_1.npy", "up/up_9.npy", "up/up_10.npy", "up/up_11.npy"]):
        save(tmp_path / name, heatmaps(seed=seed))
    return tmp_path


ALL = np.concatenate([heatmaps(seed=seed) for seed in range(4)])  # the fixture's samples in natural order


def read_all(folder, **options):
    parts = list(folder.batches(**options))
    return np.concatenate([part for part, _ in parts]), np.concatenate([rows for _, rows in parts])


class TestIndex:
    def test_natural_order_and_labels(self, root):
        folder = HeatmapFolder(root)
        assert folder.index["path"].tolist() == [
            "down/down_1.npy",
            "up/up_9.npy",
            "up/up_10.npy",
            "up/up_11.npy",
        ]
        assert folder.index["label"].tolist() == ["down", "up", "up", "up"]
        assert folder.index["sample"].tolist() == [0, 0, 0, 0]
        assert folder.index["group"].isna().all()
        assert folder.classes == ("down", "up")
        assert folder.heatmap_shape == SHAPE
        assert len(folder) == 4

    def test_classes_and_folders_inside_them_are_in_natural_order(self, tmp_path):
        for name in [
            "pose 10/1.npy",
            "pose 9/b10/1.npy",
            "pose 9/b9/1.npy",
            "pose 9/b9.npy",
            "pose 9/01.npy",
        ]:
            save(tmp_path / name, heatmaps())
        save(tmp_path / "pose 9/1.npy", heatmaps())
        folder = HeatmapFolder(tmp_path)
        assert folder.classes == ("pose 9", "pose 10")
        assert folder.index["path"].tolist() == [
            "pose 9/01.npy",
            "pose 9/1.npy",
            "pose 9/b9/1.npy",
            "pose 9/b9.npy",
            "pose 9/b10/1.npy",
            "pose 10/1.npy",
        ]
        assert folder.index["label"].tolist() == ["pose 9"] * 5 + ["pose 10"]

    def test_hidden_and_other_files_are_ignored(self, root, caplog):
        for name in [".hidden.npy", "up/._up_9.npy", ".git/x.npy", "__MACOSX/up/x.npy", "up/.cache/x.npy"]:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"not an array")
        (root / "notes.txt").write_text("")
        (root / "up" / "frame.png").write_bytes(b"")
        with caplog.at_level(logging.INFO, logger="heatpose"):
            assert len(HeatmapFolder(root)) == 4
        assert "Ignored 2 files" in caplog.text

    def test_a_file_can_hold_several_samples(self, root):
        save(root / "up" / "up_9.npy", heatmaps(3, seed=7))
        folder = HeatmapFolder(root)
        assert folder.index["path"].tolist() == [
            "down/down_1.npy",
            *["up/up_9.npy"] * 3,
            "up/up_10.npy",
            "up/up_11.npy",
        ]
        assert folder.index["sample"].tolist() == [0, 0, 1, 2, 0, 0]
        np.testing.assert_array_equal(read_all(folder, batch_size=2)[0][1:4], heatmaps(3, seed=7))

    def test_a_linked_class_folder_counts_and_a_loop_does_not(self, root, tmp_path_factory):
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        save(elsewhere / "left_1.npy", heatmaps())
        (root / "left").symlink_to(elsewhere)
        assert HeatmapFolder(root).classes == ("down", "left", "up")
        (root / "up" / "again").symlink_to(root)
        assert len(HeatmapFolder(root)) == 5


class TestRefusedFolders:
    def test_missing(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"No such folder: .*nowhere"):
            HeatmapFolder(tmp_path / "nowhere")

    def test_a_file(self, tmp_path):
        (tmp_path / "data.npy").write_bytes(b"")
        with pytest.raises(NotADirectoryError, match=r"got a file: .*data\.npy"):
            HeatmapFolder(tmp_path / "data.npy")

    def test_no_class(self, tmp_path):
        with pytest.raises(ValueError, match=r"Expected class folders .* got no folder"):
            HeatmapFolder(tmp_path)

    @pytest.mark.parametrize("skip_bad", [False, True])
    def test_empty_classes_are_all_named(self, root, skip_bad):
        (root / "left").mkdir()
        (root / "right" / "deeper").mkdir(parents=True)
        with pytest.raises(ValueError, match=r"every class folder .* got none in left, right\."):
            HeatmapFolder(root, skip_bad=skip_bad)

    def test_a_class_of_bad_files_alone_cannot_be_left_out(self, root):
        (root / "down" / "down_1.npy").write_bytes(b"")
        with pytest.raises(ValueError, match=r"Expected good .npy files in every class folder .* got none in down\."):
            HeatmapFolder(root, skip_bad=True)

    def test_files_outside_of_a_class(self, root):
        save(root / "stray.npy", heatmaps())
        with pytest.raises(BadFilesError, match=r"  stray\.npy: expected it in the folder of its class: <class>/"):
            HeatmapFolder(root)


class Payload:
    ran = False

    @staticmethod
    def run():
        Payload.ran = True

    def __reduce__(self):
        return Payload.run, ()


def zeros(shape, dtype=np.float32):
    return npy_bytes(np.zeros(shape, dtype))


GOOD = npy_bytes(heatmaps())

BAD_CONTENT = {
    "empty": (b"", "expected an .npy file, got an empty one"),
    "text": (b"heatmaps", "expected an .npy file, got one that starts with b'heatma'"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\n",
        "expected an .npy file, got one that starts with b'versio': the file is a pointer of Git LFS, fetch it with "
        "'git lfs pull'\n",
    ),
    "header cut": (GOOD[:50], "expected an .npy file, got one whose header ends before its 128 bytes"),
    "header too long": (
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff{",
        "expected an .npy file, got one whose header has 4294967307 bytes, more than 4096",
    ),
    "header damaged": (
        GOOD.replace(b"'shape': (", b"'shape': (("),
        "expected an .npy file, got one with a damaged header",
    ),
    "unknown version": (b"\x93NUMPY\x09" + GOOD[7:], "expected an .npy file, got one"),
    "truncated": (GOOD[:-1], "expected 816 bytes of data, got 815 (truncated)"),
    "trailing bytes": (GOOD + b"\0", "expected 816 bytes of data, got 817 (with trailing bytes)"),
    "header alone": (header_only(), "expected 816 bytes of data, got 0 (truncated)"),
    "absurd length": (
        header_only(shape="(99999999999999999999, 17, 4, 3)"),
        "expected 81599999999999999999184 bytes of data, got 0 (truncated)",
    ),
    "two axes": (zeros((4, 3)), "expected shape (n, 17, 4, 3), got (4, 3)"),
    "one axis": (zeros(3), "expected shape (n, 17, 4, 3), got (3,)"),
    "no axis": (zeros(()), "expected shape (n, 17, 4, 3), got ()"),
    "five axes": (zeros((1, 1, 17, 4, 3)), "expected shape (n, 17, 4, 3), got (1, 1, 17, 4, 3)"),
    "other keypoints": (zeros((1, 21, 4, 3)), "expected shape (n, 17, 4, 3), got (1, 21, 4, 3)"),
    "other size": (zeros((1, 17, 3, 4)), "expected shape (n, 17, 4, 3), got (1, 17, 3, 4)"),
    "no sample": (zeros((0, 17, 4, 3)), "expected shape (n, 17, 4, 3), got (0, 17, 4, 3)"),
    "negative length": (
        header_only(shape="(-1, 17, 4, 3)"),
        "expected shape (n, 17, 4, 3), got (-1, 17, 4, 3)",
    ),
    "complex": (zeros(SHAPE, np.complex64), "expected float16, float32, float64 or whole numbers, got complex64"),
    "structured": (
        zeros(SHAPE, [("x", "f4")]),
        "expected float16, float32, float64 or whole numbers, got [('x', '<f4')]",
    ),
    "text array": (zeros(SHAPE, "U2"), "expected float16, float32, float64 or whole numbers, got <U2"),
    "objects": (
        npy_bytes(np.array([Payload()], dtype=object)),
        "expected numbers, got Python objects, which are never unpickled",
    ),
}
NAN, INFINITE = heatmaps(3), heatmaps()
NAN[1, 16, 3, 2] = np.nan
NAN[2, 0, 0, 0] = np.nan
INFINITE[0, 0, 0, 0] = -np.inf
NOT_FINITE_CONTENT = {
    "NaN": (npy_bytes(NAN), "expected finite values, got NaN or infinity in sample 1 and 1 more"),
    "infinity": (npy_bytes(INFINITE), "expected finite values, got NaN or infinity in sample 0"),
    "beyond float32": (
        npy_bytes(np.full(SHAPE, 1e300)),
        "expected finite values, got NaN or infinity in sample 0",
    ),
}


class TestBadFiles:
    @pytest.mark.parametrize("kind", BAD_CONTENT)
    def test_what_headers_and_lengths_tell_is_told_before_any_work(self, root, kind):
        content, reason = BAD_CONTENT[kind]
        (root / "up" / "bad.npy").write_bytes(content)
        with pytest.raises(BadFilesError, match=re.escape(f"1 bad file in {root}:\n  up/bad.npy: {reason}")):
            HeatmapFolder(root)
        if kind != "other size":  # one file alone does not know the size that others have
            alone = reason.strip().replace("17, 4, 3), got", "17, H, W), got")
            with pytest.raises(BadFilesError, match=re.escape(f"1 bad file:\n  {root.as_posix()}/up/bad.npy: {alone}")):
                read_heatmaps(root / "up" / "bad.npy")
        assert not Payload.ran

    @pytest.mark.parametrize("kind", NOT_FINITE_CONTENT)
    def test_values_are_reported_once_they_were_read(self, root, kind):
        content, reason = NOT_FINITE_CONTENT[kind]
        (root / "up" / "bad.npy").write_bytes(content)
        folder = HeatmapFolder(root)
        with pytest.raises(BadFilesError, match=re.escape(f"  up/bad.npy: {reason}\n")):
            read_all(folder)
        with pytest.raises(BadFilesError, match=re.escape(f"  up/bad.npy: {reason}\n")):
            list(folder.map(np.copy))
        with pytest.raises(BadFilesError, match=re.escape(reason)):
            read_heatmaps(root / "up" / "bad.npy")

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
    def test_special_files(self, root):
        (root / "up" / "folder.npy").mkdir()
        (root / "up" / "gone.npy").symlink_to(root / "nowhere")
        (root / "up" / "itself.npy").symlink_to(root / "up" / "itself.npy")
        os.mkfifo(root / "up" / "pipe.npy")
        with pytest.raises(BadFilesError) as caught:
            HeatmapFolder(root)
        special = "expected a file, got a broken link, a pipe or a device"
        assert caught.value.bad_files == (
            BadFile("up/folder.npy", "expected a file, got a folder"),
            BadFile("up/gone.npy", special),
            BadFile("up/itself.npy", special),
            BadFile("up/pipe.npy", special),
        )
        with pytest.raises(BadFilesError, match=r"got a folder"):
            read_heatmaps(root / "up" / "folder.npy")
        with pytest.raises(BadFilesError, match=r"got a broken link, a pipe"):
            read_heatmaps(root / "up" / "pipe.npy")
        with pytest.raises(FileNotFoundError, match=r"No such file: .*nowhere"):
            read_heatmaps(root / "nowhere")

    def test_unreadable(self, root, monkeypatch):
        """Permissions do not stop root, who may run the tests."""

        def denied(path):
            if "up_10" in path:
                raise PermissionError(13, "Permission denied", path)
            return FileIO(path)

        for module in ("npy", "sources"):
            monkeypatch.setattr(f"heatpose.data.{module}.FileIO", denied)
        with pytest.raises(BadFilesError, match=r"up/up_10\.npy: expected a readable file, got: Permission denied"):
            HeatmapFolder(root)
        with pytest.raises(BadFilesError, match=r"up_10\.npy: expected a readable file, got: Permission denied"):
            read_heatmaps(root / "up" / "up_10.npy")

    def test_unreadable_folder(self, root, monkeypatch):
        scan = os.scandir

        def denied(path):
            if path.endswith("up"):
                raise PermissionError(13, "Permission denied", path)
            return scan(path)

        monkeypatch.setattr(os, "scandir", denied)
        with pytest.raises(BadFilesError, match=r"up/: expected a readable folder, got: Permission denied"):
            HeatmapFolder(root)

    def test_names_that_are_no_text(self, root):
        try:
            (root / "up" / os.fsdecode(b"\xff.npy")).write_bytes(GOOD)
        except OSError:
            pytest.skip("this file system takes names in UTF-8 alone")
        with pytest.raises(BadFilesError, match=r"up/\\udcff\.npy: expected a name in UTF-8"):
            HeatmapFolder(root)

    def test_all_are_reported_together(self, root):
        for number in range(57):
            (root / "up" / f"bad_{number}.npy").write_bytes(b"")
        with pytest.raises(BadFilesError) as caught:
            HeatmapFolder(root)
        lines = str(caught.value).splitlines()
        assert lines[0] == f"57 bad files in {root}:"
        assert lines[20] == "  up/bad_19.npy: expected an .npy file, got an empty one"
        assert lines[21] == "  ... and 37 more"
        assert "--skip-bad" in lines[22]
        assert len(lines) == 23
        assert len(caught.value.bad_files) == 57

    def test_of_two_sizes_the_rarer_is_bad(self, root):
        for number in range(5):
            save(root / "up" / f"large_{number}.npy", heatmaps(shape=(17, 8, 6)))
        with pytest.raises(BadFilesError, match=r"got \(1, 17, 4, 3\)") as caught:
            HeatmapFolder(root)
        assert len(caught.value.bad_files) == 4
        (root / "down" / "down_1.npy").unlink()
        save(root / "down" / "large.npy", heatmaps(shape=(17, 8, 6)))
        assert HeatmapFolder(root, skip_bad=True).heatmap_shape == (17, 8, 6)

    def test_the_error_travels_between_processes(self):
        error = BadFilesError([BadFile("a.npy", "reason")], "data")
        assert str(pickle.loads(pickle.dumps(error))) == str(error)
        assert pickle.loads(pickle.dumps(error)).bad_files == error.bad_files

    def test_other_numbers_of_keypoints_can_be_expected(self, tmp_path):
        save(tmp_path / "up" / "1.npy", heatmaps(shape=(1, 4, 3)))
        assert HeatmapFolder(tmp_path, n_keypoints=1).heatmap_shape == (1, 4, 3)
        assert read_heatmaps(tmp_path / "up" / "1.npy", n_keypoints=1).shape == (1, 1, 4, 3)


class TestSkipBad:
    def test_bad_files_are_left_out_and_counted(self, root, caplog):
        (root / "up" / "up_10.npy").write_bytes(b"")
        save(root / "stray.npy", heatmaps())
        folder = HeatmapFolder(root, skip_bad=True)
        assert [bad.path for bad in folder.bad_files] == ["stray.npy", "up/up_10.npy"]
        assert folder.index["path"].tolist() == ["down/down_1.npy", "up/up_9.npy", "up/up_11.npy"]
        np.testing.assert_array_equal(read_all(folder)[0], ALL[[0, 1, 3]])
        assert "Left out 2 bad files" in caplog.text

    @pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
    def test_of_a_readable_file_only_the_samples_that_are_not_finite(self, root, batch_size, caplog):
        np.save(root / "up" / "up_9.npy", NAN)
        folder = HeatmapFolder(root, skip_bad=True)
        assert folder.bad_files == ()
        values, rows = read_all(folder, batch_size=batch_size)
        assert rows.tolist() == [0, 1, 4, 5]
        np.testing.assert_array_equal(values, np.stack([ALL[0], NAN[0], ALL[2], ALL[3]]))
        assert [bad.path for bad in folder.bad_files] == ["up/up_9.npy"]
        read_all(folder)
        assert len(folder.bad_files) == 1
        assert caplog.text.count("Left out") == 1

    @pytest.mark.parametrize("skip_bad", [False, True])
    @pytest.mark.parametrize("change", ["shorter", "longer", "other", "gone"])
    def test_files_that_change_after_they_were_listed(self, root, change, skip_bad):
        folder = HeatmapFolder(root, skip_bad=skip_bad)
        path = root / "up" / "up_10.npy"
        if change == "gone":
            path.unlink()
        else:
            other = npy_bytes(heatmaps()[0].transpose(1, 0, 2).copy())
            path.write_bytes({"shorter": GOOD[:-4], "longer": GOOD + b"0000", "other": other}[change])
        if skip_bad:
            values, rows = read_all(folder)
            assert rows.tolist() == [0, 1, 3]
            np.testing.assert_array_equal(values, ALL[rows])
        else:
            with pytest.raises(BadFilesError, match=r"up/up_10\.npy: expected .*(changed|No such file)"):
                read_all(folder)


@pytest.mark.parametrize("dtype", ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("n", [None, 1, 7])
def test_every_layout_gives_the_same_heatmaps(tmp_path, dtype, order, n):
    values = heatmaps(n or 1).astype(np.float16)  # exact in every dtype
    save(tmp_path / "up" / "1.npy", np.asarray(values[0] if n is None else values, dtype=dtype, order=order))
    read = read_heatmaps(tmp_path / "up" / "1.npy")
    assert read.dtype == np.float32
    assert read.flags.c_contiguous
    np.testing.assert_array_equal(read, values)
    np.testing.assert_array_equal(read_all(HeatmapFolder(tmp_path), batch_size=3)[0], values)


@pytest.mark.parametrize("dtype", ["uint8", ">u2"])
def test_negative_values_that_became_large_ones_are_told(tmp_path, dtype):
    """As (255 * heatmaps).astype("uint8") makes them of an estimator's small negatives."""
    peaks = render_heatmaps(np.full((1, 17, 3), [20.3, 30.6, 1.0]))
    noisy, largest = peaks + np.random.default_rng(0).normal(0, 0.02, peaks.shape), np.iinfo(dtype).max
    path = tmp_path / "up" / "1.npy"
    for right in (np.clip(noisy, 0, 1) * largest, largest * (peaks > 0.5)):  # clipped first; a mask
        save(path, right.astype(dtype))
        np.testing.assert_array_equal(read_heatmaps(path), right.astype(dtype))
    save(path, (noisy * largest).astype(np.int64).astype(dtype))
    np.savez(tmp_path / "arrays1.npz", heatmaps=np.load(path))
    files = [(read_heatmaps, path), (lambda path: read_all(HeatmapFolder(path)), tmp_path)]
    for read, source in [*files, (read_poses, path), (read_poses, tmp_path / "arrays1.npz")]:
        with pytest.raises(ValueError, match=r"1\.np[yz]: expected heatmaps that were clipped before they became "):
            read(source)


def test_an_error_of_writing_names_the_file(tmp_path):
    """Also that of numpy.save on a full disk, which has a text alone."""
    for error in (OSError(errno.ENOSPC, "No space left on device"), OSError("3264 requested and 0 written")):
        with pytest.raises(OSError, match=rf"{error.args[-1]}.*") as raised, whole_file(tmp_path / "pose.npy"):
            raise error
        assert str(tmp_path / "pose.npy") in str(raised.value)
        assert any(reason in str(raised.value) for reason in ("No space", "full disk"))


def test_an_error_of_replacing_names_its_file_among_several(tmp_path):
    (tmp_path / "pose.json").mkdir()
    with pytest.raises(OSError, match=r"pose\.json") as raised:
        replace_files([(tmp_path / "pose.json", b"{}"), (tmp_path / "pose.joblib", b"")])
    assert "pose.joblib" not in str(raised.value)
    assert [path.name for path in tmp_path.iterdir()] == ["pose.json"]


class Slow(FileIO):
    """A file of which a call gives few bytes, as calls of all systems do from 2 GB on."""

    def readinto(self, buffer):
        return super().readinto(memoryview(buffer).cast("B")[:100])


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
def test_reading_goes_on_where_the_system_gives_fewer_bytes_than_asked_for(tmp_path, monkeypatch, dtype):
    array = (100 * heatmaps(3)).astype(dtype)
    save(tmp_path / "up" / "1.npy", array)
    folder = HeatmapFolder(tmp_path)
    monkeypatch.setattr("heatpose.data.npy.FileIO", Slow)
    monkeypatch.setattr("heatpose.data.sources.FileIO", Slow)
    np.testing.assert_array_equal(read_heatmaps(tmp_path / "up" / "1.npy"), array)
    np.testing.assert_array_equal(folder.read([1, 2]), array[1:])


@pytest.mark.parametrize("dtype", ["uint8", "int16", ">i4", "int64", "bool"])
@pytest.mark.parametrize("n", [1, 3])
def test_whole_numbers_are_read_as_arrays_of_them_are(tmp_path, dtype, n):
    array = (100 * heatmaps(n)).astype(dtype)
    save(tmp_path / "up" / "1.npy", array)
    np.testing.assert_array_equal(read_heatmaps(tmp_path / "up" / "1.npy"), array.astype(np.float32))
    np.testing.assert_array_equal(read_all(HeatmapFolder(tmp_path))[0], array.astype(np.float32))
    np.testing.assert_array_equal(decode_heatmaps(read_heatmaps(tmp_path / "up" / "1.npy")), decode_heatmaps(array))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_every_version_of_the_format(tmp_path, version):
    with (tmp_path / "1.npy").open("wb") as file:
        np.lib.format.write_array(file, heatmaps(), version=version)
    np.testing.assert_array_equal(read_heatmaps(tmp_path / "1.npy"), heatmaps())


def test_headers_of_python_2(tmp_path):
    content = GOOD.replace(b"(1, 17, 4, 3), } ", b"(1L, 17, 4, 3), }")
    assert len(content) == len(GOOD)
    (tmp_path / "1.npy").write_bytes(content)
    np.testing.assert_array_equal(read_heatmaps(tmp_path / "1.npy"), heatmaps())


@pytest.mark.parametrize("batch_size", [1, 3, 4, 1000])
def test_batches_are_the_same_whatever_their_size(root, batch_size):
    folder = HeatmapFolder(root)
    values, rows = read_all(folder, batch_size=batch_size)  # kept until the end: no array is used twice
    np.testing.assert_array_equal(values, ALL)
    assert rows.tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"batch_size of at least 1, got 0"):
        next(folder.batches(0))


class TestMap:
    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        """Files of 1, 2, ... 8 samples, read in chunks of three."""
        for count in range(1, 9):
            save(tmp_path / "up" / f"{count}.npy", heatmaps(count, seed=count))
        monkeypatch.setattr(reading, "CHUNK_BYTES", 3 * 4 * np.prod(SHAPE))
        return HeatmapFolder(tmp_path)

    @pytest.mark.parametrize("n_jobs", [None, -1, 1, 2, 5])
    def test_results_are_in_order_whatever_the_threads(self, folder, n_jobs):
        parts = list(folder.map(lambda part: part.sum(axis=(2, 3)), n_jobs=n_jobs))
        expected = np.concatenate([heatmaps(count, seed=count) for count in range(1, 9)]).sum(axis=(2, 3))
        np.testing.assert_array_equal(np.concatenate([result for result, _ in parts]), expected)
        np.testing.assert_array_equal(np.concatenate([rows for _, rows in parts]), np.arange(36))

    def test_progress_counts_up_in_this_thread(self, folder):
        calls = []
        list(folder.map(np.copy, n_jobs=2, progress=lambda *call: calls.append((*call, threading.get_ident()))))
        assert calls == [(done, 36, threading.get_ident()) for done in range(3, 37, 3)]

    @pytest.mark.parametrize("where", ["progress", "function"])
    def test_an_interruption_ends_all_threads(self, folder, where):
        calls = []

        def interrupt(*_):
            calls.append(None)
            raise KeyboardInterrupt

        before = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            if where == "progress":
                list(folder.map(np.copy, n_jobs=2, progress=interrupt))
            else:
                list(folder.map(interrupt, n_jobs=2))
        assert threading.active_count() == before
        assert len(calls) < 12 or where == "function"

    def test_a_loop_left_early_ends_all_threads(self, folder):
        before = threading.active_count()
        for _ in folder.map(np.copy, n_jobs=2):
            break
        assert threading.active_count() == before

    @pytest.mark.parametrize("n_jobs", [0, "2", 1.5])
    def test_threads_that_cannot_be(self, folder, n_jobs):
        with pytest.raises(ValueError, match=f"n_jobs of at least 1, or -1 for all processors, got {n_jobs!r}"):
            next(folder.map(np.copy, n_jobs=n_jobs))

    def test_processors_that_this_process_may_use(self, monkeypatch):
        monkeypatch.setattr("joblib.cpu_count", lambda: 4)
        assert [reading.count_workers(n_jobs) for n_jobs in (None, -1, -2, -9, 1, 7)] == [4, 4, 3, 1, 1, 7]

    def test_memory_is_bounded(self, tmp_path):
        save(tmp_path / "up" / "1.npy", np.zeros((400, 17, 64, 48), np.float16))  # 84 MB as float32
        folder = HeatmapFolder(tmp_path)
        tracemalloc.start()
        try:
            for _ in folder.map(lambda part: part[:, :, 0, 0].copy(), n_jobs=1):
                pass
            for _ in folder.batches(16):
                pass
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 30e6


def test_pickled_payloads_never_run(tmp_path):
    np.save(tmp_path / "1.npy", np.full((1, *SHAPE), Payload(), dtype=object), allow_pickle=True)
    with pytest.raises(BadFilesError, match=r"got Python objects, which are never unpickled"):
        read_heatmaps(tmp_path / "1.npy")
    (tmp_path / "2.npy").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(BadFilesError, match=r"got one that starts with"):
        read_heatmaps(tmp_path / "2.npy")
    assert not Payload.ran
    np.load(tmp_path / "1.npy", allow_pickle=True)
    assert Payload.ran  # it would have
    Payload.ran = False


ORIGINALS = [
    npy_bytes(np.asarray(heatmaps(2).astype(dtype), order=order)) for dtype in ("<f4", ">f8", "<f2") for order in "CF"
]
TOKENS = [
    b"'<f4'",
    b"'<f8'",
    b"'<f2'",
    b"'|O'",
    b"'<M8[s]'",
    b"[('a', '<f4')]",
    b"False",
    b"True",
    b"None",
    b"(2, ",
    b"17",
]
TOKENS += [
    b"4",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"1e9",
    b"2L",
    b"0x11",
    b"((((",
    b"\\",
    b"'",
    b"#",
    b"\n",
    b"}",
    b"{",
]
TOKENS += [
    b"[",
    b"__import__('os')",
    b"'shape'",
    b"'descr'",
    b"\0",
    b"\xff",
    b"f'{1}'",
    b"1_7",
    b"17,)*9",
    b"lambda:0",
]


@st.composite
def damaged_files(draw):
    content = bytearray(draw(st.sampled_from(ORIGINALS)))
    for _ in range(draw(st.integers(1, 3))):
        match draw(st.sampled_from(["flip", "flip", "token", "token", "cut", "add"])):
            case "flip":
                last = draw(st.sampled_from([16, 128, len(content)]))  # mostly in the header
                position = draw(st.integers(0, min(last, len(content)) - 1)) if content else None
                if position is not None:
                    content[position] = draw(st.integers(0, 255))
            case "token":
                old = draw(st.sampled_from(TOKENS))
                content = content.replace(old, draw(st.sampled_from(TOKENS)), 1)
            case "cut":
                del content[draw(st.integers(0, len(content))) :]
            case "add":
                content += draw(st.binary(max_size=20))
    return bytes(content)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    return tmp_path_factory.mktemp("damaged") / "file.npy"


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(content=damaged_files())
def test_a_damaged_file_is_read_right_or_refused(scratch, content):
    scratch.write_bytes(content)
    tracemalloc.start()
    try:
        read = read_heatmaps(scratch)
    except BadFilesError:
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2e6
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = np.load(scratch, allow_pickle=False).astype(np.float32)
    np.testing.assert_array_equal(read, expected if expected.ndim == 4 else expected[None])
    assert np.isfinite(read).all()


class TestLayout:
    """Folders at the top that are groups of class folders, and no classes."""

    @pytest.mark.parametrize(
        "outer", [["train", "test"], ["fold_0", "fold_1", "fold_2"], ["Train"], ["anna", "ben"], ["set"]]
    )
    def test_groups_with_classes_in_them_are_refused_unless_declared(self, tmp_path, outer):
        for group in outer:
            for name in ("up", "down"):
                save(tmp_path / group / name / "1.npy", heatmaps())
        seen = "only one folder" if outer == ["set"] else "folders"
        with pytest.raises(ValueError, match=rf"got {seen} .*{outer[0]}.*down, up.*--layout group/class.*layout class"):
            HeatmapFolder(tmp_path)
        folder = HeatmapFolder(tmp_path, layout="group/class")
        assert folder.classes == ("down", "up")
        assert sorted(set(folder.index["group"])) == sorted(outer)
        paths = folder.index["path"].str.split("/", expand=True)
        assert (paths[0] == folder.index["group"]).all() and (paths[1] == folder.index["label"]).all()
        assert HeatmapFolder(tmp_path, layout="class").classes == tuple(sorted(outer))

    def test_a_person_may_have_skipped_a_class(self, tmp_path):
        for path in ("anna/up", "anna/down", "anna/left", "ben/up", "ben/down"):
            save(tmp_path / path / "1.npy", heatmaps())
        with pytest.raises(ValueError, match="the same folders"):
            HeatmapFolder(tmp_path)
        assert HeatmapFolder(tmp_path, layout="group/class").classes == ("down", "left", "up")

    @pytest.mark.parametrize(
        "paths",
        [
            ("up/anna/1.npy", "down/ben/1.npy"),
            ("up/raw/1.npy", "down/raw/1.npy"),
            ("up/a/1.npy", "up/b/1.npy", "down/1.npy", "down/a/1.npy", "down/b/1.npy"),
            ("test/1.npy", "up/1.npy"),
            ("test/a/1.npy", "up/a/1.npy"),
        ],
    )
    def test_classes_with_folders_in_them_are_classes(self, tmp_path, paths):
        for path in paths:
            save(tmp_path / path, heatmaps())
        assert set(HeatmapFolder(tmp_path).classes) == {path.partition("/")[0] for path in paths}
        assert HeatmapFolder(tmp_path).index["group"].isna().all()

    def test_files_outside_a_class_are_bad(self, tmp_path):
        for path in ("anna/up/1.npy", "anna/down/1.npy", "anna/2.npy", "3.npy"):
            save(tmp_path / path, heatmaps())
        with pytest.raises(BadFilesError, match="2 bad files") as caught:
            HeatmapFolder(tmp_path, layout="group/class")
        assert all("<group>/<class>/<file>.npy" in bad.reason for bad in caught.value.bad_files)

    def test_a_layout_that_does_not_exist(self, root):
        with pytest.raises(ValueError, match=r"Expected a layout out of auto, class, group/class, got 'split'\."):
            HeatmapFolder(root, layout="split")


class TestNotes:
    """Ignored files that look like data are counted."""

    def test_other_arrays_and_pictures_are_counted(self, root):
        for name in ("up/1.npz", "up/2.npz", "down/3.jpg", "up/up_9.jpg", "clips.csv", "LICENSE.txt", "settings.json"):
            (root / name).write_bytes(b"")
        (note,) = HeatmapFolder(root).notes
        assert note.startswith(f"2 .npz and 1 .jpg files in {root} were ignored, beside 4 .npy files")

    @pytest.mark.parametrize("names", [("up/1.jpg", "down/1.MP4"), ("1.jpg", "2.jpg")])
    def test_without_heatmaps_pictures_and_films_lead_to_the_command_for_them(self, tmp_path, names):
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(ValueError, match=r"2? \.jpg .* were ignored.*'heatpose heatmaps'"):
            HeatmapFolder(tmp_path)
        for read in (load_data, lambda path: list_pose_files([path])):
            with pytest.raises(ValueError, match="'heatpose heatmaps'"):
                read(tmp_path / names[1])

    def test_capital_letters_are_heatmaps(self, root):
        (root / "up" / "up_9.npy").rename(root / "up" / "up_9.NPY")
        folder = HeatmapFolder(root)
        assert len(folder) == 4 and folder.notes == []


class TestAdvice:
    """Errors of a whole folder name the cure, and not --skip-bad."""

    @pytest.mark.parametrize(
        "shape, cure",
        [
            ((2, 4, 3, 17), "np.moveaxis(heatmaps, -1, -3)"),
            ((4, 3, 17), "np.moveaxis(heatmaps, -1, -3)"),
            ((2, 1, 17, 4, 3), "heatmaps.reshape(2, 17, 4, 3)"),
            ((1, 1, 17, 4, 3), "heatmaps.reshape(17, 4, 3)"),
            ((2, 133, 4, 3), "heatmaps[..., :17, :, :]"),
            ((17, 2, 4, 3), "heatmaps.swapaxes(0, 1)"),
        ],
    )
    def test_a_shape_names_its_cure_and_the_cure_works(self, tmp_path, shape, cure):
        array = np.random.default_rng(0).random(shape, dtype=np.float32)
        save(tmp_path / "up" / "1.npy", array)
        with pytest.raises(BadFilesError) as caught:
            HeatmapFolder(tmp_path)
        assert f"use {cure}" in str(caught.value) and "--skip-bad" not in str(caught.value)
        save(tmp_path / "up" / "1.npy", eval(cure, {"np": np, "heatmaps": array}))
        assert HeatmapFolder(tmp_path).heatmap_shape == SHAPE

    def test_heatmaps_of_another_skeleton_name_it(self, tmp_path):
        save(tmp_path / "up" / "1.npy", np.ones((1, 25, 8, 6), dtype=np.float32))
        with pytest.raises(BadFilesError, match=r"25, 8, 6\): .*use --skeleton body-25 or kinect-25\n"):
            HeatmapFolder(tmp_path)
        assert len(load_data(tmp_path, skeleton="body-25")) == 1

    def test_vectors_of_simcc_have_no_cure(self, tmp_path):
        save(tmp_path / "up" / "1.npy", np.ones((1, 17, 384), dtype=np.float32))
        with pytest.raises(BadFilesError, match=r"got \(1, 17, 384\)\n"):
            HeatmapFolder(tmp_path)

    @pytest.mark.parametrize("shape", [(17, 3), (1, 17, 3), (17, 17, 2), (17, 17, 4), (5, 17, 17, 3)])
    def test_keypoints_are_no_heatmaps(self, tmp_path, shape):
        save(tmp_path / "up" / "1.npy", np.ones(shape, dtype=np.float32))
        with pytest.raises(BadFilesError, match="they are keypoints, not heatmaps; use --format arrays"):
            HeatmapFolder(tmp_path)

    def test_swapped_rows_and_columns_among_others(self, root):
        save(root / "up" / "bad.npy", heatmaps().swapaxes(-1, -2))
        with pytest.raises(BadFilesError, match=r"rows and columns are swapped.*swapaxes\(-1, -2\)\n.*--skip-bad"):
            HeatmapFolder(root)
