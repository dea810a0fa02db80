"""Merging what an extraction staged: the old cache and the waiting blocks become one new file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .keys import Keys, contents_in, contents_of, first_of_each
from .samples import DONE, Samples
from .staging import Block
from .store import Cache
from .writing import CacheRows, Contents, MapSum, Order, RowSource, write


def commit(path: Path, old: Cache | None, blocks: Sequence[Block], contents: Contents) -> None:
    """Write the cache at `path` anew: the rows of `old`, and those of `blocks` that are not there yet.

    Parameters
    ----------
    path : Path
        Where the cache is, or will be. At every instant it is the whole old file or the whole new one.
    old : Cache or None
        The cache as it is, if there is one; of the same recipe.
    blocks : sequence of Block
        New rows, at least one block if `old` is None; gone through twice.
    contents : Contents
        The samples and everything else. Its one entry of provenance gets the number of rows added and what
        computed them; canaries and maps are those of `old` and the blocks.

    Raises
    ------
    CacheDamaged
        If the vectors of `old` no longer match their checksums.
    """
    sources: list[RowSource] = [CacheRows(old)] if old else []
    keys = [old.image_keys] if old else []
    canaries = old.canaries() if old else {}
    maps = _map_sum(old) if old else None
    makers: list[dict[str, Any]] = []
    held = set(keys[0].tolist()) if old else set()
    for number, block in enumerate(blocks):
        sources.append(_BlockRows(blocks, number))
        keys.append(block.keys)
        canaries = canaries or block.canaries
        if block.maker not in makers:
            makers.append(block.maker)
        new = set(block.keys.tolist())
        if not new & held:  # a sum cannot be taken apart: a block counts whole or not at all
            maps = MapSum(block.map_sum, len(new)).plus(maps)
        held |= new
    order, added = _arrange(keys, contents.samples, len(keys[0]) if old else 0)
    entry = {**contents.provenance[0], "rows": added, "computed_by": makers}
    provenance = [*(old.provenance() if old else ()), entry]
    write(path, replace(contents, provenance=provenance, canaries=canaries, maps=maps), sources, order)


class _BlockRows:
    """The rows of one staged block, read anew whenever they are needed."""

    def __init__(self, blocks: Sequence[Block], number: int) -> None:
        self._blocks = blocks
        self._number = number

    def names(self) -> list[str]:
        return list(self._blocks[self._number].columns())

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        return self._blocks[self._number].columns()[name][rows]


def _map_sum(cache: Cache) -> MapSum | None:
    kept = cache.map_sum()
    return MapSum(*kept) if kept is not None else None


def _arrange(keys: list[Keys], samples: Samples, old_rows: int) -> tuple[Order, int]:
    """Return which rows the new file has, and how many of them are new.

    Rows stand in the order of the samples, spare ones last, so that however often a run was interrupted, its
    file ends the same. Only where the old rows are in another order already, because the samples were
    rearranged, do they stay as they are and new ones come after them: putting them right would read the whole
    file again and again.
    """
    every = np.concatenate(keys)
    source = np.repeat(np.arange(len(keys)), [len(part) for part in keys])
    row = np.concatenate([np.arange(len(part)) for part in keys])
    kept = first_of_each(every)
    every, source, row = every[kept], source[kept], row[kept]
    rank = _rank(every, samples)
    order = np.lexsort((every, rank))
    spare = rank[order] == len(samples)
    order = np.concatenate([order[~spare], np.flatnonzero(rank == len(samples))])
    old = order[order < old_rows]
    named = rank[old] < len(samples)
    if np.any(np.diff(old[named]) < 0):
        order = np.concatenate([np.arange(old_rows), order[order >= old_rows]])
    return Order(source[order], row[order]), len(every) - old_rows


def _rank(keys: Keys, samples: Samples) -> NDArray[np.intp]:
    """Return for each row the first finished sample that it belongs to; the number of samples if none."""
    done = np.flatnonzero(samples.state == DONE)
    wanted, first = np.unique(contents_of(samples.content[done]), return_index=True)
    contents = contents_in(keys)
    place = np.minimum(np.searchsorted(wanted, contents), max(len(wanted) - 1, 0))
    rank = np.full(len(keys), len(samples), dtype=np.intp)
    if len(wanted):
        found = wanted[place] == contents
        rank[found] = done[first[place[found]]]
    return rank
