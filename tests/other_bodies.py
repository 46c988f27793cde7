"""Simulated hands and animals in different poses, a few frames of each."""

import numpy as np

from heatpose.pose.skeletons import ANIMAL_17

FINGERS = {"fist": "00000", "point": "01000", "victory": "01100", "palm": "11111", "thumb": "10000"}
PAWS = {"stand": (0, 0), "left_paw_up": (1, 0), "right_paw_up": (0, 1), "beg": (1, 1)}


def take_picture(xy, rng):
    """A camera's picture of points: turned, somewhere, of some size, with an estimator's errors."""
    turn = rng.normal(0, np.radians(6))
    xy = xy @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    xy = xy * rng.uniform(6, 9) + (24, 40) + rng.uniform(-3, 3, 2) + rng.normal(0, 0.15, xy.shape)
    return np.column_stack([xy, rng.uniform(0.5, 0.9, len(xy))])


def hands(n_people, n_frames, seed):
    """Gestures of left and right hands, whose bones differ by person."""
    poses, labels, people = [], [], []
    for person in range(n_people):
        rng = np.random.default_rng([seed, person])
        bones = np.exp(rng.normal(0, 0.1, (5, 4))) * ((0.7, 0.6, 0.5, 0.4), *4 * [(2.2, 0.9, 0.6, 0.4)])
        spread = np.radians([55, 18, 3, -12, -27]) + rng.normal(0, 0.05, 5)
        for gesture, stretched in FINGERS.items():
            for side in ("left", "right"):
                for _ in range(n_frames):
                    points = [np.zeros(2)]
                    for finger in range(5):
                        bend = np.radians(5 if stretched[finger] == "1" else 75) * rng.uniform(0.85, 1.15)
                        at = points[0]
                        for joint in range(4):
                            angle = spread[finger] + rng.normal(0, 0.04)
                            bone = bones[finger, joint] * np.cos(bend * joint)
                            at = at + bone * np.array([np.sin(angle), -np.cos(angle)])
                            points.append(at)
                    xy = np.array(points) * ((-1, 1) if side == "left" else (1, 1))
                    poses.append(take_picture(xy, rng))
                    labels.append(f"{side}_{gesture}")
                    people.append(f"person {person}")
    return np.array(poses), np.array(labels), np.array(people)


def dogs(n_animals, n_frames, seed):
    """Postures of animals seen from the front, whose legs differ."""
    poses, labels, animals = [], [], []
    for animal in range(n_animals):
        rng = np.random.default_rng([seed, animal])
        leg, width = np.exp(rng.normal(0, 0.1, 2)) * (1, 0.5)
        for posture, raised in PAWS.items():
            for _ in range(n_frames):
                at = {"nose": (0, -1.4), "neck": (0, -1), "root_of_tail": (0.1, -0.1)}
                for side, sign, up in zip(("left", "right"), (1, -1), raised, strict=True):
                    shoulder, hip, half = np.array([sign * width, -0.9]), np.array([sign * width * 0.8, 0]), leg / 2
                    angle = np.radians(160 if up else 10) + rng.normal(0, 0.08)
                    elbow, knee = shoulder + np.array([0, half]), hip + np.array([0, half])
                    paw = elbow + np.array([sign * np.sin(angle), np.cos(angle)]) * half
                    at |= {f"{side}_eye": (sign * 0.1, -1.5), f"{side}_shoulder": shoulder, f"{side}_hip": hip}
                    at |= {f"{side}_elbow": elbow, f"{side}_front_paw": paw}
                    at |= {f"{side}_knee": knee, f"{side}_back_paw": knee + np.array([0, half])}
                poses.append(take_picture(np.array([at[name] for name in ANIMAL_17.keypoints], dtype=float), rng))
                labels.append(posture)
                animals.append(f"animal {animal}")
    return np.array(poses), np.array(labels), np.array(animals)
