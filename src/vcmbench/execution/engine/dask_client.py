"""A Dask scheduler as its client meets it: how it is reached and asked, and which of its workers suit what."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import dask
from distributed import Client
from distributed.scheduler import KilledWorker

from vcmbench.errors import RequestError, WorkerDied
from vcmbench.execution.engine.base import Resource

_ADDRESS = re.compile(r"(?:(?:tcp|tls|ucx|wss?)://)?(?:\[[0-9a-fA-F:.]+\]|[^\s/:\[\]]+):\d{1,5}")
_CONNECT_S = 10.0

SHARE: dict[str, float] = {"CPU": 1, "GPU": 0.5}
"""What one piece of work takes of a resource. Two share a GPU: while it works for one, the other reads and writes."""

Workers = dict[str, dict[str, Any]]
"""What the scheduler says of its workers, by address."""


def quiet() -> None:
    """Dask's own log lines speak to whoever looks after a cluster; what matters to a run is said here."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set({"distributed.admin.low-level-log-length": 100})


def connect(address: str) -> Client:
    """Raises RequestError where no scheduler answers there."""
    quiet()
    if not _ADDRESS.fullmatch(address):
        raise RequestError(f"--scheduler {address!r}: is no address such as tcp://host:8786")
    try:
        return Client(address, timeout=_CONNECT_S, set_as_default=False, name="vcmbench")
    except Exception as error:  # addresses, sockets and certificates each fail in their own way
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise RequestError(
            f"--scheduler {address!r}: no Dask scheduler answers there ({reason}); start one with `dask scheduler`, "
            "and give its address, such as tcp://host:8786"
        ) from None


def suitable(workers: Workers, needs: Resource) -> Workers:
    """The workers that may do such work: those that were started with that resource, where there are any.

    Without any resources named, every worker may. What needs a GPU goes to CPU workers only where no worker has a GPU;
    what needs a CPU never goes to a worker that names its GPU alone.
    """

    def having(name: str) -> Workers:
        return {address: one for address, one in workers.items() if (one.get("resources") or {}).get(name, 0) >= 1}

    if needs == "GPU" and (found := having("GPU")):
        return found
    return having("CPU") or {address: one for address, one in workers.items() if address not in having("GPU")}


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """What a call gives. Raises TimeoutError where it takes longer: a scheduler may hang, and Dask would wait."""
    answer: Future[Any] = Future()

    def ask() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    return answer.result(timeout=seconds)


def at_once(worker: dict[str, Any], needs: Resource) -> int:
    """How many pieces of work a worker does at once: it has threads, and perhaps names its resources."""
    named = worker.get("resources") or {}
    name = needs if named.get(needs) else "CPU"
    threads = int(worker["nthreads"])
    return min(threads, int(named[name] / SHARE[name])) if named.get(name) else threads


def as_error(error: BaseException) -> BaseException:
    if not isinstance(error, KilledWorker):
        return error
    last = getattr(error.last_worker, "address", "unknown")
    return WorkerDied(
        f"its worker died {error.allowed_failures + 1} times over it, at last {last}; was it killed for its memory? "
        "fewer workers a machine, or a --memory limit for tools, may help"
    )


def reason_of(found: object) -> str:
    if isinstance(found, ModuleNotFoundError):
        return f"{found}; install the same vcmbench there"
    return found if isinstance(found, str) else repr(found)
