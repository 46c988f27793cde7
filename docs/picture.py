"""Draw the README's picture, docs/picture.png: heatmaps, pose and prediction. ``python docs/picture.py``."""

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt

import heatpose
from heatpose.pose import augmentation, geometry
from heatpose.report import drawing

CLASSES = ["action_up", "action_new", "category_events", "category_sound", "select_avatar", "dummy"]


def main() -> None:
    """Train on two simulated performers, and show what becomes of a frame of a third."""
    poses = heatpose.simulate_poses(3, 1, 4, classes=CLASSES, random_state=3)
    others = poses.performers > 0
    heatmaps = poses.heatmaps()
    model = heatpose.make_pose_pipeline("logistic").fit(heatmaps[others], poses.labels[others])
    frame = np.flatnonzero(~others & (poses.labels == "category_events"))[0]
    keypoints = heatpose.decode_heatmaps(heatmaps[frame])[0]
    pose = geometry.normalise_poses(keypoints[np.newaxis, :, :2])
    copies = augmentation.repose(pose.repeat(14, axis=0), random_state=0)
    probabilities = model.predict_proba(heatmaps[frame])[0]

    figure, (maps, body, re_posed, names) = plt.subplots(
        1, 4, figsize=(12, 3.6), width_ratios=(0.9, 0.9, 1, 1.3), layout="constrained"
    )
    drawing.draw_heatmaps(heatmaps[frame], maps).set_title("17 heatmaps")
    drawing.draw_heatmaps(heatmaps[frame], body, keypoints).set_title("17 keypoints")
    for ax in (maps, body):
        ax.set(xticks=[], yticks=[], xlabel="", ylabel="")
    for copy in copies:
        drawing.draw_skeleton(copy, re_posed, linewidth=1.2, alpha=0.35)
    drawing.draw_skeleton(pose[0], re_posed, linewidth=3.5)
    re_posed.set_title("re-posed as other performers")
    order = probabilities.argsort()
    names.barh(model.classes_[order], probabilities[order], color=drawing.SIDE_COLOURS["left"], height=0.6)
    names.set_title("prediction")
    names.set(xlim=(0, 1), xticks=[0, 0.5, 1], xlabel="probability")
    names.spines[["top", "right"]].set_visible(False)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=110)


if __name__ == "__main__":
    main()
