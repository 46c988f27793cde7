"""Whether a report is what it promises in a real browser: complete in itself, without errors, readable everywhere.

    python -m benchmarks.report_in_browser [PAGE.html] [--pictures FOLDER] [--chromium chromium]

Without a page, one about simulated performers is made. It is opened in headless Chromium at the width of a desk and of
a phone, light and dark, and as it is printed. Each time it must ask for nothing but itself, say nothing on the console,
fit its width, give a name to every figure and leave no text without contrast. Exits with 1 where it does not. With
--pictures, what was seen is kept.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import describe_machine, print_table
from heatpose.data.table import load_data
from heatpose.datasets.simulation import simulate_poses, write_heatmaps
from heatpose.evaluation.inspection import inspect_data
from heatpose.report.report import write_report
from heatpose.training.training import train_pose_classifier

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
WIDTHS = {"desk": 1280, "phone": 375}
SCHEMES = ("light", "dark")
PAPER = 718  # pixels of A4 without its margins
PIECE = 1_400  # pixels of height of one picture

# What a reader would run into, found by the page itself: too wide, unnamed, low in contrast (WCAG 2, AA).
FINDINGS = """(() => {
    const found = [];
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > width) {
        const wide = [...document.querySelectorAll('body *')].filter(
            e => e.getBoundingClientRect().right > width + 1 && !e.closest('.scroll, pre, .unseen, svg'));
        found.push('wider than the window: ' + wide.slice(0, 3).map(e => e.tagName + '.' + e.className).join(', '));
    }
    for (const column of document.querySelectorAll('.columns > *'))
        if (column.scrollWidth > column.clientWidth + 1) found.push('a column reaches into the next');
    for (const figure of document.querySelectorAll('svg'))
        if (!figure.getAttribute('aria-label') && !figure.getAttribute('aria-hidden'))
            found.push('figure without a name');
    const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
    const twice = ids.filter((id, i) => ids.indexOf(id) !== i);
    if (twice.length) found.push('names given twice: ' + [...new Set(twice)].slice(0, 5));
    for (const link of document.querySelectorAll('a[href^="#"]'))
        if (!document.getElementById(link.hash.slice(1))) found.push('link to nowhere: ' + link.hash);

    const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
    const rgba = colour => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
        .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = element => {
        for (let e = element; e; e = e.parentElement) {
            const colour = rgba(getComputedStyle(e).backgroundColor);
            if (colour[3] > 250) return colour;
        }
        return [255, 255, 255];
    };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const low = new Set();
    while (walker.nextNode()) {
        const text = walker.currentNode, element = text.parentElement;
        if (!text.data.trim() || text.data.trim() === '·' || element.closest('.skip, style')) continue;
        const style = getComputedStyle(element);
        const [a, b] = [light(rgba(element.closest('svg') ? style.fill : style.color)), light(ground(element))];
        const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (contrast < 4.5) low.add(`contrast ${contrast.toFixed(2)}: "${text.data.trim().slice(0, 30)}"`);
    }
    return found.concat([...low].slice(0, 5));
})()"""


class Browser:
    """Chromium, spoken to through a pipe in its own protocol; nothing else is needed."""

    def __init__(self, chromium):
        self.profile = tempfile.TemporaryDirectory(prefix="heatpose-browser-", ignore_cleanup_errors=True)
        read_by_it, self.outgoing = os.pipe()
        self.incoming, written_by_it = os.pipe()

        def connect():  # the descriptors that it expects
            os.dup2(read_by_it, 3)
            os.dup2(written_by_it, 4)

        self.process = subprocess.Popen(
            [chromium, *FLAGS, f"--user-data-dir={self.profile.name}"],
            preexec_fn=connect,
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(read_by_it)
        os.close(written_by_it)
        self.last, self.rest, self.events = 0, b"", []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]

    def ask(self, method, **parameters):
        """Send a command and wait for its answer; events that come meanwhile are kept."""
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if hasattr(self, "session"):
            message["sessionId"] = self.session
        os.write(self.outgoing, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        """Wait for the next answer or event."""
        while b"\0" not in self.rest:
            part = os.read(self.incoming, 2**20)
            if not part:
                raise RuntimeError("Chromium ended without an answer.")
            self.rest += part
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def wait_for(self, event):
        """Wait until something has happened since the last look at the events."""
        while not any(found.get("method") == event for found in self.events):
            self.events.append(self.receive())

    def close(self):
        """End Chromium, and leave nothing behind."""
        os.close(self.outgoing)
        self.process.terminate()
        self.process.wait()
        os.close(self.incoming)
        self.profile.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def look(browser, page, width, scheme, medium="screen"):
    """Open the page and return its height and what is wrong with it."""
    browser.ask("Emulation.setDeviceMetricsOverride", width=width, height=800, deviceScaleFactor=1, mobile=width < 500)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.ask("Emulation.setEmulatedMedia", media=medium, features=features)
    browser.events.clear()
    browser.ask("Page.navigate", url=page)
    browser.wait_for("Page.loadEventFired")
    browser.ask("Runtime.evaluate", expression="new Promise(done => setTimeout(done, 200))", awaitPromise=True)
    found = browser.ask("Runtime.evaluate", expression=FINDINGS, returnByValue=True)["result"].get("value")
    problems = ["the page could not be looked through"] if found is None else found
    for event in browser.events:
        about = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                url = about["request"]["url"]
                if url != page and not url.startswith("data:"):
                    problems.append(f"asks for {url[:80]}")
            case "Log.entryAdded":
                problems.append(f"console: {about['entry']['text'][:120]}")
            case "Runtime.consoleAPICalled" | "Runtime.exceptionThrown":
                problems.append(f"console: {json.dumps(about)[:120]}")
    size = browser.ask("Page.getLayoutMetrics")["cssContentSize"]
    return round(size["height"]), problems


def keep_pictures(browser, folder, name, width, height):
    """Keep the whole page in pieces that can be looked at."""
    for number, top in enumerate(range(0, height, PIECE)):
        clip = {"x": 0, "y": top, "width": width, "height": min(PIECE, height - top), "scale": 1}
        picture = browser.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        (folder / f"{name}-{number:02}.png").write_bytes(base64.b64decode(picture["data"]))


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("page", metavar="PAGE", type=Path, nargs="?")
    parser.add_argument("--pictures", metavar="FOLDER", type=Path)
    parser.add_argument("--chromium", default=shutil.which("chromium") or shutil.which("chromium-browser"))
    options = parser.parse_args(argv)
    if options.chromium is None:
        parser.error("expected Chromium to be installed, or its path with --chromium")
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)

    with tempfile.TemporaryDirectory() as folder:
        return 1 if check(options.page or make_page(Path(folder)), options.pictures, options.chromium) else 0


def make_page(folder):
    """Train on a few simulated performers, and report."""
    write_heatmaps(simulate_poses(4, 1, 4), folder / "data", dtype="float16")
    table = load_data(folder / "data")
    result = train_pose_classifier(table, r"_(\d+)\.npy$", classifiers="lda", importance=True)
    inspection = inspect_data(folder / "data", r"_(\d+)\.npy$")
    return write_report(result, folder / "page.html", table, inspection=inspection, heatmaps=folder / "data")


def check(path, pictures, chromium):
    """Look at a page in every way, print what was seen and return what is wrong."""
    page = path.resolve(strict=True).as_uri()
    wrong = []
    with Browser(chromium) as browser:
        for domain in ("Page", "Runtime", "Log", "Network"):
            browser.ask(f"{domain}.enable")

        def rows():
            places = [(f"{place}, {scheme}", WIDTHS[place], scheme) for place in WIDTHS for scheme in SCHEMES]
            for place, width, scheme, *medium in (*places, ("paper", PAPER, "dark", "print")):
                height, problems = look(browser, page, width, scheme, *medium)
                wrong.extend(f"{place}: {problem}" for problem in problems)
                if pictures is not None:
                    keep_pictures(browser, pictures, place.replace(", ", "-"), width, height)
                yield {"seen": place, "width": width, "height": height, "wrong": len(problems)}

        print_table(f"{path.name}, {path.stat().st_size / 1e6:.2f} MB", rows())
        printed = base64.b64decode(browser.ask("Page.printToPDF", preferCSSPageSize=True)["data"])
        if pictures is not None:
            (pictures / "printed.pdf").write_bytes(printed)
    print(*(f"- {problem}" for problem in wrong), sep="\n", end="\n" if wrong else "")
    return wrong


if __name__ == "__main__":
    print(describe_machine())
    sys.exit(main())
