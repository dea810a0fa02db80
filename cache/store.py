"""Reading a cache: what `icehouse.open_cache` returns.

What a file must be before it is read is `distrust`'s work, which rows belong to which samples `alignment`'s;
nothing here writes, `writing` does.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import distrust, layout
from .alignment import Alignment, Claims, Rows
from .checksums import BLOCK_ROWS
from .csv_table import read_table
from .datasets import Datasets
from .keys import Keys, contents_of, keys_of
from .recipe import Recipe, sentence, unaltered_differences
from .samples import NUMBERS, PENDING, TEXTS, Failure, Samples

_COPIES = 20
_COPIES_BYTES = 50_000_000
"""Samples that share an image copy its vectors: up to so many times the size of the file and bytes more."""
_INDEX_BYTES = 16
"""What a line of `X` takes beside its values: its sample and its row."""
_ROWS_AT_ONCE = 4 * BLOCK_ROWS


class Cache(Datasets):
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
        super().__init__(path)
        self.labels_from: Path | None = None

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
        """Which rows no sample takes: of a content, a frame or a view that was not asked for, shape (rows,)."""
        claims, rows = self._claims, Rows(self.image_keys)
        if np.any(claims.chosen != ""):
            self.check_copies(claims.lines(rows))
        return ~claims.taken(rows)

    @property
    def whole(self) -> bool:
        """Whether no sample is known to be lost; pending ones are not lost."""
        return self.header.complete or PENDING in self.counts("state")

    @cached_property
    def samples(self) -> Samples:
        """The samples table."""
        claims = self._claims  # what is wrong with them is said there
        fields: dict[str, NDArray[Any]] = {"state": claims.state, "chosen": claims.chosen}
        fields.update({name: self.text(f"samples/{name}") for name in TEXTS if name not in fields})
        fields.update({name: self.read(f"samples/{name}") for name in NUMBERS})
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
    def _claims(self) -> Claims:
        """What the samples say that they take."""
        content, frames = (self.read(f"samples/{name}") for name in ("content", "frames"))
        state, chosen = (self.text(f"samples/{name}") for name in ("state", "chosen"))
        try:
            return Claims(contents_of(content), state, chosen, frames, self.header.views)
        except ValueError as error:
            raise errors.CacheDamaged(f"{self.path}: {error}; refused.") from None

    @cached_property
    def _alignment(self) -> Alignment:
        """Sample and vector row of each line of `X`, and of each further view."""
        rows = Rows(self.image_keys)
        self.check_copies(self._claims.lines(rows))
        found = self._claims.find(rows)
        if len(lacking := np.flatnonzero(found.lacking)):
            raise errors.CacheDamaged(
                f"{self.path}: {len(lacking)} finished samples lack a vector, such as "
                f"{self.samples.path[lacking[0]]}; the file was altered. icehouse cache repair {self.path} "
                "makes them pending."
            )
        return found

    def check_copies(self, lines: int) -> None:
        """Refuse so many samples of so many shared rows that `X`, `y` or `groups` would be a bomb."""
        table = [f"samples/{name}" for name in ("label", "patient")]
        widest = max(self._file[name].dtype.itemsize * self.shape(name)[1] for name in self.datasets("vectors"))
        line = max(widest, *(4 * self._file[name].dtype.itemsize for name in table)) + _INDEX_BYTES
        size = self._file.id.get_filesize()
        if lines * line > _COPIES_BYTES + _COPIES * size:
            raise errors.CacheDamaged(
                f"{self.path}: its samples would share its {self.rows} vectors {lines} times, for which a file "
                f"of {size / 1e6:.0f} MB is too small; refused."
            )

    @property
    def sample_of_row(self) -> NDArray[np.int64]:
        """For each row of `X`, the index of its sample."""
        return self._alignment.sample

    @property
    def frame_of_row(self) -> NDArray[np.int32]:
        """For each row of `X`, the number of its frame in its file, from 0 on."""
        frames: NDArray[np.int32] = self.read("images/frame")[self._alignment.row]
        return frames

    @property
    def X(self) -> NDArray[np.floating[Any]]:  # noqa: N802  (scikit-learn's name for the matrix)
        """Transfer values of the first layer: a row for each frame taken of a finished sample, shape (n, d)."""
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

    def check_holds(self, recipe: Recipe, layers: Sequence[str], advice: str) -> None:
        """Raise `RecipeMismatch` unless unaltered views are kept of these layers, by this recipe.

        The message names the field that differs, and ends in `advice`.
        """
        if found := unaltered_differences(recipe, self.header.recipe):
            raise errors.RecipeMismatch(
                f"{self.path} holds vectors of another recipe than the one wanted: {sentence(found)}. {advice}"
            )
        if lacking := [layer for layer in layers if layer not in self.layers]:
            raise errors.RecipeMismatch(
                f"{self.path} holds {', '.join(self.layers)}, and not {', '.join(lacking)}, which is wanted. "
                f"{advice}"
            )

    def vectors(self, layer: str | None = None, rows: slice = slice(None)) -> NDArray[np.floating[Any]]:
        """Return the transfer values of `layer` (the first one unless told), aligned with `y`, shape (n, d).

        Of some rows only where `rows` says so, as for a table that is too large to be held.

        Raises
        ------
        CacheDamaged
            If one is infinite or not a number, or a block of them was damaged on disk.
        """
        return self._vectors(layer, self._alignment.row[rows], self.sample_of_row[rows])

    def views(self, layer: str | None = None) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Return the transfer values of the further views, 1 and up, of the frames in `X`.

        Returns
        -------
        vectors : ndarray of float, shape (m, d)
            By row of `X`, then view; m is 0 where only the unaltered view was asked for.
        row : ndarray of int, shape (m,)
            The row of `X` that each is a view of.

        Raises
        ------
        CacheDamaged
            If one is infinite or not a number, or a block of them was damaged on disk.
        """
        line = self._alignment.line
        return self._vectors(layer, self._alignment.further, self.sample_of_row[line]), line

    def _vectors(
        self, layer: str | None, rows: NDArray[np.intp], samples: NDArray[np.intp]
    ) -> NDArray[np.floating[Any]]:
        name = layer or self.layers[0]
        if name not in self.layers:
            raise errors.UsageError(f"{self.path} has no layer {name!r}; it has {', '.join(self.layers)}.")
        vectors: NDArray[np.floating[Any]] = self._take(f"vectors/{name}", rows)
        for start in range(0, len(vectors), BLOCK_ROWS):
            finite = np.isfinite(vectors[start : start + BLOCK_ROWS]).all(axis=1)
            if not finite.all():
                path = self.samples.path[samples[start + int(np.argmin(finite))]]
                raise errors.CacheDamaged(
                    f"{self.path}: the vector of {path} is infinite or not a number; refused. "
                    f"icehouse cache verify {self.path} lists every such row."
                )
        return vectors

    def pixels(self) -> NDArray[np.uint8] | None:
        """Return each frame as 16×16 grey values, shape (n, 256), aligned with `y`; None if not kept."""
        return self._take("pixels/16", self._alignment.row) if "pixels/16" in self._file else None

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

    def _take(self, name: str, rows: NDArray[np.intp]) -> Any:
        """Return some rows of a dataset, never holding all the others beside them."""
        if np.array_equal(rows, np.arange(self.rows)):
            return self.read(name)
        taken = np.empty((len(rows), *self.shape(name)[1:]), dtype=self.read(name, slice(0, 0)).dtype)
        order = np.argsort(rows, kind="stable")
        ordered = rows[order]
        for start in range(0, self.rows, _ROWS_AT_ONCE):
            first, after = np.searchsorted(ordered, (start, start + _ROWS_AT_ONCE))
            if first < after:
                part = self.read(name, slice(start, start + _ROWS_AT_ONCE))
                taken[order[first:after]] = part[ordered[first:after] - start]
        return taken


def _column_number(name: str) -> int:
    key = name.rpartition("/")[2]
    return int(key) if key.isdecimal() and key.isascii() else -1
