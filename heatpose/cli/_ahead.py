"""Work that is begun in a process of its own, while this one imports what comes after it."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

T = TypeVar("T")


def begin(function: Callable[..., T], *args: Any) -> Callable[[], T]:
    """Begin a function; what is returned waits for its result, or raises what it raised.

    It only begins at once on Linux, and before NumPy is imported: after that there is less to win, and a process that
    may have threads is not to be forked. Otherwise, and if the other process dies, it is called when it is waited for.
    Arguments are taken over as they are; what it returns or raises is pickled.
    """
    if sys.platform != "linux" or "numpy" in sys.modules:
        return partial(function, *args)
    import multiprocessing  # which --help need not wait for

    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, function, args), daemon=True)
    process.start()
    sender.close()  # so that this process hears of the other's end
    gc.disable()  # what is imported comes to stay: looking for garbage in it takes a tenth of a second

    def result() -> T:
        gc.enable()
        try:
            failed, value = receiver.recv()
        except EOFError:
            return function(*args)
        finally:
            receiver.close()
        if failed:
            raise value
        return value

    return result


def _answer(sender: Connection, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C is for both, and the other one will tell of it
    gc.disable()
    try:
        answer = False, function(*args)
    except Exception as error:
        answer = True, error
    with suppress(Exception):  # the other one is gone, or calls the function itself if this cannot be sent
        sender.send(answer)
