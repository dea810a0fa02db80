"""Rows of the image tables on their way into a new file: where they come from, and in which order they go.

How the file is written is `writing`'s work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import checksums
from .alignment import Claims, Rows
from .checksums import BLOCK_ROWS
from .keys import Keys, contents_in, contents_of, first_of_each
from .samples import DONE, Samples
from .store import Cache

IMAGE_TABLES = ("vectors", "images", "pixels")
"""The groups whose datasets have one row for each vector."""

_MOST_DESCENTS = 8
"""In how many places rows may go back in the order of the samples, and still be read nearly in one go."""


class RowSource(Protocol):
    """Where rows of the image tables come from."""

    def names(self) -> list[str]:
        """Return the datasets it has, such as "vectors/avg_pool"."""
        ...

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        """Return some rows of one of them."""
        ...


class CacheRows:
    """The rows of an open cache.

    Parameters
    ----------
    cache : Cache
    checked : bool
        Compare each block with its checksum before it is used; not where that has been done.
    without : sequence of str
        Datasets that are left out.
    """

    def __init__(self, cache: Cache, *, checked: bool = True, without: Sequence[str] = ()) -> None:
        self.cache = cache
        self.checked = checked
        self._names = [name for name in cache.datasets(*IMAGE_TABLES) if name not in without]
        self._last: dict[str, tuple[int, NDArray[Any]]] = {}

    def names(self) -> list[str]:
        return self._names

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        blocks = rows // BLOCK_ROWS
        empty = self.cache.read(name, slice(0, 0))
        taken = np.empty((len(rows), *empty.shape[1:]), dtype=empty.dtype)
        for block in np.unique(blocks):
            wanted = np.flatnonzero(blocks == block)
            inside = rows[wanted] - block * BLOCK_ROWS
            taken[_as_slice(wanted)] = self.intact(name, int(block))[_as_slice(inside)]
        return taken

    def intact(self, name: str, block: int) -> NDArray[Any]:
        """Return one block of a dataset.

        Raises
        ------
        CacheDamaged
            If it does not match its checksum.
        """
        if name not in self._last or self._last[name][0] != block:
            rows = self.cache.read(name, slice(block * BLOCK_ROWS, (block + 1) * BLOCK_ROWS))
            if self.checked and not checksums.match(rows, self.cache.checksums(name), block):
                raise errors.CacheDamaged(
                    f"{self.cache.path}: block {block} of {name} does not match its checksum; the file was "
                    f"damaged on disk. icehouse cache verify {self.cache.path} tells where, icehouse cache "
                    "repair keeps the rest."
                )
            self._last[name] = (block, rows)
        return self._last[name][1]

    def check(self, name: str, blocks: int) -> None:
        """Raise `CacheDamaged` if one of the first blocks of a dataset does not match its checksum."""
        for block in range(blocks):
            self.intact(name, block)


def _as_slice(rows: NDArray[np.intp]) -> slice | NDArray[np.intp]:
    """Return rows that follow each other as a slice, which is copied several times as fast."""
    first, last = int(rows[0]), int(rows[-1])
    follow = last - first + 1 == len(rows) and bool(np.all(np.diff(rows) == 1))
    return slice(first, last + 1) if follow else rows


class ArrayRows:
    """Rows that are in memory: a dict from dataset names to arrays."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = arrays

    def names(self) -> list[str]:
        return list(self._arrays)

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        return self._arrays[name][rows]


@dataclass(frozen=True)
class Order:
    """Which row of which source each row of the new file is; two arrays of shape (n,)."""

    source: NDArray[np.intp]
    row: NDArray[np.intp]

    def __len__(self) -> int:
        return len(self.row)

    def kept_blocks(self, rows: int) -> int:
        """Return how many whole blocks at the start are those that the first source starts with."""
        here = np.arange(min(len(self), rows))
        same = (self.source[: len(here)] == 0) & (self.row[: len(here)] == here)
        return int(len(here) if same.all() else np.argmin(same)) // BLOCK_ROWS


def arrange(keys: Sequence[Keys], samples: Samples) -> Order:
    """Return the order in which the rows of several sources, each row once, stand in a new file.

    Rows stand in the order of the samples, those of contents that no sample names last, so that however often a
    run was interrupted, its file ends the same. Which frames and views are taken decides nothing: another
    selection leaves every row where it is. Only a source whose rows are far from that order, because samples
    were rearranged, stays as it is, the first one before and others after the rest: putting it right would read
    its file again and again.

    Parameters
    ----------
    keys : sequence of Keys
        The keys of each source's rows. Of several rows of one key, the first is taken.
    samples : Samples
        Those of the new file.
    """
    every = np.concatenate(keys)
    source = np.repeat(np.arange(len(keys)), [len(part) for part in keys])
    row = np.concatenate([np.arange(len(part)) for part in keys])
    kept = first_of_each(every)
    every, source, row = every[kept], source[kept], row[kept]
    rank = _rank(every, samples)
    spare = rank == len(samples)
    named = np.flatnonzero(~spare)
    back = (np.diff(rank[named]) < 0) & (np.diff(source[named]) == 0)
    far = np.bincount(source[named[1:][back]], minlength=len(keys)) > _MOST_DESCENTS
    # What stays as it is has one place for all of a source's rows; the others have that of their sample.
    place = np.where(far[source], np.where(source == 0, -1, len(samples) + source), rank)
    within = np.arange(len(every))
    order = np.lexsort((every, place))
    asis = far[source[order]] | spare[order]
    order = np.concatenate(
        [
            within[(place == -1)],
            order[~asis],
            within[spare & ~far[source]],
            within[far[source] & (source > 0)],
        ]
    )
    return Order(source[order], row[order])


def without_spare(order: Order, keys: Sequence[Keys], samples: Samples, views: int) -> Order:
    """Return an order without the rows that no sample takes."""
    begins = np.cumsum([0, *map(len, keys)])
    taken = Claims.of(samples, views).taken(Rows(np.concatenate(keys)))[begins[order.source] + order.row]
    return Order(order.source[taken], order.row[taken])


def _rank(keys: Keys, samples: Samples) -> NDArray[np.intp]:
    """Return for each row the first finished sample of its content; the number of samples if there is none."""
    done = np.flatnonzero(samples.state == DONE)
    wanted, first = np.unique(contents_of(samples.content[done]), return_index=True)
    rank = np.full(len(keys), len(samples), dtype=np.intp)
    if len(wanted):
        contents = contents_in(keys)
        place = np.minimum(np.searchsorted(wanted, contents), len(wanted) - 1)
        found = wanted[place] == contents
        rank[found] = done[first[place[found]]]
    return rank


def gather(sources: Sequence[RowSource], name: str, order: Order) -> NDArray[Any]:
    """Return rows of a dataset from wherever they are, in order."""
    used = np.unique(order.source)
    if len(used) == 1:
        taken: NDArray[Any] = sources[used[0]].take(name, order.row)
        return taken
    empty = sources[0].take(name, order.row[:0])
    values: NDArray[Any] = np.empty((len(order), *empty.shape[1:]), dtype=empty.dtype)
    for number in used:
        wanted = order.source == number
        values[wanted] = sources[number].take(name, order.row[wanted])
    return values
