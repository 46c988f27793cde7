"""Versions of imported modules, and conflicts between the two distributions of XGBoost."""

import sys
from importlib.metadata import PackageNotFoundError

import pytest
import xgboost

from heatpose.data import packages
from heatpose.data.packages import distribution_of, import_extra, imported_version, xgboost_conflict
from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.persistence.artifact import ModelError, load_model, save_model


@pytest.fixture
def installed(monkeypatch):
    """Set the metadata of installed distributions."""

    def install(**distributions):
        def version(name):
            if name not in distributions:
                raise PackageNotFoundError(name)
            return distributions[name]

        monkeypatch.setattr(packages, "version", version)

    return install


def test_the_version_is_that_of_the_module(installed):
    installed(**{"xgboost": "2.1.4", "xgboost-cpu": xgboost.__version__})
    assert imported_version("xgboost") == xgboost.__version__


def test_one_distribution_is_no_conflict(installed):
    installed(**{"xgboost-cpu": xgboost.__version__})
    assert xgboost_conflict() == ""


def test_a_package_that_is_there_says_itself_why_it_does_not_load(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r'^Writing needs broken_extra: pip install "heatpose\[onnx\]"$'):
        import_extra("broken_extra", "onnx", "Writing needs broken_extra")
    (tmp_path / "broken_extra.py").write_text("raise ImportError('DLL load failed')")
    with pytest.raises(ImportError, match=r"^DLL load failed$"):
        import_extra("broken_extra", "onnx", "Writing needs broken_extra")


@pytest.mark.parametrize("name", ["xgboost", "xgboost-cpu"])
def test_the_distribution_that_is_installed_is_the_one_to_install_again(installed, name):
    installed(**{name: "3.2.0"})
    assert [distribution_of("xgboost"), distribution_of("numpy")] == [name, "numpy"]


def test_two_distributions_are_reported_with_the_repair(installed, tmp_path):
    installed(**{"xgboost": "2.1.4", "xgboost-cpu": "3.2.0"})
    message = xgboost_conflict()
    assert message.startswith("xgboost 2.1.4 and xgboost-cpu 3.2.0 are both installed")
    assert f"imported version is {xgboost.__version__}" in message
    assert "pip uninstall -y xgboost xgboost-cpu && pip install xgboost-cpu" in message
    poses = simulate_poses(2, 1, 2, classes=["action_up", "dummy"])
    pipeline = make_pose_pipeline("dummy").fit(poses.heatmaps(), poses.labels)
    with pytest.warns(UserWarning, match="are both installed"):
        manifest = save_model(pipeline, tmp_path / "pose.joblib", record={"choices": ["Mirrored."]})
    assert manifest["record"]["choices"] == ["Mirrored.", message]
    assert manifest["versions"]["xgboost"] == xgboost.__version__


def test_a_distribution_without_its_module_is_named(installed, monkeypatch, tmp_path):
    poses = simulate_poses(2, 1, 2, classes=["action_up", "dummy"])
    pipeline = make_pose_pipeline("xgboost").set_params(classify__estimator__classifier__n_estimators=2)
    save_model(pipeline.fit(poses.heatmaps(), poses.labels), tmp_path / "pose.joblib")
    installed(**{"xgboost-cpu": "3.2.0"})
    for name in [name for name in sys.modules if name.partition(".")[0] == "xgboost"]:
        monkeypatch.setitem(sys.modules, name, None)
    repair = "pip install --force-reinstall --no-deps xgboost-cpu"
    with pytest.raises(
        ImportError, match="registered as installed, but the module xgboost cannot be imported"
    ) as error:
        make_pose_pipeline("xgboost")
    assert repair in str(error.value)
    with pytest.raises(ModelError, match=r"here is .*xgboost \(none\)") as refused:
        load_model(tmp_path / "pose.joblib")
    assert repair in str(refused.value)
    assert f"pip install xgboost-cpu=={xgboost.__version__}" in str(refused.value)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert f"brew install libomp, or {repair}" in xgboost_conflict()
