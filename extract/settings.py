"""What the user may choose, and the recipe that follows from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import joblib

from .. import errors
from . import backbones, engines
from .decode import Preparation
from .weights import Weights

BATCH_SIZE = 32
SELECTION = {"frames": "all", "views": 1}
"""Which frames and views of a file become rows: kept with a cache, but no part of its recipe."""


@dataclass(frozen=True)
class Settings:
    """What the user may choose; `batch_size` and `workers` change no vector.

    Parameters
    ----------
    backbone : str
    weights : str
        `imagenet`, a file, or `random:SEED`.
    batch_size : int
    workers : int or None
        Threads that decode; one per processor unless told.
    accept_drift : bool
        Add vectors even if the canaries' differ.
    """

    backbone: str = backbones.DEFAULT
    weights: str = "imagenet"
    batch_size: int = BATCH_SIZE
    workers: int | None = None
    accept_drift: bool = False

    def check(self) -> None:
        """Raise `UsageError` for values that no extraction can have."""
        for name, value in (("batch_size", self.batch_size), ("workers", self.threads())):
            if not isinstance(value, int) or value < 1:
                raise errors.UsageError(f"{name} must be a whole number of 1 or more, not {value!r}.")

    def threads(self) -> int:
        """Return how many threads decode."""
        return int(joblib.cpu_count()) if self.workers is None else self.workers


def preparation_of(backbone: backbones.Backbone) -> Preparation:
    """Return how pixels are prepared for `backbone`."""
    return Preparation((backbone.size, backbone.size))


def plan_of(backbone: backbones.Backbone, weights: Weights) -> engines.Plan:
    """Return which network computes which vectors, and how."""
    return engines.Plan(backbone, weights, backbone.size, backbone.scaling)


def recipe_of(backbone: backbones.Backbone, weights: Weights) -> dict[str, Any]:
    """Return everything that decides a vector's values but the layer, and nothing else."""
    return {
        "kind": "icehouse",
        **preparation_of(backbone).recipe(),
        "scaling": backbone.scaling,
        "augment": None,
        "backbone": backbone.name,
        "weights": weights.identity,
        "precision": "float32",
        "engine": None,
        "dtype": "float32",
    }
