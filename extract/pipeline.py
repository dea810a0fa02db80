"""From prepared frames to staged blocks: work in threads, batches to the network, blocks to the disk.

Memory stays constant: a bounded number of files of a bounded size is read ahead, and one block at a time is
written. What is done with the blocks afterwards is `extraction`'s work.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..cache.staging import Block, Staging
from . import engines
from .clock import Clock
from .engines import Engine, Output
from .reading import Ready

BLOCK_FRAMES = 64
BLOCK_SECONDS = 10.0
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


class _Row(NamedTuple):
    """What is left of a view of a frame once the network has seen it."""

    content: bytes
    facts: dict[str, Any]
    number: int
    view: int
    thumbnail: NDArray[np.uint8]


@dataclass
class _Queue:
    """Rows of one size that wait for a batch to be full, since when, and their pixels."""

    since: float
    rows: list[_Row] = field(default_factory=list)
    pixels: list[NDArray[np.float32]] = field(default_factory=list)


class Assembly:
    """Collects frames into batches for the network, and what comes back into blocks for the disk.

    Parameters
    ----------
    engine : Engine
    canaries : dict of str to ndarray
        Their vectors by this engine; every block carries them.
    staging : Staging
    clock : Clock
    any_size : bool
        Pictures are of many sizes, so that their maps cannot be summed.
    """

    def __init__(
        self,
        engine: Engine,
        canaries: dict[str, NDArray[np.float32]],
        staging: Staging,
        clock: Clock,
        *,
        any_size: bool = False,
    ) -> None:
        self._engine = engine
        self._any_size = any_size
        self._canaries = canaries
        self._maker = {"engine": engine.name, "device": engine.device, "libraries": engine.libraries()}
        self._staging = staging
        self._clock = clock
        self._waiting: dict[tuple[int, ...], _Queue] = {}
        self._bytes = 0
        self._finished: list[tuple[list[_Row], Output]] = []
        self._last_write = time.perf_counter()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="icehouse-write")
        self._writing: Future[None] | None = None
        self.computed = 0
        self.not_finite: set[bytes] = set()

    def add(self, content: bytes, facts: dict[str, Any], ready: Ready) -> None:
        """Take one view of a frame; the network runs as soon as a batch of pictures of one size is full.

        `facts` is what is to be known of the file when it is met again.
        """
        pixels, now = ready.frame.pixels, time.perf_counter()
        queue = self._waiting.setdefault(pixels.shape, _Queue(now))
        queue.rows.append(_Row(content, facts, ready.number, ready.view, ready.frame.thumbnail))
        queue.pixels.append(pixels)
        self._bytes += pixels.nbytes
        oldest = next(iter(self._waiting))
        if len(queue.rows) >= self._engine.batch_size:
            self._run(pixels.shape)
        elif self._bytes > _WAITING_BYTES or now - self._waiting[oldest].since > BLOCK_SECONDS:
            self._run(oldest)

    def close(self) -> None:
        """Compute what is left, and wait until everything is on the disk."""
        try:
            for shape in list(self._waiting):
                self._run(shape)
            self._flush()
            self._wait()
        finally:
            self._writer.shutdown()

    def _run(self, shape: tuple[int, ...]) -> None:
        queue = self._waiting.pop(shape)
        self._bytes -= sum(pixels.nbytes for pixels in queue.pixels)
        while queue.rows:
            count = min(len(queue.rows), self._engine.batch_size)
            started = time.perf_counter()
            try:
                output = self._engine.run(np.stack(queue.pixels[:count]))
            except Exception as error:
                if count == 1 or not engines.is_out_of_memory(error):
                    raise
                self._engine.batch_size = (count + 1) // 2
                continue
            self._clock.add("network", started)
            if self._any_size:
                output = Output(output.vectors, output.maps[:, :0, :0])
            self._finish(*self._only_finite(queue.rows[:count], output))
            del queue.rows[:count], queue.pixels[:count]

    def _finish(self, rows: list[_Row], output: Output) -> None:
        if rows:
            self.computed += len(rows)
            self._finished.append((rows, output))
        frames = sum(len(rows) for rows, _ in self._finished)
        if frames >= BLOCK_FRAMES or time.perf_counter() - self._last_write > BLOCK_SECONDS:
            self._flush()

    def _only_finite(self, rows: list[_Row], output: Output) -> tuple[list[_Row], Output]:
        finite = np.ones(len(rows), dtype=bool)
        for values in output.vectors.values():
            finite &= np.isfinite(values).all(axis=1)
        if finite.all():
            return rows, output
        self.not_finite.update(row.content for row, good in zip(rows, finite, strict=True) if not good)
        kept = [row for row, good in zip(rows, finite, strict=True) if good]
        vectors = {layer: array[finite] for layer, array in output.vectors.items()}
        return kept, Output(vectors, output.maps[finite])

    def _flush(self) -> None:
        if not self._finished:
            return
        self._wait()
        batches, self._finished = self._finished, []
        self._writing = self._writer.submit(self._write, batches)
        self._last_write = time.perf_counter()

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    def _write(self, batches: list[tuple[list[_Row], Output]]) -> None:
        started = time.perf_counter()
        rows = [row for batch, _ in batches for row in batch]
        outputs = [output for _, output in batches]
        block = Block(
            content=np.stack([np.frombuffer(row.content, dtype=np.uint8) for row in rows]),
            frame=np.array([row.number for row in rows], dtype=np.int32),
            view=np.array([row.view for row in rows], dtype=np.int16),
            vectors={
                layer: np.concatenate([output.vectors[layer] for output in outputs])
                for layer in outputs[0].vectors
            },
            pixels=np.stack([row.thumbnail for row in rows]),
            map_sum=None
            if self._any_size
            else np.sum([_sum_of_maps(output.maps) for output in outputs], axis=0),
            facts={row.content.hex(): row.facts for row in rows},
            canaries=self._canaries,
            maker=self._maker,
        )
        self._staging.add(block)
        self._clock.add("write", started)


def _sum_of_maps(maps: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the sum over frames of maps (k, h, w, c), in which no rounding depends on what is added first.

    Each value is rounded to a multiple of 2⁻²⁴ before; float64 adds those exactly up to 2²⁹, so that the sum is
    the same to the last bit however an extraction was cut into pieces.
    """
    total = np.zeros(maps.shape[1:], dtype=np.float64)
    for frame in maps:
        total += np.rint(frame.astype(np.float64) * 2.0**24)
    return total / 2.0**24
