"""The examples do what they say, on a model that was trained just now."""

import contextlib
import io
import json
import os
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from heatpose import PoseStream, export_model, load_model, load_onnx, make_pose_pipeline, save_model, simulate_poses
from heatpose.cli import main
from heatpose.datasets.simulation import write_heatmaps

EXAMPLES = Path(__file__).parents[1] / "examples"
CLASSES = ["action_down", "action_up", "category_sound"]
POSES = simulate_poses(2, 1, 5, classes=CLASSES)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models saved and exported by a folder's names, and two frames."""
    pytest.importorskip("onnx", reason="needs heatpose[onnx]")
    root = tmp_path_factory.mktemp("models")
    model = make_pose_pipeline("logistic", performers=3).fit(POSES.heatmaps(), POSES.labels)
    save_model(model, root / "pose.joblib")
    export_model(root / "pose.joblib", root / "pose.heatpose", "safe")
    export_model(root / "pose.joblib", root / "pose.onnx", "onnx")
    export_model(root / "pose.joblib", root / "keypoints.onnx", "onnx", source="keypoints")
    np.save(root / "up.npy", POSES.heatmaps()[POSES.labels == "action_up"][:1])
    np.save(root / "both.npy", np.concatenate([POSES.heatmaps(0, 1), POSES.heatmaps()[-1:]]))
    return root


def run(name, *arguments):
    """Run an example as a script and return what it prints."""
    shown, before = io.StringIO(), sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(shown):
            runpy.run_path(str(EXAMPLES / name), run_name="__main__")
    finally:
        sys.argv = before
    return shown.getvalue().splitlines()


def test_every_example_is_run_here():
    assert {path.name for path in EXAMPLES.iterdir() if path.suffix in (".py", ".mjs")} == {
        "joblib_script.py",
        "safe_file.py",
        "onnx_script.py",
        "live_loop.py",
        "listen.py",
        "listen.mjs",
    }


@pytest.mark.parametrize(("name", "model"), [("joblib_script.py", "pose.joblib"), ("safe_file.py", "pose.heatpose")])
def test_names_of_the_poses_in_files(models, name, model):
    files = [models / "up.npy", models / "both.npy"]
    expected = [f"{files[0]} action_up", f"{files[1]} action_down", f"{files[1]} category_sound"]
    assert run(name, models / model, *files) == expected


def test_onnx_needs_neither_heatpose_nor_scikit_learn(models):
    without = "import runpy, sys; sys.modules.update(dict.fromkeys(('heatpose', 'sklearn', 'scipy', 'pandas')));"
    code = f"{without} sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    arguments = [EXAMPLES / "onnx_script.py", models / "pose.onnx", models / "both.npy"]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert (done.returncode, len(lines)) == (0, 2), done.stderr
    assert [line.split()[1] for line in lines] == ["action_down", "category_sound"]
    assert all(0 < float(line.split()[2]) <= 1 for line in lines)


def test_the_live_loop_tells_of_poses(models, monkeypatch):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    lines = run("live_loop.py", models / "pose.joblib")
    told = [line for line in lines if "unknown" not in line]
    assert told[:4] == ["entered action_up", "held action_up", "left action_up", "entered action_down"]
    assert told[-1].startswith("left action_down after ")


EVENTS = (
    '{"kind": "entered", "label": "unknown"}\n{"kind": "entered", "label": "action_up"}\n'
    '{"kind": "held", "label": "action_up"}\n'
)


def test_the_listener_hears_what_is_entered():
    command = [sys.executable, str(EXAMPLES / "listen.py")]
    done = subprocess.run(command, input=EVENTS, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "now: action_up\n", "")


@pytest.mark.skipif(shutil.which("node") is None or os.name == "nt", reason="needs Node and a POSIX shell")
def test_the_listener_in_javascript_hears_what_is_entered(models, tmp_path, capsys):
    write_heatmaps(simulate_poses(1, 1, 2, classes=CLASSES), tmp_path / "camera")
    # Two frames of each pose, one a second: each lasts longer than what a pose must last.
    arguments = [str(models / "pose.joblib"), str(tmp_path / "camera"), "--once", "--fps", "1", "--gap", "2"]
    assert main(["watch", *arguments, "--events"]) == 0
    # In place of the command, whose start takes seconds, a script that repeats what the command has written.
    (tmp_path / "written").write_text(capsys.readouterr().out)
    (tmp_path / "heatpose").write_text(
        '#!/bin/sh\ncd "$(dirname "$0")"\necho "$@" > asked\ncat written\necho seen >&2\n'
    )
    (tmp_path / "heatpose").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    command = ["node", str(EXAMPLES / "listen.mjs"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "seen\n")
    assert (tmp_path / "asked").read_text().split() == ["watch", *arguments, "--events"]
    assert set(done.stdout.splitlines()) == {f"now: {name}" for name in CLASSES}


EDITOR = """
let socket, extension;
let n_open = 0;
globalThis.WebSocket = class { constructor() { socket = this; n_open += 1; } close() { n_open -= 1; } };
const started = [], runtime = { startHats(opcode, fields) {
  const { blocks, menus } = extension.getInfo();
  // Scratch compares the fields of a hat; an argument is one where its menu accepts no reporters, else it is an input.
  for (const name in fields) {
    const menu = menus?.[blocks.find((block) => opcode.endsWith(`_${block.opcode}`)).arguments[name].menu];
    if (menu?.acceptReporters !== false) throw new TypeError("no such field");
    started.push([fields[name], extension[menu.items]().includes(fields[name])]);
  }
} };
const extensions = { register(it) { extension = it; }, unsandboxed: !process.argv[3] };
globalThis.Scratch = { ArgumentType: {}, BlockType: {}, vm: { runtime }, extensions };
const source = require("fs").readFileSync(process.argv[1], "utf8");
for (const time of [1, 2]) require("vm").runInThisContext(source); // an editor loads a file that was changed once more
const poses = JSON.parse(process.argv[2]).map((event) => {
  socket.onmessage({ data: JSON.stringify(event) });
  return extension.currentPose();
});
socket.onclose();
console.log(JSON.stringify([n_open, extension.getLabels(), started, [...poses, extension.currentPose()]]));
process.exit();
"""


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_scratch_extension_starts_hats_and_knows_the_pose():
    events = [{"kind": "state", "labels": ["up", "down", "unknown"], "poses": [{"label": "down", "person": "1"}]}]
    steps = ("left down 1", "entered up 1", "entered down 2", "left down 2", "left up 1", "entered unknown 2")
    events += [dict(zip(("kind", "label", "person"), step.split(), strict=True)) for step in steps]
    command = ["node", "-e", EDITOR, str(EXAMPLES / "scratch_extension.js"), json.dumps(events)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    n_open, labels, started, poses = json.loads(done.stdout)
    assert (n_open, labels) == (1, events[0]["labels"])
    assert started == [["up", True], ["down", True], ["unknown", True]]
    assert poses == ["down", "", "up", "down", "up", "", "unknown", ""]
    sandboxed = subprocess.run([*command, "sandboxed"], capture_output=True, text=True)
    assert 'Body poses needs "Run extension without sandbox"' in sandboxed.stderr


def test_a_stream_takes_each_kind_of_model_and_tells_the_same(models):
    heatmaps = POSES.heatmaps()[POSES.performers == 0].repeat(3, axis=0)
    times = np.arange(len(heatmaps)) / 30  # so close that no model has poses put between them
    told = []
    for model in (
        load_model(models / "pose.joblib"),
        load_model(models / "pose.heatpose"),
        load_onnx(models / "pose.onnx"),
        load_onnx(models / "keypoints.onnx"),
    ):
        stream = PoseStream(model, hold=0.05, release=0.05, held_after=[])
        told.append(stream.push(heatmaps, times) + stream.close())
    assert len(told[0]) > 3
    for events in told[1:]:
        assert [(event.kind, event.label) for event in events] == [(event.kind, event.label) for event in told[0]]
        np.testing.assert_allclose([event.time for event in events], [event.time for event in told[0]], atol=0.005)
