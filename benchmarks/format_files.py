"""Poses written by hand as other tools write them: for the tests, the fuzzer and the measurement of the readers.

The orders of keypoints are written out here from the documentation of each tool, and not taken from the package.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd


def _words(text: str) -> list[str]:
    return text.split()


COCO = _words(
    "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist "
    "right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle"
)
OPENPOSE_18 = _words(
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist right_hip right_knee "
    "right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear"
)
BODY_25 = _words(
    "nose neck right_shoulder right_elbow right_wrist left_shoulder left_elbow left_wrist mid_hip right_hip "
    "right_knee right_ankle left_hip left_knee left_ankle right_eye left_eye right_ear left_ear left_big_toe "
    "left_small_toe left_heel right_big_toe right_small_toe right_heel"
)
KINECT_25 = _words(
    "spine_base spine_mid neck head left_shoulder left_elbow left_wrist left_hand right_shoulder right_elbow "
    "right_wrist right_hand left_hip left_knee left_ankle left_foot right_hip right_knee right_ankle right_foot "
    "spine_shoulder left_hand_tip left_thumb right_hand_tip right_thumb"
)
_HALPE = _words("head neck hip left_big_toe right_big_toe left_small_toe right_small_toe left_heel right_heel")
HALPE_26 = [*COCO, *_HALPE]
_FACE_AND_HANDS = [*(f"face_{n}" for n in range(68)), *(f"hand_{n}" for n in range(42))]
HALPE_136 = [*HALPE_26, *_FACE_AND_HANDS]
WHOLEBODY_133 = [*COCO, *(f"foot_{n}" for n in range(6)), *_FACE_AND_HANDS]
MEDIAPIPE_33 = _words(
    "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer left_ear right_ear "
    "mouth_left mouth_right left_shoulder right_shoulder left_elbow right_elbow left_wrist right_wrist left_pinky "
    "right_pinky left_index right_index left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle "
    "right_ankle left_heel right_heel left_foot_index right_foot_index"
)
MPII_16 = _words(
    "right_ankle right_knee right_hip left_hip left_knee left_ankle pelvis thorax upper_neck head_top right_wrist "
    "right_elbow right_shoulder left_shoulder left_elbow left_wrist"
)

SAPIENS_308 = [
    *(name for name in COCO if "wrist" not in name),
    *(f"{side}_{part}" for side in ("left", "right") for part in ("big_toe", "small_toe", "heel")),
    *(*(f"right_finger_{n}" for n in range(20)), "right_wrist"),
    *(*(f"left_finger_{n}" for n in range(20)), "left_wrist"),
    *(f"point_{n}" for n in range(63, 308)),
]

SIZE = (640, 480)
"""Width and height of the images that the poses are in."""

_FRACTIONS = ("yolo", "mediapipe", "mediapipe_csv", "mediapipe_long_csv", "kinetics")
SIZED = {name: {"image_size": SIZE} for name in _FRACTIONS}
"""What has to be passed beside a source, by the name of its writer."""


def bodies(n: int, seed: int = 0, missing: float = 0.1) -> np.ndarray:
    """Return poses, shape (n, 17, 3): x, y in pixels, confidence; NaN, NaN and 0 where a keypoint is missing."""
    rng = np.random.default_rng(seed)
    poses = np.empty((n, 17, 3))
    poses[..., 0] = rng.uniform(20, 300, (n, 17)).round(2)
    poses[..., 1] = rng.uniform(20, 400, (n, 17)).round(2)
    poses[..., 2] = rng.uniform(0.2, 1, (n, 17)).round(4)
    poses[rng.random((n, 17)) < missing] = (np.nan, np.nan, 0)
    poses[:, 5] = (200, 100, 0.9)  # something is always there
    return poses


def ordered(pose: np.ndarray, names: list[str]) -> list[list[float]]:
    """Return x, y and confidence of the named keypoints as a tool that writes zeros for missing ones lists them."""
    by_name = dict(zip(COCO, np.nan_to_num(pose).tolist(), strict=True))
    return [by_name.get(name, [1.5, 2.5, 0.5]) for name in names]


def flat(pose: np.ndarray, names: list[str]) -> list[float]:
    """Return what `ordered` does as one list."""
    return [number for point in ordered(pose, names) for number in point]


def dump(path: Path, content: object) -> None:
    """Write JSON, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def coco(path: Path, poses: np.ndarray, per_image: int = 1) -> Path:
    """Write an annotation file; visibility is 2, and 0 with zeros where a keypoint is missing."""
    images = [
        {"id": 7 + n, "file_name": f"set/img {n:04d} ü.jpg", "width": SIZE[0], "height": SIZE[1]}
        for n in range(-(-len(poses) // per_image))
    ]
    annotations = []
    for n, pose in enumerate(poses):
        drawn = pose.copy()
        drawn[:, 2] = np.where(drawn[:, 2] > 0, 2, 0)
        size = np.ptp(np.nan_to_num(pose[:, :2]), axis=0)
        annotations.append(
            {
                "id": n + 1,
                "image_id": 7 + n // per_image,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [0, 0, *size.tolist()],
                "area": float(size.prod()),
                "num_keypoints": int((drawn[:, 2] > 0).sum()),
                "keypoints": flat(drawn, COCO),
                "segmentation": [[0, 0, 1, 0, 1, 1]],
            }
        )
    categories = [{"id": 1, "name": "person", "keypoints": COCO, "skeleton": [[16, 14]]}]
    dump(path, {"info": {}, "licenses": [], "images": images, "annotations": annotations, "categories": categories})
    return path


def coco_results(path: Path, poses: np.ndarray, names: list[str] = COCO) -> Path:
    """Write a list of results."""
    dump(
        path,
        [
            {"image_id": n, "category_id": 1, "keypoints": flat(pose, names), "score": 0.9}
            for n, pose in enumerate(poses)
        ],
    )
    return path


def pifpaf(path: Path, poses: np.ndarray) -> Path:
    """Write a line for each frame of a film, as OpenPifPaf does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    people = [{"keypoints": flat(pose, COCO), "bbox": [0, 0, 9, 9], "score": 0.9, "category_id": 1} for pose in poses]
    lines = [json.dumps({"frame": n + 1, "predictions": [person]}) for n, person in enumerate(people)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def openpose(path: Path, poses: np.ndarray, names: list[str] = BODY_25, video: str = "film") -> Path:
    """Write a folder of frames with one person each."""
    for n, pose in enumerate(poses):
        person = {
            "person_id": [-1],
            "pose_keypoints_2d": flat(pose, names),
            "face_keypoints_2d": [],
            "hand_left_keypoints_2d": [],
            "hand_right_keypoints_2d": [],
            "pose_keypoints_3d": [],
        }
        dump(path / f"{video}_{n:012d}_keypoints.json", {"version": 1.3, "people": [person]})
    return path


def alphapose(path: Path, poses: np.ndarray, names: list[str] = COCO) -> Path:
    """Write the results of a film, a frame a pose."""
    dump(
        path,
        [
            {
                "image_id": f"{n}.jpg",
                "category_id": 1,
                "keypoints": flat(pose, names),
                "score": 2.9,
                "box": [1.0, 2.0, 300.0, 400.0],
                "idx": 1,
            }
            for n, pose in enumerate(poses)
        ],
    )
    return path


def alphapose_open(path: Path, poses: np.ndarray, form: tuple[str, str] = ("people", "pose_keypoints_2d")) -> Path:
    """Write the results of a film in OpenPose's form, or CMU's, all together and each apart, as AlphaPose does."""
    frames = {
        f"{n}.jpg": {"version": "AlphaPose v0.3", form[0]: [{form[1]: flat(pose, OPENPOSE_18)}]}
        for n, pose in enumerate(poses)
    }
    dump(path / "alphapose-results.json", frames)
    for name, frame in frames.items():
        dump(path / "sep-json" / name.replace("jpg", "json"), frame)
    return path


def kinetics(path: Path, poses: np.ndarray) -> Path:
    """Write a clip of Kinetics-skeleton, whose places are fractions of the image."""
    points = [np.array(ordered(pose, OPENPOSE_18)) / (*SIZE, 1) for pose in poses]
    people = [[{"pose": xyc[:, :2].reshape(-1).tolist(), "score": xyc[:, 2].tolist()}] for xyc in points]
    frames = [{"frame_index": n + 1, "skeleton": skeletons} for n, skeletons in enumerate(people)]
    dump(path, {"data": frames, "label": "wave", "label_index": 7})
    return path


def instance(pose: np.ndarray, names: list[str] = COCO) -> dict:
    """Return a pose as an instance of MMPose."""
    points = np.array(ordered(pose, names))
    return {
        "keypoints": points[:, :2].tolist(),
        "keypoint_scores": points[:, 2].tolist(),
        "bbox": [[0.0, 0.0, 10.0, 10.0]],
        "bbox_score": 0.9,
    }


def mmpose(path: Path, poses: np.ndarray, names: list[str] = COCO) -> Path:
    """Write the predictions of a film by a demo script, with the names of the keypoints."""
    frames = [{"frame_id": n + 1, "instances": [instance(pose, names)]} for n, pose in enumerate(poses)]
    id2name = {str(number): name for number, name in enumerate(names)}
    dump(path, {"meta_info": {"dataset_name": "coco", "keypoint_id2name": id2name}, "instance_info": frames})
    return path


def easy_vitpose(path: Path, poses: np.ndarray, names: list[str] = COCO) -> Path:
    """Write the people of a film by their tracks: y, x and score of each keypoint."""
    frames = [{"3": np.array(ordered(pose, names))[:, [1, 0, 2]].tolist()} for pose in poses]
    dump(path, {"keypoints": frames, "skeleton": {str(number): name for number, name in enumerate(names)}})
    return path


def yolo(path: Path, poses: np.ndarray, names: list[str] = COCO) -> Path:
    """Write predictions, a text file an image."""
    path.mkdir(parents=True, exist_ok=True)
    for n, pose in enumerate(poses):
        points = np.array(ordered(pose, names)) / (*SIZE, 1)
        numbers = [0.5, 0.5, 0.4, 0.6, *points.reshape(-1)]
        (path / f"img_{n}.txt").write_text("0 " + " ".join(f"{value:.6f}" for value in numbers) + "\n")
    return path


def ultralytics(path: Path, poses: np.ndarray) -> Path:
    """Write ``to_json`` of the results of a film, a list of persons for each frame."""
    persons = []
    for n, pose in enumerate(poses):
        x, y, visible = np.array(ordered(pose, COCO)).T.tolist()
        box = {"x1": min(x), "y1": min(y), "x2": max(x), "y2": max(y)}
        keypoints = {"x": x, "y": y, "visible": visible}
        persons.append({"name": "person", "class": 0, "confidence": 0.9, "box": box, "track_id": n % 2})
        persons[-1]["keypoints"] = keypoints
    dump(path, [[person] for person in persons])
    return path


def landmarks(pose: np.ndarray) -> list[dict[str, float]]:
    """Return a pose as MediaPipe's landmarks: fractions of the image."""
    return [
        {"x": x / SIZE[0], "y": y / SIZE[1], "z": -0.1, "visibility": v, "presence": 0.9}
        for x, y, v in ordered(pose, MEDIAPIPE_33)
    ]


def mediapipe(path: Path, poses: np.ndarray) -> Path:
    """Write results of the Tasks API, a list of frames."""
    dump(path, [{"timestamp_ms": 33 * n, "pose_landmarks": [landmarks(pose)]} for n, pose in enumerate(poses)])
    return path


def tensorflow_js(path: Path, poses: np.ndarray, seen: str = "score") -> Path:
    """Write what MoveNet returns in TensorFlow.js for each frame, or by ``confidence`` in ml5."""
    frames = [
        [
            {"x": x, "y": y, seen: score, "name": name}
            for (x, y, score), name in zip(ordered(pose, COCO), COCO, strict=True)
        ]
        for pose in poses
    ]
    dump(path, [[{"score": 0.8, "keypoints": keypoints}] for keypoints in frames])
    return path


def posenet(path: Path, poses: np.ndarray) -> Path:
    """Write what PoseNet returns in ml5 for each frame, with the lines between keypoints."""
    frames = [
        [
            {"score": score, "part": name.replace("_", " ").title().replace(" ", ""), "position": {"x": x, "y": y}}
            for (x, y, score), name in zip(ordered(pose, COCO), COCO, strict=True)
        ]
        for pose in poses
    ]
    dump(path, [[{"pose": {"score": 0.8, "keypoints": points}, "skeleton": [points[:2]]}] for points in frames])
    return path


def mediapipe_csv(path: Path, poses: np.ndarray) -> Path:
    """Write ``class, x1, y1, z1, v1, ..., v33``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ["class", *(f"{part}{n}" for n in range(1, 34) for part in "xyzv")]
    rows = [["wave", *(value for point in landmarks(pose) for value in list(point.values())[:4])] for pose in poses]
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *rows]) + "\n", encoding="utf-8")
    return path


def mediapipe_long_csv(path: Path, poses: np.ndarray) -> Path:
    """Write ``frame, landmark, x, y, z, visibility``, a row a landmark."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        [frame, name.upper(), *list(point.values())[:4]]
        for frame, pose in enumerate(poses)
        for name, point in zip(MEDIAPIPE_33, landmarks(pose), strict=True)
    ]
    lines = [["frame", "landmark", "x", "y", "z", "visibility"], *rows]
    path.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n", encoding="utf-8")
    return path


def movenet(path: Path, poses: np.ndarray) -> Path:
    """Write the table of the tutorial on pose classification."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = ["file_name", *(f"{name.upper()}_{part}" for name in COCO for part in ("x", "y", "score"))]
    rows = [[f"tree/img{n}.jpg", *flat(pose, COCO), n % 2, "tree"] for n, pose in enumerate(poses)]
    lines = [[*header, "class_no", "class_name"], *rows]
    path.write_text("\n".join(",".join(map(str, row)) for row in lines) + "\n", encoding="utf-8")
    return path


def arrays(path: Path, poses: np.ndarray) -> Path:
    """Write an .npz with keypoints and clips."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, keypoints=poses, clip=np.arange(len(poses)) // 4)
    return path


def pyskl(path: Path, poses: np.ndarray, protocol: int = 4) -> Path:
    """Write a pickle of one clip of one person."""
    path.parent.mkdir(parents=True, exist_ok=True)
    known = np.nan_to_num(poses)[None].astype(np.float16 if protocol == 2 else np.float32)
    clip = {
        "frame_dir": "S001C001P003R001A007",
        "label": 6,
        "img_shape": SIZE[::-1],
        "original_shape": SIZE[::-1],
        "total_frames": len(poses),
        "keypoint": known[..., :2],
        "keypoint_score": known[..., 2],
    }
    path.write_bytes(pickle.dumps({"split": {"train": [clip["frame_dir"]]}, "annotations": [clip]}, protocol))
    return path


def ntu(path: Path, poses: np.ndarray) -> Path:
    """Write a clip of NTU RGB+D with one body; what it has not is NaN in the image of the colour camera."""
    lines = [str(len(poses))]
    for pose in poses:
        lines += ["1", "72057594037931101 0 1 1 1 1 0 0.02764709 0.05745083 2", str(len(KINECT_25))]
        for x, y, confidence in ordered(pose, KINECT_25):
            place, state = f"{x} {y}" if confidence else "NaN -Infinity", 1 + (confidence > 0.5)
            lines.append(f"0.2181153 0.1725972 3.785547 277.4 191.8 {place} -0.2059 0.0349 0.9766 -0.0292 {state}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def deeplabcut(path: Path, poses: np.ndarray, individuals: bool = False) -> Path:
    """Write the table of a film, with three rows of headers or four."""
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = [(name, part) for name in COCO for part in ("x", "y", "likelihood")]
    header = [["scorer", *["DLC_resnet50"] * len(columns)]]
    if individuals:
        header.append(["individuals", *["mouse1"] * len(columns)])
    header += [["bodyparts", *(name for name, _ in columns)], ["coords", *(part for _, part in columns)]]
    rows = [[n, *("" if np.isnan(value) else value for value in pose.reshape(-1))] for n, pose in enumerate(poses)]
    path.write_text("\n".join(",".join(map(str, row)) for row in [*header, *rows]) + "\n", encoding="utf-8")
    return path


def deeplabcut_hdf5(path: Path, poses: np.ndarray, form: str = "table", individuals: tuple[str, ...] = ()) -> Path:
    """Write the table of a film with pandas and PyTables, as DeepLabCut does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = [("DLC", *individuals, name, part) for name in COCO for part in ("x", "y", "likelihood")]
    levels = ["scorer", *["individuals"] * len(individuals), "bodyparts", "coords"]
    table = pd.DataFrame(poses.reshape(len(poses), -1), columns=pd.MultiIndex.from_tuples(names, names=levels))
    table.to_hdf(path, key="df_with_missing", format=form, mode="w")
    return path


def sleap(path: Path, poses: np.ndarray) -> Path:
    """Write a ``.slp``, an analysis ``.h5`` or a ``.nwb`` with sleap-io."""
    import sleap_io

    path.parent.mkdir(parents=True, exist_ok=True)
    skeleton = sleap_io.Skeleton(nodes=list(COCO), name="body")
    video, track = sleap_io.Video(filename="clip.mp4", open_backend=False), sleap_io.Track("a")
    frames = [
        sleap_io.LabeledFrame(
            video=video,
            frame_idx=number,
            instances=[
                sleap_io.PredictedInstance.from_numpy(
                    pose[:, :2], skeleton=skeleton, point_scores=pose[:, 2], score=0.9, track=track
                )
            ],
        )
        for number, pose in enumerate(poses)
    ]
    save = {".slp": sleap_io.save_slp, ".nwb": sleap_io.save_nwb, ".h5": sleap_io.save_analysis_h5}[path.suffix]
    save(sleap_io.Labels(frames), str(path))
    return path
