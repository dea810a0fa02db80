"""What an extraction does with its rows: some at a time become a block in the staging folder.

What is done with the blocks afterwards is `extraction`'s work.
"""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.staging import Block, Staging
from . import pipeline
from .clock import Clock
from .engines import Engine, Output
from .pipeline import Row

BLOCK_FRAMES = 64


class Blocks:
    """Collects rows into blocks and writes them, one at a time, while the network runs on.

    Parameters
    ----------
    staging : Staging
    clock : Clock
    any_size : bool
        Pictures are of many sizes, so that their maps cannot be summed.
    """

    def __init__(self, staging: Staging, clock: Clock, *, any_size: bool = False) -> None:
        self._staging = staging
        self._clock = clock
        self._any_size = any_size
        self._canaries: dict[str, NDArray[np.float32]] = {}
        self._maker: dict[str, Any] = {}
        self._finished: list[tuple[list[Row], Output]] = []
        self._last_write = 0.0
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="icehouse-write")
        self._writing: Future[None] | None = None

    def begin(self, engine: Engine, canaries: dict[str, NDArray[np.float32]]) -> None:
        """Learn what every block carries: the engine's name, and its canaries' vectors."""
        self._canaries = canaries
        self._maker = {"engine": engine.name, "device": engine.device, "libraries": engine.libraries()}
        self._last_write = time.perf_counter()

    def take(self, rows: list[Row], _pixels: NDArray[np.float32], output: Output) -> None:
        """Take the rows of one batch; they are written once they are many or have waited for long."""
        if self._any_size:
            output = Output(output.vectors, output.maps[:, :0, :0])
        self._finished.append((rows, output))
        frames = sum(len(rows) for rows, _ in self._finished)
        if frames >= BLOCK_FRAMES or time.perf_counter() - self._last_write > pipeline.BLOCK_SECONDS:
            self._flush()

    def finish(self) -> None:
        """Write what is left, and wait until everything is on the disk."""
        try:
            self._flush()
            self._wait()
        finally:
            self._writer.shutdown()

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

    def _write(self, batches: list[tuple[list[Row], Output]]) -> None:
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
