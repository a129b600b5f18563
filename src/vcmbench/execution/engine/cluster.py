"""Work on the workers of a Dask scheduler: this module is the client's side, `worker_process` the workers'.

Decisions, and why:

- The store decides what is finished, not the scheduler: a task that was done and lost is found finished when it is sent
  again, and a worker that was cut off but works on holds the claim of its job. So whatever Dask loses is simply sent
  again, and Dask's own `retries` stay at 0: a job that fails would fail again.
- A task whose worker died goes to another worker, `distributed.scheduler.allowed-failures` times (3 by Dask's default,
  which is the scheduler's to say; local clusters take 2): a job that kills its workers must end as a failed job. Dask
  blames all that were sent to that worker, those that only waited there, too; the claims tell who was being done.
- Work stealing stays on: jobs differ in length by a factor of a thousand, and there is nothing to move but a name.
- A scheduler that went away is waited for. Its workers end with it (that is Dask's way), so whoever starts it again
  starts them, too.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any

from distributed import Client
from distributed.client import Future as FarFuture

from vcmbench.errors import Cancelled, JobError, RequestError
from vcmbench.execution.engine import worker_process
from vcmbench.execution.engine.base import Engine, Resource, Work, WorkerSpec
from vcmbench.execution.engine.dask_client import SHARE, Workers, as_error, at_once, reason_of, suitable, within

_LOOK_EVERY_S = 1.0
_SCHEDULER_MAY_BE_GONE_S = 600.0
_ASK_S, _END_S = 20.0, 10.0
_MOST_LOSSES = 10
"""Answers of one piece of work that may be lost on their way: one that cannot be read will never be."""
_OPEN_S = 600.0
"""Containers are started and networks are read when a worker is asked for the first time."""


class ClusterEngine(Engine):
    """The workers of the scheduler that `connect` finds. `finish` ends what the caller started for it.

    Raises RequestError where some of the workers that are there cannot do the work, with each one's reason.
    """

    def __init__(
        self,
        place: WorkerSpec,
        connect: Callable[[], Client],
        finish: Callable[[], None] = lambda: None,
        name: str = "cluster",
    ) -> None:
        self.name = name
        self._place, self._connect, self._finish = place, connect, finish
        self._lock = threading.Lock()
        self._sent = 0
        self._running: dict[FarFuture[Any], tuple[Work, Future[Any], frozenset[str] | None]] = {}
        """What is under way, and by which workers alone it may be done; None: by any."""
        self._lost: list[tuple[Work, Future[Any]]] = []
        self._losses: Counter[str] = Counter()
        self._unfit: dict[str, str] = {}
        self._workers: Workers = {}
        self._kinds: Workers = {}
        """The same, but what was last there where there are none now: what kinds of workers this cluster has."""
        self._ending = threading.Event()
        self._hangs = False
        self._client: Client | None = None
        try:
            self._client = connect()
            self._wait_for_workers()
            self._check_workers()
        except BaseException:
            self.close()
            raise
        self._watcher = threading.Thread(target=self._watch, name="vcmbench-cluster", daemon=True)
        self._watcher.start()

    # --- workers

    def _look(self) -> None:
        # not `scheduler_info`: the client's own housekeeping may empty its answer in between
        client: Any = self._client
        found = within(_ASK_S, lambda: client.sync(client.scheduler.identity, n_workers=-1)["workers"])
        self._workers = dict(found)
        self._kinds = self._workers or self._kinds

    def _wait_for_workers(self) -> None:
        try:
            self._look()
            if not self._workers:
                _say("the scheduler has no workers yet; waiting for the first one (Ctrl-C ends it)")
            while not self._workers:
                time.sleep(_LOOK_EVERY_S)
                self._look()
        except Exception as error:  # it went while it was asked
            raise RequestError(f"the Dask scheduler answers no more: {error!r:.200}; nothing was started") from None

    def _check_workers(self) -> None:
        """Open the site of this run on every worker that is there."""
        try:
            found = self._ask_workers()
            if any(isinstance(reason, OSError) for reason in found.values()):  # one died over the question, perhaps
                time.sleep(_LOOK_EVERY_S)
                self._look()
                found = self._ask_workers()
        except Exception as error:
            raise RequestError(f"the workers cannot be asked: {error!r:.200}; nothing was started") from None
        wrong = {address: reason for address, reason in found.items() if reason is not None}
        if wrong:
            lines = "".join(f"\n  worker {address}: {reason_of(reason)}" for address, reason in sorted(wrong.items()))
            raise RequestError(f"{len(wrong)} of {len(found)} workers cannot work on this, nothing was started:{lines}")
        if self._workers and not suitable(self._workers, "CPU"):  # none: the only one died, another one is waited for
            raise RequestError(
                "every worker names a GPU alone, which encoders never take; "
                'start a worker for them: dask worker ADDRESS --nthreads 1 --resources "CPU=1"'
            )

    def _ask_workers(self) -> dict[str, object]:
        client: Any = self._client
        found: dict[str, object] = within(
            _OPEN_S, lambda: client.run(worker_process.check, self._place, on_error="return")
        )
        return found

    def slots(self, needs: Resource = "CPU") -> int:
        found = suitable(self._workers, needs).items()
        return max(1, sum(at_once(one, needs) for address, one in found if address not in self._unfit))

    # --- work

    def submit(self, work: Work) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._send(work, future)
        return future

    def _send(self, work: Work, future: Future[Any]) -> None:
        where = self._where(work.needs)
        if where is None:  # nobody is there who may do it
            self._lose(work, future)
            return
        with self._lock:
            self._sent += 1
            # The number makes it a task of its own each time: Dask takes two of one key for the same.
            key = f"vcmbench-{work.key}-{self._place.run_id[:8]}-{self._sent}"
        client: Any = self._client
        try:
            sent = client.submit(
                worker_process.call, self._place, work.function, work.argument,
                key=key, pure=False, priority=work.seconds, **where,
            )  # fmt: skip
            only = frozenset(where["workers"]) if "workers" in where else None
            with self._lock:
                self._running[sent] = work, future, only
            sent.add_done_callback(self._done)
        except Exception:  # the client has lost its scheduler
            self._lose(work, future)

    def _where(self, needs: Resource) -> dict[str, Any] | None:
        """Which workers may do it, in Dask's terms; None where there are none."""
        found = {address: one for address, one in suitable(self._kinds, needs).items() if address not in self._unfit}
        if not found:
            return None
        where: dict[str, Any] = {}
        for name in (needs, "CPU"):
            if any((one.get("resources") or {}).get(name, 0) >= 1 for one in found.values()):
                where["resources"] = {name: SHARE[name]}
                break
        if self._unfit or ("resources" not in where and len(found) < len(self._kinds)):
            where["workers"] = list(found)
        return where

    def _done(self, sent: FarFuture[Any]) -> None:
        work, future, _ = self._running.get(sent, (None, None, None))
        if work is None or future is None:  # it was given up meanwhile
            return
        try:
            if sent.status == "error":  # what the function raised, or what Dask says of it
                _finish(future, as_error(sent.exception(timeout=_ASK_S)))
                return
            result = sent.result(timeout=_ASK_S)
        except Exception as error:  # cancelled with its scheduler, or the worker went before it could be asked
            if sent.status == "finished":  # and yet there is no answer
                self._losses[work.key] += 1
            if self._losses[work.key] > _MOST_LOSSES:
                _finish(future, JobError(f"its answer was lost {_MOST_LOSSES + 1} times, at last by {error!r:.200}"))
            else:
                self._lose(work, future)
        else:
            self._losses.pop(work.key, None)
            if isinstance(result, worker_process.Unfit):
                self._leave_out(result)
                self._lose(work, future)
            else:
                _finish(future, result)
        finally:
            with self._lock:
                self._running.pop(sent, None)
            with suppress(Exception):  # the client may be gone by now
                sent.release()

    def _lose(self, work: Work, future: Future[Any]) -> None:
        """The work's answer will not come: it is sent again as soon as that can be done."""
        with self._lock:
            if not self._ending.is_set():
                self._lost.append((work, future))
                return
        _finish(future, Cancelled())

    def _leave_out(self, unfit: worker_process.Unfit) -> None:
        if self._unfit.setdefault(unfit.worker, unfit.reason) is unfit.reason:
            _say(f"worker {unfit.worker} is left out: {unfit.reason}")

    # --- what goes wrong

    def _watch(self) -> None:
        """Looks after workers and scheduler until the end."""
        gone_since: float | None = None
        idle = False
        while not self._ending.wait(_LOOK_EVERY_S):
            if self._is_connected():
                if gone_since is not None:
                    _say(f"the scheduler is back after {time.monotonic() - gone_since:.0f} s; the work goes on")
                    gone_since = None
                idle = self._tell_whether_idle(idle)
                self._take_back()
                self._send_again()
                continue
            if gone_since is None:
                gone_since = time.monotonic()
                _say("the scheduler does not answer; waiting for it")
            if time.monotonic() - gone_since > _SCHEDULER_MAY_BE_GONE_S:
                self._give_up(f"the scheduler was gone for {_SCHEDULER_MAY_BE_GONE_S:.0f} s")
            elif self._client is None or self._client.status == "closed":
                with suppress(Exception):  # it is tried again
                    self._client = self._connect()

    def _is_connected(self) -> bool:
        if self._client is None or self._client.status != "running":
            return False
        try:
            self._look()
        except Exception:  # whatever it is, it did not answer
            return False
        return True

    def _tell_whether_idle(self, idle: bool) -> bool:
        able = any(suitable(self._workers, needs).keys() - self._unfit.keys() for needs in ("CPU", "GPU"))
        if able:
            return False
        if self._workers and self._workers.keys() <= self._unfit.keys():
            self._give_up("no worker is left that can do the work")
        elif not idle:
            _say("the scheduler has no workers for this; waiting for some")
        return True

    def _take_back(self) -> None:
        """Work that only workers may do which are there no more: Dask would keep it for them for ever."""
        with self._lock:
            stuck = [(sent, *entry[:2]) for sent, entry in self._running.items()
                     if entry[2] is not None and not entry[2] & self._workers.keys()]  # fmt: skip
            for sent, _, _ in stuck:
                del self._running[sent]
        for sent, work, future in stuck:
            self._lose(work, future)
            with suppress(Exception):
                sent.release()

    def _send_again(self) -> None:
        with self._lock:
            lost, self._lost = self._lost, []
        for work, future in lost:
            self._send(work, future)

    def _give_up(self, reason: str) -> None:
        with self._lock:
            lost, self._lost = self._lost, []
        for _, future in lost:
            _finish(future, JobError(f"{reason}; the same command again goes on from here"))

    def cancel(self) -> None:
        with self._lock:
            self._ending.set()
            running = [future for _, future, _ in self._running.values()] + [future for _, future in self._lost]
            sent = list(self._running)
            self._running, self._lost = {}, []
        for future in running:  # first: whoever waits for them must not wait for a scheduler that hangs
            _finish(future, Cancelled())
        client: Any = self._client
        self._ask_at_end(lambda: client.run(worker_process.cancel, self._place.run_id, on_error="ignore"))
        self._ask_at_end(lambda: client.cancel(sent, force=True))

    def close(self) -> None:
        self._ending.set()
        client: Any = self._client
        if client is not None:
            self._ask_at_end(lambda: client.run(worker_process.close, self._place.run_id, on_error="ignore"))
            self._ask_at_end(lambda: client.close(timeout=_END_S))
        self._finish()
        self._finish = lambda: None

    def _ask_at_end(self, question: Callable[[], Any]) -> None:
        """Ask the cluster, unless its scheduler hangs: whoever wants to stop waits for that once only."""
        if self._hangs:
            return
        client: Any = self._client
        try:
            within(_END_S, question)
        except TimeoutError:  # by the scheduler, or by one slow worker?
            try:
                within(_END_S, lambda: client.sync(client.scheduler.identity, n_workers=0))
            except Exception:  # in whatever way: it does not answer
                self._hangs = True
        except Exception:  # a cluster that is gone runs nothing
            return


def _finish(future: Future[Any], outcome: Any) -> None:
    """Give a future its result or exception, unless it has one."""
    with suppress(InvalidStateError):
        if isinstance(outcome, BaseException):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
