"""How far a vector lies from those a head was fitted on: a p-value against patients that were left out.

Only vectors are looked at, never a head's answers: a disease that the head has never met, in an image that
looks like the others, passes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classify.groups import numbered, table
from ..classify.problem import Problem
from .contents import Contents

DIMENSIONS = 64
"""Principal components that distances are taken in, at most."""
ROWS = 20_000
"""Rows that new vectors are compared with, at most: 5 MB of a bundle."""
FEWEST_UNITS = 10
_ROWS_OF_AXES = 5000
"""Rows that components are found on, at most: plenty for so few."""
_UNITS_A_DIMENSION = 2
_FOLDS = 10
_MORE, _ITERATIONS = 16, 6
"""Directions that are searched beside those wanted, and how often: see Halko and others."""
_SMALLEST_SHARE = 1e-6
"""Of the largest variance; directions with less are noise of the arithmetic."""
_REST = 4.0
"""What one standard deviation of the length of what is left over counts, beside 1 for a component's."""
_SMALLEST_REST = 1e-3
_BLOCK, _BLOCK_OF_DISTANCES = 2048, 512
_USE = 21  # sets the draws here apart from others of the same seed

Vectors = NDArray[np.floating[Any]]
Floats = NDArray[np.float32]
Axes = tuple[Floats, Floats, Floats]
"""A mean, a basis and scales; see `Novelty`."""


@dataclass(frozen=True)
class Novelty:
    """Training vectors in whitened principal components, and how far patients left out lay from the others.

    Beside the components stands the length of what they leave over, as most of what makes an image of another
    kind odd is not along the directions in which training images differ. With 50 X-ray patients and without it
    71 % of CT slices, 28 % of photographs and 54 % of images of noise got p < 0.05, with it all of them did;
    with 536 patients 77 % and 99 % of X-rays with noise added.

    Parameters
    ----------
    mean : ndarray of float32, shape (d,)
    basis : ndarray of float32, shape (d, k)
        The k principal directions.
    scales : ndarray of float32, shape (k + 1,)
        What brings each component to variance 1, and the length of what the components leave over to 16.
        Of that length, only what a vector has more than its neighbour counts as distance.
    reference : ndarray of float32, shape (r, k + 1)
        The training vectors that others are compared with, in an order that tells nothing of the images'; the
        length of what is left over is by components found without the vector's unit.
    distances : ndarray of float32, shape (r,)
        From each of them to the nearest one of another unit, ascending.
    at_least : ndarray of float64, shape (r,)
        In how many units a vector lies that far or farther, each row counted as its share of its unit.
    units : int
        Patients, or images where patients are not known.
    """

    mean: Floats
    basis: Floats
    scales: Floats
    reference: Floats
    distances: Floats
    at_least: NDArray[np.float64]
    units: int

    @property
    def smallest(self) -> float:
        """The smallest p-value that there can be."""
        return 1 / (self.units + 1)

    def p_values(self, X: Vectors) -> NDArray[np.float64]:
        """Return how often a vector of a patient not seen before lies as far from the training vectors.

        It is (1 + the number of units that lie as far or farther from the others) / (1 + the number of units),
        a conformal p-value [1]_: of new patients from the same source at most about a share p gets p or less. A
        training vector itself lies at distance 0 and gets about 1; that it was trained on is for others to say.

        Parameters
        ----------
        X : ndarray of float, shape (n, d)
            Vectors as the cache holds them, of unaltered views.

        References
        ----------
        .. [1] Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005, section 2.2.
        """
        distances = np.empty(len(X), dtype=np.float32)
        for start in range(0, len(X), _BLOCK):
            block = slice(start, start + _BLOCK)
            distances[block] = _nearest(
                _reduced(X[block], (self.mean, self.basis, self.scales)), self.reference
            )
        # A distance that is not a number, of a vector beyond float32's range, sorts last: the smallest p-value.
        place = np.searchsorted(self.distances, distances, side="left")
        # Sums of shares are a little less than whole numbers.
        return np.round((1 + np.append(self.at_least, 0.0)[place]) / (1 + self.units), 12)

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle keeps: a JSON object and arrays."""
        names = ("mean", "basis", "scales", "reference", "distances", "at_least")
        return {"units": self.units}, {f"novelty/{name}": getattr(self, name) for name in names}

    @classmethod
    def restored(cls, contents: Contents, width: int) -> Novelty:
        """Return what a bundle kept.

        Parameters
        ----------
        contents : Contents
        width : int
            The length of the vectors.

        Raises
        ------
        BundleDamaged
        """
        units = contents.fields("novelty").whole("units", low=1)
        basis = contents.array("novelty/basis", (width, None))
        scales = contents.array("novelty/scales", (basis.shape[1] + 1,))
        reference = contents.array("novelty/reference", (None, len(scales)))
        distances = contents.array("novelty/distances", (len(reference),))
        at_least = contents.array("novelty/at_least", (len(reference),), "float64")
        if not (0 < basis.shape[1] <= DIMENSIONS and 0 < len(reference) <= ROWS):
            raise contents.fault("the reference of novelty is empty or too large")
        if distances[0] < 0 or np.any(np.diff(distances) < 0):
            raise contents.fault("the distances of novelty are not in order")
        if at_least[-1] < 0 or np.any(np.diff(at_least) > 0) or at_least[0] > units * (1 + 1e-6):
            raise contents.fault("the counts of novelty are not in order")
        mean = contents.array("novelty/mean", (width,))
        return cls(mean, basis, scales, reference, distances, at_least, units)


def fit(
    problem: Problem,
    *,
    seed: int,
    jobs: int | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Novelty | None:
    """Return what new vectors are compared with, made of the unaltered views of the labelled rows.

    Each unit (patient) is left out in turn, with a tenth of the others: components, whitening and what is left
    over are found without it, too, and its vectors are compared with those of the units that are left. Were
    they found on all vectors, new ones would lie nearer than those left out, and far too few would raise an
    alarm: in components alone, 0.2 % of new patients' CT slices and 1.5 % of X-rays at p < 0.05, in place of 4
    to 5 %. With what is left over it is 2 to 4 % (measured on 3 to 6 splits each, with 50 patients or more).

    Every unit counts alike, however many rows it has, as the rows of one are no independent draws [1]_.

    Parameters
    ----------
    problem : Problem
    seed : int
    jobs : int, optional
        Threads; one per processor unless told. Changes no number.
    note : callable
        Told why there is nothing to compare with, or what small p-values cannot be had.

    Returns
    -------
    Novelty or None
        None for fewer than ten units, or vectors that are all equal.

    References
    ----------
    .. [1] Dunn, Wasserman and Ramdas, Distribution-free prediction sets for two-layer hierarchical models,
       Journal of the American Statistical Association 118 (2023), section 3 (pooling).
    .. [2] Halko, Martinsson and Tropp, Finding structure with randomness, SIAM Review 53 (2011), algorithm 4.4.
    """
    from joblib import Parallel, cpu_count, delayed
    from threadpoolctl import threadpool_limits

    everyone = table(problem.blocks, problem.content, problem.y, len(problem.classes)).of_row
    generator = np.random.default_rng([seed, _USE])
    rows = _drawn(everyone, generator)
    unit = numbered(everyone[rows])
    units = int(unit.max()) + 1
    if units < FEWEST_UNITS:
        note(
            f"Whether new images resemble those trained on cannot be told: that takes {FEWEST_UNITS} patients "
            f"(or images without a patient), and there are {units}."
        )
        return None
    count = min(DIMENSIONS, problem.X.shape[1], units // _UNITS_A_DIMENSION)
    folds = min(_FOLDS, units)
    fold = (generator.permutation(units) % folds)[unit]

    def axes_without(left_out: int) -> Axes:
        generator = np.random.default_rng([seed, _USE, left_out + 1])
        return _axes(problem.X, rows[fold != left_out], count, generator)

    def reduced(some: NDArray[np.bool_], axes: Axes) -> Floats:
        return _reduced_rows(problem.X, rows[some], axes)

    def left_over(left_out: int) -> Floats:
        return reduced(fold == left_out, found[left_out])[:, -1]

    def distances_of(left_out: int) -> Floats:
        both = [reduced(some, found[left_out]) for some in (fold == left_out, fold != left_out)]
        both[0][:, -1], both[1][:, -1] = rest[fold == left_out], rest[fold != left_out]
        return _nearest(*both)

    # One thread each, so that sums of floats do not depend on the number of processors.
    with threadpool_limits(limits=1), Parallel(n_jobs=jobs or cpu_count(), backend="threading") as parallel:
        found = parallel(delayed(axes_without)(left_out) for left_out in range(folds + 1))  # the last: of none
        mean, basis, scales = found[-1]
        if not basis.any():
            note("Whether new images resemble those trained on cannot be told: all training vectors are equal.")
            return None
        rest, distances = np.empty((2, len(rows)), dtype=np.float32)
        for values, function in ((rest, left_over), (distances, distances_of)):
            for left_out, theirs in enumerate(parallel(delayed(function)(number) for number in range(folds))):
                values[fold == left_out] = theirs
            if values is rest:
                # Where training leaves nothing over, what new vectors leave counts, but not without end.
                scales[-1] = _REST / max(float(rest.std()), _SMALLEST_REST / float(scales[0]))
                rest *= scales[-1]
        reference = reduced(fold >= 0, found[-1])
        reference[:, -1] = rest
    share = 1 / np.bincount(unit)[unit]
    ascending = np.argsort(distances, kind="stable")
    at_least = np.cumsum(share[ascending][::-1])[::-1]
    if units < 19:
        note(
            f"The p-value that says whether a new image resembles those trained on cannot fall below "
            f"{1 / (units + 1):.2f}, as there are {units} patients."
        )
    told = reference[np.argsort(reference[:, 0], kind="stable")]
    return Novelty(mean, basis, scales, told, distances[ascending], at_least, units)


def _drawn(unit: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.intp]:
    """Return which rows to compare with: of each unit as many at most, as units tell more than rows do."""
    order = generator.permutation(len(unit))
    by_unit = order[np.argsort(unit[order], kind="stable")]
    sizes = np.bincount(unit)
    place = np.arange(len(unit)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = int(np.searchsorted(np.cumsum(np.bincount(place)), ROWS, side="right"))
    chosen = by_unit[place < each] if each else generator.choice(by_unit[place == 0], ROWS, replace=False)
    return np.sort(chosen)


def _axes(X: Vectors, rows: NDArray[np.intp], count: int, generator: np.random.Generator) -> Axes:
    """Return the mean of some rows, their principal directions and what brings components to variance 1.

    They are found by orthogonal iteration over blocks of rows, which takes no more memory than a block, however
    long or many the vectors are. The last scale, of what is left over, is 1.
    """
    rows = rows[:: -(-len(rows) // _ROWS_OF_AXES)]
    blocks = [rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK)]
    total = np.sum([X[block].sum(axis=0, dtype=np.float64) for block in blocks], axis=0)
    mean = (total / len(rows)).astype(np.float32)
    width = min(count + _MORE, *X.shape)
    found = generator.standard_normal((X.shape[1], width))
    for _ in range(_ITERATIONS):
        directions = np.linalg.qr(found)[0].astype(np.float32)
        found = np.zeros(found.shape)
        for block in blocks:
            centred = X[block].astype(np.float32) - mean
            found += centred.T @ (centred @ directions)
    directions = np.linalg.qr(found)[0].astype(np.float32)
    within = np.zeros((width, width))
    for block in blocks:
        along = (X[block].astype(np.float32) - mean) @ directions
        within += along.T @ along
    variances, turned = np.linalg.eigh(within / len(rows))
    kept = np.arange(width)[::-1][:count]
    kept = kept[variances[kept] > max(_SMALLEST_SHARE * variances[-1], 0)]
    if not len(kept):
        return mean, np.zeros((X.shape[1], 1), dtype=np.float32), np.ones(2, dtype=np.float32)
    basis = (directions @ turned[:, kept]).astype(np.float32)
    return mean, basis, np.append(1 / np.sqrt(variances[kept]), 1.0).astype(np.float32)


def _reduced(X: Vectors, axes: Axes) -> Floats:
    """Return the components of vectors, and the length of what they leave over, shape (n, k + 1)."""
    with np.errstate(over="ignore", invalid="ignore"):
        mean, basis, scales = axes
        centred = X.astype(np.float32) - mean
        along = centred @ basis
        left = np.linalg.norm(centred - along @ basis.T, axis=1)
        return np.asarray(np.column_stack([along, left]) * scales)


def _reduced_rows(X: Vectors, rows: NDArray[np.intp], axes: Axes) -> Floats:
    reduced = np.empty((len(rows), len(axes[2])), dtype=np.float32)
    for start in range(0, len(rows), _BLOCK):
        block = slice(start, start + _BLOCK)
        reduced[block] = _reduced(X[rows[block]], axes)
    return reduced


def _nearest(here: Floats, there: Floats) -> Floats:
    """Return the distance from each row of `here` to the nearest row of `there`, shape (n,)."""
    components = there[:, :-1]
    squares = np.einsum("ij,ij->i", components, components)
    distances = np.empty(len(here), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(here), _BLOCK_OF_DISTANCES):
            block = here[start : start + _BLOCK_OF_DISTANCES]
            apart = np.maximum(block[:, -1:] - there[:, -1], 0)
            apart *= apart
            apart += squares
            apart -= 2 * (block[:, :-1] @ components.T)
            # From differences, as that of squares is no 0 where the two are the same.
            along_and_over = block - there[np.argmin(apart, axis=1)]
            along_and_over[:, -1] = np.maximum(along_and_over[:, -1], 0)
            distances[start : start + len(block)] = np.linalg.norm(along_and_over, axis=1)
    return distances
