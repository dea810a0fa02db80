"""Near duplicates: pictures so alike that they are one picture twice, altered, or one patient.

Two searches over all pairs complete each other. Whitened vectors find copies that were cropped or retouched,
and are confirmed by the 16×16 pixels; these find copies that were mirrored or turned, of which the vectors are
far apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .closest import closest
from .frames import Frames
from .looks import Looks
from .tails import Tail, tail
from .whitening import Floats

FALSE = 1.0
"""How many pairs of different patients each of the two searches may be expected to list."""
_DRAWN = 500_000
"""Pairs that thresholds are found on, at most."""
_FEWEST = 1000
"""Pairs that they are found on, at least."""
_LOWEST, _HIGHEST = {"vectors": 0.4, "pixels": 0.8}, 0.97
"""What is less alike is no copy, and what is more alike is worth a look whatever the others are like."""
_UNCONFIRMED = 0.01
"""Pixels confirm what vectors say unless so many pairs of different patients are as alike."""
_FIXED = 0.95
_MOST_A_ROW, _MOST = 20, 1_000_000
_LISTED = 20_000
_BINS = 100


@dataclass(frozen=True)
class Near:
    """Near duplicates, the most alike first.

    Parameters
    ----------
    first, second : ndarray of int, shape (p,)
        Numbers of distinct frames.
    vectors, pixels : ndarray of float32, shape (p,)
        How alike the two are, NaN where that is not known.
    way : ndarray of int, shape (p,)
        How the second lies beside the first, an index into `looks.WAYS`; -1 where not known.
    within : int
        How many such pairs of one patient, label and split there are beside these: neighbours, and no news.
    thresholds : dict
        How alike is alike, and how that came about; JSON-ready.
    notes : tuple of str
        What could not be looked at.
    similarities : dict of str to list of int
        How many pairs of different patients are how alike, from −1 to 1 in equal steps, of each search: what
        the thresholds are found on.
    """

    first: NDArray[np.intp]
    second: NDArray[np.intp]
    vectors: Floats
    pixels: Floats
    way: NDArray[np.int8]
    within: int
    thresholds: dict[str, Any]
    notes: tuple[str, ...]
    similarities: dict[str, list[int]]

    def __len__(self) -> int:
        return len(self.first)


def near(
    frames: Frames,
    vectors: Floats | None,
    seen: Looks | None,
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Near:
    """Return the pairs of distinct frames that are near duplicates, at least one of them of the cache itself.

    The threshold of each search is where as few pairs of different patients as `FALSE` are expected beyond it,
    by the tail of their distribution (see `tails`).

    Parameters
    ----------
    frames : Frames
        Distinct ones.
    vectors : ndarray of float32, shape (n, k), or None
        Whitened, of length 1; of the first n frames.
    seen : Looks or None
        Of the first frames, too.
    progress : callable
    """
    own = frames.own
    pairs = own * (own - 1) // 2 + own * (len(frames) - own)
    notes: list[str] = []
    similar = _Similar(vectors, seen)
    drawn = _drawn(frames, own)
    known = frames.two_patients(*drawn)
    enough = int(known.sum()) >= _FEWEST
    usual = tuple(side[known if enough else ~frames.one_patient(*drawn)] for side in drawn)
    if not enough:
        notes.append(
            "Too few pairs are known to be of different patients: all pairs together say how alike pictures "
            "are, so that copies of which there are many may be taken to be usual."
        )
    most = min(_MOST_A_ROW * len(frames) + _MOST, max(pairs, 1))
    found: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    thresholds: dict[str, Any] = {"pairs": pairs, "expected_false": FALSE}
    values: dict[str, Floats] = {}
    steps = _Steps(progress, 2)
    for name in ("vectors", "pixels"):
        table = getattr(similar, name)
        if table is None or len(usual[0]) < _FEWEST:
            thresholds[name] = _FIXED if table is not None and name == "pixels" else None
        else:
            both = (usual[0] < len(table)) & (usual[1] < len(table))
            values[name] = similar.of(name, usual[0][both], usual[1][both])
            thresholds[name], thresholds[f"{name}_expected_false"] = _threshold(
                name, values[name], pairs, len(frames)
            )
    confirmed = float(np.quantile(values["pixels"], 1 - _UNCONFIRMED)) if "pixels" in values else None
    thresholds["confirmed_by_pixels"] = confirmed
    for name in ("vectors", "pixels"):
        wanted = thresholds[name]
        if wanted is None:
            steps.next()
            continue
        table = getattr(similar, name)
        left, right = (table, table) if name == "vectors" else table.bounds()
        candidates = closest(
            left, right, at_least=wanted, most=most, own=min(own, len(table)), progress=steps.part
        )
        steps.next()
        if candidates.lost:
            notes.append(f"More pairs are alike by {name} than can be looked at: {most:,} of them were.")
        first, second = candidates.first, candidates.second
        kept = similar.confirms(name, first, second, wanted, confirmed)
        found.append((first[kept], second[kept]))
    notes += _lacking(vectors, seen, thresholds, len(frames), own)
    return _listed(frames, similar, found, thresholds, notes, values)


class _Steps:
    """Progress of several searches as that of one."""

    def __init__(self, progress: Callable[[int, int], None], steps: int) -> None:
        self._progress, self._steps, self._done = progress, steps, 0

    def part(self, done: int, total: int) -> None:
        self._progress(100 * self._done + 100 * done // total, 100 * self._steps)

    def next(self) -> None:
        self._done += 1
        self._progress(100 * self._done, 100 * self._steps)


@dataclass(frozen=True)
class _Similar:
    """How alike frames are, by each search."""

    vectors: Floats | None
    pixels: Looks | None

    def of(self, name: str, first: NDArray[np.intp], second: NDArray[np.intp]) -> Floats:
        """Return the similarity of pairs, NaN where a frame of them lacks what it takes."""
        return self.both(name, first, second)[0]

    def both(
        self, name: str, first: NDArray[np.intp], second: NDArray[np.intp]
    ) -> tuple[Floats, NDArray[np.int8]]:
        found = np.full(len(first), np.nan, dtype=np.float32)
        way = np.full(len(first), -1, dtype=np.int8)
        table = getattr(self, name)
        if table is None:
            return found, way
        here = np.flatnonzero((first < len(table)) & (second < len(table)))
        if name == "pixels":
            found[here], way[here] = table.similarity(first[here], second[here])
        else:
            for start in range(0, len(here), _AT_ONCE):
                part = here[start : start + _AT_ONCE]
                found[part] = np.einsum("ij,ij->i", table[first[part]], table[second[part]])
        return found, way

    def confirms(
        self,
        name: str,
        first: NDArray[np.intp],
        second: NDArray[np.intp],
        wanted: float,
        confirmed: float | None,
    ) -> NDArray[np.bool_]:
        """Tell of candidates whether they are near duplicates."""
        looks_alike = self.of("pixels", first, second)
        if name == "pixels":
            return np.asarray(looks_alike >= wanted)
        if confirmed is None:
            return np.ones(len(first), dtype=bool)
        return np.asarray(np.isnan(looks_alike) | (looks_alike >= confirmed))


_AT_ONCE = 65_536


def _drawn(frames: Frames, own: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return pairs of frames, the first of the cache itself: all of them, or as many as are enough."""
    count = len(frames)
    if own * count <= 2 * _DRAWN:
        first, second = np.triu_indices(own, 1, count)
        return first, second
    generator = np.random.default_rng(0)
    first, second = generator.integers(0, own, _DRAWN), generator.integers(0, count, _DRAWN)
    apart = first != second
    return np.minimum(first, second)[apart], np.maximum(first, second)[apart]


def _threshold(name: str, similarity: Floats, pairs: int, count: int) -> tuple[float, float]:
    """Return how alike two pictures are that are listed, and how many pairs of different patients may be, too.

    The tail begins where there are twice as many pairs as frames, far more than copies there could be. Cosines
    are stretched (Fisher's z), as they cannot pass 1.
    """
    found: Tail = tail(np.arctanh(np.clip(similarity, -0.9999, 0.9999)), 2 / count)
    wanted = math.tanh(found.value(FALSE / max(pairs, 1)))
    used = min(max(wanted, _LOWEST[name]), _HIGHEST)
    return used, pairs * found.beyond(math.atanh(used))


def _lacking(
    vectors: Floats | None, seen: Looks | None, thresholds: dict[str, Any], count: int, own: int
) -> list[str]:
    notes = []
    if seen is None:
        notes.append(
            "There are no 16×16 pixels: near duplicates are not confirmed, and mirrored ones not found."
        )
    elif len(seen) < count:
        notes.append("The other cache has no 16×16 pixels: mirrored copies there are not found.")
    if vectors is not None and thresholds["vectors"] is None:
        notes.append(
            f"Too few frames ({own}) to say how alike vectors usually are: near duplicates are looked for by "
            "pixels alone."
        )
    return notes


def _listed(
    frames: Frames,
    similar: _Similar,
    found: list[tuple[NDArray[np.intp], NDArray[np.intp]]],
    thresholds: dict[str, Any],
    notes: list[str],
    values: dict[str, Floats],
) -> Near:
    """Put together what both searches found, without what is no news."""
    nothing = np.zeros(0, dtype=np.intp)
    first, second = (np.concatenate([nothing, *(pair[side] for pair in found)]) for side in (0, 1))
    unique = np.unique(first * len(frames) + second)
    first, second = np.divmod(unique, max(len(frames), 1))
    within = frames.one_patient(first, second) & ~frames.other[second]
    within &= (frames.label[first] == frames.label[second]) & (frames.split[first] == frames.split[second])
    first, second = first[~within], second[~within]
    vectors, (pixels, way) = similar.of("vectors", first, second), similar.both("pixels", first, second)
    alike = np.fmax(np.fmax(vectors, pixels), -1)
    order = np.lexsort((second, first, -alike))
    if len(order) > _LISTED:
        notes.append(f"{len(order):,} near duplicates were found; the {_LISTED:,} most alike are listed.")
        order = order[:_LISTED]
    return Near(
        first[order],
        second[order],
        vectors[order],
        pixels[order],
        way[order],
        int(within.sum()),
        thresholds,
        tuple(notes),
        {name: np.histogram(value, _BINS, (-1, 1))[0].tolist() for name, value in values.items()},
    )
