"""Looking for damage: every block of every dataset against its checksum, and whether the tables fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import checksums, layout
from .checksums import BLOCK_ROWS
from .store import Cache


@dataclass(frozen=True)
class Damage:
    """One damaged block: `rows` are the first and the last of it, or None in a dataset without rows."""

    dataset: str
    block: int
    rows: tuple[int, int] | None
    reason: str


@dataclass
class Verification:
    """What was found.

    Parameters
    ----------
    checked, blocks : int
        How many blocks were read, of how many.
    damaged : list of Damage
    problems : list of str
        What is wrong beyond single blocks.
    """

    checked: int = 0
    blocks: int = 0
    damaged: list[Damage] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        return not self.damaged and not self.problems

    def as_dict(self, path: Path) -> dict[str, Any]:
        """Return what `icehouse cache verify --json` prints."""
        return {
            "cache": str(path),
            "intact": self.intact,
            "checked": self.checked,
            "blocks": self.blocks,
            "damaged": [vars(damage) for damage in self.damaged],
            "problems": self.problems,
        }

    def lost_rows(self, datasets: list[str], count: int) -> NDArray[np.bool_]:
        """Return which of the `count` rows of these datasets lie in a damaged block."""
        lost = np.zeros(count, dtype=bool)
        for damage in self.damaged:
            if damage.dataset in datasets and damage.rows is not None:
                lost[damage.rows[0] : damage.rows[1] + 1] = True
        return lost

    def lost_datasets(self, datasets: list[str]) -> list[str]:
        """Return which of these datasets have any damage."""
        return sorted({damage.dataset for damage in self.damaged} & set(datasets))


def verify(cache: Cache, *, sample: int | None = None) -> Verification:
    """Read a cache and compare it with its checksums.

    Parameters
    ----------
    cache : Cache
    sample : int, optional
        Read only so many blocks of each dataset, drawn at random; unless given, all.

    Returns
    -------
    Verification
        Blocks whose SHA-256 is another or that cannot be read, vectors that are not finite, attributes that
        were changed, and whether every finished sample has its vector.
    """
    found = Verification()
    generator = np.random.default_rng()
    for name in cache.every_dataset():
        _verify_dataset(cache, name, found, sample, generator)
    _verify_attributes(cache, found)
    if not found.damaged:
        _verify_tables(cache, found)
    return found


def _verify_dataset(
    cache: Cache, name: str, found: Verification, sample: int | None, generator: np.random.Generator
) -> None:
    spec = layout.spec_of(name)
    assert spec is not None
    rows = cache.shape(name)[0] if spec.rows else None
    count = checksums.blocks_of(rows) if rows is not None else 1
    stored = _stored_checksums(cache, name, count, found)
    found.blocks += count
    blocks = np.arange(count)
    if sample is not None and sample < count:
        blocks = np.sort(generator.choice(count, sample, replace=False))
    for block in blocks.tolist():
        found.checked += 1
        first = block * BLOCK_ROWS
        span = (first, min(first + BLOCK_ROWS, rows) - 1) if rows is not None else None
        try:
            values = cache.read(name, slice(first, first + BLOCK_ROWS) if rows is not None else None)
        except errors.CacheDamaged:
            found.damaged.append(Damage(name, block, span, "cannot be read: fletcher32 is wrong"))
            continue
        if stored is not None and not checksums.match(values, stored, block):
            found.damaged.append(Damage(name, block, span, "another SHA-256"))
        elif name.startswith("vectors/"):
            bad = np.flatnonzero(~np.isfinite(values).all(axis=1)) + first
            found.damaged += [Damage(name, block, (row, row), "not finite") for row in bad.tolist()]


def _stored_checksums(cache: Cache, name: str, blocks: int, found: Verification) -> NDArray[np.uint8] | None:
    """Return the checksums of a dataset, or None, having noted it, if they are lost."""
    try:
        stored = cache.checksums(name)
    except errors.CacheDamaged:
        found.problems.append(f"the checksums of {name} cannot be read; fletcher32 alone vouches for it")
        return None
    if len(stored) != blocks:
        found.problems.append(f"{name} has {blocks} blocks, but {len(stored)} checksums")
        return None
    return stored


def _verify_attributes(cache: Cache, found: Verification) -> None:
    stored = _stored_checksums(cache, "attributes", 1, found)
    if stored is not None and not np.array_equal(checksums.of_attributes(cache.attributes()), stored):
        found.problems.append(
            "the attributes (selection, names of columns, ...) were changed; a repair keeps them as they are"
        )


def _verify_tables(cache: Cache, found: Verification) -> None:
    """Note what cannot be read, and finished samples that have no vector."""
    readings: list[Any] = [
        lambda: cache.samples,
        lambda: cache.failures,
        cache.provenance,
        lambda: cache.image_keys,
        lambda: cache.sample_of_row,
    ]
    for reading in readings:
        try:
            reading()
        except errors.CacheDamaged as error:
            found.problems.append(str(error).removeprefix(f"{cache.path}: "))
            return
