"""Name poses with a safe file, which may come from anybody: python safe_file.py pose.heatpose FRAME.npy...

It is made by: heatpose export models/pose.joblib pose.heatpose --format safe
"""

import sys

import numpy as np

import heatpose

model = heatpose.load_model(sys.argv[1])  # nothing in it can run; damage is told of
for path in sys.argv[2:]:
    for label in model.predict(np.load(path)):
        print(path, label)
