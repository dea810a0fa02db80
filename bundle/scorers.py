"""How a head read from a bundle answers: in blocks of rows, and never with what is no number.

It answers twice: with scores, which are probabilities where it has them, and with margins, which show what
moves an answer even where probabilities are 0 or 1 and move no more.

What a head computes is in the module of its family; which families there are, in portable.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import errors

Matrix = NDArray[np.float64]
Vectors = NDArray[np.floating[Any]]
Slope = Callable[[Vectors, Matrix], Matrix]
"""Returns the gradient at each row (n, d) of a sum of the margins, weighted by (n, n_classes)."""
State = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""What a head is stored as: an object for the document, and arrays whose names begin with "head/"."""

_NUMBERS = 2**23
"""Numbers that a block of rows may take at once: 64 MB of them, however a bundle is made."""
_ROWS = 4096
_NO_NUMBERS = "infinite or no numbers"
DIFFERENTIABLE = ("mlp", "mlp-bn", "svm", "logistic", "lda", "pyramid")
"""The kinds of heads whose margins have a gradient."""


class Scorer(Protocol):
    """A head that was read from a bundle.

    Attributes
    ----------
    probabilities : bool
        Whether its scores are probabilities; if not, they are decision values.
    """

    @property
    def probabilities(self) -> bool: ...

    def scores(self, X: Vectors) -> Matrix:
        """Return the score of each class, shape (n, n_classes).

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n, d)
            Prepared vectors, all of them finite.

        Raises
        ------
        BundleDamaged
            If the scores are infinite, no numbers or no probabilities.
        BundleError
            If the head has trees, and the vectors do not fit float32.
        """

    def margins(self, X: Vectors) -> Matrix:
        """Return a number for each class that does not saturate, shape (n, n_classes).

        Of a head with probabilities, their softmax is these, smoothed where they are shares of votes; of a
        support vector machine, their differences are what its machines of two classes say. The higher a class's
        number is above the others', the more speaks for it. Parameters and errors as those of `scores`.
        """

    def gradients(self, X: Vectors, weights: Matrix) -> Matrix:
        """Return the gradient at each row, shape (n, d), of a sum of its margins.

        Parameters
        ----------
        X : ndarray of float32 or float64, shape (n, d)
        weights : ndarray of float64, shape (n, n_classes)
            Of each class's margin in the sum.

        Raises
        ------
        UsageError
            If the head's margins have no gradient: it has trees, neighbours, or no vectors to look at.
        BundleDamaged, BundleError
            As `scores`.
        """


@dataclass(frozen=True)
class Blockwise:
    """A scorer that works on so few rows at once that memory is bounded, and looks at every answer.

    What a bundle holds is checked where it is read; but numbers that are fine one by one may still multiply to
    infinity. So answers are judged, too, once and for all heads alike.

    Parameters
    ----------
    path : Path
        The bundle, for messages.
    classes : int
    probabilities : bool
    answer : callable
        Returns the scores of some rows, shape (n, n_classes).
    margin : callable
        Returns the margins of some rows, shape (n, n_classes).
    held : int
        How many numbers it holds for each row, about.
    slope : callable, optional
        Returns gradients of sums of margins; None where there are none.
    """

    path: Path
    classes: int
    probabilities: bool
    answer: Callable[[Vectors], Vectors]
    margin: Callable[[Vectors], Vectors]
    held: int
    slope: Slope | None = None

    def scores(self, X: Vectors) -> Matrix:
        scores = np.empty((len(X), self.classes))
        with np.errstate(all="ignore"):  # what comes of it is looked at below
            for rows in self._blocks(X):
                scores[rows] = self.answer(X[rows])
        low, high = (0.0, 1 + 1e-6) if self.probabilities else (-np.inf, np.inf)
        if not (np.isfinite(scores) & (scores >= low) & (scores <= high)).all():
            raise self._fault("scores", "no probabilities" if self.probabilities else _NO_NUMBERS)
        return scores

    def margins(self, X: Vectors) -> Matrix:
        margins = np.empty((len(X), self.classes))
        with np.errstate(all="ignore"):
            for rows in self._blocks(X):
                margins[rows] = self.margin(X[rows])
        if not np.isfinite(margins).all():
            raise self._fault("margins", _NO_NUMBERS)
        return margins

    def gradients(self, X: Vectors, weights: Matrix) -> Matrix:
        if self.slope is None:
            raise errors.UsageError(
                f"The head in {self.path} has no gradient; {', '.join(DIFFERENTIABLE)} have one. Feature-map "
                "occlusion explains any head."
            )
        gradients = np.empty(X.shape)
        with np.errstate(all="ignore"):
            for rows in self._blocks(X):
                gradients[rows] = self.slope(X[rows], weights[rows])
        if not np.isfinite(gradients).all():
            raise self._fault("gradients", _NO_NUMBERS)
        return gradients

    def _blocks(self, X: Vectors) -> Iterator[slice]:
        step = min(_ROWS, max(1, _NUMBERS // self.held))
        return (slice(start, start + step) for start in range(0, len(X), step))

    def _fault(self, what: str, wrong: str) -> errors.BundleDamaged:
        return errors.BundleDamaged(
            f"{self.path}: the head's {what} of these vectors are {wrong}; the bundle is damaged or was "
            "altered, or the vectors are of another kind than those it was fitted on."
        )


def both(second: Matrix) -> Matrix:
    """Return the probabilities of two classes, shape (n, 2), given those of the second, shape (n,)."""
    return np.column_stack([1 - second, second])


def by_class(values: Matrix) -> Matrix:
    """Return decision values, of which two classes share one, positive for the second, as a column for each."""
    return np.column_stack([-values, values]) if values.ndim == 1 else values


def apart(difference: Matrix) -> Matrix:
    """Return a column for each of two classes, shape (n, 2), that differ by this, positive for the second."""
    return np.column_stack([-difference, difference]) / 2


def of_votes(shares: Matrix, voters: int) -> Matrix:
    """Return the logarithms of shares of votes, each class given half a vote more, as none may have none.

    Of two classes, their difference is the empirical logit [1]_.

    References
    ----------
    .. [1] Haldane, The estimation and significance of the logarithm of a ratio of frequencies, Annals of Human
       Genetics 20, 1956.
    """
    smoothed: Matrix = (shares * voters + 0.5) / (voters + 0.5 * shares.shape[1])
    return np.asarray(np.log(smoothed))


def sigmoid(logits: Vectors) -> Matrix:
    """Return 1 / (1 + exp(−logits)) in float64; where exp overflows, which is no error here, it is 0."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
