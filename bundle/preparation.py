"""What is done to a new vector before a head sees it: the steps that were fitted on the training vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .contents import Contents

_NAME = "preparation"
_SMALLEST = 1e-30
"""A scale below it would turn vectors of this world into infinite ones."""


@dataclass(frozen=True)
class Preparation:
    """Standardization and, where vectors are reduced, the projection onto principal components.

    Parameters
    ----------
    mean, scale : ndarray of float64, shape (d,)
    centre : ndarray of float64, shape (d,), or None
    components : ndarray of float64, shape (d, k), or None
    """

    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    centre: NDArray[np.float64] | None = None
    components: NDArray[np.float64] | None = None

    @property
    def dimensions(self) -> int:
        """How many numbers a prepared vector has."""
        return len(self.mean) if self.components is None else int(self.components.shape[1])

    def apply(self, X: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """Return prepared vectors, shape (n, k), of raw ones, shape (n, d), of their own type."""
        prepared = X.astype(np.float32 if X.dtype == np.float16 else X.dtype)
        prepared -= self.mean
        prepared /= self.scale
        if self.components is not None:
            prepared = ((prepared - self.centre) @ self.components).astype(prepared.dtype)
        return prepared

    def back(self, gradients: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return gradients in raw vectors, shape (n, d), given those in prepared ones, shape (n, k)."""
        standardized = gradients if self.components is None else gradients @ self.components.T
        return np.asarray(standardized / self.scale)

    def stored(self) -> dict[str, NDArray[Any]]:
        """Return the arrays that a bundle keeps."""
        kept = {"mean": self.mean, "scale": self.scale}
        if self.centre is not None and self.components is not None:
            kept.update(centre=self.centre, components=self.components)
        return {f"{_NAME}/{name}": values for name, values in kept.items()}


def restored(contents: Contents, dimensions: int) -> Preparation:
    """Return the preparation that a bundle holds, for vectors of `dimensions` numbers.

    Raises
    ------
    BundleDamaged
    """
    mean = contents.array(f"{_NAME}/mean", (dimensions,), "float64")
    scale = contents.array(f"{_NAME}/scale", (dimensions,), "float64")
    if not (scale > _SMALLEST).all():
        raise contents.fault(f"the array {_NAME}/scale holds what nothing can be divided by")
    if not contents.has_array(f"{_NAME}/components"):
        return Preparation(mean, scale)
    centre = contents.array(f"{_NAME}/centre", (dimensions,), "float64")
    return Preparation(
        mean, scale, centre, contents.array(f"{_NAME}/components", (dimensions, None), "float64")
    )
