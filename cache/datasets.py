"""The datasets of a cache file, read as they stand there; what they mean is `store`'s affair."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import distrust, layout


class Datasets:
    """A cache file, open for reading, once it is known to be what format 1 lists.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    CacheNotFound, CacheDamaged, CacheError
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._opened: dict[str, Any] = {}
        self._checksums: dict[str, NDArray[np.uint8]] = {}
        self._file = distrust.open_file(self.path)
        try:
            self.header = distrust.examine(self._file, self.path)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        self._file.close()

    def datasets(self, *groups: str) -> list[str]:
        """Return the names of the datasets in `groups`, such as "vectors" and "images"."""
        names = (f"{group}/{key}" for group in groups if group in self._file for key in self._file[group])
        return [name for name in names if layout.spec_of(name)]

    def every_dataset(self) -> list[str]:
        """Return the names of all datasets but the checksums."""
        return [*self.datasets(*layout.GROUPS), "provenance"]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a dataset."""
        shape: tuple[int, ...] = self._file[name].shape
        return shape

    def read(self, name: str, rows: slice | None = None) -> NDArray[Any]:
        """Return a dataset of the file, or a part of its rows, as it stands there.

        Raises
        ------
        CacheDamaged
            If the disk gives back something else than was written.
        """
        with self._reading(name):
            if name not in self._opened:
                self._opened[name] = self._file[name]
            array: NDArray[Any] = self._opened[name][() if rows is None else rows]
        return array

    def text(self, name: str) -> NDArray[np.str_]:
        """Return a dataset of texts.

        Raises
        ------
        CacheDamaged
            If one is not valid UTF-8 or holds control characters.
        """
        return self._decoded(name, self.read(name))

    def _decoded(self, name: str, values: NDArray[np.bytes_]) -> NDArray[np.str_]:
        try:
            return layout.decode(values)
        except ValueError as error:
            raise errors.CacheDamaged(f"{self.path}: {name}: {error}; refused.") from None

    def checksums(self, name: str) -> NDArray[np.uint8]:
        """Return the SHA-256 of each block of a dataset, as it stands in the file, shape (blocks, 32)."""
        if name not in self._checksums:
            stored = f"checksums/{name}"
            there = stored in self._file
            self._checksums[name] = self.read(stored) if there else np.empty((0, 32), dtype=np.uint8)
        return self._checksums[name]

    def attributes(self) -> dict[str, Any]:
        """Return every attribute of the file."""
        return distrust.attributes(self._file, self.path)

    def stored_chunk(self, name: str, place: tuple[int, ...]) -> bytes:
        """Return a chunk of a dataset as it lies on disk, its fletcher32 included."""
        with self._reading(name):
            chunk: bytes = self._file[name].id.read_direct_chunk(place)[1]
        return chunk

    @contextmanager
    def _reading(self, name: str) -> Iterator[None]:
        try:
            yield
        except (OSError, RuntimeError, KeyError) as error:
            raise errors.CacheDamaged(
                f"{self.path}: {name} cannot be read ({_cause(error)}); the file is damaged. "
                f"icehouse cache verify {self.path} tells where, icehouse cache repair keeps the rest."
            ) from None


def _cause(error: Exception) -> str:
    if "fletcher32" in str(error) or "filter" in str(error):
        return "its checksum is wrong"
    return getattr(error, "strerror", None) or str(error)
