"""What the user names as a cache: telling whether it is one, and opening it, with other labels if told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .store import Cache

StrPath = str | Path


def is_cache(path: Path) -> bool:
    """Tell whether a path is meant as a cache: an HDF5 file by its first bytes or its name."""
    if path.is_file():
        with path.open("rb") as file:
            return file.read(8) == b"\x89HDF\r\n\x1a\n" or path.suffix == ".h5"
    return path.suffix == ".h5"


@contextmanager
def relabelled(cache: Cache | StrPath, labels: StrPath | None, say: Callable[[str], None]) -> Iterator[Cache]:
    """Yield a cache, with the labels of a file read in if there is one; the caller's own is never changed.

    `say` is told of samples that the file does not name. What was opened here is closed at the end.
    """
    if isinstance(cache, Cache) and labels is None:
        yield cache
        return
    with Cache(cache.path if isinstance(cache, Cache) else cache) as opened:
        if labels is not None and (unnamed := opened.relabel(labels)):
            say(f"{labels} does not name {unnamed} of the samples: they keep their labels.")
        yield opened
