"""Grad-CAM: where the gradient of a head's answer lies, for heads that have one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def grad_cam(maps: NDArray[np.float32], gradient: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Return the class activation map of a picture by the gradient of a class's score, shape (h, w).

    Before global average pooling a channel's weight, the mean of the gradient over its map [1]_, is the
    gradient in the vector divided by the number of cells. What speaks against the class is cut off (ReLU).

    Parameters
    ----------
    maps : ndarray of float32, shape (h, w, c)
    gradient : ndarray of float, shape (c,)
        Of the score in the vector, as `Bundle.gradients` returns it.

    References
    ----------
    .. [1] Selvaraju et al., Grad-CAM: Visual explanations from deep networks via gradient-based localization,
       ICCV 2017, equations 1 and 2.
    """
    weights = gradient.astype(np.float64) / (maps.shape[0] * maps.shape[1])
    return np.asarray(np.maximum(maps @ weights, 0), dtype=np.float32)
