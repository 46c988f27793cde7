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


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """A kernel for all notebooks, whose imports take longer than most of their cells."""
    pytest.importorskip("nbclient", reason="nbclient is not installed: see the extra 'notebooks'")
    pytest.importorskip("ipykernel")
    from jupyter_client import KernelManager

    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        patch.setenv("JUPYTER_RUNTIME_DIR", str(folder / "runtime"))
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel()
        yield manager
        manager.shutdown_kernel(now=True)


def execute(kernel, path, folder, **environment):
    """Run a notebook in a folder; fail on an error in a cell and on anything it writes to stderr."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    begin = (  # as in a kernel of its own
        "%reset -f\nimport os\nos.environ.pop('HEATPOSE_DATA', None)\n"
        f"os.environ.update({environment!r})\nos.chdir({str(folder)!r})\ndel os"
    )
    notebook.cells.insert(0, nbformat.v4.new_code_cell(begin))
    client = NotebookClient(notebook, kernel, timeout=900)
    try:
        client.execute()
    finally:
        client.kc.stop_channels()
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
def test_runs_and_complains_of_nothing(kernel, path, tmp_path):
    execute(kernel, path, tmp_path)


def test_heatmaps_notebook_takes_ones_own_folder(kernel, tmp_path):
    from heatpose import simulate_poses, write_heatmaps

    poses = simulate_poses(1, 1, 2, classes=["action_up", "dummy"])
    own = write_heatmaps(poses, tmp_path / "own")
    outputs = execute(kernel, NOTEBOOKS[0], tmp_path, HEATPOSE_DATA=str(own))
    assert any("4 samples of 2 classes" in output.get("text", "") for output in outputs)
