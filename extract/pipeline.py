"""From samples to staged blocks: decode in threads, batches to the network, blocks to the disk.

Memory stays constant: a bounded number of files is decoded ahead, and one block at a time is written. What is
done with the blocks afterwards is `extraction`'s work.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.staging import Block, Staging
from .decode import Frame, Preparation
from .engines import Engine, Output
from .picture import Facts

BLOCK_FRAMES = 64
BLOCK_SECONDS = 10.0

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass
class Clock:
    """Seconds spent in each stage, and from the first decoding to the last write.

    `decode` is summed over threads; the stages overlap, so that they may add up to more than the time passed.
    """

    decode: float = 0.0
    network: float = 0.0
    write: float = 0.0
    started: float | None = None
    ended: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, stage: str, since: float) -> None:
        """Count the time from `since` until now for `stage`."""
        with self._lock:
            now = time.perf_counter()
            setattr(self, stage, getattr(self, stage) + now - since)
            if self.started is None or since < self.started:
                self.started = since
            self.ended = max(self.ended, now)

    @property
    def seconds(self) -> float:
        """From the first decoding to the last write."""
        return 0.0 if self.started is None else self.ended - self.started

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage."""
        return {name: round(getattr(self, name), 3) for name in ("decode", "network", "write")}


@dataclass(frozen=True)
class Decoded:
    """What reading one file gave: frames, or only its content if that is known, or a failure."""

    content: bytes | None
    facts: Facts | None = None
    frames: tuple[Frame, ...] = ()
    failure: errors.ImageError | None = None


def read(file: Path, known: Mapping[bytes, Facts], preparation: Preparation, clock: Clock) -> Decoded:
    """Read one file, and decode it unless its content is known.

    Parameters
    ----------
    file : Path
    known : mapping of bytes to Facts
        The contents (SHA-256) that need no computing.
    preparation : Preparation
    clock : Clock
    """
    content = None
    try:
        data = read_bytes(file)
        content = hashlib.sha256(data).digest()
        if content in known:
            return Decoded(content)
        started = time.perf_counter()
        facts, frames = preparation.frames(data)
        clock.add("decode", started)
        return Decoded(content, facts, tuple(frames))
    except errors.ImageError as failure:
        return Decoded(content, failure=failure)


def read_bytes(file: Path) -> bytes:
    """Return a file's bytes; an `ImageError` says why that is not possible."""
    try:
        data = file.read_bytes()
    except FileNotFoundError:
        raise errors.ImageError("read", "no such file") from None
    except PermissionError:
        raise errors.ImageError("read", "no permission to read it") from None
    except IsADirectoryError:
        raise errors.ImageError("read", "a folder, not a file") from None
    except OSError as error:
        raise errors.ImageError("read", error.strerror or str(error)) from None
    if not data:
        raise errors.ImageError("read", "an empty file")
    return data


def in_order(
    work: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, ahead: int
) -> Iterator[_Result]:
    """Yield `work(item)` for each item, in order, computed in threads at most `ahead` items ahead."""
    with ThreadPoolExecutor(workers, thread_name_prefix="icehouse-decode") as pool:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


@dataclass(frozen=True)
class _Row:
    content: bytes
    frame: int
    thumbnail: NDArray[np.uint8]
    pixels: NDArray[np.float32]


class Assembly:
    """Collects frames into batches for the network, and what comes back into blocks for the disk.

    Parameters
    ----------
    engine : Engine
    canaries : dict of str to ndarray
        Their vectors by this engine; every block carries them.
    staging : Staging
    batch_size : int
    clock : Clock
    """

    def __init__(
        self,
        engine: Engine,
        canaries: dict[str, NDArray[np.float32]],
        staging: Staging,
        batch_size: int,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._canaries = canaries
        self._maker = {"engine": engine.name, "device": engine.device, "libraries": engine.libraries()}
        self._staging = staging
        self._batch_size = batch_size
        self._clock = clock
        self._waiting: list[_Row] = []
        self._finished: list[tuple[list[_Row], Output]] = []
        self._facts: dict[bytes, Facts] = {}
        self._last_write = time.perf_counter()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="icehouse-write")
        self._writing: Future[None] | None = None
        self.computed = 0
        self.not_finite: set[bytes] = set()

    def add(self, content: bytes, facts: Facts, frame: int, prepared: Frame) -> None:
        """Take one frame; the network runs as soon as a batch is full."""
        self._facts[content] = facts
        self._waiting.append(_Row(content, frame, prepared.thumbnail, prepared.pixels))
        if len(self._waiting) == self._batch_size:
            self._run()

    def close(self) -> None:
        """Compute what is left, and wait until everything is on the disk."""
        try:
            self._run()
            self._flush()
            self._wait()
        finally:
            self._writer.shutdown()

    def _run(self) -> None:
        if not self._waiting:
            return
        rows, self._waiting = self._waiting, []
        started = time.perf_counter()
        output = self._engine.run(np.stack([row.pixels for row in rows]))
        self._clock.add("network", started)
        rows, output = self._only_finite(rows, output)
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
            frame=np.array([row.frame for row in rows], dtype=np.int32),
            view=np.zeros(len(rows), dtype=np.int16),
            vectors={
                layer: np.concatenate([output.vectors[layer] for output in outputs])
                for layer in outputs[0].vectors
            },
            pixels=np.stack([row.thumbnail for row in rows]),
            map_sum=np.sum([_sum_of_maps(output.maps) for output in outputs], axis=0),
            facts={row.content.hex(): self._facts[row.content].as_dict() for row in rows},
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
