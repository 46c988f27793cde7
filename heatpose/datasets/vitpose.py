"""Pose estimation and person detection by models of the transformers library, which are fetched from its hub once.

PyTorch and transformers (extra ``vitpose``) are imported when a model is loaded.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from heatpose.pose.inputs import as_array
from heatpose.pose.skeleton import COCO_17

__all__ = ["DETECTOR", "MODEL", "PersonDetector", "PoseEstimator"]

logger = logging.getLogger(__name__)

MODEL = "usyd-community/vitpose-base-simple"
"""Default pose estimator."""

DETECTOR = "PekingU/rtdetr_r50vd_coco_o365"
"""Default person detector."""

_MIN_SCORE = 0.5  # of a detection; the default of the detectors' own post-processing
_PATIENCE = 10  # seconds for the hub to answer


class PersonDetector:
    """Boxes found by an object detector.

    Parameters
    ----------
    model : str
        A name on the hub, or a folder.
    device : str, optional
        Where PyTorch works; a GPU where there is one.
    """

    def __init__(self, model: str = DETECTOR, device: str | None = None):
        loaded = _load(model, "AutoModelForObjectDetection", device, "--detector FOLDER")
        self._processor, self._network, self._device = loaded
        names = {str(name).lower(): number for number, name in self._network.config.id2label.items()}
        if "person" not in names:
            raise ValueError(f"Expected a detector that knows a class 'person', got {model}.")
        self._person = int(names["person"])
        self.description = f"the detector {model}"

    def __call__(self, paths: Sequence[str], pictures: Sequence[Any]) -> list[np.ndarray]:
        """The people in each picture."""
        import torch

        inputs = self._processor(images=list(pictures), return_tensors="pt").to(self._device)
        with torch.inference_mode():
            outputs = self._network(**inputs)
        sizes = [picture.size[::-1] for picture in pictures]
        found = self._processor.post_process_object_detection(outputs, target_sizes=sizes, threshold=_MIN_SCORE)
        boxes = []
        for one in found:
            corners = one["boxes"][one["labels"] == self._person].cpu().numpy().astype(np.float64).reshape(-1, 4)
            corners[:, 2:] -= corners[:, :2]
            boxes.append(corners[(corners[:, 2:] > 0).all(axis=1)])
        return boxes


class PoseEstimator:
    """A ViTPose model.

    Each person's box is cut out and turned into the model's input by its own image processor.

    Parameters
    ----------
    model : str
        A name on the hub, or a folder.
    dataset_index : int, default 0
        For models that were trained on several data sets (ViTPose+): whose experts to ask; 0 are those of COCO.
    device : str, optional
        Where PyTorch works; a GPU where there is one.
    """

    def __init__(self, model: str = MODEL, *, dataset_index: int = 0, device: str | None = None):
        self.model, self.dataset_index = model, dataset_index
        loaded = _load(model, "VitPoseForPoseEstimation", device, "--model FOLDER")
        self._processor, self._network, self._device = loaded
        experts = getattr(self._network.config.backbone_config, "num_experts", 1)
        self._has_experts = experts > 1
        if self._has_experts and not 0 <= dataset_index < experts:
            raise ValueError(f"Expected a dataset index below {experts} for {model}, got {dataset_index}.")

    def __call__(self, pictures: Sequence[Any], boxes: np.ndarray) -> np.ndarray:
        """Heatmaps of people.

        Parameters
        ----------
        pictures : sequence of PIL.Image
            Upright, in RGB, one for each person.
        boxes : ndarray, shape (n, 4)
            For each picture the person's x, y, width and height in pixels.

        Returns
        -------
        ndarray, shape (n, 17, H, W), float32
            As the model gives them.
        """
        import torch

        inputs = self._processor(list(pictures), boxes=[[box] for box in boxes.tolist()], return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device)
        more = {}
        if self._has_experts:
            more["dataset_index"] = torch.full((len(pixels),), self.dataset_index, device=self._device)
        with torch.inference_mode():
            heatmaps = as_array(self._network(pixel_values=pixels, **more)).astype(np.float32)
        if heatmaps.shape[1] != len(COCO_17.keypoints):
            raise ValueError(
                f"Expected a model of {len(COCO_17.keypoints)} keypoints, got {heatmaps.shape[1]} from {self.model}."
            )
        return heatmaps


def _load(model: str, kind: str, device: str | None, instead: str) -> tuple[Any, Any, str]:
    """Return the image processor of a model, the model itself, of a class of transformers, and its device."""
    is_folder = Path(model).is_dir()
    if not is_folder and (model.startswith((".", "/", "~")) or model.count("/") > 1):
        raise FileNotFoundError(f"No such folder: {model}")
    reached = False
    try:
        import torch
        import transformers
        from transformers.utils import logging as chatter

        verbosity, shows_progress = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
        chatter.set_verbosity_error()
        chatter.disable_progress_bar()
        try:
            reached = not is_folder and _reaches_hub(model)
            device = device or ("cuda" if torch.cuda.is_available() else "cpu")
            processor = transformers.AutoImageProcessor.from_pretrained(model, local_files_only=not reached)
            network = getattr(transformers, kind).from_pretrained(model, local_files_only=not reached)
            return processor, network.to(device).eval(), device
        finally:
            chatter.set_verbosity(verbosity)
            if shows_progress:
                chatter.enable_progress_bar()
    except ImportError as error:
        raise ImportError('Photos need PyTorch, transformers and Pillow: pip install "heatpose[vitpose]"') from error
    except Exception as error:  # of the network, the hub, the file system or a configuration: many kinds
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].removesuffix(".")
        if is_folder:
            raise ValueError(f"Expected a model and its image processor in {model}, got: {reason}.") from error
        if not reached:
            reason = "it cannot be reached, and nothing was fetched before"
        raise OSError(
            f"Could not fetch {model} from the Hugging Face hub: {reason}. A folder that it was saved in will do: "
            f"{instead}"
        ) from error


def _reaches_hub(model: str) -> bool:
    """Return whether a model can be fetched; one request, where the hub's own tools would try for minutes."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        HfApi().model_info(model, timeout=_PATIENCE)
    except HfHubHTTPError:  # the answer is no, with a reason
        return True
    except Exception as error:  # of one of several libraries for the network
        logger.info("The hub cannot be reached: %r", error)
        return False
    return True
