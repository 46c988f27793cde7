"""The page in a real browser: it shows what happens, and what it records can be trained on."""

import shutil
from pathlib import Path

import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("aiohttp", reason="needs heatpose[live]")
pytest.importorskip("onnx", reason="needs heatpose[onnx]")

from benchmarks.live import misconduct, open_page, record_class, served, wait_for
from benchmarks.report_in_browser import WIDTHS, Browser
from heatpose import load_model
from heatpose.cli import main
from tests.live.test_live_cli import estimator, film_of, model

SPRITE = Path(__file__).parents[2] / "examples" / "sprite.html"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")

__all__ = ["estimator", "model"]  # fixtures


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_shows_events_and_records_what_can_be_trained_on(model, estimator, tmp_path):
    film = film_of(tmp_path / "film.avi", (["arms_up"] * 20 + ["arms_down"] * 20) * 30)
    data, trained = tmp_path / "data", tmp_path / "own.joblib"
    wanted = data / ("long_" * 20)
    wanted.mkdir(parents=True)  # a class to record
    browser = Browser(CHROMIUM)
    try:
        with served("live", model, "--source", film, "--estimator", estimator, "--record", data) as url:
            wrong = open_page(browser, url, width=WIDTHS["phone"])
            name = "$('form').performer"
            assert wait_for(browser, f"{name}.value = 'Jürgen1', {name}.checkValidity()", seconds=5)
            event = "{ kind: 'left', label: 'long_'.repeat(20), time: 1 }"
            for place, write in (("events", f"addEvent({event})"), ("message", "it.textContent = 'long_'.repeat(20)")):
                fits = f"(() => {{ const it = $('{place}'); {write}; return it.scrollWidth <= it.clientWidth }})()"
                assert wait_for(browser, fits, seconds=5), place
            person = "{ person: '7', label: 'up', keypoints: [[5, 5]] }"  # told from others in the picture
            view = f"{{ size: [9, 9], limbs: [], names: ['nose'], people: [{person}] }}"
            named = f"(() => {{ let name; context.fillText = (text) => name = text; draw({view}); return name; }})()"
            assert wait_for(browser, f"{named} === '7 up'", seconds=5)
            edges = "$('start').getBoundingClientRect().bottom - $('picture').getBoundingClientRect().top"
            assert wait_for(browser, f"{edges} < innerHeight", seconds=5)  # the countdown is seen with the button
            for label in ("one", "two"):
                wrong += record_class(browser, label, seconds=1)
            browser.ask("Page.navigate", url=url)  # opened again, it knows whose clip was the last
            assert wait_for(browser, "$('form').label.value === 'two' && $('form').performer.value === 'Jürgen1'")
            assert wait_for(browser, "[...$('labels').options].some((one) => one.value === 'two')", seconds=5)
            # Where nothing is recognised, nothing tells of it.
            shown = "getComputedStyle(document.querySelector('.now')).display"
            only = f"(() => {{ const all = labels; listLabels([]); const it = {shown}; listLabels(all); return it }})()"
            assert wait_for(browser, f"{only} === 'none' && {shown} !== 'none'", seconds=5)
            # Below a path of a proxy the page asks there.
            asked = "(() => { const real = WebSocket; let url; WebSocket = function (it) { url = `${it}`; }; "
            asked += "history.replaceState(0, '', '/a/?b'); connect('c'); history.replaceState(0, '', '/'); "
            asked += "WebSocket = real; return url; })()"
            assert wait_for(browser, f"{asked} === `ws://${{location.host}}/a/c`", seconds=5)
            wrong += misconduct(browser, url)
        # Neither a camera that is lost nor an end leaves a pose on the page as the current one.
        assert wait_for(browser, "$('confidence').textContent === 'no new pictures'")
        browser.ask("Runtime.evaluate", expression="$('start').click()")
        assert wait_for(browser, "$('message').textContent && $('message').className === 'bad'", seconds=5)
        browser.ask("Page.navigate", url=SPRITE.as_uri())
        assert wait_for(browser, "window.sprite !== undefined && (x = -5, true)", seconds=5)
        assert wait_for(browser, "sprite.style.left === '0vw'", seconds=5)  # it stays in the window
    finally:
        browser.close()
    assert wrong == []
    assert list(data.glob("*/*_Jürgen1.npy"))
    wanted.rmdir()
    options = ["--groups", "blocks:2", "--classifiers", "lda", "--jobs", "1", "--out", str(trained)]
    assert main(["train", str(data), *options]) == 0
    assert load_model(trained).classes_.tolist() == ["one", "two"]
