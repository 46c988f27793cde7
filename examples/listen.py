"""Do something on each pose: heatpose watch models/pose.joblib camera/ --events | python listen.py"""

import json
import sys

for line in sys.stdin:
    event = json.loads(line)
    if event["kind"] == "entered" and event["label"] != "unknown":
        print("now:", event["label"], flush=True)
