"""A cluster of processes of this machine, for as long as a run: one job each, no open port for others."""

from __future__ import annotations

import dask
from distributed import Client, LocalCluster

from vcmbench.engine.base import Place
from vcmbench.engine.cluster import ClusterEngine, quiet
from vcmbench.errors import RequestError
from vcmbench.runner.base import Scratch

# A worker that dies is started again and its job done again, twice; the third death fails the job.
_ALLOWED_FAILURES = 2


def start(place: Place, processes: int) -> ClusterEngine:
    """Raises RequestError where the processes cannot be started."""
    quiet()
    dask.config.set({"distributed.scheduler.allowed-failures": _ALLOWED_FAILURES})
    scratch = Scratch()  # one that the next run removes, should this one be killed
    dask.config.set({"temporary-directory": str(scratch.root)})
    try:
        cluster = LocalCluster(
            n_workers=processes,
            threads_per_worker=1,  # one job, one process: nothing waits for another one's Python
            processes=True,
            resources={"CPU": 1},
            host="127.0.0.1",
            security=True,  # certificates of its own: other users of the machine must not send it work
            dashboard_address="127.0.0.1:0",  # Dask's own would complain where another cluster has its usual port
            worker_dashboard_address=None,
            memory_limit=0,  # what takes memory are tools, which are processes of their own: Dask does not see them
            local_directory=str(scratch.root),
            silence_logs=50,
        )
    except (OSError, RuntimeError, TimeoutError) as error:
        scratch.remove()
        raise RequestError(f"--jobs {processes}: the processes cannot be started: {error}") from error

    def finish() -> None:
        cluster.close(timeout=10)
        scratch.remove()

    return ClusterEngine(place, lambda: Client(cluster, set_as_default=False), finish, "processes")
