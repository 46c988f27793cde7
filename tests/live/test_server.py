"""The page and the WebSocket: who may listen, what they get, and that nobody holds up anybody else."""

import asyncio
import contextlib
import gc
import json
import random
import re
import socket
import threading
from urllib.parse import urlsplit

import numpy as np
import pytest

pytest.importorskip("cv2", reason="needs heatpose[live]")
pytest.importorskip("onnxruntime", reason="needs heatpose[live]")
pytest.importorskip("aiohttp", reason="needs heatpose[live]")

import aiohttp

from heatpose.cli._console import complaints_on_stderr
from heatpose.cli._options import shared
from heatpose.datasets.boxes import Person
from heatpose.live.recognition import Scene
from heatpose.live.recording import Recorder
from heatpose.live.server import PoseServer

ROUTES = ["", "page.css", "page.js", "events", "view", "record", "nothing"]
FRAME = {"kind": "frame", "label": "up", "person": None, "time": 1.0, "confidence": 0.9}
ENTERED = {"kind": "entered", "label": "up", "person": None, "time": 1.0}
LEFT = {"kind": "left", "label": "up", "person": None, "time": 2.0}


@pytest.fixture
def serve():
    """Make a server, closed after the test."""
    servers = []

    def serve(host="127.0.0.1", **options):
        servers.append(PoseServer(host, 0, ["up", "down"], **options))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()
    assert "server" not in [thread.name for thread in threading.enumerate()]


def visit(server, scenario):
    """Run a scenario, an async function of a session and the address of the server."""

    async def run():
        jar = aiohttp.CookieJar(unsafe=True)  # also for addresses of numbers, as browsers do
        async with aiohttp.ClientSession(cookie_jar=jar, timeout=aiohttp.ClientTimeout(20)) as session:
            return await scenario(session, f"http://127.0.0.1:{urlsplit(server.url).port}/")

    return asyncio.run(run())


def status_of(server, path="", method="GET", **options):
    """Status of one request; of a WebSocket 101 when it opens."""

    async def scenario(session, url):
        if path in ("events", "view"):
            try:
                async with session.ws_connect(url + path, **options):
                    return 101
            except aiohttp.WSServerHandshakeError as error:
                return error.status
        async with session.request(method, url + path, **options) as answer:
            return answer.status

    return visit(server, scenario)


# The page ----------------------------------------------------------------------------------------------------


def test_the_page_and_its_files_refer_to_nothing_outside(serve):
    async def scenario(session, url):
        found = {}
        for name in ("", "page.css", "page.js"):
            async with session.get(url + name) as answer:
                assert answer.status == 200
                found[name] = answer.content_type, dict(answer.headers), await answer.text()
        return found

    found = visit(serve(), scenario)
    assert [kind for kind, _, _ in found.values()] == ["text/html", "text/css", "text/javascript"]
    for _, headers, text in found.values():
        assert not re.search(r"https?://|@import|[\"'(]//", text)
        policy = dict(part.strip().split(" ", 1) for part in headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert all("http" not in sources and "*" not in sources for sources in policy.values())
        assert not any("unsafe" in sources for sources in policy.values())
        assert headers["X-Content-Type-Options"] == "nosniff"
    page = found[""][2]
    assert set(re.findall(r"(?:href|src)=\"([^\"]+)\"", page)) == {"data:,", "page.css", "page.js"}
    assert not re.search(r"<script>|<style|\son\w+=|\sstyle=", page)  # which the policy would refuse


def test_other_files_are_not_served(serve):
    server = serve()
    assert [status_of(server, name) for name in ("page.html", "../server.py", "page.js/", "etc")] == [404] * 4


# Events ------------------------------------------------------------------------------------------------------


def test_a_listener_gets_the_state_and_then_all_records(serve):
    server = serve()
    records = [ENTERED, FRAME, {**ENTERED, "person": "1", "label": "down"}, LEFT]

    async def scenario(session, url):
        async with session.ws_connect(url + "events") as listener:
            state = await listener.receive_json()
            for record in records:
                server.publish(record)
            return state, [await listener.receive_json() for _ in records]

    state, found = visit(server, scenario)
    assert state == {"kind": "state", "labels": ["up", "down"], "poses": [], "recording": None}
    assert found == records


def test_who_comes_later_is_told_the_poses_that_people_are_in(serve):
    server = serve()
    other = {**ENTERED, "person": "1", "label": "down"}
    for record in (ENTERED, FRAME, other, LEFT, {**ENTERED, "person": "2"}, {**other, "kind": "held"}):
        server.publish(record)

    async def scenario(session, url):
        async with session.ws_connect(url + "events") as listener:
            return await listener.receive_json()

    assert visit(server, scenario)["poses"] == [other, {**ENTERED, "person": "2"}]


def test_listeners_that_do_not_read_are_dropped_without_delay_for_others(serve, monkeypatch):
    monkeypatch.setattr("heatpose.live.server._SEND_TIMEOUT", 1.0)
    server = serve()
    n_records, n_reading, n_deaf, ahead = 1500, 10, 5, 200
    padding = "x" * 1000
    counts = [0] * n_reading
    wrong = []

    async def read(session, url, who, is_open):
        async with session.ws_connect(url + "events") as listener:
            assert (await listener.receive_json())["kind"] == "state"
            is_open.release()
            for number in range(n_records):
                text = await listener.receive_str()
                if not text.startswith(f'{{"number": {number},'):
                    wrong.append((who, number, text[:40]))
                counts[who] += 1

    async def knock(loop, port):
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.setblocking(False)
        await loop.sock_connect(deaf, ("127.0.0.1", port))
        request = (
            f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await loop.sock_sendall(deaf, request.encode())
        assert (await loop.sock_recv(deaf, 12)) == b"HTTP/1.1 101"
        return deaf

    async def rest_of(loop, deaf):
        size = 0
        with contextlib.suppress(ConnectionError):
            while part := await loop.sock_recv(deaf, 1 << 16):
                size += len(part)
        return size

    async def scenario(session, url):
        loop, is_open = asyncio.get_running_loop(), asyncio.Semaphore(0)
        deaf = [await knock(loop, urlsplit(url).port) for _ in range(n_deaf)]
        readers = [asyncio.create_task(read(session, url, who, is_open)) for who in range(n_reading)]
        for _ in readers:
            await is_open.acquire()
        for number in range(n_records):
            while min(counts) < number - ahead:  # as fast as those who read
                await asyncio.sleep(0.001)
            server.publish({"number": number, "padding": padding})
        await asyncio.gather(*readers)
        while server._listeners:  # those who have read leave; the others are dropped
            await asyncio.sleep(0.05)
        sizes = [await asyncio.wait_for(rest_of(loop, one), 20) for one in deaf]
        for one in deaf:
            one.close()
        return sizes

    sizes = visit(server, scenario)
    assert counts == [n_records] * n_reading
    assert not wrong
    assert max(sizes) < n_records * len(padding)  # their connections ended before


def test_who_is_too_far_behind_is_dropped(serve, monkeypatch):
    monkeypatch.setattr("heatpose.live.server._QUEUE", 3)
    server = serve()

    async def scenario(session, url):
        async with session.ws_connect(url + "events") as listener:
            await listener.receive_json()
            server._call(lambda: [server._publish(FRAME) for _ in range(5)])  # at once, before any is sent
            while (await listener.receive(timeout=20)).type is aiohttp.WSMsgType.TEXT:
                pass
        return len(server._listeners)

    assert visit(server, scenario) == 0


def test_a_burst_reaches_all_who_read(serve):
    """As of a folder whose files are all there, which are classified faster than records are sent."""
    server = serve()

    async def scenario(session, url):
        async with session.ws_connect(url + "events") as listener:
            await listener.receive_json()
            for number in range(5000):
                server.publish({"number": number})
            return [(await listener.receive_json())["number"] for _ in range(5000)]

    assert visit(server, scenario) == list(range(5000))


def test_publishing_without_listeners_and_after_the_end_does_nothing(serve):
    server = serve()
    server.publish(FRAME)
    server.close()
    server.publish(FRAME)
    server.show({"kind": "view"})


def test_the_newest_view_is_shown(serve):
    server = serve()
    assert not server.has_viewers

    async def scenario(session, url):
        async with session.ws_connect(url + "view") as viewer:
            await viewer.receive_json()
            assert server.has_viewers
            for number in range(100):
                server.show({"kind": "view", "number": number})
            numbers = [(await viewer.receive_json())["number"]]
            while numbers[-1] < 99:
                numbers.append((await viewer.receive_json())["number"])
            return numbers

    numbers = visit(server, scenario)
    assert numbers == sorted(set(numbers))


def test_a_page_that_closes_leaves_no_error(serve, caplog):
    server, picture = serve(), random.Random(0).randbytes(200_000).hex()

    async def scenario(session, url):
        for _ in range(10):
            viewer = await session.ws_connect(url + "view", compress=15)
            await viewer.receive()
            server.show({"kind": "view", "picture": picture})
            viewer._response.connection.transport.abort()
            await asyncio.sleep(0.01)

    visit(server, scenario)
    server.close()
    gc.collect()
    assert not caplog.records


def test_closing_ends_all_connections(serve):
    server = serve()

    async def scenario(session, url):
        async with session.ws_connect(url + "events") as listener:
            await listener.receive()
            await asyncio.to_thread(server.close)
            return (await listener.receive()).type

    assert visit(server, scenario) in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSING)
    with pytest.raises(aiohttp.ClientConnectorError):
        status_of(server)


def test_an_address_that_is_taken_is_an_error(serve):
    port = urlsplit(serve().url).port
    with pytest.raises(OSError, match=str(port)):
        PoseServer("127.0.0.1", port)


# Who may listen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ROUTES[:5])
def test_pages_of_other_origins_are_refused(serve, path):
    (option,) = shared("--allow-origin").values()
    server = serve(allowed_origins=map(option["type"], ["http://localhost:8601/", "file://"]))
    port = urlsplit(server.url).port
    fine = 101 if path in ("events", "view") else 200
    allowed = fine if path == "events" else 403  # neither the camera's pictures nor recording
    assert status_of(server, path) == fine
    for origin, expected in (
        (f"http://127.0.0.1:{port}", fine),
        ("http://localhost:8601", allowed),
        ("file://", allowed),  # Electron's, of a page in a file
        ("file://evil.example", 403),
        ("http://evil.example", 403),
        ("http://localhost:8602", 403),
        (f"https://127.0.0.1:{port}", 403),
        (f"http://127.0.0.1:{port}.evil.example", 403),
        ("null", 403),
        ("", 403),
    ):
        assert status_of(server, path, headers={"Origin": origin}) == expected, origin


def test_who_is_refused_is_told_once_in_the_terminal(serve, capsys):
    with complaints_on_stderr():
        server = serve(allowed_origins=["http://localhost:8601"])
        for origin in ("https://turbowarp.org", "https://turbowarp.org", "null"):
            status_of(server, "events", headers={"Origin": origin})
        status_of(server, "view", headers={"Origin": "http://localhost:8601"})
    told = [
        f"Refused a request: Origin {one} may not open /events; see --allow-origin."
        for one in ("https://turbowarp.org", "null")
    ]
    told.append(
        "Refused a request: Origin http://localhost:8601 may not open /view; only the token of --serve HOST:PORT "
        "opens it."
    )
    assert capsys.readouterr().err.splitlines() == [f"Warning: {line}" for line in told]


def test_foreign_names_that_lead_to_the_loopback_are_refused(serve):
    server = serve()
    port = urlsplit(server.url).port
    for host in (f"evil.example:{port}", "evil.example", "127.0.0.1.evil.example", "10.0.0.1", "[::1", "a:b:c"):
        for path in ("", "events"):
            # The page of that name has it for its origin too.
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert status_of(server, path, headers=headers) in (400, 403), host
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert status_of(server, headers={"Host": host}) == 200


@pytest.mark.parametrize("path", ROUTES)
def test_beyond_the_loopback_nothing_is_served_without_the_token(serve, tmp_path, path):
    server = serve("0.0.0.0", recorder=Recorder(tmp_path))
    method, port = "POST" if path == "record" else "GET", urlsplit(server.url).port
    assert len(server.token) >= 16
    assert f"?token={server.token}" in server.url
    wrong = [
        {},
        {"params": {"token": "wrong"}},
        {"params": {"token": ""}},
        {"params": {"token": server.token[:-1]}},
        {"params": {"token": "é"}},
        {"headers": {"Authorization": "Bearer"}},
        {"headers": {"Authorization": "Bearer \udcff"}},
        {"headers": {"Cookie": f"token{port}=wrong"}},
    ]
    assert [status_of(server, path, method, **options) for options in wrong] == [401] * len(wrong)
    fine = {"": 200, "page.css": 200, "page.js": 200, "events": 101, "view": 101, "record": 415, "nothing": 404}[path]
    for options in (
        {"params": {"token": server.token}},
        {"headers": {"Authorization": f"Bearer {server.token}"}},
        {"headers": {"Cookie": f"token{port}={server.token}"}},
    ):
        assert status_of(server, path, method, **options) == fine, options


@pytest.mark.parametrize("network", [True, False])
def test_the_address_beyond_the_loopback_can_be_opened(serve, monkeypatch, network):
    if not network:
        monkeypatch.setattr("heatpose.live.server._OUTSIDE", {"0.0.0.0": (socket.AF_INET6, "no address")})
    server = serve("0.0.0.0")
    assert urlsplit(server.url).hostname != "0.0.0.0"

    async def scenario(session, url):
        async with session.get(server.url) as answer:
            return answer.status

    assert visit(server, scenario) == 200


def test_the_page_with_the_token_may_open_the_events(serve):
    server = serve("0.0.0.0", allowed_origins=["https://pose.example"])

    async def scenario(session, url):
        async with session.get(url, params={"token": server.token}) as answer:
            assert "HttpOnly" in answer.headers["Set-Cookie"]
            assert "SameSite=Strict" in answer.headers["Set-Cookie"]
        async with session.ws_connect(url + "events", headers={"Origin": url.rstrip("/")}) as listener:
            return await listener.receive_json()

    assert visit(server, scenario)["kind"] == "state"
    cookie = f"token{urlsplit(server.url).port}={server.token}"
    for origin, expected in (("http://evil.example", 403), ("https://pose.example", 101)):  # of a server with TLS
        assert status_of(server, "view", headers={"Cookie": cookie, "Origin": origin}) == expected


def test_pages_of_two_servers_stay_open_in_one_browser(serve):
    servers = serve("0.0.0.0"), serve("0.0.0.0")
    urls = [f"http://127.0.0.1:{urlsplit(server.url).port}/" for server in servers]

    async def scenario(session, _):
        for url, server in zip(urls, servers, strict=True):
            await session.get(url, params={"token": server.token})
        return [(await session.get(url + "page.css")).status for url in urls]

    assert visit(servers[0], scenario) == [200, 200]


# Recording ---------------------------------------------------------------------------------------------------


def post(server, *wishes):
    """Status and answer of each wish; text is sent as it is."""

    async def scenario(session, url):
        answers = []
        for wish in wishes:
            body = wish if isinstance(wish, str) else json.dumps(wish)
            async with session.post(url + "record", data=body, headers={"Content-Type": "application/json"}) as answer:
                is_json = answer.content_type == "application/json"
                answers.append((answer.status, await (answer.json() if is_json else answer.text())))
        return answers

    return visit(server, scenario)


def scene(time):
    person = Person(0, (0, 0, 6, 8), np.ones((17, 8, 6), np.float32), np.zeros((17, 3), np.float32))
    return Scene(time, np.zeros((8, 6, 3), np.uint8), [person])


def test_the_page_records_stops_and_throws_away(serve, tmp_path):
    recorder = Recorder(tmp_path / "out")
    server = serve(recorder=recorder)
    start = {"action": "start", "label": "up", "performer": "anna", "seconds": 5, "countdown": 0}
    ((status, answer),) = post(server, start)
    assert (status, answer["state"]) == (200, "countdown")
    for number in range(3):
        recorder.take(scene(100 + number / 10))
    assert post(server, start)[0][0] == 400  # one at a time
    ((status, answer),) = post(server, {"action": "stop"})
    assert (status, answer["state"], answer["clip"]["frames"]) == (200, "idle", 3)
    assert answer["frames"] == [{"label": "up", "performer": "anna", "clips": 1, "frames": 3}]
    assert len(list(tmp_path.rglob("*.npy"))) == 3
    ((status, answer),) = post(server, {"action": "discard"})
    assert (status, answer["clip"]) == (200, None)
    assert list(tmp_path.rglob("*.npy")) == []


@pytest.mark.parametrize(
    "wish",
    [
        {"label": "../up"},
        {"label": "a/b"},
        {"performer": "a_b"},
        {"seconds": -1},
        {"seconds": None},
        {"seconds": 10**400},
        {"countdown": "soon"},
        {"action": "delete"},
        {"action": None},
    ],
)
def test_wishes_that_make_no_sense_are_refused(serve, tmp_path, wish):
    recorder = Recorder(tmp_path / "out")
    ((status, text),) = post(serve(recorder=recorder), {"action": "start", "label": "up", "performer": "a", **wish})
    assert status == 400
    assert text
    assert not recorder.is_busy
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_wish_is_refused(serve, tmp_path):
    server = serve(recorder=Recorder(tmp_path / "out"))
    assert [status for status, _ in post(server, "{", "[]", "3", '"start"', "{}", '{"action": "start"}')] == [400] * 6
    assert post(server, json.dumps({"action": "x" * 10_000}))[0][0] == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_what_any_page_may_send_unasked_records_nothing(serve, tmp_path, kind):
    recorder = Recorder(tmp_path / "out")
    body = json.dumps({"action": "start", "label": "up", "performer": "a"})
    assert status_of(serve(recorder=recorder), "record", "POST", data=body, headers={"Content-Type": kind}) == 415
    assert not recorder.is_busy


def test_without_a_recorder_there_is_nothing_to_record(serve):
    assert post(serve(), {"action": "stop"})[0][0] == 404


def test_the_state_of_a_recording_reaches_the_page(serve, tmp_path):
    server = serve(recorder=Recorder(tmp_path / "out"))

    async def scenario(session, url):
        async with session.ws_connect(url + "events") as listener, session.ws_connect(url + "view") as viewer:
            state = await listener.receive_json()
            await viewer.receive_json()
            server.show({"kind": "view"})
            return state, await viewer.receive_json()

    state, view = visit(server, scenario)
    assert state["recording"]["state"] == view["recording"]["state"] == "idle"


def test_a_request_that_is_no_http_is_a_line_not_a_traceback(serve, capsys):
    with complaints_on_stderr():
        server = serve()
        with socket.create_connection(("127.0.0.1", urlsplit(server.url).port), timeout=20) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nno header\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.0 400")
    assert capsys.readouterr().err == "Warning: Error handling request from 127.0.0.1\n"
