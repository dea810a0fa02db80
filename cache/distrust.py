"""What a file must be to be read at all: caches are passed between people, and nothing in one is believed.

Everything is looked at before it is followed, and measured before memory is taken for it. What the datasets
say is read by `store`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from .. import errors
from . import layout
from .recipe import Recipe, fingerprints

_MAX_LINKS = 1000
_UNACCOUNTED = 16_000_000
"""Bytes that may belong to no dataset, beside a hundredth of the file: names, indices and attributes."""
_NO_VERSION = 1000
"""No format will ever have so high a version: a bit was flipped."""
_FLETCHER32_BYTES = 4
"""What the checksum adds to each chunk."""
_PLAIN = (h5py.h5t.INTEGER, h5py.h5t.ENUM, h5py.h5t.STRING)
"""The classes of a number, a truth value and a text."""

_FRAMES = {"samples/frames", "samples/chosen", "samples/kind"}
"""What caches lack that were made before samples had frames."""

_STUMBLES = (OSError, RuntimeError, LookupError, ArithmeticError, TypeError, ValueError)
"""What HDF5 and h5py raise over broken structures."""


@dataclass(frozen=True)
class Header:
    """The attributes of a cache: what it was made with, and whether it is whole."""

    recipe: Recipe
    fingerprints: dict[str, str]
    selection: dict[str, Any]
    complete: bool
    anonymized: bool
    created_by: str

    @property
    def views(self) -> int:
        """How many views of each frame were asked for."""
        return int(self.selection["views"])


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading, without locking it.

    Raises
    ------
    CacheNotFound, CacheDamaged, CacheError
    """
    if not path.exists():
        raise errors.CacheNotFound(f"No cache at {path}. Make one with: icehouse extract DATA -o {path}")
    if path.is_dir():
        raise errors.CacheNotFound(f"{path} is a folder, not a cache file.")
    try:
        try:
            return h5py.File(path, "r", locking=False)
        except OSError as error:
            if "file locking" not in str(error):
                raise
            return h5py.File(path, "r")  # this process has it open with locks already, and HDF5 wants one way
    except PermissionError:
        raise errors.CacheError(f"No permission to read {path}.") from None
    except OSError as error:
        reason = "it is truncated" if "truncated" in str(error) else "it is not an HDF5 file, or damaged"
        with path.open("rb") as file:
            if file.read(4) == b"PK\x03\x04":
                reason = "it is a zip file, such as a bundle is, which icehouse bundle info shows"
        raise errors.CacheDamaged(f"{path} cannot be opened: {reason}.") from None


def examine(file: h5py.File, path: Path) -> Header:
    """Return the header of a cache, once the whole file is known to be what format 1 lists.

    Raises
    ------
    CacheDamaged
        If it is no cache, is damaged, is of a newer format, or holds anything that format 1 does not know.
    """
    try:
        _check_identity(file, path)
        found = _check_datasets(file, path)
        header = _read_header(file, path)
    except _STUMBLES as error:
        raise _stumbled(path, error) from None
    wanted = {name for name in layout.FIXED if name not in layout.OPTIONAL}
    wanted |= {f"vectors/{layer}" for layer in header.fingerprints}
    missing = sorted(wanted - found)
    if missing and set(missing) <= _FRAMES:
        raise errors.CacheDamaged(
            f"{path} lacks {missing[0]}: it is of an icehouse that knew of no frames and views, before format "
            "1 was settled. Extract it anew."
        )
    if missing:
        raise errors.CacheDamaged(f"{path} lacks {missing[0]}; the file is damaged.")
    allowed = {f"{family}/{layer}" for family in ("vectors", "canary") for layer in header.fingerprints}
    if unknown := sorted(name for name in found - allowed if name.startswith(("vectors/", "canary/"))):
        raise errors.CacheDamaged(f"{path} holds {unknown[0]!r}, a layer without a fingerprint; refused.")
    return header


def attribute(owner: Any, name: str, path: Path) -> Any:
    """Return one attribute of a group or dataset, having measured it first.

    Raises
    ------
    CacheDamaged
        If it is missing, or no single text or number of reasonable length.
    """
    try:
        return _attribute(owner, name, path)
    except _STUMBLES as error:
        raise _stumbled(path, error) from None


def _attribute(owner: Any, name: str, path: Path) -> Any:
    where = f"the attribute {name!r}" + (f" of {owner.name}" if owner.name != "/" else "")
    _check_attributes_size(owner, path)
    if name not in owner.attrs:
        raise errors.CacheDamaged(f"{path} lacks {where}; the file is damaged.")
    stored = owner.attrs.get_id(name)
    if stored.shape != () or stored.get_type().get_class() not in _PLAIN:
        raise errors.CacheDamaged(f"{path}: {where} is neither a text nor a number; refused.")
    value = owner.attrs[name]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "surrogateescape")
    if isinstance(value, str) and len(value) > layout.MAX_ATTRIBUTE_BYTES:
        raise errors.CacheDamaged(f"{path}: {where} is {len(value) / 1e6:.0f} MB long; refused.")
    return value


def attributes(file: h5py.File, path: Path) -> dict[str, Any]:
    """Return every attribute of a cache as plain values; those of datasets by "dataset@name"."""
    values = {name: _plain(attribute(file, name, path)) for name in layout.ATTRIBUTES}
    for key in file.get("samples/columns", ()):
        column = f"samples/columns/{key}"
        values[f"{column}@name"] = _plain(attribute(file[column], "name", path))
    if "maps/mean" in file:
        values["maps/mean@count"] = _plain(attribute(file["maps/mean"], "count", path))
    return values


def _stumbled(path: Path, error: Exception) -> errors.CacheDamaged:
    return errors.CacheDamaged(f"{path} is damaged: its structure cannot be read ({str(error)!r}).")


def _check_attributes_size(owner: Any, path: Path) -> None:
    """Refuse attributes that lie outside their owner's header: to ask for one's name, HDF5 reads it whole."""
    if h5py.h5o.get_info(owner.id).meta_size.attr.heap_size:
        raise errors.CacheDamaged(f"{path}: {owner.name} has attributes larger than a cache's; refused.")


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _check_identity(file: h5py.File, path: Path) -> None:
    _check_attributes_size(file, path)
    if "format" not in file.attrs or "format_version" not in file.attrs:
        raise errors.CacheDamaged(f"{path} is an HDF5 file, but not an icehouse cache.")
    if file.userblock_size:
        raise errors.CacheDamaged(
            f"{path} begins with {file.userblock_size} bytes that are not its own; refused."
        )
    version = attribute(file, "format_version", path)
    if not isinstance(version, np.integer):
        raise errors.CacheDamaged(f"{path}: the format version is not a number; refused.")
    if version > _NO_VERSION:
        raise errors.CacheDamaged(f"{path} is damaged: its format version is {version}.")
    if version > layout.FORMAT_VERSION:
        raise errors.CacheDamaged(
            f"{path} is of format version {version}; this icehouse reads version {layout.FORMAT_VERSION}. "
            "Install a newer icehouse."
        )
    if version < 1:
        raise errors.CacheDamaged(f"{path} is of format version {version}, which does not exist; refused.")


def _read_header(file: h5py.File, path: Path) -> Header:
    values = {name: attribute(file, name, path) for name in layout.ATTRIBUTES}
    if values["format"] != layout.FORMAT:
        raise errors.CacheDamaged(f"{path} is an HDF5 file, but not an icehouse cache.")
    for name, wanted in (("complete", np.bool_), ("anonymized", np.bool_), ("created_by", str)):
        if not isinstance(values[name], wanted):
            raise errors.CacheDamaged(f"{path}: the attribute {name!r} is not of its type; refused.")
    try:
        recipe, prints, selection = (
            layout.parse_json(values[name]) for name in ("recipe", "fingerprints", "selection")
        )
        if not all(isinstance(value, dict) for value in (recipe, prints, selection)):
            raise ValueError
        belongs = 0 < len(prints) <= layout.MAX_LAYERS and fingerprints(recipe, tuple(prints)) == prints
    except (ValueError, TypeError, RecursionError):
        raise errors.CacheDamaged(f"{path}: the recipe is not readable; the file is damaged.") from None
    if not belongs:
        raise errors.CacheDamaged(
            f"{path}: the fingerprint does not belong to the recipe; the file was altered."
        )
    if fault := layout.fault_in([recipe, prints, selection, str(values["created_by"])]):
        raise errors.CacheDamaged(f"{path}: a text in its attributes {fault}; refused.")
    if fault := layout.fault_of_selection(selection):
        raise errors.CacheDamaged(f"{path}: the selection {fault}; refused.")
    return Header(
        recipe,
        prints,
        selection,
        complete=bool(values["complete"]),
        anonymized=bool(values["anonymized"]),
        created_by=str(values["created_by"]),
    )


def _check_datasets(file: h5py.File, path: Path) -> set[str]:
    """Refuse every dataset, link, type and shape that format 1 does not list; return what there is."""
    rows: dict[str, int] = {}
    size = file.id.get_filesize()
    accounted = 0
    names = _names(file, path)
    for name in names:
        dataset = file[name]
        _check_dataset(dataset, name, path)
        accounted += dataset.id.get_storage_size()
        table = layout.table_of(name)
        if table and rows.setdefault(table, dataset.shape[0]) != dataset.shape[0]:
            raise errors.CacheDamaged(
                f"{path}: {name} has {dataset.shape[0]} rows where {rows[table]} are expected."
            )
    if accounted > size:
        raise errors.CacheDamaged(f"{path}: its datasets claim to be larger than the file; refused.")
    if size - accounted > _UNACCOUNTED + size // 100:
        raise errors.CacheDamaged(
            f"{path} holds {(size - accounted) / 1e6:.0f} MB that belong to no dataset; refused."
        )
    return set(names)


def _names(file: h5py.File, path: Path) -> list[str]:
    """Return the file's datasets, having looked at every link before following it."""
    names, waiting = [], [""]
    while waiting:
        prefix = waiting.pop()
        group = file[prefix] if prefix else file
        if len(group) > _MAX_LINKS:
            raise errors.CacheDamaged(f"{path}: /{prefix} holds {len(group)} objects; refused.")
        for key in group:
            name = f"{prefix}/{key}" if prefix else key
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise errors.CacheDamaged(f"{path}: {name!r} is a link to elsewhere; refused.")
            kind = group.get(key, getclass=True)
            if kind is h5py.Group and _is_group(name):
                waiting.append(name)
            elif kind is h5py.Dataset and layout.spec_of(name):
                names.append(name)
            else:
                raise errors.CacheDamaged(
                    f"{path} holds {name!r}, which format {layout.FORMAT_VERSION} does not know; refused."
                )
    return names


def _is_group(name: str) -> bool:
    return name == "checksums" or name.removeprefix("checksums/") in layout.GROUPS


def _check_dataset(dataset: h5py.Dataset, name: str, path: Path) -> None:
    """Refuse a dataset that is not stored as `layout.create` does; asks first what touches no other file."""
    spec = layout.spec_of(name)
    assert spec is not None
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    if creation.get_layout() != h5py.h5d.CHUNKED or filters != [h5py.h5z.FILTER_FLETCHER32]:
        raise errors.CacheDamaged(f"{path}: {name} is stored in a way that format 1 does not allow.")
    stored = dataset.id.get_type()
    item = stored.get_size()
    if stored.committed() or not layout.is_type_of(stored, spec):
        raise errors.CacheDamaged(f"{path}: {name} has another type than format 1 has; refused.")
    shape = dataset.shape
    fits = len(shape) == 1 + len(spec.tail) and all(
        wanted in (None, length) for wanted, length in zip(spec.tail, shape[1:], strict=True)
    )
    if not fits:
        raise errors.CacheDamaged(f"{path}: {name} has the shape {shape}; refused.")
    if math.prod(shape) * item > dataset.file.id.get_filesize():
        raise errors.CacheDamaged(f"{path}: {name} claims to be larger than the file; refused.")
    if dataset.chunks != layout.chunks_of(spec, shape):
        raise errors.CacheDamaged(
            f"{path}: {name} is stored in chunks of {dataset.chunks}, where format 1 has "
            f"{layout.chunks_of(spec, shape)}; refused."
        )
    _check_chunks(dataset, math.prod(dataset.chunks) * item + _FLETCHER32_BYTES, name, path)


def _check_chunks(dataset: h5py.Dataset, size: int, name: str, path: Path) -> None:
    """Refuse chunks that are missing, or of which the file holds more or less than will be read."""
    count = math.ceil(dataset.shape[0] / dataset.chunks[0])
    if dataset.id.get_storage_size() < count * size:
        raise errors.CacheDamaged(f"{path}: {name} claims to hold more than the file does; refused.")
    odd = dataset.id.chunk_iter(lambda chunk: True if chunk.size != size or chunk.filter_mask else None)
    if odd or dataset.id.get_storage_size() != count * size:
        raise errors.CacheDamaged(f"{path}: {name} has a chunk that is not of its size; refused.")
