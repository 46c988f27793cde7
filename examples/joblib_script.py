"""Classify poses with the model that heatpose train saved: python joblib_script.py models/pose.joblib FRAME.npy..."""

import sys

import joblib  # runs whatever is in the file: for models of your own; heatpose.load_model looks first
import numpy as np

model = joblib.load(sys.argv[1])
for path in sys.argv[2:]:
    for label in model.predict(np.load(path)):
        print(path, label)
