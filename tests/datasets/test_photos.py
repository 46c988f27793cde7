import csv
import json
import subprocess
import sys
import time

import numpy as np
import pytest

Image = pytest.importorskip("PIL.Image", reason="needs heatpose[vitpose]")

from heatpose.cli import main  # noqa: E402
from heatpose.data.folder import HeatmapFolder  # noqa: E402
from heatpose.data.npy import BadFilesError  # noqa: E402
from heatpose.datasets.media import HeatmapWriter  # noqa: E402
from heatpose.datasets.photos import BoxFile, list_photos, write_photo_heatmaps  # noqa: E402
from heatpose.datasets.vitpose import DETECTOR, MODEL, PersonDetector, PoseEstimator  # noqa: E402
from heatpose.pose.decoding import decode_heatmaps  # noqa: E402
from heatpose.pose.skeleton import COCO_17  # noqa: E402
from tests import dots  # noqa: E402

SIZE = (60, 80)


class MeanColour:
    """Stands in for a model: each heatmap is as bright as the picture inside the box."""

    model, dataset_index = "mean colour", 0

    def __init__(self, stops_after=None):
        self.calls, self.stops_after = [], stops_after

    def __call__(self, pictures, boxes):
        if len(self.calls) == self.stops_after:
            raise KeyboardInterrupt
        self.calls.append(len(pictures))
        shades = []
        for picture, (x, y, w, h) in zip(pictures, boxes, strict=True):
            crop = picture.crop((int(x), int(y), int(x + w), int(y + h)))
            shades.append(np.asarray(crop, dtype=np.float32).mean() / 255)
        return np.ones((len(pictures), 17, 8, 6), dtype=np.float32) * np.array(shades)[:, None, None, None]


class Fixed:
    """Boxes by the picture's name."""

    description = "fixed"

    def __init__(self, boxes):
        self.boxes = boxes

    def __call__(self, paths, pictures):
        return [np.array(self.boxes.get(path, []), dtype=float).reshape(-1, 4) for path in paths]


def picture(path, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    Image.fromarray(rng.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8)).save(path)


@pytest.fixture
def root(tmp_path):
    for number in range(10):
        picture(tmp_path / "photos" / ("up", "down")[number % 2] / f"photo_{number}.png", number)
    return tmp_path / "photos"


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# What there is


def test_pictures_are_listed_in_natural_order(tmp_path):
    for name in ("up/b_10.JPG", "up/b_9.jpeg", "a.png", "up/anna/1.webp", ".hidden/x.png", "up/.x.png", "up/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert list_photos(tmp_path) == ["a.png", "up/anna/1.webp", "up/b_9.jpeg", "up/b_10.JPG"]
    (tmp_path / "up/b_9.png").touch()
    with pytest.raises(ValueError, match=r"differ before their ending in .*, got up/b_9\.jpeg and up/b_9\.png"):
        list_photos(tmp_path)


def test_what_is_no_folder_of_pictures_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="No such folder"):
        list_photos(tmp_path / "other")
    (tmp_path / "film.mp4").touch()
    with pytest.raises(NotADirectoryError, match="got a file"):
        list_photos(tmp_path / "film.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"Expected pictures \(\.jpg, .*got none"):
        list_photos(tmp_path / "empty")


# What is written


def test_each_picture_becomes_a_file_of_its_class(root, tmp_path):
    progress = []
    written = write_photo_heatmaps(
        root, tmp_path / "out", MeanColour(), batch_size=4, progress=lambda done, total: progress.append((done, total))
    )
    assert (written.n_files, written.n_before, written.n_empty) == (10, 0, 0)
    assert progress == [(4, 10), (8, 10), (10, 10)]
    folder = HeatmapFolder(tmp_path / "out")
    assert folder.classes == ("down", "up")
    assert len(folder) == 10
    stored = np.load(tmp_path / "out/up/photo_4.npy")
    assert (stored.shape, stored.dtype) == ((1, 17, 8, 6), np.float32)
    assert stored[0, 0, 0, 0] == pytest.approx(np.asarray(Image.open(root / "up/photo_4.png")).mean() / 255)


@pytest.mark.parametrize("stops_after", [1, 2])
def test_a_stopped_run_goes_on_with_the_same_files_in_the_end(root, tmp_path, stops_after):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    write_photo_heatmaps(root, whole, MeanColour(), batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        write_photo_heatmaps(root, parts, MeanColour(stops_after), batch_size=4)
    assert len(list(parts.rglob("*.npy"))) == 4 * stops_after
    rest = MeanColour()
    written = write_photo_heatmaps(root, parts, rest, batch_size=4)
    assert contents(parts) == contents(whole)
    assert written.n_before == 4 * stops_after
    assert sum(rest.calls) == 10 - 4 * stops_after
    again = MeanColour()
    assert write_photo_heatmaps(root, parts, again, batch_size=4).n_before == 10
    assert not again.calls


def test_runs_of_different_kinds_are_not_mixed(root, tmp_path):
    write_photo_heatmaps(root, tmp_path / "out", MeanColour())
    with pytest.raises(ValueError, match="got another dtype"):
        write_photo_heatmaps(root, tmp_path / "out", MeanColour(), dtype="float16")
    other = MeanColour()
    other.model = "another"
    with pytest.raises(ValueError, match="got another model"):
        write_photo_heatmaps(root, tmp_path / "out", other)
    (tmp_path / "out/heatmaps.json").unlink()
    with pytest.raises(FileExistsError, match=r"got \.npy files"):
        write_photo_heatmaps(root, tmp_path / "out", MeanColour())


def test_the_largest_person_or_all(root, tmp_path):
    boxes = Fixed(
        {"up/photo_0.png": [[0, 0, 20, 20], [5, 10, 50, 60], [30, 30, 10, 40]], "up/photo_2.png": [[0, 0, 9, 9]]}
    )
    one, everybody = tmp_path / "one", tmp_path / "all"
    written = write_photo_heatmaps(root, one, MeanColour(), boxes)
    assert [path.name for path in sorted(one.rglob("*.npy"))] == ["photo_0.npy", "photo_2.npy"]
    assert written.n_empty == 8
    write_photo_heatmaps(root, everybody, MeanColour(), boxes, people="all", batch_size=2)
    names = ["photo_0_p0.npy", "photo_0_p1.npy", "photo_0_p2.npy", "photo_2_p0.npy"]
    assert [path.name for path in sorted(everybody.rglob("*.npy"))] == names
    np.testing.assert_array_equal(np.load(everybody / "up/photo_0_p0.npy"), np.load(one / "up/photo_0.npy"))
    pixels = np.asarray(Image.open(root / "up/photo_0.png"))
    of_second = pixels[:20, :20].mean() / 255
    assert np.load(everybody / "up/photo_0_p1.npy").max() == pytest.approx(of_second)


def test_bad_pictures_are_told_together_and_the_others_done(root, tmp_path, caplog):
    (root / "up/photo_2.png").write_bytes((root / "up/photo_2.png").read_bytes()[:500])
    (root / "down/photo_3.png").write_text("no picture")
    with pytest.raises(BadFilesError) as told:
        write_photo_heatmaps(root, tmp_path / "out", MeanColour(), batch_size=3)
    assert {bad.path for bad in told.value.bad_files} == {"up/photo_2.png", "down/photo_3.png"}
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 8
    for name in ("IMG_1.HEIC", "IMG_2.HEIC", "film.mov"):
        (root / "up" / name).touch()
    again = write_photo_heatmaps(root, tmp_path / "out", MeanColour(), batch_size=3, skip_bad=True)
    assert f"2 .heic and 1 .mov files in {root} were ignored" in caplog.text
    assert (again.n_files, again.n_before) == (4, 4)  # the batches with bad pictures are done again
    assert len(list((tmp_path / "out").rglob("*.npy"))) == 8
    assert "Left out 2 of 10 pictures" in caplog.text


def test_pictures_are_turned_upright(tmp_path):
    picture(tmp_path / "photos/up/upright.png", 1)
    upright = Image.open(tmp_path / "photos/up/upright.png")
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned clockwise by a quarter
    upright.rotate(90, expand=True).save(tmp_path / "photos/up/turned.png", exif=tag)
    boxes = Fixed({f"up/{name}.png": [[0, 0, 30, 20]] for name in ("upright", "turned")})
    write_photo_heatmaps(tmp_path / "photos", tmp_path / "out", MeanColour(), boxes)
    np.testing.assert_array_equal(np.load(tmp_path / "out/up/turned.npy"), np.load(tmp_path / "out/up/upright.npy"))


@pytest.mark.parametrize("kind", ["<u2", ">u2"])
def test_grey_pictures_of_16_bits_are_as_bright_as_those_of_8(tmp_path, kind):
    (tmp_path / "photos/up").mkdir(parents=True)
    grey = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    Image.fromarray(grey).save(tmp_path / "photos/up/8.tif")
    Image.fromarray(grey.astype(kind) * 257).save(tmp_path / "photos/up/16.tif")
    Image.fromarray(grey.astype(np.float32)).save(tmp_path / "photos/up/32.tif")
    with pytest.raises(BadFilesError, match=r"32\.tif: .* values of 32 bits \(mode F\)"):
        write_photo_heatmaps(tmp_path / "photos", tmp_path / "out", MeanColour())
    np.testing.assert_array_equal(np.load(tmp_path / "out/up/16.npy"), np.load(tmp_path / "out/up/8.npy"))


# Boxes from a file


def write_boxes(path, rows, header=("path", "x", "y", "w", "h")):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def test_boxes_come_from_a_file(root, tmp_path):
    rows = [("up/photo_0.png", 1, 2, 30, 40), ("up/photo_2.png", 0, 0, 10, 10), ("up/photo_0.png", 5.5, 6, 7, 8)]
    boxes = BoxFile(write_boxes(tmp_path / "boxes.csv", rows))
    found = boxes(["up/photo_0.png", "other.png"], [None, None])
    assert found[0].tolist() == [[1, 2, 30, 40], [5.5, 6, 7, 8]]
    assert found[1].shape == (0, 4)
    assert write_photo_heatmaps(root, tmp_path / "out", MeanColour(), boxes).n_files == 2


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([("up/photo_0.png", 1, 2, 3)], ("path", "x", "y", "w"), "Expected columns path, x, y, w, h"),
        ([("up/photo_0.png", 1, 2, 3, 4), ("up/photo_0.png", 1, 2, 0, 4)], None, "1 rows, the first of them row 2"),
        ([("up/photo_0.png", "left", 2, 3, 4)], None, "1 rows, the first of them row 1"),
        ([("", 1, 2, 3, 4)], None, "1 rows"),
        ([("up/other.png", 1, 2, 3, 4)], None, "pictures that are there, got 1 for others, such as up/other.png"),
    ],
)
def test_boxes_that_cannot_be_are_told(root, tmp_path, rows, header, message):
    file = write_boxes(tmp_path / "boxes.csv", rows, *([header] if header else []))
    with pytest.raises(ValueError, match=message):
        write_photo_heatmaps(root, tmp_path / "out", MeanColour(), BoxFile(file))
    assert not (tmp_path / "out").exists()


# The command line


def test_without_the_extra_it_says_what_to_install(root, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "transformers", None)
    assert main(["heatmaps", str(root), str(tmp_path / "out")]) == 1
    assert 'need PyTorch, transformers and Pillow: pip install "heatpose[vitpose]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_photos_with_an_onnx_estimator(tmp_path, capsys):
    for package in ("cv2", "onnxruntime", "onnx"):
        pytest.importorskip(package, reason="needs heatpose[live,onnx]")
    estimator = dots.write_estimator(tmp_path / "dots.onnx")
    for pose in dots.POSES:
        (tmp_path / "photos" / pose).mkdir(parents=True)
        drawn = dots.draw([(pose, 120, 80)], size=(160, 240), unit=9.0, radius=5)
        Image.fromarray(drawn[..., ::-1]).save(tmp_path / "photos" / pose / "a.png")
    Image.new("RGB", (240, 160)).save(tmp_path / "photos" / "empty.png")
    assert main(["heatmaps", str(tmp_path / "photos"), str(tmp_path / "out"), "--estimator", str(estimator)]) == 0
    captured = capsys.readouterr()
    assert f"Wrote {len(dots.POSES)} files" in captured.out
    assert "No file for 1 picture without a person: empty" in captured.err
    assert "Next: heatpose train" in captured.out
    turned, tag = tmp_path / "turned.PNG", Image.Exif()  # one picture, of no class, as phones write it
    tag[0x0112] = 6
    with Image.open(tmp_path / "photos" / "arms_up" / "a.png") as upright:
        upright.rotate(90, expand=True).save(turned, exif=tag)
    assert main(["heatmaps", str(turned), str(tmp_path / "new"), "--estimator", str(estimator)]) == 0
    assert f"Next: heatpose predict MODEL {tmp_path / 'new'}" in capsys.readouterr().out
    assert main(["heatmaps", str(turned), str(turned), "--estimator", str(estimator)]) == 2
    assert "OUT: expected a writable folder" in capsys.readouterr().err
    np.testing.assert_array_equal(np.load(tmp_path / "new/turned.npy"), np.load(tmp_path / "out/arms_up/a.npy"))
    for pose in dots.POSES:
        decoded = decode_heatmaps(np.load(tmp_path / "out" / pose / "a.npy"))[0]
        assert (decoded[:, 2] > 0.5).all()
        upright = decoded[COCO_17.index("left_wrist"), 1] < decoded[COCO_17.index("left_shoulder"), 1]
        assert upright == (pose == "arms_up")


# With the libraries themselves, and models of random weights


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("torch", reason="needs heatpose[vitpose]")
    return pytest.importorskip("transformers", reason="needs heatpose[vitpose]")


def save_tiny(transformers, folder, **backbone):
    import torch

    torch.manual_seed(0)
    backbone = transformers.VitPoseBackboneConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, mlp_ratio=2, out_indices=[1], **backbone
    )
    config = transformers.VitPoseConfig(backbone_config=backbone, num_labels=17)
    transformers.VitPoseForPoseEstimation(config).save_pretrained(folder)
    processor = {"image_processor_type": "VitPoseImageProcessor", "size": {"height": 256, "width": 192}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


@pytest.fixture(scope="module")
def tiny(transformers, tmp_path_factory):
    return save_tiny(transformers, tmp_path_factory.mktemp("tiny"))


def test_heatmaps_are_what_the_model_says(root, tmp_path, tiny, transformers):
    import torch

    assert main(["heatmaps", str(root), str(tmp_path / "out"), "--model", tiny, "--batch", "3"]) == 0
    processor = transformers.AutoImageProcessor.from_pretrained(tiny)
    model = transformers.VitPoseForPoseEstimation.from_pretrained(tiny).eval()
    photo = Image.open(root / "down/photo_5.png")
    inputs = processor(photo, boxes=[[[0, 0, *photo.size]]], return_tensors="pt")
    with torch.inference_mode():
        expected = model(**inputs).heatmaps.numpy()
    stored = np.load(tmp_path / "out/down/photo_5.npy")
    assert stored.shape == (1, 17, 64, 48)
    np.testing.assert_allclose(stored, expected, atol=1e-5)


def test_photos_become_files_that_train_takes_also_after_a_kill(tmp_path, tiny, capsys):
    for number in range(50):
        picture(tmp_path / "photos" / ("up", "down")[number % 2] / f"{number}.jpg", number)
    arguments = ["heatmaps", str(tmp_path / "photos")]
    options = ["--model", tiny, "--batch", "4", "--dtype", "float16"]
    assert main([*arguments, str(tmp_path / "whole"), *options]) == 0

    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-m", "heatpose", *arguments, str(killed), *options])
    try:
        while process.poll() is None and len(list(killed.rglob("*.npy"))) < 10:
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    assert 10 <= len(list(killed.rglob("[!.]*.npy"))) < 50
    assert main([*arguments, str(killed), *options]) == 0
    assert contents(killed) == contents(tmp_path / "whole")

    model = str(tmp_path / "model.joblib")
    assert main(["train", str(killed), "--classifiers", "lda", "--jobs", "1", "--out", model]) == 0
    assert "50 samples of 2 classes" in capsys.readouterr().out


def test_models_with_experts_are_told_whose(root, tmp_path, transformers):
    folder = save_tiny(transformers, tmp_path, num_experts=3, part_features=4)
    boxes, photo = np.array([[0.0, 0, *SIZE]]), Image.open(root / "up/photo_0.png")
    first, second = (PoseEstimator(folder, dataset_index=index)([photo], boxes) for index in (0, 2))
    assert first.shape == (1, 17, 64, 48)
    assert not np.array_equal(first, second)
    with pytest.raises(ValueError, match="dataset index below 3"):
        PoseEstimator(folder, dataset_index=3)


@pytest.mark.parametrize("surest", ["person", "dog"])
def test_a_detector_finds_people_and_nothing_else(root, tmp_path, transformers, surest):
    import torch

    backbone = transformers.RTDetrResNetConfig(
        embedding_size=4, hidden_sizes=[4, 4, 4, 4], depths=[1, 1, 1, 1], out_features=["stage2", "stage3", "stage4"]
    )
    config = transformers.RTDetrConfig(
        backbone_config=backbone,
        encoder_hidden_dim=16,
        encoder_in_channels=[4, 4, 4],
        encoder_ffn_dim=8,
        encoder_attention_heads=2,
        decoder_in_channels=[16, 16, 16],
        d_model=16,
        decoder_ffn_dim=8,
        decoder_attention_heads=2,
        decoder_layers=1,
        num_queries=5,
        num_denoising=0,
        id2label={0: "dog", 1: "person"},
    )
    network = transformers.RTDetrForObjectDetection(config)
    # random weights find anything: what they take each box for is set
    bias = torch.tensor([9.0, -9.0] if surest == "dog" else [-9.0, 9.0])
    for head in network.model.decoder.class_embed:
        head.weight.data.zero_()
        head.bias.data.copy_(bias)
    network.save_pretrained(tmp_path)
    processor = {"image_processor_type": "RTDetrImageProcessor", "size": {"height": 64, "width": 64}}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    pictures = [Image.open(path).convert("RGB") for path in sorted(root.rglob("*.png"))[:2]]
    found = PersonDetector(str(tmp_path))(["a", "b"], pictures)
    assert [of_one.shape for of_one in found] == [(5 if surest == "person" else 0, 4)] * 2
    assert all((of_one[:, 2:] > 0).all() for of_one in found)


@pytest.mark.parametrize("detector", [False, True])
def test_without_a_network_it_says_what_else_there_is(
    root, tmp_path, tiny, transformers, monkeypatch, detector, capsys
):
    import huggingface_hub

    def unreachable(*args, **options):
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", unreachable)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    options = ["--model", tiny, "--detector"] if detector else []
    assert main(["heatmaps", str(root), str(tmp_path / "out"), *options]) == 1
    err = capsys.readouterr().err
    name, instead = (DETECTOR, "--detector FOLDER") if detector else (MODEL, "--model FOLDER")
    assert f"Could not fetch {name} from the Hugging Face hub: it cannot be reached" in err
    assert instead in err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_a_model_is_told(tmp_path, transformers):
    with pytest.raises(ValueError, match="Expected a model and its image processor in"):
        PoseEstimator(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"No such folder: \./nowhere"):
        PoseEstimator("./nowhere")


def test_heatmaps_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fail(file, array):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    left = tmp_path / "up" / ".b.npy.0.part"  # by a run that was killed
    left.parent.mkdir()
    HeatmapWriter(tmp_path, "float32", {})
    left.touch()
    writer = HeatmapWriter(tmp_path, "float32", {})
    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(OSError, match="No space"):
        writer.write("up/a", {"": np.zeros((17, 8, 6))})
    assert not list(left.parent.iterdir())
