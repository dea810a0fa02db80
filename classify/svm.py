"""A support vector machine whose kernel is computed by matrix products: SVC's answers, many times sooner.

The optimisation is libsvm's, through scikit-learn; what is computed here is the kernel before it and the
decision values after it.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.svm import SVC
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

KERNELS = ("rbf", "linear", "poly", "sigmoid")
_WHOLE_KERNEL = 5000
"""Rows up to which the whole kernel is held: 200 MB then, which is what SVC's own cache takes by default."""
_CACHE = 20
"""MB of libsvm's own cache beside a kernel that is there already."""
_BLOCK = 1024
"""Rows whose kernel is computed at once."""


class SVM(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Support vector machine, one against one where there are more than two classes.

    libsvm asks for one number of the kernel after another, each a product of two vectors; one product of
    matrices gives all of them in a fraction of the time. Of 5,000 training rows or fewer the kernel is computed
    whole, by BLAS in float32, and given to `sklearn.svm.SVC`; with more rows it would take more memory than
    SVC's cache, and SVC works as it always does. The answers to standardized vectors are SVC's, to the
    tolerance at which it stops; where means are a thousand times the spread, float32 is too coarse.

    Parameters
    ----------
    C : float, default=1.0
        Weight of the errors; the smaller, the smoother.
    kernel : {"rbf", "linear", "poly", "sigmoid"}, default="rbf"
    gamma : {"scale", "auto"} or float, default="scale"
        Of the RBF, polynomial and sigmoid kernels: 1 / (d · variance of X), 1 / d, or a number.
    degree : int, default=3
        Of the polynomial kernel.
    coef0 : float, default=0.0
        The constant in the polynomial and sigmoid kernels.
    class_weight : dict, "balanced" or None, default=None
    tol : float, default=1e-3
        Where libsvm stops.
    max_iter : int, default=-1
        libsvm's steps; -1 sets no limit.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    support_ : ndarray of int, shape (n_support,)
        Which training rows are support vectors.
    support_vectors_ : ndarray of float, shape (n_support, d)
    coefficients_ : ndarray of float64, shape (n_support, n_pairs)
        Of each support vector in each pair of classes: 0-1, 0-2, …, 1-2, …
    intercept_ : ndarray of float64, shape (n_pairs,)
    gamma_ : float
    n_iter_ : ndarray of int, shape (n_pairs,)

    References
    ----------
    .. [1] Chang and Lin, LIBSVM: A library for support vector machines, ACM TIST 2(3), 2011.

    Examples
    --------
    >>> import numpy as np
    >>> from icehouse.classify.svm import SVM
    >>> fitted = SVM(C=10).fit([[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"])
    >>> str(fitted.predict([[2.9]])[0])
    'high'
    """

    def __init__(
        self,
        C: float = 1.0,
        kernel: str = "rbf",
        gamma: str | float = "scale",
        degree: int = 3,
        coef0: float = 0.0,
        class_weight: Any = None,
        tol: float = 1e-3,
        max_iter: int = -1,
    ) -> None:
        self.C = C
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.class_weight = class_weight
        self.tol = tol
        self.max_iter = max_iter

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> SVM:
        """Find the support vectors.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional
            Multiplies C, row by row.

        Returns
        -------
        self
        """
        if self.kernel not in KERNELS:
            raise ValueError(f"kernel must be one of {', '.join(KERNELS)}, not {self.kernel!r}.")
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], order="C")
        kept = np.arange(len(X))
        if sample_weight is not None:  # libsvm drops rows without weight, and then numbers the rest anew
            sample_weight = _check_sample_weight(sample_weight, X)
            kept = np.flatnonzero(sample_weight > 0)
            X, y, sample_weight = X[kept], y[kept], sample_weight[kept]
        self.gamma_ = self._number_of_gamma(X)
        whole = len(X) <= _WHOLE_KERNEL
        solver = SVC(
            C=self.C,
            kernel="precomputed" if whole else self.kernel,
            gamma=self.gamma_,
            degree=self.degree,
            coef0=self.coef0,
            class_weight=self.class_weight,
            tol=self.tol,
            max_iter=self.max_iter,
            cache_size=_CACHE if whole else 200,
        )
        solver.fit(self._whole_kernel(X) if whole else X, y, sample_weight)
        self.classes_ = solver.classes_
        self.support_ = kept[solver.support_]
        self.support_vectors_ = X[solver.support_]
        self.coefficients_ = _by_pair(solver.dual_coef_, solver.n_support_)
        self.intercept_ = solver.intercept_
        self.n_iter_ = solver.n_iter_
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Return the score of each class, shape (n, n_classes), or of the second of two, shape (n,).

        With more than two classes: the pairs that the class wins, and less than half a pair's worth of by how
        much, as `SVC` does with `decision_function_shape="ovr"`.
        """
        pairs = self._pairs(X)
        if len(self.classes_) == 2:
            return pairs[:, 0]
        votes, margins = self._votes(pairs)
        scores: NDArray[np.float64] = votes + margins / (3 * (np.abs(margins) + 1))
        return scores

    def margins(self, X: Any) -> NDArray[np.float64]:
        """Return a value for each class, shape (n, n_classes), that votes do not round.

        Their differences are what the pairs' machines say, of two classes exactly, of more by least squares: a
        class's value is the sum of its margins in all of its pairs, divided by the number of classes.
        """
        return self._pairs(X) @ self._signs() / len(self.classes_)

    def gradients(self, X: Any, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient at each row, shape (n, d), of a sum of its margins.

        Parameters
        ----------
        X : array-like of shape (n, d)
        weights : ndarray of float64, shape (n, n_classes)
            Of each class's margin in the sum.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        vectors = self.support_vectors_.astype(np.float64)
        of_pairs = weights @ self._signs().T / len(self.classes_)
        found = np.empty(X.shape)
        for start in range(0, len(X), _BLOCK):
            rows = X[start : start + _BLOCK].astype(np.float64)
            by_vector = of_pairs[start : start + _BLOCK] @ self.coefficients_.T
            by_vector *= self._kernel_slope(rows, vectors)
            found[start : start + _BLOCK] = by_vector @ vectors
            if self.kernel == "rbf":
                found[start : start + _BLOCK] -= by_vector.sum(axis=1, keepdims=True) * rows
        return found

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the class of each row that wins most pairs, shape (n,)."""
        pairs = self._pairs(X)
        if len(self.classes_) == 2:
            return np.asarray(self.classes_[(pairs[:, 0] >= 0).astype(int)])
        return np.asarray(self.classes_[np.argmax(self._votes(pairs)[0], axis=1)])

    def _pairs(self, X: Any) -> NDArray[np.float64]:
        """Return what each pair's machine says, shape (n, n_pairs); a row's answer depends on no other row.

        In float64: a sum of hundreds of terms that nearly cancel, once and not in every step of a search.
        """
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        vectors = self.support_vectors_.astype(np.float64)
        values = np.empty((len(X), self.coefficients_.shape[1]))
        for start in range(0, len(X), _BLOCK):
            rows = X[start : start + _BLOCK].astype(np.float64)
            values[start : start + _BLOCK] = self._kernel(rows, vectors) @ self.coefficients_
        values += self.intercept_
        return values

    def _votes(self, pairs: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the pairs that each class wins, and its margins in all of its pairs summed."""
        votes, margins = np.zeros((2, len(pairs), len(self.classes_)))
        for column, (first, second) in enumerate(combinations(range(len(self.classes_)), 2)):
            won = pairs[:, column] > 0
            votes[:, first] += won
            votes[:, second] += ~won
            margins[:, first] += pairs[:, column]
            margins[:, second] -= pairs[:, column]
        return votes, margins

    def _signs(self) -> NDArray[np.float64]:
        """Return which class each pair's machine speaks for, 1, and against, −1; shape (n_pairs, n_classes).

        Of two classes libsvm's one machine speaks for the second; of more, each for the first of its pair.
        """
        pairs = list(combinations(range(len(self.classes_)), 2))
        signs = np.zeros((len(pairs), len(self.classes_)))
        for column, (first, second) in enumerate(pairs):
            signs[column, [first, second]] = 1, -1
        return -signs if len(self.classes_) == 2 else signs

    def _whole_kernel(self, X: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return the kernel of the training rows with each other, shape (n, n), each half computed once."""
        vectors = X.astype(np.float32, copy=False)
        kernel = np.empty((len(X), len(X)))
        for start in range(0, len(X), _BLOCK):
            stop = start + _BLOCK
            kernel[start:stop, start:] = self._kernel(vectors[start:stop], vectors[start:])
            kernel[stop:, start:stop] = kernel[start:stop, stop:].T
        return kernel

    def _kernel(self, A: NDArray[np.floating[Any]], B: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        products = A @ B.T
        if self.kernel == "linear":
            return products
        if self.kernel == "rbf":
            products *= 2
            products -= np.einsum("ij,ij->i", A, A)[:, None]
            products -= np.einsum("ij,ij->i", B, B)
            np.minimum(products, 0, out=products)
            products *= self.gamma_
            return np.asarray(np.exp(products, out=products))
        products *= self.gamma_
        products += self.coef0
        return np.asarray(products**self.degree if self.kernel == "poly" else np.tanh(products))

    def _kernel_slope(self, A: NDArray[np.float64], B: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the s for which the gradient of a pair's kernel k(a, b) in a is s·b, or s·(b − a) of RBF."""
        if self.kernel == "linear":
            return np.ones((len(A), len(B)))
        if self.kernel == "rbf":
            return np.asarray(2 * self.gamma_ * self._kernel(A, B))
        if self.kernel == "sigmoid":
            return np.asarray(self.gamma_ * (1 - self._kernel(A, B) ** 2))
        inner = self.gamma_ * (A @ B.T) + self.coef0
        return np.asarray(self.degree * self.gamma_ * inner ** max(self.degree - 1, 0))

    def _number_of_gamma(self, X: NDArray[np.floating[Any]]) -> float:
        """Return gamma as a number, by SVC's rules."""
        if self.gamma == "scale":
            mean = X.mean(dtype=np.float64)
            squares = sum(
                float(np.square(X[start : start + _BLOCK] - mean).sum()) for start in range(0, len(X), _BLOCK)
            )
            variance = squares / X.size
            return float(1 / (X.shape[1] * variance)) if variance else 1.0
        if self.gamma == "auto":
            return float(1 / X.shape[1])
        gamma: Any = self.gamma
        if not isinstance(gamma, (int, float, np.number)) or not gamma >= 0:
            raise ValueError(f"gamma must be scale, auto or a number of 0 or more, not {gamma!r}.")
        return float(gamma)


def _by_pair(dual: NDArray[np.float64], counts: NDArray[np.integer[Any]]) -> NDArray[np.float64]:
    """Return libsvm's coefficients, shape (n_classes − 1, n_support), as one column for each pair of classes.

    libsvm keeps in row j those of a vector against its class's j-th opponent.
    """
    ends = np.cumsum(counts)
    rows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    pairs = list(combinations(range(len(counts)), 2))
    coefficients = np.zeros((dual.shape[1], len(pairs)))
    for column, (first, second) in enumerate(pairs):
        coefficients[rows[first], column] = dual[second - 1, rows[first]]
        coefficients[rows[second], column] = dual[first, rows[second]]
    return coefficients
