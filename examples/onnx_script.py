"""Classify poses with an ONNX graph, without heatpose or scikit-learn: python onnx_script.py pose.onnx FRAME.npy...

It is made by: heatpose export models/pose.joblib pose.onnx
"""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
for path in sys.argv[2:]:
    heatmaps = np.load(path).astype(np.float32)  # (N, 17, rows, columns)
    labels, confidences = session.run(["label", "confidence"], {"heatmaps": heatmaps})
    for label, confidence in zip(labels, confidences, strict=True):
        print(path, label, f"{confidence:.2f}")
