"""Where the time of an extraction goes: seconds by stage, and what would make it shorter."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

STAGES = ("loading", "decode", "network", "write")
_MUCH = 0.2
"""The share of the time from which on waiting for files is worth a word."""

_MOST = 0.6
"""The share of the time from which on the network is what bounds the speed."""


@dataclass
class Clock:
    """Seconds spent in each stage, and from the first decoding to the last write.

    `decode` is summed over threads; the stages overlap, so that they may add up to more than the time passed.
    `loading` is how long the network took to be ready, `waiting` how long it then had nothing to do because no
    picture was decoded yet.
    """

    loading: float = 0.0
    decode: float = 0.0
    network: float = 0.0
    write: float = 0.0
    waiting: float = 0.0
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
        """From the first decoding to the last write, loading the network left out."""
        return 0.0 if self.started is None else self.ended - self.started - self.loading

    def stages(self) -> dict[str, float]:
        """Return the seconds of each stage."""
        return {name: round(getattr(self, name), 3) for name in STAGES}

    def advice(self, workers: int, processors: int, engine: str, device: str) -> str | None:
        """Return one line on what bounds the extraction and what to do about it; None if it was over at once.

        Parameters
        ----------
        workers, processors : int
            Threads that decode, and processors of this machine.
        engine, device : str
            What computed, such as "openvino" on "cpu".
        """
        if self.seconds < 5:
            return None
        if (share := self.waiting / self.seconds) > _MUCH:
            remedy = "raise --workers" if workers < processors else "smaller files would be read more quickly"
            return f"{share:.0%} of the time the network waited for files to be decoded: {remedy}."
        share = min(self.network / self.seconds, 1.0)
        if share < _MOST:
            return None
        if device == "gpu":
            return f"{share:.0%} of the time in the network, on the GPU: --precision bfloat16 may be quicker."
        if engine == "openvino":
            return f"{share:.0%} of the time in the network: only a GPU or more processors make it quicker."
        return f"{share:.0%} of the time in the network: the engine openvino is quicker on a CPU."
