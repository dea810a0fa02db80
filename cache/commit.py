"""Merging what an extraction staged: the old cache and the waiting blocks become one new file."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .anonymize import Pseudonyms
from .rows import CacheRows, RowSource, arrange, without_spare
from .staging import Block
from .store import Cache
from .writing import Contents, MapSum, write


def commit(
    path: Path,
    old: Cache | None,
    blocks: Sequence[Block],
    contents: Contents,
    pseudonyms: Pseudonyms | None = None,
) -> None:
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
    pseudonyms : Pseudonyms, optional
        Leave out what names people.

    Raises
    ------
    CacheDamaged
        If the vectors of `old` no longer match their checksums.
    RecipeMismatch
        If `old` or a block has vectors of other layers than `contents`.

    Notes
    -----
    The mean feature map is of all frames or of none: a block without one, where maps are of different shapes,
    leaves the cache without maps for good.
    """
    sources: list[RowSource] = [CacheRows(old)] if old else []
    keys = [old.image_keys] if old else []
    if old is not None:
        _check_layers(old.layers, contents, str(path))
    canaries = old.canaries() if old else {}
    maps = MapSum.of(old) if old else None
    mapped = old is None or not old.rows or maps is not None
    makers: list[dict[str, Any]] = []
    held = set(keys[0].tolist()) if old else set()
    for number, block in enumerate(blocks):
        sources.append(_BlockRows(blocks, number, list(block.columns())))
        _check_layers(block.vectors, contents, "a block of an interrupted run")
        keys.append(block.keys)
        canaries = canaries or block.canaries
        if block.maker not in makers:
            makers.append(block.maker)
        new = set(block.keys.tolist())
        sums = None if block.map_sum is None else MapSum(block.map_sum, len(new))
        mapped = mapped and sums is not None and sums.fits(maps)
        if mapped and sums is not None and not new & held:
            maps = sums.plus(maps)  # a sum cannot be taken apart: a block counts whole or not at all
        held |= new
    order = arrange(keys, contents.samples)
    entry = {**contents.provenance[0], "rows": len(order) - (old.rows if old else 0), "computed_by": makers}
    provenance = [*(old.provenance() if old else ()), entry]
    contents = replace(contents, provenance=provenance, canaries=canaries, maps=maps if mapped else None)
    if pseudonyms is not None:
        order = without_spare(order, keys, contents.samples, contents.views)
        contents, sources = pseudonyms.contents(contents), [pseudonyms.rows(source) for source in sources]
    write(path, contents, sources, order)


def _check_layers(held: Collection[str], contents: Contents, where: str) -> None:
    """Raise `RecipeMismatch` rather than write a cache of which a layer lacks vectors."""
    if set(held) != set(contents.layers):
        raise errors.RecipeMismatch(
            f"{where} holds vectors of {', '.join(held)}, where {', '.join(contents.layers)} are to be kept. "
            "Ask for the same layers, or write to another file."
        )


class _BlockRows:
    """The rows of one staged block, read anew whenever they are needed."""

    def __init__(self, blocks: Sequence[Block], number: int, names: list[str]) -> None:
        self._blocks = blocks
        self._number = number
        self._names = names

    def names(self) -> list[str]:
        return self._names

    def take(self, name: str, rows: NDArray[np.intp]) -> NDArray[Any]:
        return self._blocks[self._number].columns()[name][rows]
