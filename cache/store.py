"""Opening and reading a cache file, with distrust: caches are passed between people.

Nothing here writes; `commit` does.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import layout
from .recipe import Recipe, fingerprints
from .samples import DONE, NUMBERS, TEXTS, Failure, Samples


@dataclass(frozen=True)
class Header:
    """The attributes of a cache: what it was made with, and whether it is whole."""

    recipe: Recipe
    fingerprints: dict[str, str]
    selection: dict[str, Any]
    complete: bool
    created_by: str


class Cache:
    """A cache of transfer values, open for reading.

    Use `icehouse.open_cache(path)` to make one. It sees the file as it was when opened, even if another
    process brings the cache up to date meanwhile, and never locks it.

    Parameters
    ----------
    path : str or Path
        The cache file.

    Raises
    ------
    CacheNotFound
        If there is no such file.
    CacheDamaged
        If it is not a cache, is truncated, holds anything that format 1 does not know, or is of a newer format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._file = _open(self.path)
        try:
            self.header = _read_header(self._file, self.path)
            _check_layout(self._file, self.path, self.header)
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file; arrays already read stay valid."""
        self._file.close()

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        rows = self._file["images/frame"].shape[0] if self._file else "closed"
        return f"<icehouse cache {str(self.path)!r}, layers {', '.join(self.layers)}, rows {rows}>"

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that vectors are stored of, in the order they were asked for."""
        return tuple(self.header.fingerprints)

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the first layer."""
        return self.header.fingerprints[self.layers[0]]

    @property
    def dimensions(self) -> dict[str, int]:
        """The length d of each layer's vectors."""
        return {layer: int(self._file[f"vectors/{layer}"].shape[1]) for layer in self.layers}

    @cached_property
    def samples(self) -> Samples:
        """The samples table."""
        group = self._file["samples"]
        fields: dict[str, NDArray[Any]] = {name: self._text(f"samples/{name}") for name in TEXTS}
        fields.update({name: group[name][()] for name in NUMBERS})
        columns = {}
        for key in sorted(group["columns"], key=_column_number):
            dataset = group["columns"][key]
            columns[str(dataset.attrs["name"])] = self._text(f"samples/columns/{key}")
        return Samples(**fields, content=group["content"][()], columns=columns)

    @cached_property
    def failures(self) -> list[Failure]:
        """The images that did not become vectors."""
        fields = [self._text(f"failures/{name}") for name in ("path", "stage", "reason")]
        return [Failure(*map(str, row)) for row in zip(*fields, strict=True)]

    @cached_property
    def image_keys(self) -> list[tuple[bytes, int, int]]:
        """The content, frame and view of each row of the vectors, in the order of the rows."""
        images = self._file["images"]
        content, frame, view = (images[name][()] for name in ("content", "frame", "view"))
        keys = zip(content, frame.tolist(), view.tolist(), strict=True)
        return [(row.tobytes(), frame, view) for row, frame, view in keys]

    @cached_property
    def _rows_of_samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sample and vector row of each line of `X`: every frame of every finished sample, unaltered view."""
        frames: dict[bytes, list[tuple[int, int]]] = {}
        for row, (content, frame, view) in enumerate(self.image_keys):
            if view == 0:
                frames.setdefault(content, []).append((frame, row))
        sample_index, rows = [], []
        for index in np.flatnonzero(self.samples.state == DONE):
            for _, row in sorted(frames.get(self.samples.content[index].tobytes(), ())):
                sample_index.append(index)
                rows.append(row)
        return np.array(sample_index, dtype=np.int64), np.array(rows, dtype=np.int64)

    @property
    def sample_of_row(self) -> NDArray[np.int64]:
        """For each row of `X`, the index of its sample."""
        return self._rows_of_samples[0]

    @property
    def X(self) -> NDArray[np.floating[Any]]:  # noqa: N802  (scikit-learn's name for the matrix)
        """Transfer values of the first layer: one row for each frame of each finished sample, shape (n, d)."""
        return self.vectors()

    @property
    def y(self) -> NDArray[np.str_]:
        """The label of each row of `X`; empty where unknown."""
        return self.samples.label[self.sample_of_row]

    @property
    def groups(self) -> NDArray[np.str_] | None:
        """The patient of each row of `X`, or None if no patient is known at all."""
        if not np.any(self.samples.patient != ""):
            return None
        return self.samples.patient[self.sample_of_row]

    def vectors(self, layer: str | None = None) -> NDArray[np.floating[Any]]:
        """Return the transfer values of `layer` (the first one unless told), aligned with `y`, shape (n, d)."""
        name = layer or self.layers[0]
        if name not in self.layers:
            raise errors.UsageError(f"{self.path} has no layer {name!r}; it has {', '.join(self.layers)}.")
        vectors: NDArray[np.floating[Any]] = self._take(f"vectors/{name}")
        return vectors

    def pixels(self) -> NDArray[np.uint8] | None:
        """Return each frame as 16×16 grey values, shape (n, 256), aligned with `y`; None if not kept."""
        return self._take("pixels/16") if "pixels/16" in self._file else None

    def mean_map(self) -> tuple[NDArray[np.float32], int] | None:
        """Return the mean of the last feature maps, shape (h, w, c), and how many frames it is of."""
        if "maps/mean" not in self._file:
            return None
        dataset = self._file["maps/mean"]
        return dataset[()], int(dataset.attrs["count"])

    def canaries(self) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of the canaries for each layer, shape (3, d); empty if none are kept."""
        if "canary" not in self._file:
            return {}
        return {layer: self._file[f"canary/{layer}"][()] for layer in self.layers}

    def provenance(self) -> list[dict[str, Any]]:
        """Return one entry for each time rows were added: when, by what engine and libraries, how many."""
        return [json.loads(line) for line in self._text("provenance")]

    def _take(self, name: str) -> Any:
        dataset, rows = self._file[name], self._rows_of_samples[1]
        if np.array_equal(rows, np.arange(dataset.shape[0])):
            return dataset[()]
        return dataset[()][rows]

    def _text(self, name: str) -> NDArray[np.str_]:
        try:
            return layout.decode(self._file[name][()])
        except UnicodeDecodeError:
            raise errors.CacheDamaged(f"{self.path}: {name} is not valid UTF-8; the file is damaged.") from None


def _open(path: Path) -> h5py.File:
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
        raise errors.CacheDamaged(f"{path} cannot be opened: {reason}.") from None


def _read_header(file: h5py.File, path: Path) -> Header:
    missing = [name for name in layout.ATTRIBUTES if name not in file.attrs]
    if "format" in missing or file.attrs["format"] != layout.FORMAT:
        raise errors.CacheDamaged(f"{path} is an HDF5 file, but not an icehouse cache.")
    version = int(file.attrs["format_version"]) if "format_version" not in missing else 0
    if version > layout.FORMAT_VERSION:
        raise errors.CacheDamaged(
            f"{path} is of format version {version}; this icehouse reads version {layout.FORMAT_VERSION}. "
            "Install a newer icehouse."
        )
    if missing:
        raise errors.CacheDamaged(f"{path} lacks the attribute {missing[0]!r}; the file is damaged.")
    try:
        recipe, prints, selection = (
            json.loads(file.attrs[name]) for name in ("recipe", "fingerprints", "selection")
        )
        if not all(isinstance(value, dict) for value in (recipe, prints, selection)):
            raise ValueError
    except (ValueError, TypeError):
        raise errors.CacheDamaged(f"{path}: the recipe is not readable; the file is damaged.") from None
    if not prints or len(prints) > layout.MAX_LAYERS or fingerprints(recipe, tuple(prints)) != prints:
        raise errors.CacheDamaged(
            f"{path}: the fingerprint does not belong to the recipe; the file was altered."
        )
    return Header(recipe, prints, selection, bool(file.attrs["complete"]), str(file.attrs["created_by"]))


def _check_layout(file: h5py.File, path: Path, header: Header) -> None:
    """Refuse every dataset, link, type and shape that format 1 does not list."""
    rows: dict[str, int] = {}
    found = set()
    for name in _dataset_names(file, path):
        rows_of = _check_dataset(file, name, path)
        found.add(name)
        table = _table_of(name)
        if table and rows.setdefault(table, rows_of) != rows_of:
            raise errors.CacheDamaged(f"{path}: {name} has {rows_of} rows where {rows[table]} are expected.")
    wanted = {name for name in layout.FIXED if name not in layout.OPTIONAL}
    wanted |= {f"vectors/{layer}" for layer in header.fingerprints}
    if missing := sorted(wanted - found):
        raise errors.CacheDamaged(f"{path} lacks {missing[0]}; the file is damaged.")


def _dataset_names(file: h5py.File, path: Path) -> list[str]:
    """Return the datasets of the file but the checksums, having looked at every link before following it."""
    groups = {"vectors", "images", "samples", "samples/columns", "pixels", "failures", "maps", "canary"}
    names, waiting = [], [""]
    while waiting:
        prefix = waiting.pop()
        group = file[prefix] if prefix else file
        for key in group:
            name = f"{prefix}/{key}" if prefix else key
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise errors.CacheDamaged(f"{path}: {name} is a link to elsewhere; refused.")
            kind = group.get(key, getclass=True)
            if name == "checksums" and kind is h5py.Group:
                continue  # looked at by verification, never needed to read vectors
            if name in groups and kind is h5py.Group:
                waiting.append(name)
            elif kind is h5py.Dataset and layout.spec_of(name):
                names.append(name)
            else:
                raise errors.CacheDamaged(
                    f"{path} holds {name!r}, which format {layout.FORMAT_VERSION} does not know; refused."
                )
    return names


def _check_dataset(file: h5py.File, name: str, path: Path) -> int:
    dataset, spec = file[name], layout.spec_of(name)
    assert spec is not None
    kind, size = dataset.dtype.kind, dataset.dtype.itemsize
    allowed = size <= spec.bytes[0] if kind == "S" else size in spec.bytes
    if kind != spec.kind or not allowed:
        raise errors.CacheDamaged(f"{path}: {name} has the type {dataset.dtype}; refused.")
    tail = dataset.shape[1:]
    fits = len(tail) == len(spec.tail) and all(w in (None, n) for w, n in zip(spec.tail, tail, strict=True))
    if not fits:
        raise errors.CacheDamaged(f"{path}: {name} has the shape {dataset.shape}; refused.")
    creation = dataset.id.get_create_plist()
    filters = [creation.get_filter(i)[0] for i in range(creation.get_nfilters())]
    if dataset.is_virtual or dataset.external or filters != [h5py.h5z.FILTER_FLETCHER32]:
        raise errors.CacheDamaged(f"{path}: {name} is stored in a way that format 1 does not allow.")
    if math.prod(dataset.shape) * size > max(path.stat().st_size, 1):
        raise errors.CacheDamaged(f"{path}: {name} claims to be larger than the file; refused.")
    return int(dataset.shape[0])


def _table_of(name: str) -> str | None:
    """Return which table a dataset's rows belong to; datasets of one table have the same number of rows."""
    top = name.split("/")[0]
    return {"vectors": "images", "images": "images", "pixels": "images"}.get(
        top, top if top in ("samples", "failures") else None
    )


def _column_number(key: str) -> int:
    return int(key) if key.isdigit() else -1
