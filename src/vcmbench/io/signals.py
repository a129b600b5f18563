"""What Ctrl-C and SIGTERM do to a run: what is finished stays, what runs is ended, and the run says so."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from vcmbench.errors import RequestError


@contextmanager
def interruptible(cancel: Callable[[], None]) -> Iterator[threading.Event]:
    """Ctrl-C and SIGTERM set the event and call `cancel`, which ends all running tools at once."""
    stop, wake = threading.Event(), threading.Event()

    def cancel_when_set() -> None:
        wake.wait()
        if stop.is_set():
            with suppress(RequestError):  # an engine that has gone took its containers along
                cancel()

    # A handler may run while this thread holds a lock, of the runner or of Python's own: it must not start threads
    # or cancel anything itself. So the thread that does it is there beforehand.
    canceller = threading.Thread(target=cancel_when_set, daemon=True)
    canceller.start()

    def on_signal(number: int, _: object) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process there and then
        stop.set()
        wake.set()

    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        wake.set()
        canceller.join()
        for number, handler in previous.items():
            signal.signal(number, handler)
