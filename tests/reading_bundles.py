"""Readers of a simple bundle, to try what tries mutants: a careful one, one without checks, one that fails."""

from __future__ import annotations

import json
import os
import signal
import time
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from icehouse.bundle import archive

DIMENSIONS = 6


@dataclass(frozen=True)
class Linear:
    """A linear head on standardized vectors, and the distance to the nearest training vector."""

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    temperature: float
    reference: np.ndarray
    patients: np.ndarray
    distances: np.ndarray

    def scores(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore"):
            prepared = np.clip((vectors.astype(np.float64) - self.mean) / self.scale, -1e30, 1e30)
        margins = np.clip(prepared @ self.weights * self.temperature, -1e30, 1e30)
        likely = np.exp(margins - margins.max(axis=1, keepdims=True))
        nearest = np.abs(prepared[:, None] - self.reference).sum(axis=2).argmin(axis=1)
        above = np.bincount(self.patients, self.distances)[self.patients[nearest]]
        return likely / likely.sum(axis=1, keepdims=True), 1 / (1 + above)


def write(path: Path) -> None:
    """Write a bundle that `careful` reads."""
    generator = np.random.default_rng(8)
    document = {
        "classes": ["covid", "normal", "pneumonia"],
        "head": {"kind": "linear", "temperature": 0.5, "settings": {"C": 1, "units": [64, 32]}},
    }
    arrays = {
        "head/mean": generator.normal(size=DIMENSIONS).astype(np.float32),
        "head/scale": generator.uniform(1, 2, DIMENSIONS).astype(np.float32),
        "head/weights": generator.normal(size=(DIMENSIONS, 3)),
        "novelty/reference": generator.normal(size=(9, DIMENSIONS)).astype(np.float32),
        "novelty/patients": (np.arange(9) // 3).astype(np.int32),
        "novelty/distances": generator.uniform(size=9),
    }
    archive.write(path, document, arrays)


def careful(path: Path) -> Linear:
    """Read a bundle with all the checks that its numbers need."""
    contents = archive.read(path)
    classes = contents.texts("classes")
    if len(set(classes)) < max(2, len(classes)):
        raise contents.fault("classes are too few or named twice")
    head = contents.fields("head")
    head.text("kind", ["linear"])
    scale = contents.array("head/scale", (DIMENSIONS,))
    if scale.min() < 1e-6:
        raise contents.fault("the array head/scale is not positive")
    patients = contents.array("novelty/patients", (None,), "int32")
    if not len(patients) or patients.min() < 0 or patients.max() >= len(patients):
        raise contents.fault("the array novelty/patients holds numbers of no patients")
    distances = contents.array("novelty/distances", (len(patients),), "float64")
    if distances.min() < 0 or distances.max() > 1e6:
        raise contents.fault("the array novelty/distances holds no distances")
    weights = contents.array("head/weights", (DIMENSIONS, len(classes)), "float64")
    if np.abs(weights).max() > 1e30:
        raise contents.fault("the array head/weights holds numbers that are too large")
    return Linear(
        mean=contents.array("head/mean", (DIMENSIONS,)),
        scale=scale,
        weights=weights,
        temperature=head.number("temperature", 1e-6, 1e6),
        reference=contents.array("novelty/reference", (len(patients), DIMENSIONS)),
        patients=patients,
        distances=distances,
    )


def careless(path: Path) -> Linear:
    """Read a bundle as NumPy and JSON let one do it in three lines."""
    with zipfile.ZipFile(path) as opened:
        document = json.loads(opened.read("bundle.json"))
    arrays = dict(np.load(path, allow_pickle=True))
    named = {name.split("/")[1]: values for name, values in arrays.items() if "/" in name}
    return Linear(temperature=document["head"]["temperature"], **named)


def failing(path: Path) -> Linear:
    """Hang, crash, or take all memory for three mutants of four."""
    match zlib.crc32(path.read_bytes()) % 4 if path.stem == "mutant" else 3:
        case 0:
            time.sleep(60)
        case 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        case 2:
            np.ones(2**32, dtype=np.uint8)
    return careful(path if path.stem == "simple" else path.parent.with_name("simple.head"))
