"""The one way in which a cache file comes to be: rows, tables, header and checksums, written at once.

Which rows, in which order, is for its callers to say: `commit`, `merge`, `split`, `repair`, `foreign`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import __version__, errors
from . import atomic, checksums, distrust, hdf5, layout
from .alignment import Claims
from .checksums import BLOCK_ROWS
from .recipe import Recipe, fingerprints
from .rows import CacheRows, Order, RowSource, gather
from .samples import NUMBERS, PENDING, TEXTS, Failure, Samples
from .store import Cache

_PIECE = 4 * BLOCK_ROWS


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

    def fits(self, other: MapSum | None) -> bool:
        """Tell whether both are sums of maps of one shape."""
        return other is None or self.total.shape == other.total.shape


@dataclass(frozen=True)
class Contents:
    """What a cache holds beside its vectors.

    Parameters
    ----------
    recipe : mapping
    layers : tuple of str
    selection : mapping
        Which `frames` and how many `views` of each file were asked for, and which `layers`, as typed; not part
        of the recipe.
    samples : Samples
    failures : list of Failure
    provenance : list of dict
        One entry for each time something was written.
    canaries : dict of str to ndarray of float32, shape (3, d)
        Empty if there are none.
    maps : MapSum, optional
    anonymized : bool
    whole : bool
        False if samples are known to be missing: the cache is then not complete.
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
    whole: bool = True

    @property
    def views(self) -> int:
        """How many views of each frame were asked for."""
        return int(self.selection["views"])


def provenance_entry(**details: Any) -> dict[str, Any]:
    """Return an entry of provenance for what is done now, its texts without what a reader would refuse."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {"time": now, "icehouse": __version__, **_printable(details)}


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return "".join(character if character.isprintable() else "?" for character in value)
    if isinstance(value, dict):
        return {name: _printable(item) for name, item in value.items()}
    return [_printable(item) for item in value] if isinstance(value, list) else value


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
        If there is no room, no permission, or a sample or the selection that no reader would take.
    """
    _check(path, contents)
    with atomic.replacing(path) as temporary, hdf5.creating(temporary) as (file, pause):
        digests = _write_rows(file, sources, order, pause)
        _write_tables(file, contents)
        _write_header(file, contents)
        _write_checksums(file, temporary, digests)


def _check(path: Path, contents: Contents) -> None:
    try:
        if fault := layout.fault_of_selection(contents.selection):
            raise ValueError(f"the selection {fault}")
        Claims.of(contents.samples, contents.views)
    except ValueError as error:
        raise errors.CacheError(f"{path} cannot be written: {error}.") from None


def _write_rows(
    file: h5py.File, sources: Sequence[RowSource], order: Order, pause: Callable[[], None]
) -> dict[str, list[NDArray[np.uint8]]]:
    """Write the image tables, and return the checksums of their blocks."""
    names = [name for name in sources[0].names() if all(name in source.names() for source in sources[1:])]
    digests: dict[str, list[NDArray[np.uint8]]] = {name: [] for name in names}
    first, start = sources[0], 0
    if isinstance(first, CacheRows) and first.checked:
        kept = order.kept_blocks(first.cache.rows)
        for name in names:
            digests[name] = _copy_blocks(file, first, name, kept, pause)
        start = kept * BLOCK_ROWS
    # No row at all is a piece too: it makes the datasets.
    for piece in range(start, max(len(order), 1), _PIECE):
        pause()
        part = slice(piece, piece + _PIECE)
        for name in names:
            values = gather(sources, name, Order(order.source[part], order.row[part]))
            if name not in file:
                layout.create(file, name, values)
            else:
                file[name].resize(piece + len(values), axis=0)
                file[name][piece:] = values
            digests[name] += [
                checksums.of_block(values[row : row + BLOCK_ROWS]) for row in range(0, len(values), BLOCK_ROWS)
            ]
    return digests


def _copy_blocks(
    file: h5py.File, source: CacheRows, name: str, blocks: int, pause: Callable[[], None]
) -> list[NDArray[np.uint8]]:
    """Copy the first blocks of a dataset as they lie on disk, each once it is known to be intact."""
    dataset = layout.create(file, name, source.take(name, np.empty(0, dtype=np.intp)))
    dataset.resize(blocks * BLOCK_ROWS, axis=0)
    for block in range(blocks):
        pause()
        source.intact(name, block)
        place = (block * BLOCK_ROWS, *[0] * (dataset.ndim - 1))
        dataset.id.write_direct_chunk(place, source.cache.stored_chunk(name, place))
    return list(source.cache.checksums(name)[:blocks])


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
        column.attrs["name"] = layout.encode([name])[0].decode()
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
    file.attrs["complete"] = contents.whole and not np.any(contents.samples.state == PENDING)
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
