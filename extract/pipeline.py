"""From prepared frames to staged blocks: work in threads, batches to the network, blocks to the disk.

Memory stays constant: a bounded number of files of a bounded size is read ahead, and one block at a time is
written. What is done with the blocks afterwards is `extraction`'s work.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

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


@dataclass(frozen=True)
class _Row:
    content: bytes
    facts: dict[str, Any]
    ready: Ready

    @property
    def pixels(self) -> NDArray[np.float32]:
        return self.ready.frame.pixels


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
        self._waiting: dict[tuple[int, ...], list[_Row]] = {}
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
        row = _Row(content, facts, ready)
        rows = self._waiting.setdefault(row.pixels.shape, [])
        rows.append(row)
        if len(rows) == self._engine.batch_size:
            self._run(row.pixels.shape)
        elif sum(row.pixels.nbytes for rows in self._waiting.values() for row in rows) > _WAITING_BYTES:
            self._run(max(self._waiting, key=lambda shape: len(self._waiting[shape])))

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
        rows = self._waiting.pop(shape)
        while rows:
            batch = rows[: self._engine.batch_size]
            started = time.perf_counter()
            try:
                output = self._engine.run(np.stack([row.pixels for row in batch]))
            except Exception as error:
                if len(batch) == 1 or not engines.is_out_of_memory(error):
                    raise
                self._engine.batch_size = (len(batch) + 1) // 2
                continue
            self._clock.add("network", started)
            rows = rows[len(batch) :]
            self._finish(*self._only_finite(batch, output))

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
            frame=np.array([row.ready.number for row in rows], dtype=np.int32),
            view=np.array([row.ready.view for row in rows], dtype=np.int16),
            vectors={
                layer: np.concatenate([output.vectors[layer] for output in outputs])
                for layer in outputs[0].vectors
            },
            pixels=np.stack([row.ready.frame.thumbnail for row in rows]),
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
