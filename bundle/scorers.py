"""How a head read from a bundle answers: in blocks of rows, and never with what is no number.

What a head computes is in the module of its family; which families there are, in portable.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .. import errors

Matrix = NDArray[np.float64]
Vectors = NDArray[np.floating[Any]]
State = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""What a head is stored as: an object for the document, and arrays whose names begin with "head/"."""

_NUMBERS = 2**23
"""Numbers that a block of rows may take at once: 64 MB of them, however a bundle is made."""
_ROWS = 4096


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
    held : int
        How many numbers it holds for each row, about.
    """

    path: Path
    classes: int
    probabilities: bool
    answer: Callable[[Vectors], Vectors]
    held: int

    def scores(self, X: Vectors) -> Matrix:
        scores = np.empty((len(X), self.classes))
        step = min(_ROWS, max(1, _NUMBERS // self.held))
        with np.errstate(all="ignore"):  # what comes of it is looked at below
            for start in range(0, len(X), step):
                scores[start : start + step] = self.answer(X[start : start + step])
        low, high = (0.0, 1 + 1e-6) if self.probabilities else (-np.inf, np.inf)
        if not (np.isfinite(scores) & (scores >= low) & (scores <= high)).all():
            wrong = "no probabilities" if self.probabilities else "infinite or no numbers"
            raise errors.BundleDamaged(
                f"{self.path}: the head's scores of these vectors are {wrong}; the bundle is damaged or was "
                "altered, or the vectors are of another kind than those it was fitted on."
            )
        return scores


def both(second: Matrix) -> Matrix:
    """Return the probabilities of two classes, shape (n, 2), given those of the second, shape (n,)."""
    return np.column_stack([1 - second, second])


def by_class(values: Matrix) -> Matrix:
    """Return decision values, of which two classes share one, positive for the second, as a column for each."""
    return np.column_stack([-values, values]) if values.ndim == 1 else values


def sigmoid(logits: Vectors) -> Matrix:
    """Return 1 / (1 + exp(−logits)) in float64; where exp overflows, which is no error here, it is 0."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))
