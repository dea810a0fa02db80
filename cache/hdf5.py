"""Creating an HDF5 file so that a full disk is an error and not a crash. What goes into it is `writing`'s work.

HDF5 cannot recover from a write that fails while it flushes or closes a file: it raises, keeps what it freed,
and crashes the process when it ends. So nothing that HDF5 writes ever fails here: the first error is kept,
everything after it is dropped, and the error is raised once HDF5 has closed the file, which is then of no use.
"""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py


@contextmanager
def creating(path: Path) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """Yield a new HDF5 file and what is to be called now and then, and close the file.

    A KeyboardInterrupt inside of HDF5 would be a write that fails. So Ctrl-C and SIGTERM wait until the
    function that is yielded is called, or the file is closed.

    Raises
    ------
    OSError
        As the system gave it, if something could not be written.
    """
    with _signals_wait() as deliver, path.open("xb+", buffering=0) as raw:
        target = _Target(raw)
        try:
            with h5py.File(target, "w") as file:
                yield file, deliver
        finally:
            if target.error is not None:
                raise target.error from None


class _Target(io.RawIOBase):
    """What HDF5 takes for a file: reads and writes go to `raw`, but after an error they are pretended."""

    def __init__(self, raw: Any) -> None:
        super().__init__()
        self._raw = raw
        self._place = 0
        self._size = 0
        self.error: OSError | None = None

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._place = offset + (self._size if whence == os.SEEK_END else 0)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        self._raw.seek(self._place)
        done = 0
        while done < len(view) and (count := self._raw.readinto(view[done:])):
            done += count
        view[done:] = bytes(len(view) - done)  # what was only pretended to be written
        return len(view)

    def write(self, data: Any) -> int:
        view = memoryview(data)
        try:
            self._raw.seek(self._place)
            done = 0
            while self.error is None and done < len(view):
                done += self._raw.write(view[done:])
        except OSError as error:
            self.error = error
        self._place += len(view)
        self._size = max(self._size, self._place)
        return len(view)

    def truncate(self, size: int | None = None, /) -> int:
        size = self._place if size is None else size
        self._size = size
        try:
            if self.error is None:
                self._raw.truncate(size)
        except OSError as error:
            self.error = error
        return size

    def flush(self) -> None:
        """Do nothing: nothing is buffered here."""


@contextmanager
def _signals_wait() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C and SIGTERM wait; yield what lets those through that came."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    before: dict[int, Any] = {}

    def hold() -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.getsignal(number)
            signal.signal(number, lambda number, _frame: came.append(number))

    def release() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        while came:
            signal.raise_signal(came.pop())

    def deliver() -> None:
        if came:
            release()
            hold()

    hold()
    try:
        yield deliver
    finally:
        release()
