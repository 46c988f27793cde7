"""Classify poses with a safe file, which may come from any source: python safe_file.py pose.heatpose FRAME.npy...

It is made by: heatpose export models/pose.joblib pose.heatpose
"""

import sys

import numpy as np

import heatpose

model = heatpose.load_model(sys.argv[1])  # it contains no executable code; damage raises an error
for path in sys.argv[2:]:
    for label in model.predict(np.load(path)):
        print(path, label)
