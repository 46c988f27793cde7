"""A film from pictures to events, the page in a real browser, and how long a frame takes.

    python -m benchmarks.live [--data ../shared/data] [--classifier NAME] [--pictures FOLDER] [--minutes N]

The film of performer 1 is read by the small estimator in the data, with a model trained on performer 0 alone. Printed
are the share of frames named right, the events beside what is shown, whether ``heatmaps`` and ``watch`` give the same
events as ``live``, the time from a frame to its line beside the estimator's own, and memory over time. Then the page is
opened in headless Chromium: it must show events, record two classes that a model is then trained on, ask for nothing
outside and say nothing on the console. Exits with 1 where it does not.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks import describe_machine, print_table
from benchmarks.report_in_browser import FINDINGS, SCHEMES, WIDTHS, Browser

LATENCY_FPS = 15  # what a webcam gives in a lit room
LATENCY_FRAMES = 300


def heatpose(*words):
    """Run a command of heatpose; return its lines on stdout."""
    done = subprocess.run(
        [sys.executable, "-m", "heatpose", *map(str, words)], check=True, capture_output=True, text=True
    )
    return done.stdout.splitlines()


def train_on_performer_0(data, out, classifier):
    subprocess.run([sys.executable, data / "unpack_gestures.py", out / "all"], check=True, capture_output=True)
    for file in (out / "all").rglob("*_1.npy"):
        file.unlink()
    heatpose("train", out / "all", "--classifiers", classifier, "--groups", "blocks:5", "--out", out / "model.joblib")
    return out / "model.joblib"


def recognition(model, data, out):
    """Frames named right, events, and the same events by way of files."""
    film, estimator = data / "live/gestures_1.mp4", data / "live/nano.onnx"
    truth = json.loads((data / "live/gestures_1.json").read_text())
    lines = [
        json.loads(line)
        for line in heatpose("live", model, "--source", film, "--estimator", estimator, "--events", "--frames")
    ]
    frames = [line for line in lines if line["kind"] == "frame"]
    right = [
        line["label"] == next(part["label"] for part in truth if part["start"] <= line["time"] < part["end"])
        for line in frames
    ]
    entered = [(line["label"], line["time"]) for line in lines if line["kind"] == "entered"]
    wanted = [(part["label"], part["start"]) for part in truth]
    close = [any(label == name and abs(when - start) <= 0.5 for name, when in entered) for label, start in wanted]
    others = [name for name, _ in entered if name not in dict(wanted)]
    heatpose("heatmaps", film, out / "maps", "--estimator", estimator)
    options = ("--once", "--fps", 4, "--frame", r"_f(\d+)", "--events")
    by_files = heatpose("watch", model, out / "maps", *options)
    events = [json.dumps(line) for line in lines if line["kind"] != "frame"]
    print(f"  frames named right     {np.mean(right):.3f} of {len(frames)}")
    print(f"  entered events         {', '.join(f'{name} {when:.2f}' for name, when in entered)}")
    print(f"  within 0.5 s           {sum(close)} of {len(wanted)}, others: {', '.join(others) or 'none'}")
    print(f"  heatmaps and watch     {'the same events' if by_files == events else 'OTHER EVENTS'}")
    return by_files == events


def resident():
    """Memory of this process, in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def latency(model, data, minutes):
    """Time from a frame to its line at a camera's rate, beside that of the estimator alone."""
    import cv2

    from heatpose import PoseStream, load_model
    from heatpose.datasets.boxes import PersonTracker
    from heatpose.datasets.estimator import OnnxEstimator
    from heatpose.datasets.video import FilmReader
    from heatpose.live.camera import Camera
    from heatpose.live.recognition import find_people, person_frames
    from heatpose.live.watching import watch_frames

    pictures = [cv2.resize(p, (640, 480)) for *_, p in FilmReader(data / "live/gestures_1.mp4").frames()]

    class Webcam:
        """A camera of 640 x 480 at a steady rate, from the film's pictures; each is shown for a second."""

        def __init__(self, _):
            self.begun, self.n_read = time.monotonic(), 0

        def isOpened(self):  # noqa: N802 (OpenCV's name)
            return True

        def read(self):
            self.n_read += 1
            time.sleep(max(0.0, self.begun + self.n_read / LATENCY_FPS - time.monotonic()))
            return True, pictures[self.n_read // LATENCY_FPS % len(pictures)]

        def release(self):
            pass

    estimator = OnnxEstimator(data / "live/nano.onnx")
    alone, estimate = [], estimator.estimate

    def timed(*arguments):
        begun = time.perf_counter()
        result = estimate(*arguments)
        alone.append(time.perf_counter() - begun)
        return result

    estimator.estimate = timed
    stream = PoseStream(load_model(model))
    stream.warm_up()
    tracker = PersonTracker(estimator)
    camera = Camera(0, open_capture=Webcam)
    frames = person_frames(find_people(camera, tracker), decoder=stream.decoder)
    took, memory, begun = [], [], time.monotonic()
    for record in watch_frames(stream, frames):
        took.append(time.time() - record["time"])
        if len(took) % 100 == 0:
            memory.append(resident())
        if len(took) >= LATENCY_FRAMES and time.monotonic() - begun >= 60 * minutes:
            break
    seconds = time.monotonic() - begun
    camera.close()
    middle, own = np.median(took), np.median(alone)  # its own: crop, normalisation, network
    print(f"  frames a second        {len(took) / seconds:.1f} of {LATENCY_FPS}")
    print(f"  frame to line, p50     {middle / own:.2f} times the estimator's own ({1000 * own:.0f} ms)")
    print(f"  memory                 {memory[0]:.0f} MB after 100 frames, {memory[-1]:.0f} MB after {len(took)}")


def wait_for(browser, expression, seconds=40):
    """Ask the page again and again until an expression is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if browser.ask("Runtime.evaluate", expression=expression)["result"].get("value"):
            return True
        time.sleep(0.2)
    return False


@contextmanager
def served(*words):
    """Run a command with ``--serve 0``; yield the address of its page."""
    server = subprocess.Popen(
        [sys.executable, "-m", "heatpose", *map(str, words), "--serve", "0"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield next(line.split()[1] for line in server.stderr if line.startswith("Open "))
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def open_page(browser, url, width=WIDTHS["desk"], scheme="light"):
    """Open the page and wait for a picture and an event; return what is wrong."""
    for domain in ("Page", "Runtime", "Log", "Network"):
        browser.ask(f"{domain}.enable")
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == WIDTHS["phone"]}
    browser.ask("Emulation.setDeviceMetricsOverride", **size)
    browser.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    browser.ask("Page.navigate", url=url)
    came = wait_for(browser, "drawn > 3 && document.querySelectorAll('#events .entered').length > 0")
    found = browser.ask("Runtime.evaluate", expression=FINDINGS, returnByValue=True)["result"]["value"]
    return found if came else [*found, "no picture or no event"]


def record_class(browser, label, seconds=2):
    """Record a clip of a class from the page; return what is wrong."""
    before = "document.body.dataset.before = $('frames').textContent; "
    fill = f"const f = $('form'); f.label.value = '{label}'; f.seconds.value = {seconds}; f.countdown.value = 0; "
    browser.ask("Runtime.evaluate", expression="{" + before + fill + "$('start').focus(); $('start').click(); }")
    focused = wait_for(browser, "document.activeElement.id === 'stop'", seconds=5)
    done = "document.body.dataset.before !== $('frames').textContent && !$('start').disabled"
    wrong = [] if wait_for(browser, done) else [f"class {label} was not recorded"]
    focused = focused and wait_for(browser, "document.activeElement.id === 'start'", seconds=5)
    return wrong + ([] if focused else [f"the keyboard's focus was lost when {label} was recorded"])


def misconduct(browser, url):
    """List what the page has said on the console so far, and its requests to anywhere else."""
    wrong = []
    for event in browser.events:
        kind, about = event.get("method"), event.get("params", {})
        if kind in ("Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"):
            wrong.append(f"console: {json.dumps(about)[:200]}")
        asked = about.get("request", {}).get("url", url) if kind == "Network.requestWillBeSent" else url
        if not asked.startswith((url.split("?")[0], "data:", "about:")):
            wrong.append(f"request to {asked}")
    return wrong


def page(model, data, out, chromium, pictures):
    """Open the page, record two classes and train on them; return what is wrong."""
    import cv2

    from heatpose.datasets.video import FilmReader

    reader = FilmReader(data / "live/gestures_1.mp4")
    frames = [frame.pixels for frame in reader.frames()]
    long = out / "long.mp4"  # as long as the browser may need
    writer = cv2.VideoWriter(str(long), cv2.VideoWriter_fourcc(*"mp4v"), reader.fps, frames[0].shape[1::-1])
    for _ in range(12):
        for picture in frames:
            writer.write(picture)
    writer.release()
    command = ["live", model, "--source", long, "--estimator", data / "live/nano.onnx", "--record", out / "recorded"]
    wrong, rows = [], []
    browser = Browser(chromium)
    try:
        with served(*command) as url:
            for name, width in WIDTHS.items():
                for scheme in SCHEMES:
                    found = open_page(browser, url, width, scheme)
                    wrong += [f"{name}, {scheme}: {one}" for one in found]
                    rows.append({"page": f"{name}, {scheme}", "wrong": len(found)})
                    if pictures:
                        shot = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
                        (pictures / f"live-{name}-{scheme}.png").write_bytes(base64.b64decode(shot))
            wrong += [*record_class(browser, "one"), *record_class(browser, "two"), *misconduct(browser, url)]
    finally:
        browser.close()
    print_table("page", rows)
    heatpose("train", out / "recorded", "--groups", "blocks:2", "--classifiers", "lda", "--out", out / "mine.joblib")
    print(f"  recorded               {len(list((out / 'recorded').rglob('*.npy')))} frames of two classes, trained on")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--classifier", default="ensemble", help="candidate (default: %(default)s)")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--chromium", default="chromium")
    parser.add_argument("--minutes", type=float, default=0.0, help="least time of the latency run")
    options = parser.parse_args()
    data = options.data.resolve()
    describe_machine()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        model = train_on_performer_0(data, out, options.classifier)
        wrong = [] if recognition(model, data, out) else ["live and watch differ"]
        latency(model, data, options.minutes)
        if shutil.which(options.chromium):
            wrong += page(model, data, out, options.chromium, options.pictures)
        else:
            print(f"No {options.chromium}: the page was not opened")
    for one in wrong:
        print(f"WRONG: {one}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
