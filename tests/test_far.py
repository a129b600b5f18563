"""What a worker process holds for each run: opened once, closed when nothing is in it, never in the way of others."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import NoReturn

import pytest

from vcmbench.engine import cluster, far, local
from vcmbench.engine.base import Work
from vcmbench.errors import JobError, RequestError

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
    opened: list[Recorded]

    def open(self) -> Recorded:
        assert self.may_open.wait(_LONG_S)
        if self.run_id == "unfit":
            raise RequestError("no data here")
        self.opened.append(Recorded())
        return self.opened[-1]


def place(run_id: str, *, opens: bool = True) -> Here:
    found = Here(run_id, threading.Event(), [])
    if opens:
        found.may_open.set()
    return found


def in_thread(function: object, *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=function, args=arguments)  # type: ignore[arg-type]
    thread.start()
    return thread


def test_a_site_that_opens_slowly_holds_up_nobody_else() -> None:
    slow, quick = place("slow", opens=False), place("quick")
    opening = in_thread(far.check, slow)
    other = in_thread(far.check, quick)
    other.join(_LONG_S)
    assert not other.is_alive()
    ending = in_thread(far.cancel, "slow")
    ending.join(_LONG_S)
    assert not ending.is_alive()
    slow.may_open.set()
    opening.join(_LONG_S)
    assert slow.opened[0].cancelled.is_set(), "cancelled before it was open"
    far.close("slow")
    far.close("quick")
    assert slow.opened[0].closed.is_set()
    assert quick.opened[0].closed.is_set()


def test_calls_share_one_site_which_closes_when_the_last_has_left() -> None:
    here = place("shared")
    both, may_end = threading.Barrier(3), threading.Event()

    def work(site: Recorded, _: None) -> None:
        both.wait(_LONG_S)
        assert may_end.wait(_LONG_S)
        assert not site.closed.is_set()

    calls = [in_thread(far.call, here, work, None) for _ in range(2)]
    both.wait(_LONG_S)
    far.close("shared")
    (site,) = here.opened
    assert not site.closed.is_set(), "two calls are in it"
    may_end.set()
    for call in calls:
        call.join(_LONG_S)
    assert site.closed.is_set()
    assert far.check(here) is None
    assert len(here.opened) == 2, "work that comes after the end opens another one"
    far.close("shared")


def test_an_idle_site_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "_IDLE_S", 0.01)
    here = place("idle")
    assert far.check(here) is None
    assert here.opened[0].closed.wait(_LONG_S)


def test_what_cannot_be_opened_is_told_and_tried_again() -> None:
    here = place("unfit")
    assert far.check(here) == "no data here"
    assert far.check(here) == "no data here"
    far.close("unfit")
    assert "unfit" not in far._entries


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
