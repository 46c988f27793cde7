"""Pose events at 5, 15, 30 and 60 frames a second with noise and missing frames: are they the same.

    python -m benchmarks.streaming [--streams 18] [--dropped 0.1] [--classifier ensemble] [--random-state 0]

A simulated performer does commands one after the other, with nothing in particular now and then, and takes 0.6 s from
one to the next. The reference is the events of heatpose at all 60 frames a second; every other row sees fewer frames of
the same film, of which a tenth is missing (neither the first nor the last), and other noise: keypoints off by .06
cells, as decoded from heatmaps with noise .05. The classifier has never seen "dummy", which is therefore unknown.
"""

import argparse
from itertools import groupby

import numpy as np

from benchmarks import describe_machine, print_table
from heatpose import PoseStream, make_pose_pipeline, simulate_poses, simulate_stream
from heatpose.datasets.body import COMMAND_ANGLES
from heatpose.datasets.simulation import STREAM_RATE

CLOSE = 0.1  # seconds
NEAR = 1.0  # seconds: further away, an event is another one
NOISE = 0.06  # cells


def train(classifier, random_state):
    poses = simulate_poses(6, 2, 8, classes=list(COMMAND_ANGLES))
    model = make_pose_pipeline(classifier, random_state=random_state)[1:]
    return model.fit(poses.keypoints.reshape(len(poses), -1), poses.labels)


def films(count, held_out, difficulty):
    """Films of eight commands, of performers that the classifier was trained on or not."""
    for number in range(count):
        commands = np.random.default_rng(number).choice(list(COMMAND_ANGLES), 8, replace=False).tolist()
        commands[3:3] = commands[7:7] = ["dummy"]
        yield simulate_stream(
            commands,
            seconds=2,
            move=0.6,
            performer=number % 6,
            random_state=1 if held_out else 0,
            difficulty=difficulty,
        )


def follow(model, film, rate, dropped, seed):
    """Return events, and what each frame says by itself."""
    rng = np.random.default_rng([seed, rate])
    frames = np.arange(0, len(film), STREAM_RATE // rate)
    kept = rng.random(len(frames)) >= dropped
    kept[0] = True  # a stream begins and ends with a frame, whichever are missing in between
    frames = np.unique(np.append(frames[kept], len(film) - 1))
    stream, events, labels = PoseStream(model), [], []
    for frame in frames:
        keypoints = film.keypoints[frame] + NOISE * rng.standard_normal((17, 3)) * (1, 1, 0)
        events += stream.push(keypoints, frame / STREAM_RATE)
        labels.append(stream.last()[0])
    return [event for event in events if event.kind != "held"], labels, stream.hold


def distances(reference, events):
    """Return how far each reference event's nearest event of the same kind and label is, infinite if there is none."""
    rest, away = list(events), []
    for event in reference:
        same = [other for other in rest if (other.kind, other.label) == (event.kind, event.label)]
        nearest = min(same, key=lambda other: abs(other.time - event.time), default=None)
        if nearest is None or abs(nearest.time - event.time) > NEAR:
            away.append(np.inf)
        else:
            away.append(abs(nearest.time - event.time))
            rest.remove(nearest)
    return away, len(rest)


def rows(model, count, dropped, held_out, difficulty):
    references = [(film, follow(model, film, 60, 0, 0)[0]) for film in films(count, held_out, difficulty)]
    for rate in (5, 15, 30, 60):
        away, extra, flickers, short = [], 0, 0, 0
        for seed, (film, reference) in enumerate(references):
            events, labels, hold = follow(model, film, rate, dropped, 1 + seed)
            film_away, film_extra = distances(reference, events)
            away += film_away
            extra += film_extra
            flickers += sum(len(list(run)) / rate < hold for _, run in groupby(labels))
            short += sum(event.duration < hold - 1e-5 for event in events if event.kind == "left")
        away = np.array(away)
        found = away[np.isfinite(away)]
        yield {
            "frames a second": str(rate),
            "events": str(len(away)),
            "within 100 ms": str(np.sum(away <= CLOSE)),
            "later or earlier": str(np.sum(found > CLOSE)),
            "not there": str(np.sum(~np.isfinite(away))),
            "others": str(extra),
            "p50, ms": f"{1000 * np.median(found):.0f}",
            "p95, ms": f"{1000 * np.quantile(found, 0.95):.0f}",
            "flickers, frame by frame": str(flickers),
            "flickers, events": str(short),
        }


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--streams", type=int, default=18, help="films of each kind (default: 18)")
    parser.add_argument("--dropped", type=float, default=0.1, help="share of frames that are missing")
    parser.add_argument("--classifier", default="ensemble")
    parser.add_argument("--random-state", type=int, default=0, help="of the classifier")
    options = parser.parse_args(argv)

    model = train(options.classifier, options.random_state)
    for title, held_out, difficulty in (
        ("performers of the training data", False, 1.0),
        ("held-out performers, with half of the simulation's usual variation", True, 0.5),
        ("held-out performers", True, 1.0),
    ):
        print_table(
            f"Events of {title}, {options.streams} films, {options.dropped:.0%} of the frames missing",
            rows(model, options.streams, options.dropped, held_out, difficulty),
        )


if __name__ == "__main__":
    print(describe_machine())
    main()
