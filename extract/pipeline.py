"""From prepared frames to vectors: work in threads, batches to the network.

Memory stays constant: a bounded number of files of a bounded size is read ahead, and what the network has seen
is handed on at once. What is done with it is its taker's affair (`blocks` for a cache, `streaming` for a head).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from . import engines
from .clock import Clock
from .engines import Engine, Output
from .reading import Ready

BLOCK_SECONDS = 10.0
"""How long a picture may wait for others of its size, and a row to be on the disk."""
_WAITING_BYTES = 512e6
"""How much may wait for a batch to be full; pictures of native size can be large, and of many sizes."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def in_order(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    workers: int,
    ahead: int,
    cost: Callable[[_Item], float] = lambda _: 0.0,
    budget: float = 0.0,
) -> Iterator[_Result]:
    """Yield `work(item)` for each item, in order, computed in threads.

    At most `ahead` items are under way at once, and, unless it is one alone, no more than cost `budget`
    together.
    """
    with ThreadPoolExecutor(workers, thread_name_prefix="icehouse-decode") as pool:
        waiting: deque[tuple[Future[_Result], float]] = deque()
        spent = 0.0
        try:
            for item in items:
                price = cost(item)
                while waiting and (len(waiting) >= ahead or spent + price > budget):
                    future, paid = waiting.popleft()
                    spent -= paid
                    yield future.result()
                waiting.append((pool.submit(work, item), price))
                spent += price
            while waiting:
                yield waiting.popleft()[0].result()
        finally:
            for future, _ in waiting:
                future.cancel()


class Row(NamedTuple):
    """What is left of a view of a frame once the network has seen it.

    Parameters
    ----------
    content : bytes
        SHA-256 of its file.
    facts : dict
        What is to be known of the file when it is met again.
    number, view : int
    thumbnail : ndarray of uint8, shape (256,)
    seconds : float
        What it took: decoding in its thread, and an equal share of its batch in the network.
    sample : int
        Which of the samples it was met in first.
    """

    content: bytes
    facts: dict[str, Any]
    number: int
    view: int
    thumbnail: NDArray[np.uint8]
    seconds: float
    sample: int


class Taker(Protocol):
    """What is done with rows that the network has seen."""

    def begin(self, engine: Engine, canaries: dict[str, NDArray[np.float32]]) -> None:
        """Learn of the engine and of its canaries' vectors, before the first rows."""
        ...

    def take(self, rows: list[Row], pixels: NDArray[np.float32], output: Output) -> None:
        """Take the rows of one batch; every vector is finite.

        Parameters
        ----------
        rows : list of Row
        pixels : ndarray of float32, shape (k, h, w, 3)
            What the network saw, 0–255.
        output : Output
            What it made of them.
        """
        ...

    def finish(self) -> None:
        """Do what is left once the last rows were taken."""
        ...


@dataclass
class _Queue:
    """Rows of one size that wait for a batch to be full, since when, and their pixels."""

    since: float
    rows: list[Row] = field(default_factory=list)
    pixels: list[NDArray[np.float32]] = field(default_factory=list)


class Batches:
    """Collects frames into batches of one size for the network, and hands on what comes back.

    Parameters
    ----------
    engine : Engine
    taker : Taker
    clock : Clock
    """

    def __init__(self, engine: Engine, taker: Taker, clock: Clock) -> None:
        self._engine = engine
        self._taker = taker
        self._clock = clock
        self._waiting: dict[tuple[int, ...], _Queue] = {}
        self._bytes = 0
        self.computed = 0
        self.not_finite: set[bytes] = set()

    def add(self, content: bytes, facts: dict[str, Any], ready: Ready, seconds: float, sample: int) -> None:
        """Take one view of a frame; the network runs as soon as a batch of pictures of one size is full.

        `facts` is what is to be known of the file when it is met again, `seconds` what decoding it took,
        `sample` which of the samples it is.
        """
        pixels, now = ready.frame.pixels, time.perf_counter()
        queue = self._waiting.setdefault(pixels.shape, _Queue(now))
        thumbnail = ready.frame.thumbnail
        queue.rows.append(Row(content, facts, ready.number, ready.view, thumbnail, seconds, sample))
        queue.pixels.append(pixels)
        self._bytes += pixels.nbytes
        oldest = next(iter(self._waiting))
        if len(queue.rows) >= self._engine.batch_size:
            self._run(pixels.shape)
        elif self._bytes > _WAITING_BYTES or now - self._waiting[oldest].since > BLOCK_SECONDS:
            self._run(oldest)

    def finish(self) -> None:
        """Compute what is left."""
        for shape in list(self._waiting):
            self._run(shape)

    def _run(self, shape: tuple[int, ...]) -> None:
        queue = self._waiting.pop(shape)
        self._bytes -= sum(pixels.nbytes for pixels in queue.pixels)
        while queue.rows:
            count = min(len(queue.rows), self._engine.batch_size)
            pixels = np.stack(queue.pixels[:count])
            started = time.perf_counter()
            try:
                output = self._engine.run(pixels)
            except Exception as error:
                if count == 1 or not engines.is_out_of_memory(error):
                    raise
                self._engine.batch_size = (count + 1) // 2
                continue
            share = (time.perf_counter() - started) / count
            self._clock.add("network", started)
            rows = [row._replace(seconds=row.seconds + share) for row in queue.rows[:count]]
            del queue.rows[:count], queue.pixels[:count]
            self._hand_on(rows, pixels, output)

    def _hand_on(self, rows: list[Row], pixels: NDArray[np.float32], output: Output) -> None:
        finite = np.ones(len(rows), dtype=bool)
        for values in output.vectors.values():
            finite &= np.isfinite(values).all(axis=1)
        if not finite.all():
            self.not_finite.update(row.content for row, good in zip(rows, finite, strict=True) if not good)
            rows = [row for row, good in zip(rows, finite, strict=True) if good]
            vectors = {layer: array[finite] for layer, array in output.vectors.items()}
            pixels, output = pixels[finite], Output(vectors, output.maps[finite])
        if rows:
            self.computed += len(rows)
            self._taker.take(rows, pixels, output)
