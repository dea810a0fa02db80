"""What makes the controls quick: rows enough to look at, their products, and heads that need no more.

Every matrix here is of at most `ROWS` rows by as many, however large the problem is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .heads import HEADS, Spec
from .problem import Problem
from .splits import Splits

ROWS = 2500
"""Rows that controls look at, at most."""
_BLOCKS = 100
"""Patients that they look at, at least, if there are as many: of larger ones only some rows are taken."""
_BLOCKS_A_CLASS = 10
_SVM_ROWS = 500
"""Above it, a hundred and twenty support vector machines would take longer than the run itself."""
_PART = 11  # sets the draws here apart from others of the same seed

Predict = Callable[[NDArray[np.intp], NDArray[np.intp], NDArray[np.int64]], NDArray[np.int64]]
"""From the rows trained on, the rows tested and the labels of all rows: the predicted class of those tested."""


@dataclass(frozen=True)
class Gram:
    """The products of the rows of a problem with one another, standardized over all of them.

    Standardizing over all rows uses no label, so what is compared between labellings stays comparable, and one
    matrix serves every split. (A run itself standardizes on the training part only.)

    Parameters
    ----------
    products : ndarray of float32, shape (n, n)
    width : int
        The length of the vectors.
    variance : float
        Of all their numbers together: less than 1 where some are the same in every row.
    """

    products: NDArray[np.float32]
    width: int
    variance: float

    def cosine(self) -> NDArray[np.float32]:
        """Return the cosine of each pair of rows, shape (n, n)."""
        lengths = np.sqrt(np.maximum(np.diag(self.products), 1e-12))
        return np.asarray(self.products / lengths[:, None] / lengths, dtype=np.float32)

    def rbf(self, gamma: float | str) -> NDArray[np.float64]:
        """Return exp(−γ · squared distance) of each pair of rows, γ as scikit-learn's SVC takes it."""
        if gamma == "scale":
            gamma = 1 / (self.width * self.variance) if self.variance else 1.0
        elif gamma == "auto":
            gamma = 1 / self.width
        squares = np.diag(self.products)
        distances = np.maximum(squares[:, None] + squares - 2 * self.products, 0)
        return np.asarray(np.exp(-float(gamma) * distances), dtype=np.float64)


def gram(X: NDArray[np.floating[Any]]) -> Gram:
    """Return the products of standardized rows, computed in float32.

    Parameters
    ----------
    X : ndarray of float, shape (n, d)
    """
    mean = X.mean(axis=0, dtype=np.float64)
    spread = X.std(axis=0, dtype=np.float64)
    constant = spread <= 10 * np.finfo(np.float32).eps * np.abs(mean)
    Z = X.astype(np.float32) - mean.astype(np.float32)
    Z /= np.where(constant, 1, spread).astype(np.float32)
    Z[:, constant] = 0
    return Gram(Z @ Z.T, X.shape[1], float(np.mean(~constant)))


def reduced(
    problem: Problem, splits: Splits, units: NDArray[np.int64], seed: int
) -> tuple[Problem, Splits, NDArray[np.int64]]:
    """Return the problem, its splits and its units with at most `ROWS` rows, as they are if there are no more.

    Blocks (patients) are drawn at random, in proportion to the classes and whole; where that would leave fewer
    than a hundred of them, rows of the larger ones are drawn, too. The copy has no further views and no
    unlabelled rows.
    """
    if len(problem) <= ROWS:
        return problem, splits, units
    generator = np.random.default_rng([seed, _PART])
    shuffled = generator.permutation(len(problem))
    _, block = np.unique(problem.blocks, return_inverse=True)
    count = int(block.max()) + 1
    thinned = shuffled[_rank(block[shuffled]) < max(1, ROWS // min(count, _BLOCKS))]
    sizes = np.bincount(block[thinned], minlength=count)
    label = np.empty(count, dtype=np.int64)
    label[block[thinned]] = problem.y[thinned]  # of a block of several classes, any
    order = generator.permutation(count)
    rank = _rank(label[order])
    share = (rank + 0.5) / np.bincount(label)[label[order]]
    order = order[np.argsort(np.where(rank < _BLOCKS_A_CLASS, 0, share), kind="stable")]
    chosen = np.zeros(count, dtype=bool)
    chosen[order[np.cumsum(sizes[order]) <= ROWS]] = True
    rows = np.sort(thinned[chosen[block[thinned]]])
    smaller = replace(
        problem,
        X=problem.X[rows],
        further=np.empty((len(rows), 0, problem.X.shape[1]), dtype=problem.X.dtype),
        unlabelled=None,
        pixels=None if problem.pixels is None else problem.pixels[rows],
        columns={name: values[rows] for name, values in problem.columns.items()},
        technical={name: values[rows] for name, values in problem.technical.items()},
        **{name: getattr(problem, name)[rows] for name in _BY_ROW},
    )
    sides = replace(splits, train=splits.train[:, rows], test=splits.test[:, rows], scored=splits.scored[:, :0])
    return smaller, sides, units[rows]


_BY_ROW = ("y", "groups", "content", "frame", "patient", "path", "blocks")


def _rank(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each value has occurred before."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    lengths = np.diff(starts, append=len(values))
    rank = np.empty(len(values), dtype=np.int64)
    rank[order] = np.arange(len(values)) - np.repeat(starts, lengths)
    return rank


def quick_head(specs: list[Spec], products: Gram) -> tuple[str, Predict]:
    """Return the name and the predictions of the quickest head of a run that products of rows are enough for.

    That is a kNN, or, up to 500 rows, an SVM; else it is the nearest neighbour by cosine, which no head of the
    run need be: nothing shows better that an image of the same patient has been seen.
    """
    for name, maker in (("knn", _neighbours), ("svm", _support_vectors)):
        for spec in specs:
            if spec.head is HEADS.get(name):  # an estimator of the user's own may be called so, too
                parameters = {**spec.head.make().get_params(), **spec.parameters}
                predict = maker(products, parameters)
                if predict is not None:
                    return spec.text, predict
    nearest = _neighbours(products, {"weights": "uniform", "n_neighbors": 1})
    assert nearest is not None
    return "the nearest neighbour", nearest


def _neighbours(products: Gram, parameters: dict[str, Any]) -> Predict | None:
    if parameters["weights"] != "uniform":
        return None
    similarity, most = products.cosine(), int(parameters["n_neighbors"])

    def predict(train: NDArray[np.intp], test: NDArray[np.intp], y: NDArray[np.int64]) -> NDArray[np.int64]:
        near = similarity[np.ix_(test, train)]
        if most == 1:
            return np.asarray(y[train[near.argmax(axis=1)]])
        k = min(most, len(train))
        best = np.argpartition(-near, k - 1, axis=1)[:, :k]
        votes = y[train][best][:, :, None] == np.arange(y.max() + 1)
        return np.asarray(votes.sum(axis=1).argmax(axis=1))

    return predict


def _support_vectors(products: Gram, parameters: dict[str, Any]) -> Predict | None:
    kernel = parameters.get("kernel")
    if len(products.products) > _SVM_ROWS or kernel not in ("rbf", "linear"):
        return None
    from sklearn.svm import SVC

    values = products.rbf(parameters["gamma"]) if kernel == "rbf" else products.products.astype(np.float64)
    taken = {name: parameters[name] for name in ("C", "class_weight", "tol", "max_iter") if name in parameters}

    def predict(train: NDArray[np.intp], test: NDArray[np.intp], y: NDArray[np.int64]) -> NDArray[np.int64]:
        if len(np.unique(y[train])) == 1:  # which SVC refuses
            return np.full(len(test), y[train[0]])
        machine = SVC(kernel="precomputed", **taken).fit(values[np.ix_(train, train)], y[train])
        return np.asarray(machine.predict(values[np.ix_(test, train)]))

    return predict


def balanced_accuracy(truth: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    """Return the mean over the classes there are of the share of each that is recognized."""
    count = np.bincount(truth)
    right = np.bincount(truth[truth == predicted], minlength=len(count))
    return float(np.mean(right[count > 0] / count[count > 0]))
