"""Reading a cache: what `icehouse.open_cache` returns.

What a file must be before it is read is `distrust`'s work; nothing here writes, `writing` does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import distrust, layout
from .checksums import BLOCK_ROWS
from .csv_table import read_table
from .keys import Keys, contents_of, keys_of
from .samples import DONE, NUMBERS, PENDING, STATES, TEXTS, Failure, Samples

_COPIES = 20
_COPIES_BYTES = 50_000_000
"""Samples that share an image copy its vectors: up to so many times the size of the file and bytes more."""
_INDEX_BYTES = 16
"""What a line of `X` takes beside its values: its sample and its row."""


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

    Attributes
    ----------
    header : Header
        Recipe, fingerprints, selection, and whether it is complete and anonymized.
    labels_from : Path or None
        Where `relabel` read other labels from.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.labels_from: Path | None = None
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

    def __enter__(self) -> Cache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        rows = self.rows if self._file else "closed"
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

    @property
    def rows(self) -> int:
        """The number of vectors of each layer, spare ones included."""
        return int(self._file["images/frame"].shape[0])

    @property
    def spare(self) -> NDArray[np.bool_]:
        """Which rows belong to an image that no sample names any more, shape (rows,)."""
        held, named = (contents_of(self.read(f"{table}/content")) for table in ("images", "samples"))
        return ~np.isin(held, named)

    @property
    def whole(self) -> bool:
        """Whether no sample is known to be lost; pending ones are not lost."""
        return self.header.complete or PENDING in self.counts("state")

    @cached_property
    def samples(self) -> Samples:
        """The samples table."""
        fields: dict[str, NDArray[Any]] = {name: self.text(f"samples/{name}") for name in TEXTS}
        fields.update({name: self.read(f"samples/{name}") for name in NUMBERS})
        if len(unknown := np.setdiff1d(fields["state"], STATES)):
            raise errors.CacheDamaged(f"{self.path}: a sample has the state {str(unknown[0])!r}; refused.")
        own = {title: self.text(name) for name, title in self.own_columns().items()}
        return Samples(**fields, content=self.read("samples/content"), columns=own)

    def counts(self, column: str) -> dict[str, int]:
        """Return how many samples have each value of "state", "label", "patient" or "split", but the empty one.

        Quicker than `samples` where there are very many, as only distinct texts are decoded.
        """
        values, counts = np.unique(self.read(f"samples/{column}"), return_counts=True)
        texts = self._decoded(f"samples/{column}", values).tolist()
        return {text: count for text, count in zip(texts, counts.tolist(), strict=True) if text}

    def relabel(self, labels: str | Path) -> int:
        """Read labels, patients, splits or columns of one's own from a CSV file with a column `path`.

        They take the place of the cache's for as long as it is open. Nothing is written or computed. Samples
        that the file does not name keep what they have; returns how many those are.

        Raises
        ------
        SourceError
            If the file is no such table, or names none of the samples.
        """
        self.samples, unnamed = self.samples.relabelled(read_table(Path(labels)))
        self.labels_from = Path(labels)
        return unnamed

    def own_columns(self) -> dict[str, str]:
        """Return the datasets of the user's own columns, in their order, and what each is called."""
        names = sorted(self.datasets("samples/columns"), key=_column_number)
        titles: dict[str, str] = {}
        for name in names:
            title = str(distrust.attribute(self._file[name], "name", self.path))
            if fault := layout.fault_of(title):
                raise errors.CacheDamaged(f"{self.path}: the name of a column {fault}; refused.")
            if title in titles.values():
                raise errors.CacheDamaged(f"{self.path} has two columns {title!r}; the file was altered.")
            titles[name] = title
        return titles

    @cached_property
    def failures(self) -> list[Failure]:
        """The images that did not become vectors."""
        if self.shape("failures/path")[0] > self.shape("samples/path")[0]:
            raise errors.CacheDamaged(f"{self.path} holds more failures than samples; the file was altered.")
        fields = [self.text(f"failures/{name}") for name in ("path", "stage", "reason")]
        return [Failure(*map(str, row)) for row in zip(*fields, strict=True)]

    @cached_property
    def image_keys(self) -> Keys:
        """Content, frame and view of each row of the vectors, packed (see `cache.keys`), in the rows' order."""
        keys = keys_of(*(self.read(f"images/{name}") for name in ("content", "frame", "view")))
        if len(np.unique(keys)) != len(keys):
            raise errors.CacheDamaged(f"{self.path} holds two vectors of one frame; the file was altered.")
        if any(np.any(self.read(f"images/{name}") < 0) for name in ("frame", "view")):
            raise errors.CacheDamaged(f"{self.path} holds a negative frame or view; the file was altered.")
        return keys

    @cached_property
    def _rows_of_samples(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Sample and vector row of each line of `X`: every frame of every finished sample, unaltered view."""
        unaltered = np.flatnonzero(self.read("images/view") == 0)
        unaltered = unaltered[np.argsort(self.image_keys[unaltered])]
        held = contents_of(self.read("images/content")[unaltered])
        done = np.flatnonzero(self.samples.state == DONE)
        wanted = contents_of(self.samples.content[done])
        first, after = np.searchsorted(held, wanted, "left"), np.searchsorted(held, wanted, "right")
        frames = after - first
        if len(lost := np.flatnonzero(frames == 0)):
            raise errors.CacheDamaged(
                f"{self.path}: {len(lost)} finished samples have no vector, such as "
                f"{self.samples.path[done[lost[0]]]}; the file was altered. icehouse cache repair {self.path} "
                "makes them pending."
            )
        self._check_copies(int(frames.sum()))
        offset = np.arange(frames.sum()) - np.repeat(np.cumsum(frames) - frames, frames)
        return np.repeat(done, frames), unaltered[np.repeat(first, frames) + offset]

    def _check_copies(self, count: int) -> None:
        """Refuse so many samples of so many shared frames that `X`, `y` or `groups` would be a bomb."""
        table = self.samples
        widest = max(self._file[name].dtype.itemsize * self.shape(name)[1] for name in self.datasets("vectors"))
        line = max(widest, table.label.itemsize, table.patient.itemsize) + _INDEX_BYTES
        size = self._file.id.get_filesize()
        if count * line > _COPIES_BYTES + _COPIES * size:
            raise errors.CacheDamaged(
                f"{self.path}: its samples would share its {self.rows} vectors {count} times, for which a file "
                f"of {size / 1e6:.0f} MB is too small; refused."
            )

    @property
    def sample_of_row(self) -> NDArray[np.int64]:
        """For each row of `X`, the index of its sample."""
        return self._rows_of_samples[0]

    @property
    def frame_of_row(self) -> NDArray[np.int32]:
        """For each row of `X`, the number of its frame in its file, from 0 on."""
        frames: NDArray[np.int32] = self.read("images/frame")[self._rows_of_samples[1]]
        return frames

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

    @property
    def anonymized(self) -> bool:
        """Whether paths, patients and contents were replaced: nothing can be added, no image found again."""
        return self.header.anonymized

    def vectors(self, layer: str | None = None) -> NDArray[np.floating[Any]]:
        """Return the transfer values of `layer` (the first one unless told), aligned with `y`, shape (n, d).

        Raises
        ------
        CacheDamaged
            If one is infinite or not a number, or a block of them was damaged on disk.
        """
        name = layer or self.layers[0]
        if name not in self.layers:
            raise errors.UsageError(f"{self.path} has no layer {name!r}; it has {', '.join(self.layers)}.")
        vectors: NDArray[np.floating[Any]] = self._take(f"vectors/{name}")
        for start in range(0, len(vectors), BLOCK_ROWS):
            finite = np.isfinite(vectors[start : start + BLOCK_ROWS]).all(axis=1)
            if not finite.all():
                path = self.samples.path[self.sample_of_row[start + int(np.argmin(finite))]]
                raise errors.CacheDamaged(
                    f"{self.path}: the vector of {path} is infinite or not a number; refused. "
                    f"icehouse cache verify {self.path} lists every such row."
                )
        return vectors

    def pixels(self) -> NDArray[np.uint8] | None:
        """Return each frame as 16×16 grey values, shape (n, 256), aligned with `y`; None if not kept."""
        return self._take("pixels/16") if "pixels/16" in self._file else None

    def mean_map(self) -> tuple[NDArray[np.float32], int] | None:
        """Return the mean of the last feature maps, shape (h, w, c), and how many frames it is of."""
        if "maps/mean" not in self._file:
            return None
        return self.read("maps/mean"), self._map_count()

    def map_sum(self) -> tuple[NDArray[np.float64], int] | None:
        """Return the exact sum of the last feature maps, shape (h, w, c), and how many frames it is of."""
        if "maps/sum" not in self._file or "maps/mean" not in self._file:
            return None
        return self.read("maps/sum"), self._map_count()

    def _map_count(self) -> int:
        count = distrust.attribute(self._file["maps/mean"], "count", self.path)
        if not isinstance(count, np.integer) or count < 1:
            raise errors.CacheDamaged(f"{self.path}: the count of maps/mean is no number of frames; refused.")
        return int(count)

    def canaries(self) -> dict[str, NDArray[np.float32]]:
        """Return the vectors of the canaries for each layer, shape (3, d); empty if none are kept."""
        held = [layer for layer in self.layers if f"canary/{layer}" in self._file]
        for layer in held:
            if self.shape(f"canary/{layer}") != (3, self.dimensions[layer]):
                raise errors.CacheDamaged(f"{self.path}: canary/{layer} does not fit its vectors; refused.")
        return {layer: self.read(f"canary/{layer}") for layer in held}

    def provenance(self) -> list[dict[str, Any]]:
        """Return one entry for each time rows were added: when, by what engine and libraries, how many."""
        if self.shape("provenance")[0] > layout.MAX_PROVENANCE:
            raise errors.CacheDamaged(f"{self.path}: the provenance is longer than any cache's; refused.")
        try:
            entries = [dict(layout.parse_json(line)) for line in self.text("provenance")]
            if fault := layout.fault_in(entries):
                raise ValueError(fault)
            return entries
        except (ValueError, TypeError, RecursionError):
            raise errors.CacheDamaged(f"{self.path}: the provenance is not readable; it is damaged.") from None

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

    def _take(self, name: str) -> Any:
        rows = self._rows_of_samples[1]
        if np.array_equal(rows, np.arange(self.rows)):
            return self.read(name)
        return self.read(name)[rows]


def _cause(error: Exception) -> str:
    if "fletcher32" in str(error) or "filter" in str(error):
        return "its checksum is wrong"
    return getattr(error, "strerror", None) or str(error)


def _column_number(name: str) -> int:
    key = name.rpartition("/")[2]
    return int(key) if key.isdecimal() and key.isascii() else -1
