"""Programs measured beside each other: each in its own process with two threads, in turn; the median call counts.

A contender is `module:function`; the function takes the settings and returns a callable without arguments, which is
timed.
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
        self.facts = self._answer()

    def call(self) -> float:
        """Return the wall time of one call in seconds."""
        self._pipe.send("call")
        return self._answer()

    def memory(self) -> tuple[int, int]:
        """Return the highest and the present resident memory of the process, bytes."""
        self._pipe.send("memory")
        return self._answer()

    def close(self) -> None:
        self._pipe.send("end")
        self._process.join()

    def _answer(self):
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


def alternate(workers: list[Worker], repeats: int, warm_up: int = 2) -> list[list[float]]:
    """Call the workers in turn and return each one's times in seconds, the warm-up left out."""
    times = [[worker.call() for worker in workers] for _ in range(warm_up + repeats)]
    return [list(column) for column in zip(*times[warm_up:], strict=True)]


def duel(case: str, ours: tuple[str, dict], peer: tuple[str, dict], peer_name: str, repeats: int) -> dict:
    """Return one row of results: both contenders in turn, the median call of each, and their peak memory."""
    workers = [Worker(*ours), Worker(*peer)]
    ours_s, peer_s = (statistics.median(times) for times in alternate(workers, repeats))
    ours_memory, peer_memory = (worker.memory()[0] for worker in workers)
    facts = [worker.facts for worker in workers]
    for worker in workers:
        worker.close()
    return {
        "case": case,
        "ours_s": ours_s,
        "peer": peer_name,
        "peer_s": peer_s,
        "ratio": ours_s / peer_s,
        "ours_peak_mb": ours_memory / 2**20,
        "peer_peak_mb": peer_memory / 2**20,
        "ours_facts": facts[0],
        "peer_facts": facts[1],
    }


def limit_threads() -> None:
    """Give the numerical libraries that this process starts later `THREADS` threads each."""
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(THREADS)


def _serve(pipe, contender: str, settings: dict) -> None:
    limit_threads()
    try:
        module, function = contender.split(":")
        call = getattr(importlib.import_module(module), function)(settings)
        call()
        pipe.send(getattr(call, "facts", {}))
        while (request := pipe.recv()) != "end":
            pipe.send(_measure(call) if request == "call" else _memory())
    except Exception as error:  # the parent raises it
        pipe.send(error)


def _measure(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _memory() -> tuple[int, int]:
    with open("/proc/self/statm") as file:
        present = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, present
