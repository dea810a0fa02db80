"""Feature-map occlusion: which places of a picture a head's answer rests on, whatever kind of head it is.

No gradient and no second pass through the network is needed: where a network ends in global average pooling,
the maps of the whole picture give the vector of the picture with some places blotted out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Margins = Callable[[NDArray[np.floating[Any]]], NDArray[np.float64]]
"""Returns each class's score, a logit or margin and no probability, (n, n_classes), of vectors (n, d)."""

_PAIRS = 256
"""Pairs of a set of cells and its complement that a head is asked about, at least.

What was tried, on 240 diseased phantoms whose lesions are one to two cells wide (EfficientNet-Lite0, 7×7
cells, heads fitted on 1,024 others unless said; the share of peaks within the lesion):

===========================================  ====  ====  =======  ========
sets of cells, 256 pairs                     mlp   svm   xgboost  logistic
===========================================  ====  ====  =======  ========
the picture alone                            0.86  0.87  0.75     0.86
and its mirror image                         0.88  0.90  0.79     0.89
===========================================  ====  ====  =======  ========

More pairs (1,024), or sets in which neighbours are drawn together, changed nothing beyond chance. The rest
was measured with a smoothing that was better for windows (boxes of 3 and 1 cells, nothing cut off, see
`heat`) or none but their own, with heads fitted on 256, for mlp, svm, xgboost, logistic: sets of cells, 512
pairs, 0.75, 0.78, 0.69, 0.78; windows of 3×3 cells moved by whole cells, each cell the mean of its windows,
0.10, 0.18, 0.12, 0.14, as a window at the rim counts as much as one within; moved by a third of a cell and
cut at the rim 0.61, 0.68, 0.46, 0.66; with Gaussian rims 0.67, 0.72, 0.39, 0.73; windows of 4×4 put back into
the mean map, too, 0.77, 0.79, 0.48, 0.75. Trees gain most by sets, as one window alone seldom crosses a
threshold of theirs. Worse than the mean map in the cells' stead, for logistic: its mean over all places,
0.62, or nothing, 0.63, for 0.78. Views that made it worse: shifted by half a cell (what comes in at the edge
draws the peak), upside down, and enlarged parts.
"""
_NUMBERS = 2**22
"""Numbers in the vectors that a head is given at once: 16 MB of them."""


def occlusion(
    maps: NDArray[np.float32],
    mean: NDArray[np.float32],
    margins: Margins,
    target: int,
    mirrored: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return how much each cell of the last feature maps adds to a class's score, shape (h, w).

    Parameters
    ----------
    maps : ndarray of float32, shape (h, w, c)
        Whose mean over height and width is the vector that the head was fitted on.
    mean : ndarray of float32, shape (h, w, c)
        The mean of such maps over the training images.
    margins : callable
    target : int
        The class asked for.
    mirrored : ndarray of float32, shape (h, w, c), optional
        The maps of the same picture turned left to right.

    Returns
    -------
    ndarray of float32, shape (h, w)
        See `occlusions`.
    """
    turned = None if mirrored is None else mirrored[None]
    (weights,) = occlusions(maps[None], mean, margins, [target], turned)
    return np.asarray(weights)


def occlusions(
    maps: NDArray[np.float32],
    mean: NDArray[np.float32],
    margins: Margins,
    targets: Sequence[int],
    mirrored: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return how much each cell of several pictures' maps adds to a class's score, shape (k, h, w).

    Sets of cells are drawn, the same ones for every picture; all other cells are given the mean map's values,
    and the head is asked. A cell's weight is what its presence adds to the class's score above the best other
    one, by least squares over all sets [1]_ [2]_; of a linear head and two classes that is exact. All weights
    together are about the difference between the picture and the mean map.

    Parameters
    ----------
    maps : ndarray of float32, shape (k, h, w, c)
    mean : ndarray of float32, shape (h, w, c)
    margins : callable
        Is given the vectors of so many pictures at once as fit 16 MB, of one at least.
    targets : sequence of int
        The class asked for of each picture, k of them.
    mirrored : ndarray of float32, shape (k, h, w, c), optional
        The maps of the same pictures turned left to right; then weights are the means of both, place by place.

    References
    ----------
    .. [1] Petsiuk, Das and Saenko, RISE: Randomized input sampling for explanation of black-box models, BMVC
       2018.
    .. [2] Lundberg and Lee, A unified approach to interpreting model predictions, NeurIPS 2017, section 4.1.
    """
    if mirrored is not None:
        turned = occlusions(mirrored, mean, margins, targets)[:, :, ::-1]
        return np.asarray((occlusions(maps, mean, margins, targets) + turned) / 2)
    count, height, width, channels = maps.shape
    present, solution = _design(height * width)
    found = np.empty((count, height * width), dtype=np.float32)
    pooled = (mean.mean(axis=(0, 1), dtype=np.float64)).astype(np.float32)
    step = max(1, _NUMBERS // (len(present) * channels))
    for start in range(0, count, step):
        rows = slice(start, start + step)
        added = ((maps[rows] - mean) / np.float32(height * width)).reshape(-1, height * width, channels)
        vectors = present @ added + pooled
        scores = margins(vectors.reshape(-1, channels)).reshape(len(added), len(present), -1)
        for place, (asked, target) in enumerate(zip(scores, targets[rows], strict=True), start=start):
            found[place] = solution @ above_others(asked, target)
    return found.reshape(count, height, width)


def above_others(scores: NDArray[np.float64], target: int) -> NDArray[np.float64]:
    """Return a class's score above that of the best other class, shape (n,), of scores (n, n_classes)."""
    return np.asarray(scores[:, target] - np.delete(scores, target, axis=1).max(axis=1))


@lru_cache(maxsize=8)
def _design(cells: int) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return which cells each set holds, (n_sets, cells), and what makes weights of scores, (cells, n_sets).

    How many cells a set holds is drawn evenly from none to all, and every set's complement is one, too.
    """
    draw = np.random.default_rng(0)
    pairs = max(_PAIRS, 4 * cells)
    kept = draw.random((pairs, cells)) < draw.random((pairs, 1))
    present = np.concatenate([kept, ~kept])
    with_constant = np.column_stack([present, np.ones(len(present))])
    return present.astype(np.float32), np.linalg.pinv(with_constant)[:-1]
