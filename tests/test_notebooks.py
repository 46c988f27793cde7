"""Notebooks hold no logic, are committed without outputs, and run."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def code_cells(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == "code"]


def execute(path, folder, monkeypatch, **environment):
    """Run a notebook in a folder; fail on an error in a cell and on anything it writes to stderr."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed: see the extra 'notebooks'")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    monkeypatch.delenv("HEATPOSE_DATA", raising=False)
    monkeypatch.setenv("IPYTHONDIR", str(folder / ".ipython"))
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(folder / ".jupyter"))
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    complaints = [output.text for output in outputs if output.get("name") == "stderr"]
    assert not complaints
    return outputs


def test_there_are_notebooks():
    assert [path.stem for path in NOTEBOOKS][:1] == ["01-heatmaps"]


@each_notebook
def test_is_committed_without_outputs(path):
    for cell in code_cells(path):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@each_notebook
def test_opens_with_any_python_kernel_and_a_title(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert notebook["cells"][0]["cell_type"] == "markdown"
    assert "".join(notebook["cells"][0]["source"]).startswith("# ")


@each_notebook
def test_holds_no_logic(path):
    for cell in code_cells(path):
        for node in ast.walk(ast.parse("".join(cell["source"]))):
            defines = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.While, ast.Try)
            assert not isinstance(node, defines), ast.unparse(node)
            if isinstance(node, (ast.For, ast.If, ast.With)):
                assert len(node.body) + len(node.orelse) <= 2, ast.unparse(node)


@each_notebook
def test_runs_and_complains_of_nothing(path, tmp_path, monkeypatch):
    execute(path, tmp_path, monkeypatch)


def test_heatmaps_notebook_takes_ones_own_folder(tmp_path, monkeypatch):
    from heatpose import simulate_poses, write_heatmaps

    poses = simulate_poses(1, 1, 2, classes=["action_up", "dummy"])
    own = write_heatmaps(poses, tmp_path / "own")
    outputs = execute(NOTEBOOKS[0], tmp_path, monkeypatch, HEATPOSE_DATA=own)
    assert any("4 samples of 2 classes" in output.get("text", "") for output in outputs)
