"""Rounds side by side: in threads, or in processes where a head may have to be stopped.

Each round computes on one thread: rounds at once are what fills the processors, and sums of floats then do not
depend on their number.
"""

from __future__ import annotations

import tempfile
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from .fitting import Ready, one_round
from .heads import Spec
from .problem import Problem
from .protocol import Protocol, Round
from .runs import Record
from .splits import Splits

LARGE = 64_000_000
"""Bytes of vectors from which on only one split is made ready at a time, to take less memory."""


class Task(NamedTuple):
    """A head that is to be judged in a round."""

    spec: Spec
    round: Round


class Stopped(NamedTuple):
    """A head that was stopped when its time was over."""

    head: str
    rounds: int
    of: int
    seconds: float


class _Shelf:
    """Splits made ready, each for as long as some task needs it.

    Tasks come split by split, so that there are never more splits here than tasks at work; with one place, a
    task of the next split waits until all of this one's are done.
    """

    def __init__(self, make: Callable[[int], Ready], tasks: list[Task], places: int) -> None:
        self._make = make
        self._left = Counter(task.round.split for task in tasks)
        self._ready: dict[int, Ready] = {}
        self._locks = {split: threading.Lock() for split in self._left}
        self._places = threading.Semaphore(places)

    def take(self, split: int) -> Ready:
        with self._locks[split]:
            if split not in self._ready:
                self._places.acquire()
                try:
                    self._ready[split] = self._make(split)
                except BaseException:
                    self._places.release()
                    raise
            return self._ready[split]

    def give_back(self, split: int) -> None:
        with self._locks[split]:
            self._left[split] -= 1
            if not self._left[split] and self._ready.pop(split, None) is not None:
                self._places.release()


def in_threads(problem: Problem, splits: Splits, protocol: Protocol, tasks: list[Task]) -> Iterator[Record]:
    """Yield records as they are done, several at once in threads.

    NumPy, libsvm and XGBoost leave Python's lock while they work, so threads do without copies of the vectors
    and without starting processes.
    """
    from joblib import Parallel, cpu_count, delayed
    from threadpoolctl import threadpool_limits

    jobs = protocol.jobs or cpu_count()
    places = 1 if problem.X.nbytes * problem.views >= LARGE else jobs
    shelf = _Shelf(lambda split: Ready(problem, splits, split, protocol), tasks, places)

    at_work, over = threading.Semaphore(jobs), threading.Event()

    def one(task: Task) -> Record | None:
        with at_work:
            if over.is_set():
                return None
            try:
                return one_round(shelf.take(task.round.split), task.spec, task.round)
            finally:
                shelf.give_back(task.round.split)

    with threadpool_limits(limits=1):
        results = Parallel(n_jobs=jobs, backend="threading", return_as="generator_unordered")(
            delayed(one)(task) for task in tasks
        )
        try:
            for result in results:
                if result is not None:
                    yield result
        finally:  # whoever stops early does so on purpose: joblib need not warn of unused results
            over.set()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.close()
            for _ in range(jobs):  # a process that ends while a library computes in a thread is aborted
                at_work.acquire()


def in_processes(
    problem: Problem,
    splits: Splits,
    protocol: Protocol,
    tasks: list[Task],
    stopped: Callable[[Stopped], None],
) -> Iterator[Record]:
    """Yield records as they are done, head after head, each stopped when the protocol's time budget is over.

    A thread cannot be stopped while a library computes, a process can. The vectors are shared through a file.
    """
    import joblib
    from joblib.externals.loky import get_reusable_executor

    assert protocol.time_budget is not None
    jobs = protocol.jobs or joblib.cpu_count()
    with tempfile.TemporaryDirectory(prefix="icehouse-") as folder:
        shared = Path(folder) / "run.joblib"
        joblib.dump((problem, splits, protocol), shared)
        executor = None
        for head in dict.fromkeys(task.spec.text for task in tasks):
            own = [task for task in tasks if task.spec.text == head]
            executor = executor or get_reusable_executor(max_workers=jobs, timeout=60)
            for future in [executor.submit(_warm_up, str(shared)) for _ in range(jobs)]:
                future.result()
            started = time.monotonic()
            done = 0
            submit = partial(executor.submit, _in_process, str(shared))
            try:
                for record in _until(submit, own, jobs, started + protocol.time_budget):
                    done += 1
                    yield record
            finally:
                if done < len(own):  # waited for: what manages killed processes would otherwise never end
                    executor.shutdown(wait=True, kill_workers=True)
                    executor = None
            if done < len(own):
                stopped(Stopped(head, done, len(own), round(time.monotonic() - started, 1)))
        if executor is not None:
            executor.shutdown(wait=True)


def _until(
    submit: Callable[[Task], Future[Record]], tasks: list[Task], jobs: int, deadline: float
) -> Iterator[Record]:
    """Yield records as they are done, up to a deadline; no more tasks are given out than are worked on."""
    from concurrent.futures import FIRST_COMPLETED, wait

    left = iter(tasks)
    waiting = {submit(task) for task in islice(left, jobs)}
    while waiting:
        ready, waiting = wait(waiting, max(0.0, deadline - time.monotonic()), FIRST_COMPLETED)
        if not ready:
            return
        if time.monotonic() < deadline:
            waiting |= {submit(task) for task in islice(left, len(ready))}
        for future in ready:
            yield future.result()


_opened: dict[str, Any] = {}
"""What a process at work has read, by file: the run, and the split made ready last."""


def _open(path: str) -> tuple[Problem, Splits, Protocol]:
    import joblib

    if path not in _opened:
        _opened.clear()
        _opened[path] = joblib.load(path, mmap_mode="r")
    run: tuple[Problem, Splits, Protocol] = _opened[path]
    return run


def _warm_up(path: str) -> None:
    import sklearn.svm  # noqa: F401  (what takes time to import is not the head's time)

    _open(path)


def _in_process(path: str, task: Task) -> Record:
    from threadpoolctl import threadpool_limits

    problem, splits, protocol = _open(path)
    split = task.round.split
    with threadpool_limits(limits=1):
        if _opened.get("split") != split:
            _opened["split"], _opened["ready"] = split, Ready(problem, splits, split, protocol)
        return one_round(_opened["ready"], task.spec, task.round)
