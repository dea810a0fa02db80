"""The one way in which a cache file comes to be: rows gathered from caches and arrays, then written at once.

Which rows, in which order, is for its callers to say: `commit`, `exchange`, `repair`, `foreign`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import __version__, errors
from . import atomic, checksums, distrust, hdf5, layout
from .checksums import BLOCK_ROWS
from .keys import Keys, contents_in, contents_of, first_of_each
from .recipe import Recipe, fingerprints
from .samples import DONE, NUMBERS, PENDING, TEXTS, Failure, Samples
from .store import Cache

_PIECE = 4 * BLOCK_ROWS
_MOST_DESCENTS = 8
"""In how many places rows may go back in the order of the samples, and still be read nearly in one go."""
IMAGE_TABLES = ("vectors", "images", "pixels")
"""The groups whose datasets have one row for each vector."""


@dataclass(frozen=True)
class MapSum:
    """The sum of the last feature maps, float64 of shape (h, w, c), and the number of frames it is of."""

    total: NDArray[np.float64]
    count: int

    @classmethod
    def of(cls, cache: Cache) -> MapSum | None:
        """Return what a cache keeps, if it does."""
        kept = cache.map_sum()
        return cls(*kept) if kept is not None else None

    def plus(self, other: MapSum | None) -> MapSum:
        """Return the sum over both."""
        return self if other is None else MapSum(self.total + other.total, self.count + other.count)


@dataclass(frozen=True)
class Contents:
    """What a cache holds beside its vectors.

    Parameters
    ----------
    recipe : mapping
    layers : tuple of str
    selection : mapping
        Which frames and views of each file were asked for; not part of the recipe.
    samples : Samples
    failures : list of Failure
    provenance : list of dict
        One entry for each time something was written.
    canaries : dict of str to ndarray of float32, shape (3, d)
        Empty if there are none.
    maps : MapSum, optional
    anonymized : bool
    """

    recipe: Recipe
    layers: tuple[str, ...]
    selection: Mapping[str, Any]
    samples: Samples
    failures: list[Failure]
    provenance: Sequence[Mapping[str, Any]]
    canaries: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    maps: MapSum | None = None
    anonymized: bool = False


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
    """

    def __init__(self, cache: Cache, *, checked: bool = True) -> None:
        self.cache = cache
        self.checked = checked
        self._last: dict[str, tuple[int, NDArray[Any]]] = {}

    def names(self) -> list[str]:
        return self.cache.datasets(*IMAGE_TABLES)

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


def arrange(keys: Sequence[Keys], samples: Samples, *, settled: bool) -> Order:
    """Return the order in which the rows of several sources, each row once, stand in a new file.

    Rows stand in the order of the samples, spare ones last, so that however often a run was interrupted, its
    file ends the same. Only where the rows of the first source are far from that order, because samples were
    rearranged, do they stay as they are and new ones come after them: putting them right would read the whole
    file again and again.

    Parameters
    ----------
    keys : sequence of Keys
        The keys of each source's rows. Of several rows of one key, the first is taken.
    samples : Samples
        Those of the new file.
    settled : bool
        Whether the first source is a cache, whose rows may stay where they are.
    """
    every = np.concatenate(keys)
    source = np.repeat(np.arange(len(keys)), [len(part) for part in keys])
    row = np.concatenate([np.arange(len(part)) for part in keys])
    kept = first_of_each(every)
    every, source, row = every[kept], source[kept], row[kept]
    rank = _rank(every, samples)
    spare = rank == len(samples)
    order = np.lexsort((every, rank))
    order = np.concatenate([order[~spare[order]], np.flatnonzero(spare)])
    first = len(keys[0]) if settled else 0
    if np.sum(np.diff(rank[:first][~spare[:first]]) < 0) > _MOST_DESCENTS:
        order = np.concatenate([np.arange(first), order[order >= first]])
    return Order(source[order], row[order])


def _rank(keys: Keys, samples: Samples) -> NDArray[np.intp]:
    """Return for each row the first finished sample that it belongs to; the number of samples if none."""
    done = np.flatnonzero(samples.state == DONE)
    wanted, first = np.unique(contents_of(samples.content[done]), return_index=True)
    rank = np.full(len(keys), len(samples), dtype=np.intp)
    if len(wanted):
        contents = contents_in(keys)
        place = np.minimum(np.searchsorted(wanted, contents), len(wanted) - 1)
        found = wanted[place] == contents
        rank[found] = done[first[place[found]]]
    return rank


def write(path: Path, contents: Contents, sources: Sequence[RowSource], order: Order) -> None:
    """Write a cache at `path`: at every instant it is the whole old file or the whole new one.

    Parameters
    ----------
    path : Path
    contents : Contents
    sources : sequence of RowSource
        At least one, of the same layers; a dataset that one of them lacks is left out.
    order : Order

    Raises
    ------
    CacheDamaged
        If rows that are needed do not match their checksums.
    DiskFull, CacheError
        If there is no room, or no permission.
    """
    with atomic.replacing(path) as temporary, hdf5.creating(temporary) as file:
        digests = _write_rows(file, sources, order)
        _write_tables(file, contents)
        _write_header(file, contents)
        _write_checksums(file, temporary, digests)


def _write_rows(
    file: h5py.File, sources: Sequence[RowSource], order: Order
) -> dict[str, list[NDArray[np.uint8]]]:
    """Write the image tables, and return the checksums of their blocks."""
    names = [name for name in sources[0].names() if all(name in source.names() for source in sources)]
    digests: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in names}
    first, start = sources[0], 0
    if isinstance(first, CacheRows) and first.checked:
        kept = order.kept_blocks(first.cache.rows)
        for name in names:
            digests[name] = _copy_blocks(file, first, name, kept)
        start = kept * BLOCK_ROWS
    for piece in range(
        start, max(len(order), 1), _PIECE
    ):  # no row at all is a piece too: it makes the datasets
        part = slice(piece, piece + _PIECE)
        for name in names:
            values = _gather(sources, name, Order(order.source[part], order.row[part]))
            if name not in file:
                layout.create(file, name, values)
            else:
                file[name].resize(piece + len(values), axis=0)
                file[name][piece:] = values
            digests[name] += [
                checksums.of_block(values[row : row + BLOCK_ROWS]) for row in range(0, len(values), BLOCK_ROWS)
            ]
    return digests


def _copy_blocks(file: h5py.File, source: CacheRows, name: str, blocks: int) -> list[NDArray[np.uint8]]:
    """Copy the first blocks of a dataset as they lie on disk, each once it is known to be intact."""
    dataset = layout.create(file, name, source.take(name, np.empty(0, dtype=np.intp)))
    dataset.resize(blocks * BLOCK_ROWS, axis=0)
    for block in range(blocks):
        source.intact(name, block)
        place = (block * BLOCK_ROWS, *[0] * (dataset.ndim - 1))
        dataset.id.write_direct_chunk(place, source.cache.stored_chunk(name, place))
    return list(source.cache.checksums(name)[:blocks])


def _gather(sources: Sequence[RowSource], name: str, order: Order) -> NDArray[Any]:
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


def _write_tables(file: h5py.File, contents: Contents) -> None:
    samples = contents.samples
    for name in TEXTS:
        layout.create(file, f"samples/{name}", layout.encode(getattr(samples, name)))
    for name in NUMBERS:
        layout.create(file, f"samples/{name}", getattr(samples, name))
    layout.create(file, "samples/content", samples.content)
    file.require_group("samples/columns")
    for number, (name, values) in enumerate(samples.columns.items()):
        column = layout.create(file, f"samples/columns/{number}", layout.encode(values))
        column.attrs["name"] = name
    for name in ("path", "stage", "reason"):
        texts = [getattr(failure, name) for failure in contents.failures]
        layout.create(file, f"failures/{name}", layout.encode(texts))
    lines = [_line(entry) for entry in contents.provenance]
    layout.create(file, "provenance", layout.encode(lines))
    for layer, vectors in contents.canaries.items():
        layout.create(file, f"canary/{layer}", vectors)
    if contents.maps is not None and contents.maps.count:
        layout.create(file, "maps/sum", contents.maps.total)
        mean = (contents.maps.total / contents.maps.count).astype(np.float32)
        layout.create(file, "maps/mean", mean).attrs["count"] = contents.maps.count


def _line(entry: Mapping[str, Any]) -> str:
    """Return an entry of provenance as one line, without its details if it would be too long for one."""
    line = json.dumps(entry, sort_keys=True)
    if len(line) <= layout.MAX_STRING_BYTES:
        return line
    kept = {name: entry[name] for name in ("time", "icehouse", "rows") if name in entry}
    return json.dumps({**kept, "shortened": True}, sort_keys=True)


def _write_header(file: h5py.File, contents: Contents) -> None:
    file.attrs["format"] = layout.FORMAT
    file.attrs["format_version"] = layout.FORMAT_VERSION
    file.attrs["recipe"] = json.dumps(contents.recipe, ensure_ascii=False)
    file.attrs["fingerprints"] = json.dumps(fingerprints(contents.recipe, contents.layers))
    file.attrs["selection"] = json.dumps(contents.selection)
    file.attrs["complete"] = not np.any(contents.samples.state == PENDING)
    file.attrs["anonymized"] = contents.anonymized
    file.attrs["created_by"] = f"icehouse {__version__}"


def _write_checksums(file: h5py.File, path: Path, known: Mapping[str, list[NDArray[np.uint8]]]) -> None:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        spec = layout.spec_of(name)
        if name in known:
            digests = np.array(known[name], dtype=np.uint8).reshape(-1, 32)
        else:
            digests = checksums.of_rows(file[name]) if spec and spec.rows else checksums.of_whole(file[name])
        layout.create(file, f"checksums/{name}", digests)
    layout.create(file, layout.ATTRIBUTES_CHECKSUM, checksums.of_attributes(distrust.attributes(file, path)))
