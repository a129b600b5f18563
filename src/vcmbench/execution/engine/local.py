"""A cluster of processes of this machine, for as long as a run: one job each, no open port for others."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import dask
from distributed import Client, LocalCluster, Security

from vcmbench.errors import RequestError
from vcmbench.execution.engine.base import WorkerSpec
from vcmbench.execution.engine.cluster import ClusterEngine
from vcmbench.execution.engine.dask_client import quiet
from vcmbench.execution.runner.scratch import Scratch

# A worker that dies is started again and its job done again, twice; the third death fails the job.
_ALLOWED_FAILURES = 2
# While it starts, Dask takes the death of a worker for its own failure.
_STARTS = 3


def start(place: WorkerSpec, processes: int) -> ClusterEngine:
    """Raises RequestError where the processes cannot be started."""
    quiet()
    dask.config.set({
        "distributed.scheduler.allowed-failures": _ALLOWED_FAILURES,
        "distributed.worker.profile.enabled": False,  # a hundred looks a second at what each worker does: nobody asks
    })  # fmt: skip
    scratch = Scratch()  # one that the next run removes, should this one be killed
    dask.config.set({"temporary-directory": str(scratch.root)})
    try:
        cluster = _cluster(processes, scratch.root)
    except BaseException as error:
        scratch.remove()
        if isinstance(error, (OSError, RuntimeError, AssertionError)):  # Dask asserts that all of it ended well
            raise RequestError(f"--jobs {processes}: the processes cannot be started: {error}") from error
        raise

    def finish() -> None:
        cluster.close(timeout=10)
        scratch.remove()

    return ClusterEngine(place, lambda: Client(cluster, set_as_default=False), finish, "processes")


def _cluster(processes: int, folder: Path) -> LocalCluster:
    security = _certificates(folder)  # other users of the machine must not send it work

    def begin() -> LocalCluster:
        return LocalCluster(
            n_workers=processes,
            threads_per_worker=1,  # one job, one process: nothing waits for another one's Python
            processes=True,
            resources={"CPU": 1},
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",  # Dask's own would complain where another cluster has its usual port
            worker_dashboard_address=None,
            memory_limit=0,  # what takes memory are tools, which are processes of their own: Dask sees none of it
            local_directory=str(folder),
            silence_logs=50,
        )

    for _ in range(_STARTS - 1):
        with suppress(RuntimeError):
            return begin()
    return begin()


def _certificates(folder: Path) -> Security:
    """For this cluster alone, in files: from memory, Dask writes the key into a new folder for whoever connects.

    A run that is killed at such a moment would leave that folder, and the key in it, for good.
    """
    made = Security.temporary()
    certificate, key = folder / "cluster.crt", folder / "cluster.key"
    certificate.write_text(made.tls_ca_file)
    key.touch(mode=0o600)
    key.write_text(made.tls_client_key)
    roles = ("client", "scheduler", "worker")
    return Security(
        require_encryption=True,
        tls_ca_file=str(certificate),
        **{f"tls_{role}_cert": str(certificate) for role in roles},
        **{f"tls_{role}_key": str(key) for role in roles},
    )
