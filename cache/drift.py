"""Whether two sets of canary vectors come from the same network: what keeps two kinds of vectors apart.

Which images the canaries are, and how they are computed, is `extract.canaries`' affair.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from .. import errors

Vectors = Mapping[str, NDArray[np.float32]]
"""The canaries' vectors, shape (3, d), for each layer."""

TOLERANCE = 1e-3
"""The largest ‖v − v₀‖₂ / ‖v₀‖₂ that still counts as the same network; engines agree to 1e-5 in float32."""


def distance(now: Vectors, then: Vectors) -> float:
    """Return the largest relative distance between two sets of canary vectors, over layers and canaries.

    It is infinite if they are not even of one shape.
    """
    distances = [0.0]
    for layer in now.keys() & then.keys():
        a, b = now[layer].astype(np.float64), then[layer].astype(np.float64)
        if a.shape != b.shape:
            return float("inf")
        with np.errstate(divide="ignore", invalid="ignore"):
            apart = np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
        distances.append(float(np.max(np.where(np.all(a == b, axis=1), 0, apart))))
    return float(np.max(distances))  # unlike max(), not a number stays one, and is refused


def check(now: Vectors, then: Vectors, sentence: str, *, accept: bool) -> float:
    """Refuse to go on if two sets of canary vectors differ; return by how much they do.

    Parameters
    ----------
    now, then : mapping of str to ndarray of float32, shape (3, d)
    sentence : str
        What to say, with `{}` where the distance goes.
    accept : bool
        Go on all the same.

    Raises
    ------
    CanaryDrift
    """
    found = distance(now, then)
    if not accept and not found <= TOLERANCE:
        raise errors.CanaryDrift(sentence.replace("{}", f"{found:.1e} (allowed: {TOLERANCE:.0e})", 1))
    return found
