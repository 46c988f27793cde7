"""The folder for the Hub: metadata that the Hub's own library reads, and an upload to a stand-in of its interface."""

import base64
import hashlib
import json
import runpy
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from heatpose.cli import main
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.persistence.artifact import ModelError, load_model, read_manifest, save_model
from heatpose.persistence.export import _named, export_model
from heatpose.persistence.hub import hub_files, push_folder

huggingface_hub = pytest.importorskip("huggingface_hub")

# huggingface_hub hands a large file's bytes to its HTTP library in a way that that one will give up.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=<...>' to upload raw bytes:DeprecationWarning")

CLASSES = ["action_down", "action_up", "dummy"]
FILES = {"pose.heatpose", "README.md", "config.json", "example.py", ".gitattributes"}
RECORD = {
    "groups": {"description": "groups: 2 ('ann': #1, bob)", "kind": "regex", "n_groups": 2},
    "n_samples": 1200,
    "data": {"path": "/home/ann/gestures", "digest": "d" * 64},
    "scores": {
        "name": "lda",
        "balanced_accuracy": 0.87512,
        "balanced_accuracy_interval": [0.75, 0.9375],
        "macro_f1": 0.8125,
        "random_split_balanced_accuracy": 0.998,
    },
}


@pytest.fixture(scope="module")
def poses():
    return simulate_poses(2, 1, 2, classes=CLASSES)


@pytest.fixture(scope="module")
def pipeline(poses):
    pipeline = make_pose_pipeline("lda", max_samples=200)
    pipeline[1:].fit(poses.keypoints.reshape(-1, 51), poses.labels)
    return pipeline


@pytest.fixture(scope="module")
def exported(pipeline, tmp_path_factory):
    root = tmp_path_factory.mktemp("exported")
    save_model(pipeline, root / "pose.joblib", record=RECORD)
    export_model(root / "pose.joblib", root / "hub", "hub")
    return root / "hub"


@pytest.fixture
def folder(exported, tmp_path):
    """A copy for each test."""
    return shutil.copytree(exported, tmp_path / "hub")


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as an upload needs; large files go by Git LFS, as .gitattributes says."""

    def log_message(self, *arguments):
        pass

    def answer(self, what, status=200):
        content = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"]))

    def do_PUT(self):
        content = self.body()
        self.server.objects[hashlib.sha256(content).hexdigest()] = content
        self.answer({})

    def do_POST(self):
        server, body = self.server, self.body()
        server.asked.append((self.path, self.headers["Authorization"]))
        address = f"http://127.0.0.1:{server.server_port}"
        if server.refuses:
            self.answer({"error": "Invalid credentials"}, 401)
        elif self.path == "/api/repos/create":
            server.repository = json.loads(body)
            self.answer({"url": f"{address}/ann/poses"}, server.created)
        elif self.path == "/api/validate-yaml":
            server.cards.append(json.loads(body)["content"])
            self.answer({"errors": [], "warnings": []})
        elif self.path.endswith("/preupload/main"):
            files = [
                {
                    "path": file["path"],
                    "uploadMode": "lfs" if file["path"].endswith(".heatpose") else "regular",
                    "shouldIgnore": False,
                }
                for file in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif self.path.endswith("/info/lfs/objects/batch"):
            objects = [
                {**each, "actions": {"upload": {"href": f"{address}/put/{each['oid']}"}}}
                for each in json.loads(body)["objects"]
            ]
            self.answer({"transfer": "basic", "objects": objects})
        elif self.path.endswith("/commit/main"):
            for line in map(json.loads, body.decode().splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    server.message = value["summary"]
                elif line["key"] == "file":
                    server.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    server.files[value["path"]] = server.objects[value["oid"]]
            self.answer({"success": True, "commitUrl": f"{address}/ann/poses/commit/1a2b", "commitOid": "1a2b"})
        else:
            self.answer({"error": "no such address"}, 404)

    def do_GET(self):
        if self.path == "/api/models/ann/poses":
            self.answer({"id": "ann/poses", "private": self.server.is_private})
        else:
            self.answer({"error": "no such address"}, 404)


@pytest.fixture
def hub(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.daemon_threads = True
    server.asked, server.cards, server.files, server.objects = [], [], {}, {}
    server.refuses, server.is_private, server.created = False, True, 200
    server.address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", server.address)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# The folder


def test_what_is_in_it(folder, pipeline, poses):
    assert {file.name for file in folder.iterdir()} == FILES
    heatmaps = poses.heatmaps()
    loaded = load_model(folder / "pose.heatpose")
    np.testing.assert_array_equal(loaded.predict(heatmaps), pipeline.predict(heatmaps))


def test_the_metadata_are_those_of_a_model_card(folder):
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert card.data.library_name == "heatpose"
    results = {result.metric_name: result for result in card.data.eval_results}
    honest, random = results["Balanced accuracy"], results["Balanced accuracy, random split"]
    assert (honest.metric_type, honest.metric_value) == ("balanced_accuracy", 0.8751)
    assert honest.dataset_split == "held-out groups: 2 ('ann': #1, bob)"
    assert (random.metric_value, results["Macro F1"].metric_value) == (0.998, 0.8125)
    assert "random split" in random.dataset_split
    assert honest.dataset_name == "gestures" and honest.dataset_revision == "d" * 64
    assert "/home/ann" not in card.data.to_yaml()


@pytest.mark.parametrize("leaks", [True, False])
def test_the_metadata_say_that_a_split_leaks(folder, leaks):
    manifest = read_manifest(folder / "pose.heatpose")
    manifest["record"]["audit"] = {"leaks": leaks}
    card = huggingface_hub.ModelCard(hub_files(folder, b"", manifest)[folder / "README.md"].decode())
    honest = next(result for result in card.data.eval_results if result.metric_name == "Balanced accuracy")
    assert ("near-identical frames in training" in honest.dataset_split) == leaks


def test_the_card_names_intended_use_and_limits(folder):
    text = huggingface_hub.ModelCard.load(folder / "README.md").text
    for part in ("## Scores", "## Intended use", "## Limits", "## Usage", "Classes: action"):
        assert part in text
    assert "no executable code" in text and ".joblib" not in text


def test_without_scores_there_are_no_results(pipeline, tmp_path):
    export_model(pipeline, tmp_path, "hub")
    card = huggingface_hub.ModelCard.load(tmp_path / "README.md")
    assert card.data.eval_results is None
    assert "The model was not scored" in card.text


def test_others_do_not_learn_where_the_data_are(folder):
    assert read_manifest(folder / "pose.heatpose")["record"]["data"]["path"] == "gestures"
    assert "/home/ann" not in (folder / "README.md").read_text()
    adapted = {"data": {"path": "/home/ann/base/"}, "model": "/home/ann/my models/pose.joblib"}
    choices = [
        "Adapted /home/ann/my models/pose.joblib to 2 frames.",
        "Left out '/home/ann/base/up/1.npy', see x/home/ann/.",
    ]
    record = {"adapted": adapted, "choices": choices, "data": {"path": "a/base"}, "groups": ["a/ann"]}
    assert _named({"record": record})["record"] == {
        "adapted": {"data": {"path": "base"}, "model": "pose.joblib"},
        "choices": ["Adapted pose.joblib to 2 frames.", "Left out 'base/up/1.npy', see x/home/ann/."],
        "data": {"path": "base"},
        "groups": ["a/ann"],
    }


def test_the_configuration(folder):
    config = json.loads((folder / "config.json").read_bytes())
    assert config["classes"] == CLASSES and config["model_file"] == "pose.heatpose"
    assert config["keypoints"][0] == "nose" and config["decoder"]["method"] == "gaussian"
    assert config["threshold"] == 0.5


def test_the_checksum_is_that_of_the_file(folder):
    content = (folder / "pose.heatpose").read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    assert json.loads((folder / "config.json").read_bytes())["sha256"] == checksum
    assert f"{len(content):,} bytes, SHA-256 {checksum}" in huggingface_hub.ModelCard.load(folder / "README.md").text


def test_the_example_runs(folder, poses, pipeline, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    np.save("frame.npy", poses.heatmaps()[:2])
    monkeypatch.setattr(sys, "argv", ["example.py", "frame.npy"])
    runpy.run_path("example.py", run_name="__main__")
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = pipeline[0].transform(poses.heatmaps()[:2])
    assert [row[1] for row in rows] == pipeline[-1].predict_or_unknown(table).tolist()


def test_what_is_there_is_replaced_and_the_rest_left_alone(folder, pipeline):
    (folder / "notes.txt").write_text("mine")
    (folder / "config.json").write_text("{}")
    export_model(pipeline, folder, "hub")
    assert {file.name for file in folder.iterdir()} == {*FILES, "notes.txt"}
    assert json.loads((folder / "config.json").read_bytes())["classes"] == CLASSES


def test_the_files_of_a_project_are_kept(pipeline, tmp_path):
    (tmp_path / "README.md").write_text("mine")
    with pytest.raises(FileExistsError, match=r"no other file that .*pose\.heatpose would replace, got .*README\.md"):
        export_model(pipeline, tmp_path, "hub")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("README.md", "mine")]


# The upload


def test_push(folder, hub):
    (folder / "notes.txt").write_text("not for others")
    address = push_folder(folder, "ann/poses", private=True, message="First", token="hf_test", endpoint=hub.address)
    assert address.endswith("/ann/poses/commit/1a2b")
    assert hub.files == {name: (folder / name).read_bytes() for name in FILES}
    assert (hub.message, hub.repository["name"]) == ("First", "poses")
    assert hub.repository.get("visibility", hub.repository.get("private")) in (True, "private")
    assert "Pose classifier" in hub.cards[0]
    assert {authorization for path, authorization in hub.asked if path.startswith("/api")} == {"Bearer hf_test"}


def test_push_by_the_command_line(folder, hub, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.utils._auth._get_token_from_environment", lambda: "hf_test")
    assert main(["push", str(folder), "ann/poses"]) == 0
    assert capsys.readouterr().out.endswith("/ann/poses/commit/1a2b\n")
    assert set(hub.files) == FILES


def test_a_name_alone_is_of_the_user_of_the_token(folder, hub):
    address = push_folder(folder, "poses", token="hf_test", endpoint=hub.address)
    assert address.endswith("/ann/poses/commit/1a2b") and set(hub.files) == FILES
    assert all("/ann/poses" in path for path, _ in hub.asked if "preupload" in path or "commit" in path)


def test_what_is_to_be_private_is_not_uploaded_to_a_public_repository(folder, hub):
    hub.created, hub.is_private = 409, False
    with pytest.raises(OSError, match=r"a private repository .* got PermissionError: ann/poses is public"):
        push_folder(folder, "ann/poses", private=True, token="hf_test", endpoint=hub.address)
    assert hub.files == {}
    push_folder(folder, "ann/poses", token="hf_test", endpoint=hub.address)
    assert set(hub.files) == FILES


def test_what_fails_its_self_test_here_is_not_uploaded(folder, hub, monkeypatch):
    monkeypatch.setattr("heatpose.persistence.selftest._predict", lambda model, kind, poses: 1 / 0)
    with pytest.raises(ModelError, match="to predict its self-test's poses, got ZeroDivisionError"):
        push_folder(folder, "ann/poses", token="hf_test", endpoint=hub.address)
    assert hub.asked == []


def test_what_is_not_as_it_was_written_is_not_uploaded(folder, hub):
    config = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(config.replace(b"dummy", b"Dummy"))
    with pytest.raises(ModelError, match=r"config\.json in .* to be of its model"):
        push_folder(folder, "ann/poses", token="hf_test", endpoint=hub.address)
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"Expected config\.json in"):
        push_folder(folder, "ann/poses", token="hf_test", endpoint=hub.address)
    (folder / "pose.heatpose").write_bytes(b"PK\3\4")
    with pytest.raises(ModelError, match="its checksum"):
        push_folder(folder, "ann/poses", token="hf_test", endpoint=hub.address)
    assert hub.asked == []


def test_a_hub_that_refuses_or_is_not_there(folder, hub, capsys):
    hub.refuses = True
    with pytest.raises(OSError, match=r"(?s)hf auth login.*(Invalid credentials|401)"):
        push_folder(folder, "ann/poses", token="hf_wrong", endpoint=hub.address)
    with pytest.raises(OSError, match=r"Expected to upload to http://127\.0\.0\.1:9"):
        push_folder(folder, "ann/poses", token="hf_test", endpoint="http://127.0.0.1:9")
