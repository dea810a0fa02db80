"""Predictions set beside the truth: which rows can be judged, by which units, and what was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..classify import patients
from ..classify.by import joined
from ..classify.facts import PATIENT_LABEL
from ..classify.groups import tied
from ..classify.measures import OF_PROBABILITIES
from .evaluation import evaluate
from .predictions import Predictions
from .rolled import Rolled

_NAMED = 3


@dataclass(frozen=True)
class Judged:
    """What is judged: frames, or what they were rolled up to.

    Parameters
    ----------
    truth, predicted : ndarray of int, shape (n,)
        The class; predicted is -1 where undecided.
    scores : ndarray of float, shape (n, n_classes)
    units : ndarray of int, shape (n,)
        The patient of each.
    samples : ndarray of int
        Every sample that has a part in it.
    probabilities : bool
        Whether the scores are probabilities.
    left_out : dict of str to int
        How many units could not be judged, by the reason.
    """

    truth: NDArray[np.int64]
    predicted: NDArray[np.int64]
    scores: NDArray[np.float64]
    units: NDArray[np.int64]
    samples: NDArray[np.intp]
    probabilities: bool
    left_out: dict[str, int]


def judge(
    predictions: Predictions,
    rolled: Rolled | None,
    *,
    prevalence: float | None = None,
    allow_training: bool = False,
    key_folders: Iterable[Path] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Return how good predictions are, JSON-ready: what `icehouse evaluate --json` prints.

    Parameters
    ----------
    predictions : Predictions
    rolled : Rolled or None
        The same, rolled up, if patients are to be judged.
    prevalence : float, optional
        At which precision and NPV are given too.
    allow_training : bool
        Judge although training images or patients are among the data.
    key_folders : iterable of Path
        Where the key of the training patients' hashes may lie.
    seed : int
        Of the bootstrap.

    Raises
    ------
    TrainingOverlap
        If training images or patients are among what is to be judged.
    ClassesError
        If not one labelled image of a known class was scored.
    """
    bundle, samples = predictions.bundle, predictions.samples
    label = patients.labels_in(samples.label, bundle.classes)
    notes = list(predictions.notes)
    judged = _of_frames(predictions, label) if rolled is None else _of_units(predictions, label, rolled)
    overlap, known = _overlap(predictions, judged.samples, key_folders, notes)
    if any(overlap.values()) and not allow_training:
        raise _refusal(predictions, judged.samples, overlap, known)
    if not np.any(judged.predicted >= 0):
        raise errors.ClassesError(
            f"There is nothing to judge: none of the {len(samples)} images has an answer and a label of "
            f"{bundle.path}'s classes, {', '.join(bundle.classes)}. Give labels by class folders, a manifest "
            "or --labels FILE."
        )
    unknown = Counter(name for name in samples.label.tolist() if name and name not in bundle.classes)
    return {
        "bundle": str(bundle.path),
        "samples": len(samples),
        "failed": predictions.failed,
        "unlabelled": int(np.sum(samples.label == "")),
        "unknown_labels": dict(sorted(unknown.items())),
        "not_selected": int(np.sum(predictions.state == "not selected")),
        "judged": len(judged.truth),
        "left_out": judged.left_out,
        "in_training": overlap,
        "classes": list(bundle.classes),
        "positive": bundle.positive_class,
        "threshold": predictions.threshold,
        "reject": predictions.reject,
        "by": rolled.column if rolled is not None else None,
        "rule": rolled.rule.text if rolled is not None else None,
        "ood_below_5_percent": predictions.unlikely,
        **_by_rule(
            rolled,
            evaluate(
                judged.truth,
                judged.predicted,
                judged.scores,
                judged.units,
                bundle.classes,
                bundle.positive,
                probabilities=judged.probabilities,
                prevalence=prevalence,
                seed=seed,
                counted="patients" if np.any(samples.patient != "") else "images",
            ),
        ),
        "notes": notes,
    }


def _by_rule(rolled: Rolled | None, numbers: dict[str, Any]) -> dict[str, Any]:
    """Return numbers in which it is the rule that gives no probabilities, and not the head."""
    if rolled is None or rolled.rule.kind == "mean":
        return numbers
    reason = f"the rule {rolled.rule.text} gives scores, not probabilities"
    for entry in (*(numbers[name] for name in OF_PROBABILITIES), numbers["calibration"]):
        entry["reason"] = reason
    return numbers


def _of_frames(predictions: Predictions, label: NDArray[np.int64]) -> Judged:
    truth, samples = label[predictions.sample], predictions.samples
    rows = np.flatnonzero(predictions.scored & (truth >= 0))
    sample = predictions.sample[rows]
    return Judged(
        truth[rows],
        predictions.predicted[rows],
        predictions.probabilities[rows],
        tied(samples.patient[sample], samples.content[sample]) if len(rows) else rows,
        np.unique(sample),
        True,
        {},
    )


def _of_units(predictions: Predictions, label: NDArray[np.int64], rolled: Rolled) -> Judged:
    """Return the units that have one label: their own, in a column patient_label, else that of their slices."""
    samples, count, number = predictions.samples, len(rolled), rolled.units.number
    own = samples.columns.get(PATIENT_LABEL, np.full(len(samples), ""))
    of_rows = (patients.labels_in(own, predictions.bundle.classes), label)
    truth = patients.truths(number, count, *(labels[predictions.sample] for labels in of_rows))
    units = np.flatnonzero(truth >= 0)
    patient = joined(number, tied(samples.patient, samples.images)[predictions.sample])
    left_out = {
        "without a label": int(np.sum(truth == patients.NO_LABEL)),
        "with several labels": int(np.sum(truth == patients.SEVERAL_LABELS)),
    }
    return Judged(
        truth[units],
        rolled.answer.predicted[units],
        rolled.answer.scores[units],
        patient[np.unique(number, return_index=True)[1]][units],
        np.unique(predictions.sample[np.isin(number, units)]),
        rolled.rule.kind == "mean",
        {reason: number for reason, number in left_out.items() if number},
    )


def _overlap(
    predictions: Predictions, sample: NDArray[np.intp], key_folders: Iterable[Path], notes: list[str]
) -> tuple[dict[str, int | None], list[str]]:
    """Return how many training images and patients are among samples, None if unknown, and which patients."""
    training, samples = predictions.bundle.training, predictions.samples
    found: dict[str, int | None] = {"images": None, "patients": None}
    if predictions.in_training is None:
        notes.append("Whether training images are among these cannot be known: one side is anonymized.")
    else:
        found["images"] = int(predictions.in_training[sample].sum())
    patient = samples.patient[sample]
    if not np.any(patient != "") or not training.counts.patients:
        return found, []
    key = training.key(key_folders)
    if not training.mark:
        notes.append(
            "Whether training patients are among these cannot be known: the bundle has no hashes of them, as "
            "its cache was anonymized, or came without the key of its patients' pseudonyms."
        )
    elif key is None:
        notes.append(
            "Whether training patients are among these cannot be known: the key that their hashes were made "
            "with (icehouse-patients.key beside the training cache) is not here."
        )
    else:
        known = np.unique(patient[training.has_patients(patient, key)]).tolist()
        found["patients"] = len(known)
        return found, known
    return found, []


def _refusal(
    predictions: Predictions, sample: NDArray[np.intp], overlap: dict[str, int | None], known: list[str]
) -> errors.TrainingOverlap:
    parts = []
    if overlap["images"] and predictions.in_training is not None:
        first = sample[int(np.argmax(predictions.in_training[sample]))]
        count = f"{overlap['images']} images were" if overlap["images"] > 1 else "1 image was"
        parts.append(f"{count} trained on, such as {predictions.samples.path[first]}")
    if known:
        count = f"{len(known)} patients were" if len(known) > 1 else "1 patient was"
        parts.append(f"{count} trained on, such as {', '.join(known[:_NAMED])}")
    return errors.TrainingOverlap(
        f"{'; '.join(parts)}. What a head has seen says nothing about what it will do: leave them out (an "
        "empty label in --labels FILE does), or judge all the same with --allow-training."
    )
