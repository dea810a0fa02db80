"""Making a damaged cache whole again, and a grown one small: every intact row stays, the others are listed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import layout
from .alignment import Claims, Rows
from .checksums import BLOCK_ROWS
from .keys import keys_of
from .rows import IMAGE_TABLES, CacheRows, Order
from .samples import NUMBERS, PENDING, STATES, TEXTS, Failure, Samples, of_failed
from .staging import Staging, making
from .store import Cache
from .verify import Verification, verify
from .writing import Contents, MapSum, provenance_entry, write


def repair(path: Path, output: Path | None = None, *, compact: bool = False) -> dict[str, Any]:
    """Write a cache anew from what is intact in it.

    Parameters
    ----------
    path : Path
    output : Path, optional
        Where to; in place unless given.
    compact : bool
        Leave out spare rows: vectors of images, frames and views that no sample takes any more.

    Returns
    -------
    dict
        `rows_kept`, `rows_lost`, `spare_dropped`; `lost`: the paths of the samples whose vector is lost, which
        are pending now and are computed by the next extraction; `samples_lost`: lines of the samples table that
        are lost, with their path where it is known, which the next extraction brings back without computing;
        `other_losses`: whatever else had to be left out; `extractable`: whether an extraction can do that at
        all, which it cannot for imported or anonymized vectors. Nothing is written if there is nothing to do.

    Raises
    ------
    CacheDamaged
        If the file's structure itself is damaged, so that it cannot be opened.
    OutputExists
    """
    path = path.resolve() if path.is_symlink() else path
    target = output or path
    with making(output) if output is not None else Staging(path), Cache(path) as cache:
        found = verify(cache)
        salvage = _Salvage(cache, found)
        spare = salvage.spare() if compact else np.zeros(cache.rows, dtype=bool)
        salvage.dropped = salvage.row_lost | spare
        if not (found.intact and not salvage.pending and not spare.any() and output is None):
            salvage.write(target, spare)
        return salvage.report(target, found, spare)


class _Salvage:
    """What is intact of a cache."""

    def __init__(self, cache: Cache, found: Verification) -> None:
        self.cache = cache
        self.found = found
        self.other_losses: list[str] = list(found.problems)
        self.row_unnamed = found.lost_rows(cache.datasets("images"), cache.rows)
        self.keys = keys_of(*(self._readable(f"images/{name}") for name in ("content", "frame", "view")))
        self.extractable = cache.header.recipe.get("kind") != "foreign" and not cache.anonymized
        self.left_out = [] if self.extractable else found.lost_datasets(cache.datasets("pixels"))
        if self.left_out:  # better no thumbnails than vectors less that nobody can compute again
            self.other_losses.append("all thumbnails")
        tables = [name for name in cache.datasets(*IMAGE_TABLES) if name not in self.left_out]
        self.row_lost = found.lost_rows(tables, cache.rows) | self._repeated()
        names = [*cache.datasets("samples", "samples/columns")]
        self.sample_lost = found.lost_rows(names, cache.shape("samples/path")[0])
        self.samples = self._samples()
        known = (
            cache.header.complete or PENDING in self.samples.state
        )  # not `cache.whole`: it may be unreadable
        self.whole = known and not self.sample_lost.any()
        self.pending = self._make_pending()
        self.dropped = self.row_lost

    def spare(self) -> NDArray[np.bool_]:
        """Return which rows belong to no sample; none if samples are lost, as theirs they may be."""
        if self.sample_lost.any():
            self.other_losses.append(
                "nothing was compacted, as samples are lost: their vectors look like spare ones"
            )
            return np.zeros(self.cache.rows, dtype=bool)
        return ~self._claims().taken(Rows(self.keys)) & ~self.row_lost

    def write(self, target: Path, spare: NDArray[np.bool_]) -> None:
        cache, header = self.cache, self.cache.header
        rows = np.flatnonzero(~self.row_lost & ~spare)
        contents = Contents(
            header.recipe,
            cache.layers,
            header.selection,
            self.samples,
            self._failures(),
            [*self._provenance(), self._entry(spare)],
            self._canaries(),
            self._maps(),
            header.anonymized,
            whole=self.whole,
        )
        # Where damage is, it is known block by block.
        source = CacheRows(cache, checked=self.found.intact, without=self.left_out)
        write(target, contents, [source], Order(np.zeros(len(rows), dtype=np.intp), rows))

    def report(self, target: Path, found: Verification, spare: NDArray[np.bool_]) -> dict[str, Any]:
        return {
            "cache": str(target),
            "rows_kept": int(np.sum(~self.row_lost & ~spare)),
            "rows_lost": int(self.row_lost.sum()),
            "spare_dropped": int(spare.sum()),
            "lost": self.pending,
            "samples_lost": self._lost_samples(),
            "other_losses": self.other_losses,
            "damaged": [vars(damage) for damage in found.damaged],
            "extractable": self.extractable,
        }

    def _repeated(self) -> NDArray[np.bool_]:
        """Return which rows have the key of another: nobody can tell which of them is right."""
        _, inverse, counts = np.unique(self.keys, return_inverse=True, return_counts=True)
        repeated: NDArray[np.bool_] = (counts[inverse] > 1) & ~self.row_unnamed
        return repeated

    def _samples(self) -> Samples:
        kept = ~self.sample_lost
        fields: dict[str, Any] = {name: self._text(f"samples/{name}") for name in TEXTS}
        fields.update({name: self._readable(f"samples/{name}")[kept] for name in NUMBERS})
        own = {title: self._text(name) for name, title in self.cache.own_columns().items()}
        return Samples(**fields, content=self._readable("samples/content")[kept], columns=own)

    def _make_pending(self) -> list[str]:
        """Make samples pending that lack a vector of what they take; return their paths."""
        lost = self._claims().find(Rows(self.keys[~self.row_lost])).lacking
        state = self.samples.state.astype(f"U{max(map(len, STATES))}")
        state[lost] = PENDING
        self.samples = replace(self.samples, state=state)
        return [str(path) for path in self.samples.path[lost]]

    def _claims(self) -> Claims:
        """Return what the samples take; it has been measured how much that is."""
        try:
            claims = Claims.of(self.samples, self.cache.header.views)
        except ValueError as error:
            raise errors.CacheDamaged(f"{self.cache.path}: {error}; beyond repair.") from None
        self.cache.check_copies(claims.lines(Rows(self.keys)))
        return claims

    def _lost_samples(self) -> list[dict[str, Any]]:
        unreadable = self.found.lost_rows(["samples/path"], len(self.sample_lost))
        paths = self._readable("samples/path")
        return [
            {
                "row": int(row),
                "path": None if unreadable[row] else paths[row].decode("utf-8", "replace"),
            }
            for row in np.flatnonzero(self.sample_lost)
        ]

    def _failures(self) -> list[Failure]:
        """Return what is known of the samples that failed."""
        names = [f"failures/{name}" for name in ("path", "stage", "reason")]
        lost = self.found.lost_rows(names, self.cache.shape(names[0])[0])
        try:
            columns = [layout.decode(self._readable(name)[~lost]) for name in names]
        except ValueError as error:
            self.other_losses.append(f"the failures: {error}")
            return []
        if lost.any():
            self.other_losses.append(f"{int(lost.sum())} lines of the failures")
        return of_failed((Failure(*map(str, row)) for row in zip(*columns, strict=True)), self.samples)

    def _provenance(self) -> list[dict[str, Any]]:
        if self.found.lost_datasets(["provenance"]):
            self.other_losses.append("the provenance")
            return []
        return self.cache.provenance()

    def _canaries(self) -> dict[str, NDArray[np.float32]]:
        names = self.cache.datasets("canary")
        if self.found.lost_datasets(names):
            self.other_losses.append("the canaries: drift of the network can no longer be noticed")
            return {}
        return self.cache.canaries()

    def _maps(self) -> MapSum | None:
        if self.found.lost_datasets(["maps/mean", "maps/sum"]):
            self.other_losses.append("the mean feature map")
            return None
        maps = MapSum.of(self.cache)
        if maps is not None and self.dropped.any():  # it would tell of the rows that are gone
            self.other_losses.append("the mean feature map, which was also of the vectors that are gone")
            return None
        return maps

    def _entry(self, spare: NDArray[np.bool_]) -> dict[str, Any]:
        counts = {
            "rows_lost": int(self.row_lost.sum()),
            "samples_lost": int(self.sample_lost.sum()),
            "spare_dropped": int(spare.sum()),
        }
        return provenance_entry(repaired=counts, rows=0)

    def _text(self, name: str) -> NDArray[np.str_]:
        try:
            return layout.decode(self._readable(name)[~self.sample_lost])
        except ValueError as error:
            raise errors.CacheDamaged(f"{self.cache.path}: {name}: {error}; beyond repair.") from None

    def _readable(self, name: str) -> NDArray[Any]:
        """Return a dataset with zeros where it cannot be read."""
        shape = self.cache.shape(name)
        values = np.zeros(shape, dtype=self.cache.read(name, slice(0, 0)).dtype)
        for first in range(0, shape[0], BLOCK_ROWS):
            try:
                values[first : first + BLOCK_ROWS] = self.cache.read(name, slice(first, first + BLOCK_ROWS))
            except errors.CacheDamaged:
                continue
        return values
