"""Print the poses of a person as they occur: python live_loop.py models/pose.joblib"""

import sys
import time

import heatpose

stream = heatpose.PoseStream(heatpose.load_model(sys.argv[1]))
camera = heatpose.simulate_stream(["action_up", "action_down"])  # instead: your camera and pose estimator
for heatmaps in camera.heatmaps()[::4]:  # (17, 64, 48), 15 times a second
    for event in stream.push(heatmaps, time.monotonic()):
        print(f"{event.kind} {event.label}")
    time.sleep(1 / 15)
for event in stream.close():
    print(f"{event.kind} {event.label} after {event.duration:.1f} s")
