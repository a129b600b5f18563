"""What a worker process holds for each run: opened once, closed when nothing is in it, never in the way of others."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NoReturn

import pytest

from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.execution.engine import cluster, local, worker_process
from vcmbench.execution.engine.base import Work

_LONG_S = 10


class Recorded:
    """A site that notes what is asked of it."""

    def __init__(self) -> None:
        self.cancelled, self.closed = threading.Event(), threading.Event()

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.closed.set()


@dataclass(frozen=True)
class Here:
    """Opens when `may_open` says so."""

    run_id: str
    may_open: threading.Event
    tried: threading.Event
    opened: list[Recorded]

    def open(self) -> Recorded:
        self.tried.set()
        assert self.may_open.wait(_LONG_S)
        if self.run_id.startswith("unfit"):
            raise RequestError("no data here")
        self.opened.append(Recorded())
        return self.opened[-1]


def place(name: str, *, opens: bool = True) -> Here:
    found = Here(f"{name}-{uuid.uuid4().hex}", threading.Event(), threading.Event(), [])  # an id is never used again
    if opens:
        found.may_open.set()
    return found


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as made:
        yield made


def test_a_site_that_opens_slowly_holds_up_nobody_else(pool: ThreadPoolExecutor) -> None:
    """All three questions come on the one thread of a worker's event loop."""
    slow, quick = place("slow", opens=False), place("quick")

    async def ask() -> None:
        opening = asyncio.create_task(worker_process.check(slow))
        assert await asyncio.wait_for(worker_process.check(quick), _LONG_S) is None
        await asyncio.wait_for(worker_process.close(quick.run_id), _LONG_S)
        slow.may_open.set()
        assert await asyncio.wait_for(opening, _LONG_S) is None
        await worker_process.close(slow.run_id)

    pool.submit(asyncio.run, ask()).result(timeout=_LONG_S)
    assert slow.opened[0].closed.is_set()
    assert quick.opened[0].closed.is_set()


def test_a_run_that_ends_while_its_site_opens_does_nothing_there(pool: ThreadPoolExecutor) -> None:
    here, done = place("late", opens=False), threading.Event()
    call = pool.submit(worker_process.call, here, lambda site, _: done.set(), None)
    assert here.tried.wait(_LONG_S)
    asyncio.run(worker_process.cancel(here.run_id))
    asyncio.run(worker_process.close(here.run_id))
    here.may_open.set()
    with pytest.raises(Cancelled):
        call.result(timeout=_LONG_S)
    assert not done.is_set()
    assert here.opened[0].closed.is_set()
    with pytest.raises(Cancelled):
        worker_process.call(here, lambda site, _: done.set(), None)
    assert len(here.opened) == 1, "what comes after the end opens nothing"


def test_calls_share_one_site_which_closes_when_the_last_has_left(pool: ThreadPoolExecutor) -> None:
    here = place("shared")
    both = threading.Barrier(3)
    may_end = [threading.Event(), threading.Event()]

    def work(site: Recorded, which: int) -> bool:
        both.wait(_LONG_S)
        assert may_end[which].wait(_LONG_S)
        return site.closed.is_set()

    calls = [pool.submit(worker_process.call, here, work, which) for which in range(2)]
    both.wait(_LONG_S)
    asyncio.run(worker_process.close(here.run_id))
    (site,) = here.opened
    assert site.cancelled.is_set(), "what runs there is to end"
    for which in range(2):
        may_end[which].set()
        assert calls[which].result(timeout=_LONG_S) is False, "closed under a call"
    assert site.closed.is_set()


def test_an_idle_site_is_closed_and_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "_IDLE_S", 0.01)
    here = place("idle")
    for count in (1, 2):
        assert asyncio.run(worker_process.check(here)) is None
        assert len(here.opened) == count
        assert here.opened[-1].closed.wait(_LONG_S)


def test_what_cannot_be_opened_is_told_and_tried_again() -> None:
    here = place("unfit")
    for _ in range(2):
        here.tried.clear()
        assert asyncio.run(worker_process.check(here)) == "no data here"
        assert here.tried.is_set()
        assert here.run_id not in worker_process._entries


@dataclass(frozen=True)
class Anywhere:
    """Opens in every process."""

    run_id: str = "anywhere"

    def open(self) -> Recorded:
        return Recorded()


class Unreadable:
    """Can be sent, and not be read."""

    def __reduce__(self) -> tuple[object, tuple[()]]:
        return _refuse, ()


def _refuse() -> NoReturn:
    raise ValueError("is not to be read")


def _unreadable(site: Recorded, argument: None) -> Unreadable:
    return Unreadable()


def test_an_answer_that_cannot_be_read_is_not_asked_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_MOST_LOSSES", 1)
    with local.start(Anywhere(), 1) as engine:
        future = engine.submit(Work("key", _unreadable, None))
        with pytest.raises(JobError, match="its answer was lost 2 times"):
            future.result(timeout=60)
