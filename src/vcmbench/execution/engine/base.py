"""What an engine is: it takes pieces of work and gives back futures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

Resource = Literal["CPU", "GPU"]
T = TypeVar("T")


class WorkerState(Protocol):
    """What a process holds while it works for a run: open tools, containers, networks, caches."""

    def cancel(self) -> None:
        """End what is running there now; called from another thread."""

    def close(self) -> None:
        """Give back what it holds."""


class WorkerSpec(Protocol):
    """How a site is opened, in this process or in another one: a small, frozen dataclass that can be pickled."""

    @property
    def run_id(self) -> str:
        """Which run it is for: a process has one site a run."""

    def open(self) -> WorkerState:
        """Raises RequestError where this process cannot do the work: it does not see the data, has other tools, .."""


@dataclass(frozen=True)
class Work:
    """`function(site, argument)`, on any process of the engine. What goes there and comes back is small and picklable;
    pictures and bitstreams stay on the shared file system.

    Doing it twice must do no harm: a worker may die after it has finished. `seconds` is an estimate, by which the long
    ones go first.
    """

    key: str
    function: Callable[[Any, Any], Any]
    argument: Any
    seconds: float = 0.0
    needs: Resource = "CPU"


class Engine(ABC):
    """Does work. A context manager: at its end nothing runs any more.

    A future's exception is a JobError where the work could not be done for reasons that are not its own (its workers
    died again and again), Cancelled after `cancel`; anything else is what the function raised.
    """

    name: str

    @abstractmethod
    def slots(self, needs: Resource = "CPU") -> int:
        """How many pieces of work are done at once, as of now; at least 1."""

    @abstractmethod
    def submit(self, work: Work) -> Future[Any]: ...

    @abstractmethod
    def cancel(self) -> None:
        """End all that is running, at once. May be called from another thread."""

    @abstractmethod
    def close(self) -> None:
        """Doing so twice is no error."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
