"""Linear discriminant analysis with shrinkage, quick where vectors have more dimensions than there are rows.

The answers are scikit-learn's. What differs is that no d×d covariance is made where n×n products say the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import StandardScaler
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

_BLOCK = 1024
"""Rows that are turned to float64 at once."""

Matrix = NDArray[np.float64]
Floats = NDArray[np.floating[Any]]


class LDA(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """Linear discriminant analysis on a shrunk within-class covariance.

    It answers as `LinearDiscriminantAnalysis(solver="lsqr", shrinkage=…)` does: each class's covariance is
    shrunk by itself, towards the diagonal of its variances ("auto") or towards their mean (a number), and the
    classes' covariances are averaged by frequency. That is a diagonal and a matrix of rank n or less, so with
    n ≤ d rows the system of d equations is solved by one of n (Woodbury's identity [2]_): 787×2048 vectors take
    0.1 s in place of 4.

    Parameters
    ----------
    shrinkage : "auto" or float, default="auto"
        "auto" is the lemma of Ledoit and Wolf [1]_; a number lies above 0, the plain covariance, and is at
        most 1.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    n_features_in_ : int
    priors_ : ndarray of float64, shape (n_classes,)
        The classes' frequencies in training.
    means_ : ndarray of float64, shape (n_classes, d)
    coef_ : ndarray of float64, shape (n_classes, d)
    intercept_ : ndarray of float64, shape (n_classes,)

    References
    ----------
    .. [1] Ledoit and Wolf, A well-conditioned estimator for large-dimensional covariance matrices, Journal of
       Multivariate Analysis 88(2), 2004.
    .. [2] Golub and Van Loan, Matrix Computations, 4th edition, section 2.1.4.

    Examples
    --------
    >>> from icehouse.classify.lda import LDA
    >>> fitted = LDA().fit([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 2.5]], ["low", "low", "high", "high"])
    >>> str(fitted.predict([[2.9, 2.1]])[0])
    'high'
    """

    def __init__(self, shrinkage: str | float = "auto") -> None:
        self.shrinkage = shrinkage

    def fit(self, X: Any, y: Any) -> LDA:
        """Estimate means and the covariance.

        Parameters
        ----------
        X : array-like of shape (n, d)
        y : array-like of shape (n,)

        Returns
        -------
        self
        """
        automatic = isinstance(self.shrinkage, str) and self.shrinkage == "auto"
        given: Any = self.shrinkage
        if not automatic and not (isinstance(given, (int, float, np.number)) and 0 < given <= 1):
            raise ValueError(f"shrinkage must be auto or a number above 0 and up to 1, not {given!r}.")
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, counts = np.unique(y, return_counts=True)
        if len(self.classes_) < 2:
            raise ValueError(f"LDA needs two classes or more, and y holds 1 class: {self.classes_[0]!r}.")
        if len(self.classes_) == len(X):
            raise ValueError(f"LDA needs more rows than classes, and there are {len(X)} of each.")
        self.priors_ = counts / len(X)
        given = None if automatic else float(self.shrinkage)
        wide = len(X) <= X.shape[1]
        parts = [
            (_wide_part if wide else _tall_part)(X[y == name], prior, given)
            for name, prior in zip(self.classes_, self.priors_, strict=True)
        ]
        self.means_ = np.stack([part.mean for part in parts])
        diagonal = np.sum([part.diagonal for part in parts], axis=0)
        if wide:
            self.coef_ = _solve_wide(np.concatenate([part.factor for part in parts]), diagonal, self.means_)
        else:
            covariance = np.sum([part.factor for part in parts], axis=0)
            self.coef_ = _solve(covariance + np.diag(diagonal), self.means_)
        self.intercept_ = np.log(self.priors_) - 0.5 * np.einsum("ij,ij->i", self.means_, self.coef_)
        return self

    def decision_function(self, X: Any) -> Matrix:
        """Return the logarithm of each class's density but for a constant, shape (n, n_classes).

        Of two classes, the second's less the first's, shape (n,).
        """
        scores = self._scores(X)
        return scores if len(self.classes_) > 2 else np.subtract(scores[:, 1], scores[:, 0])

    def predict_proba(self, X: Any) -> Matrix:
        """Return the probability of each class, shape (n, n_classes)."""
        scores = self._scores(X)
        scores -= scores.max(axis=1, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=1, keepdims=True)
        return scores

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable class of each row, shape (n,)."""
        scores = self._scores(X)
        return np.asarray(self.classes_[np.argmax(scores, axis=1)])

    def _scores(self, X: Any) -> Matrix:
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        scores = np.empty((len(X), len(self.classes_)))
        for start in range(0, len(X), _BLOCK):
            scores[start : start + _BLOCK] = X[start : start + _BLOCK].astype(np.float64) @ self.coef_.T
        scores += self.intercept_
        return scores


@dataclass(frozen=True)
class _Part:
    """What a class adds to the covariance: factorᵀ·factor (or factor, if it is d×d) and a diagonal."""

    mean: Matrix
    factor: Matrix
    diagonal: Matrix


def _wide_part(X: Floats, prior: float, given: float | None) -> _Part:
    """Return a class's part with a factor of shape (n, d), of its centred rows."""
    count, scaler = len(X), StandardScaler().fit(X)
    centred = X - scaler.mean_.astype(np.float64)
    if given is None:
        standard = centred / scaler.scale_
        products = standard @ standard.T
        lengths = np.diagonal(products)
        shrinkage, level = _ledoit_wolf(
            count, X.shape[1], lengths.sum(), float(lengths @ lengths), float(np.vdot(products, products))
        )
        diagonal = shrinkage * level * scaler.scale_**2
    else:
        shrinkage = given
        diagonal = np.full(X.shape[1], shrinkage * np.vdot(centred, centred) / (count * X.shape[1]))
    centred *= np.sqrt(prior * (1 - shrinkage) / count)
    return _Part(scaler.mean_, centred, prior * diagonal)


def _tall_part(X: Floats, prior: float, given: float | None) -> _Part:
    """Return a class's part with a factor of shape (d, d), never holding more than a block of rows."""
    (count, dimensions), scaler = X.shape, StandardScaler().fit(X)
    scatter = np.zeros((dimensions, dimensions))
    fourth = 0.0
    for start in range(0, count, _BLOCK):
        centred = X[start : start + _BLOCK] - scaler.mean_.astype(np.float64)
        scatter += centred.T @ centred
        lengths = np.sum((centred / scaler.scale_) ** 2, axis=1)
        fourth += float(lengths @ lengths)
    if given is None:
        squares = np.diagonal(scatter) / scaler.scale_**2
        whole = scatter / scaler.scale_
        whole /= scaler.scale_[:, None]
        shrinkage, level = _ledoit_wolf(count, dimensions, squares.sum(), fourth, float(np.vdot(whole, whole)))
        diagonal = shrinkage * level * scaler.scale_**2
    else:
        shrinkage = given
        diagonal = np.full(dimensions, shrinkage * np.trace(scatter) / (count * dimensions))
    scatter *= prior * (1 - shrinkage) / count
    return _Part(scaler.mean_, scatter, prior * diagonal)


def _ledoit_wolf(
    count: int, dimensions: int, second: float, fourth: float, products: float
) -> tuple[float, float]:
    """Return the shrinkage of Ledoit and Wolf and the variance it shrinks to.

    Parameters
    ----------
    count, dimensions : int
    second, fourth : float
        The sum of the rows' squared lengths, and of the fourth powers of their lengths.
    products : float
        The sum of the squares of XᵀX, which is that of XXᵀ.
    """
    level = second / count / dimensions
    if dimensions == 1:
        return 0.0, level
    squared = products / count**2
    distance = squared / dimensions - level**2
    error = min((fourth / count - squared) / (dimensions * count), distance)
    return (error / distance if error > 0 else 0.0), level


def _solve_wide(factor: Matrix, diagonal: Matrix, means: Matrix) -> Matrix:
    """Return means · (factorᵀ·factor + diagonal)⁻¹ by a system of as many equations as factor has rows."""
    if not (diagonal > 0).all():
        return _solve(factor.T @ factor + np.diag(diagonal), means)
    from scipy.linalg import cho_factor, cho_solve

    root = np.sqrt(diagonal)
    factor = factor / root
    means = means / root
    system = factor @ factor.T
    system[np.diag_indices_from(system)] += 1
    inner = cho_solve(cho_factor(system, overwrite_a=True), factor @ means.T)
    return np.asarray((means - inner.T @ factor) / root)


def _solve(covariance: Matrix, means: Matrix) -> Matrix:
    """Return means · covariance⁻¹, the shortest such vectors where it has no inverse."""
    from scipy.linalg import LinAlgError, cho_factor, cho_solve, lstsq

    try:
        return np.asarray(cho_solve(cho_factor(covariance), means.T).T)
    except LinAlgError:  # constant features, or rows all alike
        return np.asarray(lstsq(covariance, means.T)[0].T)
