"""The keypoint table: the same from a folder and from a file, and strict about both."""

import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from heatpose.data import reading
from heatpose.data.folder import HeatmapFolder
from heatpose.data.npy import BadFilesError
from heatpose.data.table import (
    extract_keypoints,
    is_folder,
    is_pose_source,
    keypoint_frame,
    load_data,
    read_table,
    table_keypoints,
    write_table,
)
from heatpose.datasets.simulation import simulate_poses
from heatpose.evaluation.inspection import inspect_data
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.skeleton import COCO_17

COLUMNS = list(COCO_17.columns)
SHAPE = (17, 12, 10)


def blobs(n, seed=0):
    """Heatmaps with a Gaussian peak for each keypoint, (n, 17, 12, 10)."""
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(2, 7, (2, n, 17, 1, 1))
    rows, columns = np.mgrid[:12, :10]
    return np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 4).astype(np.float32)


@pytest.fixture
def root(tmp_path):
    """Two classes; up has a file of five samples, down has ten of one."""
    for name in ("up", "down"):
        (tmp_path / "data" / name).mkdir(parents=True)
    np.save(tmp_path / "data" / "up" / "up.npy", blobs(5, seed=1))
    for number, heatmap in enumerate(blobs(10, seed=2)):
        np.save(tmp_path / "data" / "down" / f"{number}.npy", heatmap)
    return tmp_path / "data"


@pytest.fixture
def table():
    """Three rows; keypoint coordinates 0, 1, 2, ... and confidences of a half."""
    keypoints = np.arange(3 * 51, dtype=np.float32).reshape(3, 17, 3)
    keypoints[..., 2] = 0.5
    columns = {
        "path": ["up/1.npy", "up/2.npy", pd.NA],
        "label": ["up", "up", "007"],
        "group": ["anna", pd.NA, "12"],
    }
    index = pd.DataFrame(columns, dtype="string")
    index.insert(1, "sample", [0, 3, 0])
    return pd.concat([index, keypoint_frame(keypoints)], axis=1)


def test_frame_and_keypoints_are_each_others_reverse():
    keypoints = np.random.default_rng(0).random((4, 17, 3), dtype=np.float32)
    frame = keypoint_frame(keypoints)
    assert list(frame.columns) == COLUMNS
    assert (frame.dtypes == np.float32).all()
    np.testing.assert_array_equal(frame["left_wrist_y"], keypoints[:, COCO_17.keypoints.index("left_wrist"), 1])
    shuffled = frame[COLUMNS[::-1]].assign(other=1)
    np.testing.assert_array_equal(table_keypoints(shuffled), keypoints)
    assert table_keypoints(keypoint_frame(np.empty((0, 17, 3)))).shape == (0, 17, 3)
    tensor = SimpleNamespace(dtype="torch.float32", numpy=lambda: keypoints)
    tensor.detach = tensor.cpu = lambda: tensor
    pd.testing.assert_frame_equal(keypoint_frame(tensor), frame)


def test_keypoints_are_copies_both_ways():
    keypoints = np.zeros((2, 17, 3), dtype=np.float32)
    frame = keypoint_frame(keypoints)
    table_keypoints(frame)[:] = 1
    keypoints[:] = 1
    assert (frame == 0).all(axis=None)


def test_keypoints_of_another_shape():
    with pytest.raises(ValueError, match=r"Expected keypoints of shape \(n, 17, 3\), got \(2, 17, 2\)\."):
        keypoint_frame(np.zeros((2, 17, 2)))
    with pytest.raises(ValueError, match=r"Expected 51 columns in the table, got 50 of them; missing: nose_y\."):
        table_keypoints(keypoint_frame(np.zeros((2, 17, 3))).drop(columns="nose_y"))


class TestExtract:
    def test_a_path_is_no_folder_of_heatmaps(self, root):
        with pytest.raises(TypeError, match=r"a HeatmapFolder, got .*: heatpose\.load_data takes a path"):
            extract_keypoints(root)

    @pytest.mark.parametrize("method", ["gaussian", "argmax"])
    def test_the_table_is_the_index_and_the_decoded_heatmaps(self, root, method):
        folder = HeatmapFolder(root)
        table = extract_keypoints(folder, method)
        assert list(table.columns) == ["path", "sample", "label", "group", *COLUMNS]
        pd.testing.assert_frame_equal(table[folder.index.columns], folder.index)
        expected = decode_heatmaps(np.concatenate([blobs(10, seed=2), blobs(5, seed=1)]), method)
        np.testing.assert_array_equal(table_keypoints(table), expected)

    @pytest.mark.parametrize(
        "scale, n_noted", [(1, 0), (0, 0), (-1, 0), ("logits", 1), ("background", 1), ("little below 0", 0)]
    )
    def test_peaks_below_zero_are_noted_not_maps_without_a_peak(self, tmp_path, scale, n_noted):
        heights = np.random.default_rng(0).uniform(0.2, 1, (6, 17, 1, 1))
        faint = np.clip(heights * blobs(6), 0.001, 0.999)
        heatmaps = blobs(6)
        if scale in ("background", "little below 0"):  # the first of logits, whose peaks are all above 0
            heatmaps = 8 * heatmaps - (5 if scale == "background" else 0.5)
        else:
            heatmaps[:, ::3] = np.log(faint / (1 - faint))[:, ::3] if scale == "logits" else scale
        (tmp_path / "up").mkdir()
        np.save(tmp_path / "up" / "clip.npy", heatmaps)
        folder = HeatmapFolder(tmp_path)
        for notes in (extract_keypoints(folder).attrs["notes"], inspect_data(tmp_path).problems):
            shown = [note for note in map(str, notes) if "a sigmoid to logits" in note]
            assert len(shown) == n_noted

    @pytest.mark.parametrize("chunk", [1, 4, 7, 1000])
    @pytest.mark.parametrize("n_jobs", [1, 3])
    def test_the_table_depends_on_neither_threads_nor_chunks(self, root, n_jobs, chunk, monkeypatch):
        folder = HeatmapFolder(root)
        expected = extract_keypoints(folder, n_jobs=1)
        monkeypatch.setattr(reading, "CHUNK_BYTES", chunk * 4 * np.prod(SHAPE))
        pd.testing.assert_frame_equal(extract_keypoints(folder, n_jobs=n_jobs), expected, check_exact=True)

    def test_progress(self, root):
        calls = []
        extract_keypoints(
            HeatmapFolder(root),
            progress=lambda done, total: calls.append((done, total, threading.get_ident())),
        )
        assert calls[-1] == (15, 15, threading.get_ident())

    def test_groups_of_the_index_are_kept(self, root):
        folder = HeatmapFolder(root)
        folder.index["group"] = folder.index["label"]
        assert (extract_keypoints(folder)["group"] == folder.index["label"]).all()

    def test_a_heatmap_without_a_peak_is_a_missing_keypoint(self, root):
        heatmaps = blobs(1)
        heatmaps[0, 3] = 0
        np.save(root / "up" / "up.npy", heatmaps)
        keypoints = table_keypoints(extract_keypoints(HeatmapFolder(root)))[-1]
        np.testing.assert_array_equal(keypoints[3], [np.nan, np.nan, 0])
        assert np.isfinite(np.delete(keypoints, 3, axis=0)).all()

    def test_values_that_are_not_finite(self, root):
        heatmaps = blobs(5, seed=1)
        heatmaps[3, 0, 0, 0] = np.nan
        np.save(root / "up" / "up.npy", heatmaps)
        with pytest.raises(BadFilesError, match=r"up/up\.npy: expected finite values, got NaN .* in sample 3"):
            extract_keypoints(HeatmapFolder(root))
        table = extract_keypoints(HeatmapFolder(root, skip_bad=True))
        assert table["sample"].tolist() == [0] * 10 + [0, 1, 2, 4]
        np.testing.assert_array_equal(table_keypoints(table)[-1], decode_heatmaps(blobs(5, seed=1))[-1])
        np.save(root / "up" / "up.npy", np.full_like(heatmaps, np.inf))
        with pytest.raises(ValueError, match=r"Expected finite heatmaps in every class .* got none in up\."):
            extract_keypoints(HeatmapFolder(root, skip_bad=True))

    def test_other_keypoints(self, tmp_path):
        (tmp_path / "up").mkdir()
        np.save(tmp_path / "up" / "1.npy", np.zeros((21, 4, 3)))
        with pytest.raises(ValueError, match=r"Expected heatmaps of 17 keypoints, got 21 in "):
            extract_keypoints(HeatmapFolder(tmp_path, n_keypoints=21))


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".CSV"])
class TestRoundTrip:
    def test_a_table_comes_back_the_same(self, table, tmp_path, suffix):
        write_table(table, tmp_path / f"table{suffix}")
        pd.testing.assert_frame_equal(read_table(tmp_path / f"table{suffix}"), table, check_exact=True)
        assert [path.name for path in tmp_path.iterdir()] == [f"table{suffix}"]

    def test_a_file_is_replaced_in_one_step(self, table, tmp_path, suffix):
        path, old = tmp_path / f"table{suffix}", tmp_path / "old"
        path.write_text("old")
        old.hardlink_to(path)
        write_table(table, path)
        assert old.read_text() == "old"  # nobody who reads it meanwhile sees half a table
        pd.testing.assert_frame_equal(read_table(path), table)

    def test_from_heatmaps_too(self, root, tmp_path, suffix):
        heatmaps = blobs(1)
        heatmaps[0, 3] = 0
        np.save(root / "up" / "up.npy", heatmaps)
        extracted = extract_keypoints(HeatmapFolder(root))
        write_table(extracted, tmp_path / f"table{suffix}")
        pd.testing.assert_frame_equal(read_table(tmp_path / f"table{suffix}"), extracted, check_exact=True)

    @pytest.mark.parametrize("label", ["NA", "null", "nan", "None", "1.0", "1e5", "True", 'a "b", c', "Grüße", "a\nb"])
    def test_labels_stay_what_they_are(self, table, tmp_path, suffix, label):
        write_table(table.assign(label=label, group=label), tmp_path / f"table{suffix}")
        read = read_table(tmp_path / f"table{suffix}")
        assert read["label"].tolist() == [label] * 3
        assert read["group"].tolist() == [label] * 3

    def test_the_old_file_stays_when_writing_fails(self, table, tmp_path, suffix, monkeypatch):
        path = tmp_path / f"table{suffix}"
        path.write_text("old")

        def fail(self, file, **_):
            file.write(b"half")
            raise KeyboardInterrupt

        monkeypatch.setattr(pd.DataFrame, "to_csv", fail)
        monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
        with pytest.raises(KeyboardInterrupt):
            write_table(table, path)
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]

    def test_only_labels_and_keypoints_are_needed(self, table, tmp_path, suffix):
        path = tmp_path / f"table{suffix}"
        write_table(table[["label", *COLUMNS[::-1]]].assign(weather="fine"), path)
        read = read_table(path)
        groups = "Groups, such as people, are read from a column called group."
        assert read.attrs["notes"] == [f"Ignored columns of {path}: weather. {groups}"]
        assert read[["path", "group"]].isna().all(axis=None)
        assert (read["sample"] == 0).all()
        pd.testing.assert_frame_equal(read[["label", *COLUMNS]], table[["label", *COLUMNS]])

    def test_a_missing_keypoint_is_nan_with_confidence_0(self, table, tmp_path, suffix):
        table.loc[0, "nose_confidence"] = 0
        table.loc[1, "nose_confidence"] = np.nan
        table.loc[2, "nose_confidence"] = np.float32(-0.1)
        table.loc[0, "left_eye_x"] = np.nan
        table.loc[1, "left_eye_y"] = np.nan
        write_table(table, tmp_path / f"table{suffix}")
        keypoints = table_keypoints(read_table(tmp_path / f"table{suffix}"))
        missing = [np.nan, np.nan, 0]
        np.testing.assert_array_equal(keypoints[:, 0], [missing] * 3)
        np.testing.assert_array_equal(keypoints[:, 1], [missing, missing, table_keypoints(table)[2, 1]])
        assert np.isfinite(keypoints[:, 2:]).all()

    def test_whole_numbers_are_numbers(self, table, tmp_path, suffix):
        write_table(table.assign(nose_x=[1, 2, 3]), tmp_path / f"table{suffix}")
        assert read_table(tmp_path / f"table{suffix}")["nose_x"].tolist() == [1, 2, 3]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"nose_x": ["1", "left", "2"]}, r"Expected numbers in column nose_x of .*, got 'left'\."),
            ({"nose_x": [True, False, True]}, r"Expected numbers in column nose_x of .*, got .*bool"),
            (
                {"nose_x": [1, np.inf, 2]},
                r"Expected finite .* got 1 infinite ones, the first in row 2, column nose_x",
            ),
            (
                {"nose_x": [1, 2, 1e300]},
                r"Expected finite .* got 1 infinite ones, the first in row 3, column nose_x",
            ),
            (
                {"label": ["up", None, " "]},
                r"Expected a label in every row of .*, got none in 2, the first .* row 2\.",
            ),
            ({"sample": [0, 1.5, 2]}, r"Expected whole numbers in column sample of .*, got others\."),
        ],
    )
    def test_bad_values(self, table, tmp_path, suffix, change, message):
        write_table(table.assign(**change), tmp_path / f"table{suffix}")
        with pytest.raises(ValueError, match=message):
            read_table(tmp_path / f"table{suffix}")

    def test_missing_columns_are_named(self, table, tmp_path, suffix):
        path = tmp_path / f"table{suffix}"
        write_table(table.drop(columns=["label", "nose_x", "right_ankle_confidence"]), path)
        with pytest.raises(ValueError, match=r"Expected 52 .* got 49 of them; missing: label, nose_x, right_ankle_"):
            read_table(path)
        write_table(table[["path", "label"]], path)
        with pytest.raises(ValueError, match=r"got 1 of them; missing: nose_x, .*, left_eye_confidence and 45 more\."):
            read_table(path)

    def test_no_rows(self, table, tmp_path, suffix):
        write_table(table[:0], tmp_path / f"table{suffix}")
        with pytest.raises(ValueError, match=r"Expected at least one row, got none in "):
            read_table(tmp_path / f"table{suffix}")

    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b'label,nose_x\n"up', b"PAR1 broken PAR1"])
    def test_files_that_are_no_table(self, tmp_path, suffix, content):
        path = tmp_path / f"table{suffix}"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"Expected (a \.\w+ table, got a file that cannot be read|52 columns)"):
            read_table(path)


def test_labels_that_are_numbers_in_parquet_become_text(table, tmp_path):
    path = tmp_path / "table.parquet"
    write_table(table.assign(label=[1, 2, 3]), path)
    assert read_table(path)["label"].tolist() == ["1", "2", "3"]
    write_table(table.assign(label=pd.Categorical(["a", "b", "a"])), path)
    assert read_table(path)["label"].tolist() == ["a", "b", "a"]
    write_table(table.assign(label=[1.0, 2.0, 3.5]), path)
    with pytest.raises(ValueError, match=r"Expected text in column label of .*, got float64\."):
        read_table(path)


@pytest.mark.parametrize("name", ["group", "label"])
def test_an_index_with_a_name_is_a_column(table, tmp_path, name):
    table = table.assign(group=["x", "y", "y"])
    table.set_index(name).to_parquet(tmp_path / "table.parquet")
    assert read_table(tmp_path / "table.parquet")[name].tolist() == table[name].tolist()


@pytest.mark.parametrize("end", ["\r\n", "\r"])  # the latter is Excel's CSV for Macintosh
def test_a_csv_saved_by_a_spreadsheet(table, tmp_path, end):
    text = table.to_csv(index=False, lineterminator=end)
    (tmp_path / "table.csv").write_text("\ufeff" + text, encoding="utf-8", newline="")
    pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_csv_that_ends_within_a_row(table, tmp_path, encoding):
    path = tmp_path / "table.csv"
    write_table(table, path)
    whole = path.read_text()
    last = whole.rstrip("\n").rpartition("\n")[2]
    for n_lost in (30, len(last)):  # within the last row, and to within its first columns
        path.write_text(whole[:-n_lost], encoding=encoding)
        with pytest.raises(ValueError, match=r"Expected 55 columns in each row, got \d+ in the last one"):
            read_table(path, labelled=False)
    path.write_text(whole.rstrip("\n"), encoding=encoding)  # complete, as some programs write it
    pd.testing.assert_frame_equal(read_table(path), table)


def test_rows_of_one_path_are_counted(table, tmp_path):
    for paths in (["a.jpg", "b.jpg", "a.jpg"], [None, "b.jpg", None]):
        write_table(table.drop(columns="sample").assign(path=paths), tmp_path / "table.parquet")
        counted = read_table(tmp_path / "table.parquet")
        assert counted["sample"].tolist() == [0, 0, 1]
        write_table(counted, tmp_path / "again.csv")
        pd.testing.assert_frame_equal(read_table(tmp_path / "again.csv"), counted)


@pytest.mark.parametrize("name", ["label", "group"])
def test_blank_text_is_none(table, tmp_path, name):
    write_table(table.assign(**{name: ["a", " ", "b"]}), tmp_path / "table.csv")
    assert read_table(tmp_path / "table.csv", labelled=False)[name].isna().tolist() == [False, True, False]


def test_a_decimal_comma_shows_in_any_of_the_first_rows(table, tmp_path):
    table[COLUMNS] += 0.25
    text = table.to_csv(index=False, sep=";", decimal=",").split("\n")
    text.insert(1, ";".join(["up/0.npy", "0", "up", "anna", *["0"] * 51]))  # a frame without a person
    (tmp_path / "table.csv").write_text("\n".join(text))
    np.testing.assert_array_equal(table_keypoints(read_table(tmp_path / "table.csv"))[1:], table_keypoints(table))


def test_a_csv_row_that_is_too_long(table, tmp_path):
    lines = table.to_csv(index=False).splitlines()
    for row in (1, 3):
        longer = [line + ",1" * (number == row) for number, line in enumerate(lines)]
        (tmp_path / "table.csv").write_text("\n".join(longer))
        with pytest.raises(ValueError, match=r"Expected a \.csv table, got a file that cannot be read"):
            read_table(tmp_path / "table.csv")


def test_names_of_tables(table, tmp_path):
    for name in ("table.xlsx", "table"):
        with pytest.raises(ValueError, match=r"Expected a table that ends in \.parquet or \.csv, got .*table"):
            write_table(table, tmp_path / name)
        with pytest.raises(ValueError, match=r"Expected a table that ends in \.parquet or \.csv, got .*table"):
            read_table(tmp_path / name)
    with pytest.raises(ValueError, match=r"got .*data\.zip\. An archive is read as zip://::data\.zip"):
        read_table(tmp_path / "data.zip")
    with pytest.raises(FileNotFoundError, match=r"No such table: .*table\.csv"):
        read_table(tmp_path / "table.csv")
    with pytest.raises(FileNotFoundError, match=r"No such folder to write table\.csv in: .*nowhere"):
        write_table(table, tmp_path / "nowhere" / "table.csv")


def test_data_are_a_folder_or_a_table(root, tmp_path):
    table = extract_keypoints(HeatmapFolder(root), "argmax")
    table.attrs["notes"].append("One file was ignored.")
    write_table(table, tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(load_data(root, "argmax"), table)
    pd.testing.assert_frame_equal(load_data(tmp_path / "table.parquet"), table)
    assert load_data(tmp_path / "table.parquet", "argmax").attrs["notes"] == ["One file was ignored."]
    _, note = load_data(tmp_path / "table.parquet").attrs["notes"]
    assert "were decoded by argmax, not by gaussian" in note
    files = HeatmapFolder(root)
    np.save(tmp_path / "maps.npy", files.read(range(len(files))))
    maps = load_data(tmp_path / "maps.npy", "argmax", labels=table["label"])
    np.testing.assert_array_equal(table_keypoints(maps), table_keypoints(table))
    (root / "up" / "bad.npy").write_bytes(b"")
    with pytest.raises(BadFilesError, match=r"up/bad\.npy"):
        load_data(root)
    pd.testing.assert_frame_equal(load_data(root, "argmax", skip_bad=True), table)
    with pytest.raises(FileNotFoundError, match=r"No such folder or table: .*nowhere"):
        load_data(tmp_path / "nowhere")


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(values=arrays(np.float32, 51, elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_csv_keeps_every_bit(values, tmp_path_factory):
    keypoints = values.reshape(1, 17, 3)
    keypoints[0, 0, :2] = 1000, -1000  # no fractions of an image
    keypoints[..., 2] = np.abs(keypoints[..., 2]) + np.float32(1e-30)
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    write_table(keypoint_frame(keypoints).assign(label="up"), path)
    np.testing.assert_array_equal(table_keypoints(read_table(path, keep_placeholders=True)), keypoints)


def test_labels_are_only_needed_where_they_are_asked_for(tmp_path):
    file = tmp_path / "poses.csv"
    write_table(keypoint_frame(np.full((2, 17, 3), 9.0)), file)
    with pytest.raises(ValueError, match=r"missing: label\.$"):
        read_table(file)
    table = read_table(file, labelled=False)
    assert table["label"].isna().all()
    np.testing.assert_array_equal(table_keypoints(table), np.full((2, 17, 3), 9.0))


class TestForeignTables:
    """Tables as other programs write them."""

    @pytest.mark.parametrize("separator, decimal", [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ",")])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom"])
    def test_any_separator_and_encoding(self, table, tmp_path, separator, decimal, encoding):
        table["label"] = ["oben", "über", "unten"]
        text = table.to_csv(index=False, sep=separator, decimal=decimal, lineterminator="\r\n")
        content = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-bom" else text.encode(encoding)
        (tmp_path / "table.csv").write_bytes(content)
        pd.testing.assert_frame_equal(read_table(tmp_path / "table.csv"), table, check_dtype=False)

    @pytest.mark.parametrize(
        "rename",
        [
            lambda name: name if name != "left_hip_confidence" else "left_hip_score",
            lambda name: name if name != "nose_x" else "NOSE_x",
            lambda name: name.replace("left_", "L_").replace("right_", "R_"),
        ],
    )
    def test_names_that_are_nearly_right_are_explained(self, table, tmp_path, rename):
        names = {name: rename(name) for name in COLUMNS}
        table.rename(columns=names).to_csv(tmp_path / "table.csv", index=False)
        with pytest.raises(ValueError, match="rename the columns") as caught:
            read_table(tmp_path / "table.csv")
        first = next(name for name in COLUMNS if names[name] != name)
        assert f"Probably {names[first]} is {first}" in str(caught.value)

    @pytest.mark.parametrize(
        "rename",
        [
            str.upper,
            lambda name: name.replace("confidence", "score"),
            lambda name: "".join(part.title() for part in name.split("_")),
        ],
    )
    def test_names_of_other_tools_are_read(self, table, tmp_path, rename):
        table.rename(columns={name: rename(name) for name in COLUMNS}).to_csv(tmp_path / "table.csv", index=False)
        np.testing.assert_array_equal(table_keypoints(read_table(tmp_path / "table.csv")), table_keypoints(table))

    def test_other_names_are_not_explained(self, table, tmp_path):
        table.drop(columns="nose_x").assign(weather=1).to_csv(tmp_path / "table.csv", index=False)
        with pytest.raises(ValueError, match=r"missing: nose_x\.$"):
            read_table(tmp_path / "table.csv")


class TestPlaceholders:
    def test_they_are_missing_and_noted_unless_kept(self, tmp_path):
        keypoints = simulate_poses(2, 1, 3, classes=["action_up", "dummy"]).keypoints.astype(np.float32)
        spoilt = keypoints.copy()
        spoilt[:5, 11:] = (-1, -1, 0.3)
        write_table(keypoint_frame(spoilt).assign(label="up"), tmp_path / "table.csv")
        table = read_table(tmp_path / "table.csv")
        found = table_keypoints(table)
        assert np.isnan(found[:5, 11:, :2]).all() and (found[:5, 11:, 2] == 0).all()
        np.testing.assert_array_equal(found[5:], keypoints[5:])
        (note,) = table.attrs["notes"]
        assert note.startswith("30 keypoints in 5 of 12 rows of") and "exactly (-1, -1)" in note
        kept = read_table(tmp_path / "table.csv", keep_placeholders=True)
        np.testing.assert_array_equal(table_keypoints(kept), spoilt)
        assert kept.attrs["notes"] == []


@pytest.mark.parametrize("given, n_whole, n_noted", [(np.nan, 0, 12), (0, 0, 0), (0, 1, 17)])
def test_keypoints_without_a_confidence_are_counted(tmp_path, given, n_whole, n_noted):
    keypoints = np.random.default_rng(0).uniform(5, 60, (4, 17, 3)).astype(np.float32)
    keypoints[:2, :6, 2], keypoints[2:, 16] = given, (0, 0, -1)  # the last have no position either
    keypoints[:n_whole, :, 2] = given
    write_table(keypoint_frame(keypoints).assign(label="up"), tmp_path / "table.csv")
    table = read_table(tmp_path / "table.csv")
    assert np.isnan(table_keypoints(table)[:2, :6, 0]).all()
    assert [note.split()[0] for note in table.attrs["notes"]] == [str(n_noted)] * bool(n_noted)


class TestFractions:
    @pytest.fixture
    def fractions(self, tmp_path):
        keypoints = simulate_poses(2, 1, 3, classes=["action_up", "dummy"]).keypoints.astype(np.float32)
        keypoints[..., :2] /= (64, 80)
        write_table(keypoint_frame(keypoints).assign(label="up"), tmp_path / "table.parquet")
        return tmp_path / "table.parquet", keypoints

    def test_without_the_size_of_the_image_they_are_refused(self, fractions):
        with pytest.raises(ValueError, match=r"Expected x and y in one unit, got fractions.*--image-size WxH.*1x1"):
            read_table(fractions[0])

    @pytest.mark.parametrize("size", [(640, 480), (1, 1)])
    def test_with_it_they_are_scaled(self, fractions, size):
        path, keypoints = fractions
        found = table_keypoints(load_data(path, image_size=size))
        np.testing.assert_allclose(found[..., :2], keypoints[..., :2] * size, rtol=1e-6)
        np.testing.assert_array_equal(found[..., 2], keypoints[..., 2])

    def test_beside_pixels_they_are_refused(self, fractions):
        path, keypoints = fractions
        keypoints[2:, :, :2] *= (640, 480)
        write_table(keypoint_frame(keypoints).assign(label="up"), path)
        with pytest.raises(ValueError, match="fractions of the image in 2 rows, the first of them row 1"):
            read_table(path)
        write_table(keypoint_frame(keypoints[1:]).assign(label="up"), path)  # one can be an estimator's failure
        assert len(read_table(path)) == len(keypoints) - 1

    def test_a_few_far_ones_are_no_second_unit(self, fractions):
        path, keypoints = fractions
        keypoints[0, :, :2] *= 100  # as of a body whose torso is hidden, in lengths of it
        write_table(keypoint_frame(keypoints).assign(label="up"), path)
        assert len(load_data(path, image_size=(1, 1))) == len(keypoints)

    def test_a_size_of_one_takes_any_unit(self, fractions):
        """Of poses in lengths of a torso some tables look like fractions and others do not."""
        path, keypoints = fractions
        keypoints[..., :2] *= 5
        write_table(keypoint_frame(keypoints).assign(label="up"), path)
        np.testing.assert_array_equal(table_keypoints(load_data(path, image_size=(1, 1))), keypoints)

    def test_pixels_with_a_size_are_refused(self, table, root, tmp_path):
        table.loc[:, "nose_x"] = 300
        write_table(table, tmp_path / "table.csv")
        with pytest.raises(ValueError, match=r"Expected fractions of the image .* got x and y up to 300"):
            read_table(tmp_path / "table.csv", image_size=(640, 480))
        with pytest.raises(ValueError, match="for a keypoint table only"):
            load_data(root, image_size=(640, 480))


def test_a_list_beside_the_class_folders_makes_no_other_tool(root):
    assert is_folder(root)
    for name in ("clips.csv", "down/notes.json", "settings.json", "down/more.npz"):
        (root / name).write_text("path,label\n")
        assert is_folder(root) and not is_pose_source(root)
