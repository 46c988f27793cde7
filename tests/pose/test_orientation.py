import numpy as np
import pytest

from heatpose.pose.orientation import count_directions, leg_straightness
from heatpose.pose.skeleton import COCO_17

TRUNK = COCO_17.index(*COCO_17.shoulders, *COCO_17.hips)


@pytest.mark.parametrize("degrees", np.arange(-40, 320, 20))
def test_a_trunk_has_the_nearest_direction(degrees):
    """Turned clockwise, from straight up."""
    xy = np.full((1, 17, 2), np.nan)
    xy[0, TRUNK] = [[1, -3], [-1, -3], [1, 0], [-1, 0]]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    turned = xy @ np.array([[cosine, sine], [-sine, cosine]])
    assert count_directions(turned)[round(degrees / 90) % 4] == 1


def test_both_legs_count():
    xy = np.zeros((1, 17, 2))
    xy[0, COCO_17.index("left_hip", "left_knee", "left_ankle")] = [[0, 0], [0, 4], [0, 8]]
    xy[0, COCO_17.index("right_hip", "right_knee", "right_ankle")] = [[0, 0], [0, 4], [0, 0]]  # a heel at the hip
    assert leg_straightness(xy).tolist() == [0.5]
