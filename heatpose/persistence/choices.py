"""The choices that were made without being asked for: one sentence each, for output, manifest, card and report."""

from __future__ import annotations

from collections.abc import Iterable

from sklearn.pipeline import Pipeline

from heatpose.data.wording import format_plural
from heatpose.model.inputs import heatmap_skeleton_of, skeleton_of
from heatpose.pose.skeleton import COCO_17

__all__ = ["list_choices"]


def list_choices(pipeline: Pipeline, notes: Iterable[str] = ()) -> list[str]:
    """List what was left out, masked, thinned and mirrored in a training.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted; the choices of a :class:`heatpose.PoseClassifier` at its end are listed.
    notes : iterable of str, optional
        Notes of reading the data, which come first.

    Returns
    -------
    list of str
        Sentences.

    Examples
    --------
    >>> from heatpose import make_pose_pipeline, simulate_poses
    >>> poses = simulate_poses(2, 1, 2, classes=["action_up", "dummy"])
    >>> pipeline = make_pose_pipeline("dummy").fit(poses.heatmaps(), poses.labels)
    >>> list_choices(pipeline, ["Ignored 1 file."])[0]
    'Ignored 1 file.'
    """
    classifier = pipeline[-1]
    choices = [str(note) for note in notes]
    skeleton, source = skeleton_of(pipeline), heatmap_skeleton_of(pipeline)
    if source != skeleton:
        choices.append(f"Takes heatmaps of {source.name}, and of these the keypoints of {skeleton.name}.")
    if skeleton != COCO_17:
        limbs = "no limbs" if not skeleton.parents else "limbs of no known length"
        flat = "" if skeleton.human_limbs else f"; re-posed without depth, since it has {limbs}"
        choices.append(f"Works from the {len(skeleton.keypoints)} keypoints of {skeleton.name}{flat}.")
    if n := getattr(classifier, "n_without_body_", 0):
        choices.append(f"Left out {format_plural(n, 'sample')} without a visible body.")
    if share := getattr(classifier, "min_confidence", 0):
        choices.append(
            f"Masked keypoints whose confidence is below {share:g} of the median of their pose, in training and "
            "prediction."
        )
    if n := getattr(classifier, "n_thinned_", 0):
        choices.append(
            f"Trained the final model without {format_plural(n, 'sample')}, left out evenly since neighbours in a clip "
            "are nearly the same: with re-posed ones they would be more than max_samples."
        )
    for decision in getattr(classifier, "mirror_decisions_", ()):
        first, second = decision["classes"]
        pair = f"{first} in itself" if first == second else f"{first} and {second}"
        choices.append(f"{'Mirrored' if decision['mirrored'] else 'Did not mirror'} {pair}: {decision['reason']}.")
    return choices
