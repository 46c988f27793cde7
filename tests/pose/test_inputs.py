"""Heatmaps as other libraries hand them out: stand-ins for them, and the real ones where they are installed."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from heatpose.datasets.simulation import simulate_poses
from heatpose.model.candidates import make_pose_pipeline
from heatpose.pose.decoding import decode_heatmaps
from heatpose.pose.inputs import as_array

POSES = simulate_poses(2, 1, 3, classes=["action_up", "dummy"])
HEATMAPS = POSES.heatmaps()
KEYPOINTS = decode_heatmaps(HEATMAPS)


class PoseDataSample:
    """As mmpose's: what was not predicted is no attribute."""

    def __init__(self, **fields):
        self.pred_instances = object()
        self.__dict__.update(fields)


def samples(heatmaps):
    return [PoseDataSample(pred_fields=SimpleNamespace(heatmaps=person)) for person in heatmaps]


def test_arrays_are_not_copied():
    assert as_array(HEATMAPS) is HEATMAPS


@pytest.mark.parametrize(
    "given",
    [
        SimpleNamespace(heatmaps=HEATMAPS),  # transformers
        samples(HEATMAPS),  # mmpose
        [SimpleNamespace(heatmaps=HEATMAPS[:5]), SimpleNamespace(heatmaps=HEATMAPS[5:])],  # batches
        [HEATMAPS[:5], HEATMAPS[5:]],
        list(HEATMAPS),
        pd.Series(list(HEATMAPS), index=range(len(HEATMAPS), 0, -1)),
    ],
)
def test_outputs_of_estimators_are_taken_as_they_are(given):
    np.testing.assert_array_equal(decode_heatmaps(given), KEYPOINTS)


def test_one_person_is_one_sample():
    np.testing.assert_array_equal(decode_heatmaps(samples(HEATMAPS)[3]), KEYPOINTS[3:4])


def test_an_output_without_heatmaps_says_how_to_get_them():
    with pytest.raises(ValueError, match=r"heatmaps in the PoseDataSample, got none.*output_heatmaps"):
        decode_heatmaps([PoseDataSample()])
    with pytest.raises(ValueError, match="heatmaps in the SimpleNamespace, got none"):
        decode_heatmaps(SimpleNamespace(heatmaps=None))


def test_a_path_is_no_heatmaps():
    with pytest.raises(TypeError, match=r"got the path 'data': .*heatpose\.load_data a folder"):
        decode_heatmaps("data")


def test_people_of_different_shapes_are_refused():
    people = [HEATMAPS[0], HEATMAPS[0, :, :32]]
    for form in (people, samples(people)):
        with pytest.raises(ValueError, match=r"one shape.*\(17, 64, 48\), \(17, 32, 48\)"):
            decode_heatmaps(form)


def test_pipelines_take_them_too():
    pipeline = make_pose_pipeline("lda").fit(samples(HEATMAPS), POSES.labels)
    np.testing.assert_array_equal(pipeline.predict(samples(HEATMAPS)), pipeline.predict(HEATMAPS))


# With the libraries themselves


@pytest.mark.parametrize("kind", ["float32", "float64", "float16", "bfloat16"])
@pytest.mark.parametrize("grad", [False, True])
def test_tensors(kind, grad):
    torch = pytest.importorskip("torch", reason="needs heatpose[cnn]")
    tensor = torch.from_numpy(HEATMAPS).to(getattr(torch, kind)).requires_grad_(grad)
    expected = decode_heatmaps(tensor.detach().to(torch.float64).numpy())
    np.testing.assert_allclose(decode_heatmaps(tensor), expected, atol=2e-3)
    assert tensor.requires_grad == grad
    np.testing.assert_array_equal(decode_heatmaps(tensor[0]), decode_heatmaps(tensor)[:1])
    np.testing.assert_array_equal(decode_heatmaps(list(tensor)), decode_heatmaps(tensor))


def test_tensors_share_their_memory():
    torch = pytest.importorskip("torch", reason="needs heatpose[cnn]")
    tensor = torch.from_numpy(HEATMAPS)
    assert np.shares_memory(as_array(tensor), HEATMAPS)
    assert as_array(tensor.permute(0, 1, 3, 2)).shape == (len(HEATMAPS), 17, 48, 64)


def test_the_output_of_transformers():
    torch = pytest.importorskip("torch", reason="needs heatpose[vitpose]")
    modeling = pytest.importorskip("transformers.models.vitpose.modeling_vitpose", reason="needs heatpose[vitpose]")
    output = modeling.VitPoseEstimatorOutput(heatmaps=torch.from_numpy(HEATMAPS))
    np.testing.assert_array_equal(decode_heatmaps(output), KEYPOINTS)
    np.testing.assert_array_equal(decode_heatmaps([output, output]), np.concatenate([KEYPOINTS, KEYPOINTS]))
