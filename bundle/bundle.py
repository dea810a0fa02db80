"""The bundle: a fitted head with all that new images need to be scored as its training images were.

It is put together here from its parts, each in a module of its own; how it lies on disk is `archive`'s work,
and how one is fitted `fitting`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import atomic, layout
from ..cache.recipe import fingerprint
from . import archive, portable, preparation, provenance, thresholds, training
from .calibration import Calibration
from .contents import Contents
from .novelty import Novelty
from .out_of_fold import OutOfFold
from .portable import Scorer
from .preparation import Preparation
from .provenance import Provenance
from .thresholds import Threshold
from .training import Training

THRESHOLD = 0.5
"""The probability from which on the positive class of two is predicted, unless a sensitivity is asked for."""
MOST_CLASSES = 1000
"""Of an SVM each pair of them is asked."""
MOST_LAYERS = 100
_BLOCK = 1024
"""Rows that are scored at once."""


@dataclass(frozen=True)
class Bundle:
    """A fitted head, its classes, its recipe and where it comes from.

    Parameters
    ----------
    contents : Contents
        Everything below, as it is stored.
    classes : tuple of str
    positive : int or None
        Index of the positive class of two.
    layers : tuple of str
        Whose vectors it takes, one after another in each row.
    widths : tuple of int
        How many numbers each has.
    recipe : dict
        By which vectors must have been made.
    fingerprints : dict of str to str
        Of each layer.
    frames : str
        The rule by which the training frames were taken.
    canaries : dict of str to ndarray of float32, shape (3, d)
        Empty where the training cache had none.
    chosen : Threshold or None
        What a sensitivity that was asked for led to.
    preparation : Preparation
    scorer : Scorer
    calibration : Calibration or None
    novelty : Novelty or None
    out_of_fold : OutOfFold or None
    training : Training
    provenance : Provenance
    """

    contents: Contents
    classes: tuple[str, ...]
    positive: int | None
    layers: tuple[str, ...]
    widths: tuple[int, ...]
    recipe: dict[str, Any]
    fingerprints: dict[str, str]
    frames: str
    canaries: dict[str, NDArray[np.float32]]
    chosen: Threshold | None
    preparation: Preparation
    scorer: Scorer
    calibration: Calibration | None
    novelty: Novelty | None
    out_of_fold: OutOfFold | None
    training: Training
    provenance: Provenance

    @property
    def path(self) -> Path:
        """Where it was read from, or what a new one is called in messages."""
        return self.contents.path

    @property
    def threshold(self) -> float | None:
        """The probability from which on the positive class is predicted; None if no class is positive."""
        if self.positive is None:
            return None
        return THRESHOLD if self.chosen is None else self.chosen.value

    def threshold_for(self, sensitivity: float) -> Threshold:
        """Return the threshold at which this share of positives was found out of fold in training.

        Raises
        ------
        UsageError
            If it is no share, or no class is positive.
        BundleError
            If the bundle has no out-of-fold scores.
        """
        if self.positive is None:
            raise errors.UsageError(
                f"A sensitivity is that of the positive class of two, and {self.path} has {len(self.classes)} "
                "classes."
            )
        if self.out_of_fold is None:
            raise errors.BundleError(
                f"{self.path} has no out-of-fold scores to find a threshold by: name one with --threshold."
            )
        return thresholds.of(self.out_of_fold, self.calibration, self.positive, sensitivity)

    @property
    def positive_class(self) -> str | None:
        return None if self.positive is None else self.classes[self.positive]

    def scores(self, X: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return the probability of each class and the out-of-distribution p-value of vectors.

        Parameters
        ----------
        X : ndarray of float, shape (n, d)
            Transfer values by the bundle's recipe, its layers one after another.

        Returns
        -------
        probabilities : ndarray of float64, shape (n, n_classes)
        p_values : ndarray of float64, shape (n,), or None
            None where the bundle has no reference.

        Raises
        ------
        BundleDamaged
            If they are not probabilities, which no head that was fitted answers.
        """
        probabilities = np.empty((len(X), len(self.classes)))
        p_values = np.empty(len(X))
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            with np.errstate(all="ignore"):  # what is not finite is refused just below
                answers = self.scorer.scores(self._prepared(X[rows]))
                if self.calibration is not None:
                    answers = self.calibration.apply(answers)
                probabilities[rows] = answers
                if self.novelty is not None:
                    p_values[rows] = self.novelty.p_values(X[rows])
        if not (
            np.isfinite(probabilities).all() and np.all(probabilities >= 0) and np.all(p_values == p_values)
        ):
            raise self.contents.fault("it answers what is no probability")
        return probabilities, p_values if self.novelty is not None else None

    def margins(self, X: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """Return a number for each class that does not saturate, whatever the head, shape (n, n_classes).

        They are the head's own, before calibration: logits where it has such, margins of a support vector
        machine, logarithms of smoothed shares of votes. The higher above the others', the more speaks for a
        class.

        Parameters
        ----------
        X : ndarray of float, shape (n, d)
            As for `scores`.

        Raises
        ------
        BundleDamaged
            If they are no numbers.
        """
        margins = np.empty((len(X), len(self.classes)))
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            margins[rows] = self.scorer.margins(self._prepared(X[rows]))
        return margins

    def gradients(self, X: NDArray[np.floating[Any]], target: int) -> NDArray[np.float64]:
        """Return how a class's margin above the best other changes with each number of a vector, shape (n, d).

        Parameters
        ----------
        X : ndarray of float, shape (n, d)
            As for `scores`.
        target : int
            The class.

        Raises
        ------
        UsageError
            If the head has no gradient, as one of trees or neighbours; the message names those that have.
        BundleDamaged
            If they are no numbers.
        """
        gradients = np.empty(X.shape)
        for start in range(0, len(X), _BLOCK):
            rows = slice(start, start + _BLOCK)
            prepared = self._prepared(X[rows])
            others = self.scorer.margins(prepared)
            others[:, target] = -np.inf
            weights = np.zeros_like(others)
            weights[np.arange(len(others)), others.argmax(axis=1)] = -1
            weights[:, target] = 1
            gradients[rows] = self.preparation.back(self.scorer.gradients(prepared, weights))
        return gradients

    def _prepared(self, X: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        with np.errstate(all="ignore"):  # what is not finite is refused
            prepared = self.preparation.apply(X)
        if not np.isfinite(prepared).all():
            raise self.contents.fault("its preparation makes vectors infinite")
        return prepared

    def decide(self, probabilities: NDArray[np.float64], threshold: float | None = None) -> NDArray[np.int64]:
        """Return the class of each row, shape (n,): by the threshold of two classes, else the most probable."""
        level = self.threshold if threshold is None else threshold
        if self.positive is None or level is None:
            return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)
        reached = probabilities[:, self.positive] >= level
        return np.asarray(np.where(reached, self.positive, 1 - self.positive), dtype=np.int64)

    def save(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the bundle to a file, all of it or nothing.

        Raises
        ------
        OutputExists
            If the file exists and `overwrite` is not set.
        """
        free(path, overwrite=overwrite)
        archive.write(path, self.contents.document, self.contents.arrays)

    def as_dict(self) -> dict[str, Any]:
        """Return what `icehouse bundle info` shows, JSON-ready."""
        return {
            "bundle": str(self.path),
            "format_version": archive.FORMAT_VERSION,
            "classes": list(self.classes),
            "positive": self.positive_class,
            "threshold": {
                "value": self.threshold,
                "sensitivity": None if self.chosen is None else self.chosen.asked,
                "out_of_fold": None
                if self.chosen is None
                else {"sensitivity": self.chosen.sensitivity, "specificity": self.chosen.specificity},
            }
            if self.threshold is not None
            else None,
            "layers": list(self.layers),
            "dimensions": sum(self.widths),
            "recipe": self.recipe,
            "fingerprints": self.fingerprints,
            "frames": self.frames,
            "head": self.provenance.head,
            "calibration": self.calibration.kind if self.calibration is not None else None,
            "novelty": {"rows": len(self.novelty.reference), "dimensions": int(self.novelty.basis.shape[1])}
            if self.novelty is not None
            else None,
            "mean_map": self.contents.has_array("maps/mean"),
            "training": {name: value for name, value in self.training.stored()[0].items() if name != "mark"},
            "expected": self.provenance.expected,
            "made_with": self.provenance.made_with,
            "notes": self.provenance.notes,
        }


def load(path: Path) -> Bundle:
    """Return the bundle in a file; nothing in it can run.

    Raises
    ------
    BundleError
        If there is no such file.
    BundleDamaged
        If it is no bundle, damaged, altered or of a newer format.
    """
    return restored(archive.read(path))


def restored(contents: Contents) -> Bundle:
    """Return the bundle that contents make, every part of it checked.

    Raises
    ------
    BundleDamaged
    """
    classes = contents.texts("classes")
    if (
        not 2 <= len(classes) <= MOST_CLASSES
        or len(set(classes)) < len(classes)
        or any(layout.fault_of(name) for name in classes)
    ):
        raise contents.fault("classes are no list of two or more different names")
    positive = contents.text("positive", classes) if contents.has("positive") else None
    if positive is not None and len(classes) != 2:
        raise contents.fault(f"positive is {positive!r} of {len(classes)} classes")
    layers, widths = contents.texts("layers"), contents.wholes("widths", 1)
    distinct = 0 < len(set(layers)) == len(layers) <= MOST_LAYERS
    if not distinct or len(layers) != len(widths):
        raise contents.fault("layers and widths do not fit together")
    recipe = contents.plain("recipe")
    if not isinstance(recipe, dict):
        raise contents.fault("recipe is no object")
    canaries = {
        layer: contents.array(f"canary/{number}", (3, width))
        for number, (layer, width) in enumerate(zip(layers, widths, strict=True))
        if contents.has_array(f"canary/{number}")
    }
    if contents.has_array("maps/mean"):
        contents.array("maps/mean", (None, None, None))
    prepared = preparation.restored(contents, sum(widths))
    kind = contents.fields("head").text("kind")
    scorer = portable.restored(contents, kind, prepared.dimensions, len(classes))
    calibrated = Calibration.restored(contents, len(classes)) if contents.has("calibration") else None
    if calibrated is None and not scorer.probabilities:
        raise contents.fault(f"head {kind} has no probabilities, and there is no calibration")
    return Bundle(
        contents=contents,
        classes=classes,
        positive=None if positive is None else classes.index(positive),
        layers=layers,
        widths=widths,
        recipe=recipe,
        fingerprints={layer: fingerprint(recipe, layer) for layer in layers},
        frames=contents.text("frames"),
        canaries=canaries,
        chosen=Threshold.restored(contents) if contents.has("threshold") else None,
        preparation=prepared,
        scorer=scorer,
        calibration=calibrated,
        novelty=Novelty.restored(contents, sum(widths)) if contents.has("novelty") else None,
        out_of_fold=OutOfFold.restored(contents, len(classes)) if contents.has("out_of_fold") else None,
        training=training.restored(contents, classes),
        provenance=provenance.restored(contents),
    )


def free(path: Path, *, overwrite: bool, table: bool = False) -> None:
    """Raise unless a bundle, or a table of predictions, may be written at `path`.

    Nothing else is ever replaced: not the images, caches and bundles that predictions are made of.

    Raises
    ------
    UsageError
        If it is a folder or in none.
    OutputExists
        If it exists and `overwrite` is not set, or it holds something else.
    """
    if table:
        atomic.free(path, "table of predictions", _is_table, overwrite=overwrite)
    else:
        atomic.free(path, "bundle", archive.is_bundle, overwrite=overwrite)


def _is_table(path: Path) -> bool:
    """Tell whether a file begins as a table of predictions does."""
    with path.open("rb") as file:
        return b"predicted" in file.readline(65536).strip().split(b",")
