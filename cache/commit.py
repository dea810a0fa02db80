"""Merging: the old cache and the waiting blocks become one new file, which is renamed over the old one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import __version__, errors
from . import atomic, checksums, layout
from .recipe import Recipe, fingerprints
from .samples import NUMBERS, PENDING, TEXTS, Failure, Samples
from .staging import Block
from .store import Cache


@dataclass(frozen=True)
class Contents:
    """What a cache shall hold beside its vectors.

    Parameters
    ----------
    recipe : mapping
    layers : tuple of str
    selection : mapping
        Which frames and views of each file were asked for; not part of the recipe.
    samples : Samples
    failures : list of Failure
    provenance : mapping
        The entry for this commit, to which the rows added and what computed them are written.
    """

    recipe: Recipe
    layers: tuple[str, ...]
    selection: Mapping[str, Any]
    samples: Samples
    failures: list[Failure]
    provenance: Mapping[str, Any]


def commit(path: Path, old: Cache | None, blocks: Iterable[Block], contents: Contents) -> None:
    """Write the cache at `path` anew: the rows of `old`, then those of `blocks` that are not there yet.

    Parameters
    ----------
    path : Path
        Where the cache is, or will be. At every instant it is the whole old file or the whole new one.
    old : Cache or None
        The cache as it is, if there is one; of the same recipe.
    blocks : iterable of Block
        New rows, at least one block if `old` is None.
    contents : Contents
        The samples and everything else.

    Raises
    ------
    CacheDamaged
        If the vectors of `old` no longer match their checksums.
    """
    try:
        with atomic.replacing(path) as temporary, h5py.File(temporary, "w") as file:
            added = _write_rows(file, old, blocks)
            _write_tables(
                file, contents, [*(old.provenance() if old else ()), {**contents.provenance, **added}]
            )
            _write_checksums(file, old)
            _write_header(file, contents)
    except PermissionError:
        raise errors.CacheError(f"No permission to write {path}.") from None


def _write_rows(file: h5py.File, old: Cache | None, blocks: Iterable[Block]) -> dict[str, Any]:
    """Write everything that comes from vectors; return how many rows are new and what made them."""
    held = set(old.image_keys) if old else set()
    makers: list[dict[str, Any]] = []
    rows_added = 0
    map_sum, map_count = None, 0
    if old:
        _copy_rows(old, file)
        if (mean := old.mean_map()) is not None:
            map_sum, map_count = mean[0].astype(np.float64) * mean[1], mean[1]
        for layer, vectors in old.canaries().items():
            layout.create(file, f"canary/{layer}", vectors)
    for block in blocks:
        new = [index for index, key in enumerate(block.keys()) if key not in held]
        held.update(block.keys())
        _append(file, _columns_of(block), np.array(new, dtype=np.intp))
        rows_added += len(new)
        if block.maker not in makers:
            makers.append(block.maker)
        if "canary" not in file:
            for layer, vectors in block.canaries.items():
                layout.create(file, f"canary/{layer}", vectors)
        if len(new) == len(block.frame):  # a sum cannot be taken apart: a block counts whole or not at all
            map_sum = block.map_sum if map_sum is None else map_sum + block.map_sum
            map_count += len(new)
    if map_sum is not None and map_count:
        mean_map = layout.create(file, "maps/mean", (map_sum / map_count).astype(np.float32))
        mean_map.attrs["count"] = map_count
    return {"rows": rows_added, "computed_by": makers}


def _columns_of(block: Block) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {f"vectors/{k}": v for k, v in block.vectors.items()}
    columns["images/content"] = block.content
    columns["images/frame"] = block.frame
    columns["images/view"] = block.view
    columns["pixels/16"] = block.pixels
    return columns


def _append(file: h5py.File, columns: dict[str, NDArray[Any]], rows: NDArray[np.intp]) -> None:
    for name, values in columns.items():
        if name not in file:
            layout.create(file, name, values[rows])
            continue
        dataset = file[name]
        before = dataset.shape[0]
        dataset.resize(before + len(rows), axis=0)
        dataset[before:] = values[rows]


def _copy_rows(old: Cache, file: h5py.File) -> None:
    """Copy the image tables chunk by chunk, as they lie on disk, once they are known to be intact."""
    source = old._file
    for name in _row_datasets(source, ("vectors", "images", "pixels")):
        stored = source.get(f"checksums/{name}")
        if stored is None or not np.array_equal(checksums.of_rows(source[name]), stored[()]):
            raise errors.CacheDamaged(
                f"{old.path}: {name} does not match its checksums; the file was damaged on disk. "
                "Restore it from a copy, or write to a new file."
            )
        group = file.require_group(name.rpartition("/")[0])
        source.copy(source[name], group, name=name.rpartition("/")[2])


def _write_tables(file: h5py.File, contents: Contents, provenance: list[dict[str, Any]]) -> None:
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
    lines = [json.dumps(entry, sort_keys=True) for entry in provenance]
    layout.create(file, "provenance", layout.encode(lines))


def _write_checksums(file: h5py.File, old: Cache | None) -> None:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    for name in names:
        dataset = file[name]
        spec = layout.spec_of(name)
        if spec is None or not spec.rows:
            digests = checksums.of_whole(dataset)
        else:
            kept = _unchanged_digests(name, old)
            digests = np.concatenate([kept, checksums.of_rows(dataset, first_block=len(kept))])
        file.create_dataset(f"checksums/{name}", data=digests)


def _unchanged_digests(name: str, old: Cache | None) -> NDArray[np.uint8]:
    """Return the digests of the full blocks that were copied as they were; `_copy_rows` has verified them."""
    if old is None or not name.startswith(("vectors/", "images/", "pixels/")):
        return np.empty((0, 32), dtype=np.uint8)
    full_blocks = old._file[name].shape[0] // checksums.BLOCK_ROWS
    digests: NDArray[np.uint8] = old._file[f"checksums/{name}"][:full_blocks]
    return digests


def _write_header(file: h5py.File, contents: Contents) -> None:
    file.attrs["format"] = layout.FORMAT
    file.attrs["format_version"] = layout.FORMAT_VERSION
    file.attrs["recipe"] = json.dumps(contents.recipe, ensure_ascii=False)
    file.attrs["fingerprints"] = json.dumps(fingerprints(contents.recipe, contents.layers))
    file.attrs["selection"] = json.dumps(contents.selection)
    file.attrs["complete"] = not np.any(contents.samples.state == PENDING)
    file.attrs["created_by"] = f"icehouse {__version__}"


def _row_datasets(file: h5py.File, groups: tuple[str, ...]) -> list[str]:
    return [f"{group}/{key}" for group in groups if group in file for key in file[group]]
