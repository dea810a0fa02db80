"""What tests of real networks share: each network is built once, and run without being compiled."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
from icehouse.extract import backbones, canaries, engines, networks
from icehouse.extract.decode import Preparation
from icehouse.extract.engines import Plan
from icehouse.extract.weights import Weights

FULL = os.environ.get("ICEHOUSE_FULL") == "1"


@functools.cache
def built(name: str) -> Any:
    """Return the network of a backbone without weights, in its own size; nobody is to change it."""
    engines.import_keras()
    backbone = backbones.find(name)
    return networks.build(backbone, backbone.size)


def forward(model: Any, pixels: np.ndarray) -> list[np.ndarray]:
    """Run a Keras model once, operation by operation, which for a single pass is quicker than compiling it."""
    keras = engines.import_keras()
    return [
        np.asarray(output, dtype=np.float32) for output in keras.tree.flatten(model(pixels, training=False))
    ]


def canary_pixels(name: str, size: int) -> np.ndarray:
    """Return the canaries as the backbone wants them."""
    return backbones.SCALINGS[backbones.find(name).scaling](canaries.pixels(Preparation(size)))


def assembled(
    name: str, size: int, *layers: str, weights: Weights | None = None, policy: str = "float32"
) -> Any:
    """Return the assembled network of a backbone; with random weights of seed 0 unless told."""
    engines.import_keras()
    backbone = backbones.find(name)
    plan = Plan(
        backbone, weights or Weights("random:0", seed=0), size, backbone.scaling, layers or ("avg_pool",)
    )
    return networks.assemble(plan, canary_pixels(name, size), forward, policy)


def vectors_of(model: Any, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """Return what an assembled network yields for scaled pixels."""
    return {name: np.asarray(value) for name, value in model(pixels, training=False).items()}


def relative_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return how far each row of `a` is from that of `b`, in lengths of the latter."""
    return np.linalg.norm(a - b, axis=1) / np.linalg.norm(b, axis=1)
