"""Many processes, here or on other machines, by Dask: each loads the model once and does one chunk after the other.

A chunk's result is a file, and a task may be done twice. So a worker that dies loses only the chunk it was at, which
another one does again. Workers on other machines have to see the slides and the results under the same paths.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from cyclic.errors import InputError
from cyclic.files import read_json
from cyclic.slides.detection import Pool, here
from cyclic.slides.source import require
from cyclic.slides.tasks import Task

INSTALL = "pip install 'cyclic[dask]'"
# A chunk may lose this many workers before it is given up: they are preempted, killed, or run out of memory.
DEATHS = 20
CONNECT_S = 30


@contextmanager
def open_pool(workers: int = 1, scheduler: str | None = None) -> Iterator[Pool]:
    """Yield what does tasks.

    Args:
        workers: processes on this machine; 1: this process itself.
        scheduler: address of a Dask scheduler, such as tcp://node7:8786, whose workers do it instead; or a JSON file
            that it wrote.

    Raises:
        InputError: Dask is not installed, no scheduler answers, or there can be no other processes.
    """
    if scheduler is None and workers == 1:
        yield here
        return
    distributed = require("distributed", "--workers and --scheduler", INSTALL)
    dask = require("dask", "--workers and --scheduler", INSTALL)
    if scheduler is None:
        _check_shared_memory(workers)
    with ExitStack() as stack:
        if scheduler is None:
            stack.enter_context(dask.config.set({"distributed.scheduler.allowed-failures": DEATHS}))
            cluster: Any = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
                )
            )
            client = stack.enter_context(distributed.Client(cluster))
        else:
            client = stack.enter_context(_connect(distributed, scheduler))
        yield partial(_run, distributed, client)


def _check_shared_memory(workers: int) -> None:
    """Refuse workers where there is no place for the locks between processes: Dask would try again for ever.

    Raises:
        InputError: the system has none.
    """
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise InputError(
            f"--workers {workers}: processes need shared memory, and /dev/shm has none ({error.strerror}); mount it, "
            "or use one worker"
        ) from error


def _connect(distributed: Any, scheduler: str) -> Any:
    try:
        return distributed.Client(_address(scheduler), timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise InputError(f"--scheduler {scheduler}: no Dask scheduler answers there ({error}); start one") from error


def _address(scheduler: str) -> str:
    """Return the address in a scheduler's JSON file; Dask itself would wait for a missing file for ever.

    Raises:
        InputError: there is no such file, or it holds no address.
    """
    if not scheduler.endswith(".json"):
        return scheduler
    content: object = read_json(scheduler)
    address = content.get("address") if isinstance(content, dict) else None
    if not isinstance(address, str):
        raise InputError(f"{scheduler}: no address of a scheduler in it; dask scheduler --scheduler-file writes one")
    return address


def _run(distributed: Any, client: Any, tasks: Sequence[Task]) -> Iterator[None]:
    """Do tasks on the workers; a `Pool` once the client is given."""
    futures = [client.submit(_do, task, pure=False) for task in tasks]
    try:
        for future in distributed.as_completed(futures):
            yield future.result()
    except distributed.KilledWorker as error:
        raise InputError(
            f"{tasks[0].job.slide}: workers died again and again ({error}); use fewer of them, or give them more memory"
        ) from error
    finally:
        client.cancel(futures)


def _do(task: Task) -> None:
    task()
