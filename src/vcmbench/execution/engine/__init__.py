"""Where work is done: in this process, in processes of this machine, or on a cluster that is there already.

`Engine` is all that a run sees of it. Only the modules in here know Dask.
"""

from vcmbench.execution.engine.base import Engine, Resource, Work, WorkerSpec, WorkerState
from vcmbench.execution.engine.threads import ThreadsEngine

__all__ = ["Engine", "Resource", "ThreadsEngine", "Work", "WorkerSpec", "WorkerState", "local_cluster", "scheduler"]


def local_cluster(place: WorkerSpec, processes: int) -> Engine:
    """An engine of as many processes of this machine. Raises RequestError where they cannot be started."""
    from vcmbench.execution.engine import local  # Dask is imported where it is asked for: it costs half a second

    return local.start(place, processes)


def scheduler(place: WorkerSpec, address: str) -> Engine:
    """An engine on the workers of a Dask scheduler. Raises RequestError where it does not answer or they do not fit."""
    from vcmbench.execution.engine.cluster import ClusterEngine
    from vcmbench.execution.engine.dask_client import connect

    return ClusterEngine(place, lambda: connect(address))
