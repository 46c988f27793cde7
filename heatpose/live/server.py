"""A page that shows what is recognised, and a WebSocket with the same JSON lines for any program.

It listens on the loopback interface by default. Each request is checked in three ways:

- *host*: on the loopback only requests to the loopback's names are answered, so that a foreign name that resolves to
  it (DNS rebinding) opens nothing;
- *origin*: a page of another origin is refused. One that was allowed may read the events; only with the token, as
  behind a server with TLS, also the pictures. Programs that are no browser send no origin;
- *token*: beyond the loopback every request needs the token that the command prints.

Each listener has a bounded queue. One that does not read is dropped, without delay for the others.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import logging
import secrets
import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from functools import lru_cache, partial
from importlib.resources import files
from socket import AF_INET, AF_INET6, SO_SNDBUF, SOCK_DGRAM, SOL_SOCKET, socket
from typing import Any
from urllib.parse import urlsplit

from heatpose.datasets.estimator import need_live
from heatpose.live.recording import Recorder

__all__ = ["PoseServer", "parse_address"]

logger = logging.getLogger(__name__)

# Records a listener may be behind. Those who read catch up with a folder of this many files that is classified at once;
# those who do not are found by the time that a record takes to leave.
_QUEUE = 20_000
_SOCKET_BUFFER = 1 << 17  # bytes the system holds for a listener; its own choice of megabytes would be many minutes
_SEND_TIMEOUT = 10.0  # seconds for one record to leave; a full socket takes no more
_HEARTBEAT = 20.0  # seconds between pings, by which a listener that vanished is noticed
_LARGEST_BODY = 4096  # bytes of a request to record
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_PAGE = {"page.html": "text/html", "page.css": "text/css", "page.js": "text/javascript"}


def parse_address(text: str) -> tuple[str, int]:
    """Parse ``[HOST:]PORT``.

    Raises
    ------
    ValueError
        For anything else.

    Examples
    --------
    >>> parse_address("8000"), parse_address("0.0.0.0:80"), parse_address("[::1]:80")
    (('127.0.0.1', 8000), ('0.0.0.0', 80), ('::1', 80))
    """
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) > 65535 or "/" in host:
        raise ValueError(f"Expected [HOST:]PORT, such as 8000 or 0.0.0.0:8000, got {text!r}.")
    return host.strip("[]") or "127.0.0.1", int(port)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


# Addresses for documentation (RFC 5737, RFC 3849), by which the system tells its own on the way out; nothing is sent.
_OUTSIDE = {"0.0.0.0": (AF_INET, "192.0.2.1"), "::": (AF_INET6, "2001:db8::1")}


def _reachable(host: str) -> str:
    """Return an address that other machines can open for one that stands for all of this machine's."""
    if host not in _OUTSIDE:
        return host
    family, outside = _OUTSIDE[host]
    with suppress(OSError), socket(family, SOCK_DGRAM) as probe:  # without a network there is no other machine
        probe.connect((outside, 9))
        return str(probe.getsockname()[0])
    return "localhost"


_Listeners = dict[asyncio.Queue[str], asyncio.Task[None]]
"""Messages that open WebSockets have not been sent yet, with the tasks that send them and end where one is too slow."""


class PoseServer:
    """Serve the page and the events in a thread of its own.

    Parameters
    ----------
    host, port : str, int
        Where to listen; port 0 takes a free one.
    labels : sequence of str
        What people can be in: the classes and, where none of them stands for it, "unknown".
    allowed_origins : iterable of str
        Origins whose pages may read the events too, such as ``http://localhost:8601``.
    recorder : Recorder, optional
        Lets the page record.

    Raises
    ------
    ImportError, OSError
        aiohttp is missing, or the address is taken.
    """

    def __init__(
        self,
        host: str,
        port: int,
        labels: Iterable[str] = (),
        *,
        allowed_origins: Iterable[str] = (),
        recorder: Recorder | None = None,
    ):
        need_live()
        from aiohttp import web

        self._web: Any = web
        self.token = None if _is_loopback(host) else secrets.token_urlsafe(16)
        self._host, self._port = host, port
        self._labels = list(labels)
        self._allowed = frozenset(origin.rstrip("/") for origin in allowed_origins)
        self._recorder = recorder
        self._listeners: _Listeners = {}
        self._viewers: _Listeners = {}
        self._entered: dict[Hashable, dict[str, Any]] = {}  # the pose each person is in, for those who come later
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._run, name="server", daemon=True)
        self._thread.start()
        if self._started.exception() is not None:
            self._thread.join()
        self._started.result()

    @property
    def url(self) -> str:
        """Address of the page, with the token where one is needed."""
        host = _reachable(self._host)
        host = f"[{host}]" if ":" in host else host
        return f"http://{host}:{self._port}/" + (f"?token={self.token}" if self.token else "")

    @property
    def _cookie(self) -> str:
        return f"token{self._port}"  # browsers send cookies to all ports of a host

    @property
    def has_viewers(self) -> bool:
        """Return whether a page is open, so that pictures are worth encoding."""
        return bool(self._viewers)

    def publish(self, record: dict[str, Any]) -> None:
        """Send a record to all listeners; returns at once."""
        self._call(self._publish, record)

    def show(self, view: dict[str, Any]) -> None:
        """Send a view (picture, keypoints and probabilities) to open pages, which skip those that come too fast."""
        self._call(self._show, view)

    def close(self) -> None:
        """End all connections and stop listening."""
        self._call(self._stopping.set)
        self._thread.join(timeout=5)

    def _call(self, function: Callable[..., object], *args: Any) -> None:
        with suppress(RuntimeError):  # closed
            self._loop.call_soon_threadsafe(function, *args)

    def _publish(self, record: dict[str, Any]) -> None:
        person = record.get("person")
        if record.get("kind") == "entered":
            self._entered[person] = record
        elif record.get("kind") == "left":
            self._entered.pop(person, None)
        text = json.dumps(record)
        for queue, sender in self._listeners.items():
            if queue.full():
                sender.cancel()
            else:
                queue.put_nowait(text)

    def _show(self, view: dict[str, Any]) -> None:
        if self._recorder is not None:
            view["recording"] = self._recorder.status()
        text = json.dumps(view)
        for queue in self._viewers:
            if queue.full():
                queue.get_nowait()  # only the newest view matters
            queue.put_nowait(text)

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if not self._started.done():
                self._started.set_exception(error)
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        web = self._web
        warn = lru_cache(partial(logger.warning, "Refused a request: %s"))  # once, since pages try again

        @web.middleware
        async def guard(request: Any, handler: Callable[[Any], Any]) -> Any:
            try:
                self._check(request)
            except web.HTTPException as refusal:
                warn(refusal.text)  # which a browser keeps from the page that opens a WebSocket
                raise
            return await handler(request)

        app = web.Application(middlewares=[guard], client_max_size=_LARGEST_BODY)
        app.router.add_get("/events", partial(self._listen, self._listeners, _QUEUE))
        app.router.add_get("/view", partial(self._listen, self._viewers, 1))
        app.router.add_post("/record", self._record)
        app.router.add_get("/{name:(page\\.css|page\\.js)?}", self._page)
        told = logging.LoggerAdapter(logger, {"kind": "Warning"})  # of requests that are not HTTP: a line for each
        runner = web.AppRunner(app, access_log=None, logger=told, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port)
            await site.start()
            self._port = runner.addresses[0][1]
            self._started.set_result(None)
            await self._stopping.wait()
        finally:
            for sender in (*self._listeners.values(), *self._viewers.values()):
                sender.cancel()
            await runner.cleanup()

    def _check(self, request: Any) -> None:
        """Refuse requests of foreign hosts and origins, and those without the token."""
        try:
            address = urlsplit(f"//{request.headers.get('Host', '')}")
        except ValueError as error:
            raise self._web.HTTPForbidden(text="Expected a request with a host that can be read.") from error
        if self.token is None and not _is_loopback(address.hostname or ""):
            raise self._web.HTTPForbidden(text="Expected a request to the loopback, such as 127.0.0.1.")
        own = f"http://{address.netloc}"
        origin = request.headers.get("Origin", own)
        is_allowed = origin.rstrip("/") in self._allowed
        if origin != own and not (is_allowed and (request.path == "/events" or self.token is not None)):
            remedy = "only the token of --serve HOST:PORT opens it" if is_allowed else "see --allow-origin"
            raise self._web.HTTPForbidden(text=f"Origin {origin} may not open {request.path}; {remedy}.")
        if self.token is not None:
            bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
            given = request.query.get("token") or request.cookies.get(self._cookie) or bearer
            if not hmac.compare_digest(given.encode(errors="replace"), self.token.encode()):
                raise self._web.HTTPUnauthorized(text="Expected the token that heatpose printed, as ?token=...")

    async def _page(self, request: Any) -> Any:
        name = request.match_info["name"] or "page.html"
        body = files("heatpose.live").joinpath("page", name).read_bytes()
        response = self._web.Response(body=body, content_type=_PAGE[name], charset="utf-8", headers=_HEADERS)
        if self.token is not None:  # for the page's own requests
            response.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict")
        return response

    async def _listen(self, listeners: _Listeners, size: int, request: Any) -> Any:
        # Not compressed: aiohttp would do it in tasks of its own, whose errors are tracebacks when a page closes.
        socket = self._web.WebSocketResponse(heartbeat=_HEARTBEAT, max_msg_size=_LARGEST_BODY, compress=False)
        await socket.prepare(request)
        connection = request.transport and request.transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(SOL_SOCKET, SO_SNDBUF, _SOCKET_BUFFER)
        queue: asyncio.Queue[str] = asyncio.Queue(size)
        state: dict[str, Any] = {"kind": "state", "labels": self._labels, "poses": list(self._entered.values())}
        state["recording"] = self._recorder and self._recorder.status()
        listeners[queue] = sender = asyncio.create_task(self._send(socket, queue, json.dumps(state)))
        reader = asyncio.create_task(self._drain(socket))
        try:
            await asyncio.wait({sender, reader}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            del listeners[queue]
            is_slow = sender.done() and not self._stopping.is_set()
            sender.cancel()
            reader.cancel()
            if request.transport is not None and is_slow:
                request.transport.abort()  # a closing handshake would wait for a client that does not read
            else:
                await socket.close()
        return socket

    @staticmethod
    async def _drain(socket: Any) -> None:
        """Read and discard the messages of a listener until it disconnects."""
        async for _ in socket:
            pass

    @staticmethod
    async def _send(socket: Any, queue: asyncio.Queue[str], first: str) -> None:
        """Send messages until one takes too long, or the connection is lost."""
        with suppress(TimeoutError, ConnectionError):
            await socket.send_str(first)
            while True:
                await asyncio.wait_for(socket.send_str(await queue.get()), _SEND_TIMEOUT)

    async def _record(self, request: Any) -> Any:
        """Start, stop or discard a clip; only for pages of this server, which send JSON."""
        if self._recorder is None:
            raise self._web.HTTPNotFound(text="Recording is off; see --record.")
        if request.content_type != "application/json":  # which no page of another origin can send unasked
            raise self._web.HTTPUnsupportedMediaType(text="Expected application/json.")
        try:
            wish = await request.json()
            action = wish.pop("action")
            if action == "start":
                times = {name: float(wish[name]) for name in ("seconds", "countdown") if name in wish}
                self._recorder.start(str(wish["label"]), str(wish["performer"]), **times)
            elif action in ("stop", "discard"):
                getattr(self._recorder, action)()
            else:
                raise ValueError(f"Expected the action start, stop or discard, got {action!r}.")
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
            raise self._web.HTTPBadRequest(text=str(error)) from error
        return self._web.json_response(self._recorder.status())
