"""Programs measured beside each other: each in its own process with two threads, in turn; the median call counts.

A contender is `module:function`; the function takes the settings and returns a callable without arguments, which is
timed. The callable may have `facts`, a dict to tell about it, and `memory()`, which returns bytes (highest, present)
in place of the resident memory of its process.
"""

import importlib
import multiprocessing
import os
import resource
import statistics
import time

THREADS = 2


class Worker:
    """A process that builds one contender and calls it on request.

    Args:
        contender: `module:function`.
        settings: dict, the function's argument.
    """

    def __init__(self, contender: str, settings: dict):
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, contender, settings), daemon=True)
        self._process.start()
        # Or this process would hold the other end itself and wait for ever for a worker that was killed.
        other.close()
        self.facts = self._answer()

    def call(self) -> float:
        """Return the wall time of one call in seconds."""
        return self.measure()[0]

    def measure(self) -> tuple[float, float]:
        """Return the wall time of one call and the processor time of all its threads, in seconds."""
        self._pipe.send("call")
        return self._answer()

    def memory(self) -> tuple[int, int]:
        """Return the highest and the present memory of the contender, bytes."""
        self._pipe.send("memory")
        return self._answer()

    def close(self) -> None:
        self._pipe.send("end")
        self._process.join()

    def _answer(self):
        try:
            answer = self._pipe.recv()
        except EOFError:
            self._process.join()
            raise RuntimeError(f"the measured process ended with exit code {self._process.exitcode}") from None
        if isinstance(answer, Exception):
            raise answer
        return answer


class Local:
    """A contender in this process, with the methods of `Worker`."""

    def __init__(self, contender: str, settings: dict):
        self._contender = _build(contender, settings)
        self._contender()
        self.facts = getattr(self._contender, "facts", {})

    def call(self) -> float:
        return self.measure()[0]

    def measure(self) -> tuple[float, float]:
        return _measure(self._contender)

    def memory(self) -> tuple[int | None, int | None]:
        return _memory(self._contender)

    def close(self) -> None:
        self._contender = None


def alternate(workers: list, repeats: int, warm_up: int = 2) -> list[list[float]]:
    """Call the workers in turn and return each one's times in seconds, the warm-up left out."""
    times = [[worker.call() for worker in workers] for _ in range(warm_up + repeats)]
    return [list(column) for column in zip(*times[warm_up:], strict=True)]


def duel(case: str, ours: tuple[str, dict], peer: tuple[str, dict], peer_name: str, repeats: int) -> dict:
    """Return one row of results: both contenders in turn, the median call of each, and their peak memory."""
    return compare(case, Worker(*ours), Worker(*peer), peer_name, repeats)


def compare(case: str, ours, peer, peer_name: str, repeats: int) -> dict:
    """Return what `duel` does for two workers (`Worker` or `Local`), which are closed then; `peer` may be None."""
    workers = [ours, peer] if peer else [ours]
    measured = [
        {"s": statistics.median(times), "peak_mb": _megabytes(worker.memory()[0]), "facts": worker.facts}
        for worker, times in zip(workers, alternate(workers, repeats), strict=True)
    ]
    for worker in workers:
        worker.close()
    ours, peer = measured if peer else (*measured, dict.fromkeys(measured[0]))
    return {
        "case": case,
        "ours_s": ours["s"],
        "peer": peer_name if peer["s"] else None,
        "peer_s": peer["s"],
        "ratio": ours["s"] / peer["s"] if peer["s"] else None,
        "ours_peak_mb": ours["peak_mb"],
        "peer_peak_mb": peer["peak_mb"],
        "ours_facts": ours["facts"],
        "peer_facts": peer["facts"],
    }


def _megabytes(count: int | None) -> float | None:
    return None if count is None else count / 2**20


def limit_threads() -> None:
    """Give the numerical libraries that this process starts later `THREADS` threads each."""
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)


def _serve(pipe, contender: str, settings: dict) -> None:
    limit_threads()
    try:
        call = _build(contender, settings)
        call()
        pipe.send(getattr(call, "facts", {}))
        while (request := pipe.recv()) != "end":
            pipe.send(_measure(call) if request == "call" else _memory(call))
    except Exception as error:  # the parent raises it
        pipe.send(error)


def _build(contender: str, settings: dict):
    module, function = contender.split(":")
    return getattr(importlib.import_module(module), function)(settings)


def _measure(call) -> tuple[float, float]:
    start, start_of_threads = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - start, time.process_time() - start_of_threads


def _memory(call) -> tuple[int | None, int | None]:
    if hasattr(call, "memory"):
        return call.memory()
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, present
