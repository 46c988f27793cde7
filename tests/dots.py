"""A pose estimator of a few lines, and the people that it sees: 17 dots, each of a colour of its own.

The model's heatmap of a keypoint is how near each pixel is to that keypoint's colour, averaged over cells of 4 x 4.
"""

import itertools

import numpy as np

N_KEYPOINTS = 17
# Colours with one channel at its highest: mixed with the black around, none becomes another.
COLOURS = np.array([c for c in itertools.product((0.0, 0.5, 1.0), repeat=3) if max(c) == 1][:N_KEYPOINTS])
# A body in units of a head's half: nose, eyes, ears, shoulders, elbows, wrists, hips, knees, ankles; y down.
_BODY = [(0, -5), (1, -6), (-1, -6), (2, -5), (-2, -5), (2, -3), (-2, -3), (4, -2), (-4, -2), (5, 0), (-5, 0)]
_BODY += [(1, 2), (-1, 2), (1, 4), (-1, 4), (1, 6), (-1, 6)]
POSES = {"arms_down": np.array(_BODY, float), "arms_up": np.array(_BODY, float)}
POSES["arms_up"][[7, 8, 9, 10]] = [(4, -5), (-4, -5), (4, -7.5), (-4, -7.5)]


def draw(people, size=(240, 320), unit=14.0, radius=8):
    """Draw people, each (pose name or (17, 2), x, y), on black; returns B, G, R."""
    import cv2

    picture = np.zeros((*size, 3), np.uint8)
    for pose, x, y in people:
        points = POSES[pose] if isinstance(pose, str) else pose
        for (px, py), colour in zip(points * unit + (x, y), COLOURS, strict=True):
            centre = round(float(px) * 16), round(float(py) * 16)
            cv2.circle(picture, centre, radius * 16, (255 * colour[::-1]).tolist(), -1, cv2.LINE_AA, 4)
    return picture


def points_of(pose, x, y, unit=14.0):
    return POSES[pose] * unit + (x, y)


def write_film(path, pictures, fps=10.0, codec="MJPG"):
    import cv2

    film = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, pictures[0].shape[1::-1])
    for picture in pictures:
        film.write(picture)
    film.release()
    return path


def write_estimator(
    path, *, kind="heatmaps", n_keypoints=N_KEYPOINTS, size=(256, 192), batch=1, metadata=None, scale=1.0
):
    """Write the model; kinds are "heatmaps", "simcc", "simcc, rows first", "nan" and "nhwc"."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    colours = np.resize(COLOURS, (n_keypoints, 3)).astype(np.float32)
    sharpness = 9.0  # nothing is left at a third of a channel's range
    # 1 - s |x - c|^2 = 2 s c.x - s x.x + (1 - s c.c)
    weights = {
        "linear": 2 * sharpness * colours.reshape(n_keypoints, 3, 1, 1),
        "square": np.full((n_keypoints, 3, 1, 1), -sharpness, np.float32),
        "bias": (1 - sharpness * (colours**2).sum(axis=1)).reshape(1, -1, 1, 1).astype(np.float32),
        "sixteen": np.float32(16),
        "scale": np.float32(np.nan if kind == "nan" else scale),
    }
    nodes = [
        helper.make_node("Conv", ["image", "linear"], ["a"]),
        helper.make_node("Mul", ["image", "image"], ["squares"]),
        helper.make_node("Conv", ["squares", "square"], ["b"]),
        helper.make_node("Sum", ["a", "b", "bias"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("AveragePool", ["d"], ["e"], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node("Mul", ["e", "scale"], ["heatmaps"]),
    ]
    cells = [side // 4 if isinstance(side, int) else f"{side}_cells" for side in size]
    outputs = {"heatmaps": [batch, n_keypoints, *cells]}
    if kind == "simcc":
        nodes += [
            helper.make_node("Mul", ["d", "sixteen"], ["f"]),
            # The height of a dot in each column and its width in each row: a smooth peak in the middle.
            helper.make_node("ReduceMean", ["f"], ["simcc_x"], axes=[2], keepdims=0),
            helper.make_node("ReduceMean", ["f"], ["simcc_y"], axes=[3], keepdims=0),
        ]
        outputs = {"simcc_x": [batch, n_keypoints, size[1]], "simcc_y": [batch, n_keypoints, size[0]]}
    shape = [batch, *size, 3] if kind == "nhwc" else [batch, 3, *size]
    if kind == "simcc, rows first":
        nodes[-1] = helper.make_node("ReduceMean", ["d"], ["0"], axes=[3], keepdims=0)
        nodes.append(helper.make_node("ReduceMean", ["d"], ["1"], axes=[2], keepdims=0))
        outputs = {"0": [batch, n_keypoints, size[0]], "1": [batch, n_keypoints, size[1]]}
    if kind == "nhwc":
        nodes = [helper.make_node("Identity", ["image"], ["heatmaps"])]
        outputs, weights = {"heatmaps": shape}, {}
    graph = helper.make_graph(
        nodes,
        "dots",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, dims) for name, dims in outputs.items()],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, {"normalization": "unit", **(metadata or {})})
    onnx.save(model, str(path))
    return path
