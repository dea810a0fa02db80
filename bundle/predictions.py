"""Predictions as a table: a row for each frame that was scored, and for each sample that could not be.

Where the vectors come from is `scoring`'s affair; here is what follows from them, and the CSV file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import atomic
from .bundle import Bundle

UNDECIDED = "undecided"
NOBODY = -1
"""The class of a row that is undecided or was not scored."""

_UNLIKELY = 0.05

SCORED, NOT_SELECTED, FAILED = "scored", "not selected", "failed"


@dataclass(frozen=True)
class Answers:
    """What a bundle says of some vectors, in any order.

    Parameters
    ----------
    probabilities : ndarray of float64, shape (m, n_classes)
    ood : ndarray of float64, shape (m,)
        Out-of-distribution p-values; not a number where the bundle has no reference.
    seconds : ndarray of float64, shape (m,)
        What each took: reading, the network, the head.
    """

    probabilities: NDArray[np.float64]
    ood: NDArray[np.float64]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class Samples:
    """The samples that were looked at; every array has one element (or row) per sample.

    Parameters
    ----------
    path, patient, label : ndarray of str, shape (s,)
    content : ndarray of uint8, shape (s, 32)
        Zeros where a file could not be read.
    frames : ndarray of int, shape (s,)
        How many frames each file has; 1 where that is unknown.
    error : ndarray of str, shape (s,)
        Why a sample failed; empty where it did not.
    seconds : ndarray of float64, shape (s,)
        What looking at each took beside what its frames did.
    columns : dict of str to ndarray of str
        What else is known of them.
    """

    path: NDArray[np.str_]
    patient: NDArray[np.str_]
    label: NDArray[np.str_]
    content: NDArray[np.uint8]
    frames: NDArray[np.int64]
    error: NDArray[np.str_]
    seconds: NDArray[np.float64]
    columns: dict[str, NDArray[np.str_]]

    def __len__(self) -> int:
        return len(self.path)

    @property
    def images(self) -> NDArray[np.uint8]:
        """What tells images apart, shape (s, 32): contents, or a number each of files that were not read."""
        images = self.content.copy()
        unread = np.flatnonzero(~images.any(axis=1))
        images[unread, :8] = (unread + 1).astype(">u8").view(np.uint8).reshape(-1, 8)
        return images

    def column(self, name: str) -> NDArray[np.str_]:
        """Return the values of a column by which slices are rolled up.

        Raises
        ------
        UsageError
            If there is no such column, or it is empty.
        """
        known = {"patient": self.patient, "path": self.path, **self.columns}
        if name not in known:
            raise errors.UsageError(f"--by {name}: there is no such column; there are {', '.join(known)}.")
        if not np.any(known[name] != ""):
            raise errors.UsageError(
                f"--by {name}: no sample has one. Give it in a manifest's column {name!r}, or with --labels "
                "FILE."
            )
        return known[name]


@dataclass(frozen=True)
class Predictions:
    """What a bundle predicts; every array has one element (or row) per row of the table.

    Parameters
    ----------
    bundle : Bundle
    samples : Samples
    sample : ndarray of int, shape (n,)
        The sample of each row, ascending.
    frame : ndarray of int, shape (n,)
        Which frame of its file; 0 where it was not scored.
    state : ndarray of str, shape (n,)
        "scored", "not selected" or "failed".
    probabilities : ndarray of float64, shape (n, n_classes)
        Not a number where a row was not scored; so for the next two.
    ood, seconds : ndarray of float64, shape (n,)
    predicted : ndarray of int, shape (n,)
        Index of the class, -1 where undecided or not scored.
    in_training : ndarray of bool, shape (s,), or None
        Which samples are of images that were trained on; None where that cannot be known.
    threshold, reject : float or None
    notes : tuple of str
    """

    bundle: Bundle
    samples: Samples
    sample: NDArray[np.intp]
    frame: NDArray[np.int32]
    state: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    ood: NDArray[np.float64]
    seconds: NDArray[np.float64]
    predicted: NDArray[np.int64]
    in_training: NDArray[np.bool_] | None
    threshold: float | None
    reject: float | None
    notes: tuple[str, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.sample)

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Which rows have probabilities."""
        return np.asarray(self.state == SCORED)

    @property
    def unlikely(self) -> int | None:
        """How many rows have an out-of-distribution p-value below 0.05; None without a reference."""
        return None if self.bundle.novelty is None else int(np.sum(self.ood[self.scored] < _UNLIKELY))

    @property
    def failed(self) -> int:
        """How many samples failed."""
        return int(np.sum(self.samples.error != ""))

    def headings(self) -> list[str]:
        """Return the columns of the table."""
        frame = ["frame"] if np.any(self.samples.frames > 1) else []
        shares = [f"p_{name}" for name in self.bundle.classes]
        return ["path", *frame, "patient", "predicted", *shares, "ood", "in_training", "error"]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of the table; None stands for what is not known."""
        headings, samples, classes = self.headings(), self.samples, self.bundle.classes
        for row in range(len(self)):
            sample, scored = int(self.sample[row]), self.state[row] == SCORED
            shares = self.probabilities[row].tolist()
            decided = int(self.predicted[row])
            values = {
                "path": str(samples.path[sample]),
                "frame": int(self.frame[row]) if scored else None,
                "patient": str(samples.patient[sample]),
                "predicted": (UNDECIDED if decided == NOBODY else classes[decided]) if scored else None,
                **{f"p_{name}": shares[index] if scored else None for index, name in enumerate(classes)},
                "ood": float(self.ood[row]) if scored and not np.isnan(self.ood[row]) else None,
                "in_training": bool(self.in_training[sample])
                if self.in_training is not None and samples.content[sample].any()
                else None,
                "error": str(samples.error[sample]) if self.state[row] == FAILED else "",
            }
            if self.state[row] == NOT_SELECTED:
                values["error"] = NOT_SELECTED
            yield {name: values[name] for name in headings}


def predictions(
    bundle: Bundle,
    samples: Samples,
    rows: tuple[NDArray[np.intp], NDArray[np.int32], NDArray[np.intp]],
    answers: Answers,
    *,
    threshold: float | None,
    reject: float | None,
    anonymized: bool = False,
    notes: Sequence[str] = (),
) -> Predictions:
    """Return the table of predictions.

    Parameters
    ----------
    bundle : Bundle
    samples : Samples
    rows : tuple of three ndarray of int, shape (n,)
        Of each row the sample, the frame, and which of the answers is its own; -1 where it was not scored.
    answers : Answers
    threshold : float, optional
        In place of the bundle's.
    reject : float, optional
        Rows whose out-of-distribution p-value is below it stay undecided.
    anonymized : bool
        Whether the samples' contents are pseudonyms.
    notes : sequence of str

    Raises
    ------
    UsageError
        If the bundle has no such threshold or reference.
    """
    check(bundle, threshold=threshold, reject=reject)
    sample, frame, answer = rows
    scored = answer >= 0
    probabilities = np.full((len(sample), len(bundle.classes)), np.nan)
    ood, seconds = np.full((2, len(sample)), np.nan)
    probabilities[scored] = answers.probabilities[answer[scored]]
    ood[scored], seconds[scored] = answers.ood[answer[scored]], answers.seconds[answer[scored]]
    predicted = np.full(len(sample), NOBODY, dtype=np.int64)
    predicted[scored] = bundle.decide(probabilities[scored], threshold)
    if reject is not None:
        predicted[scored & (ood < reject)] = NOBODY
    failed = samples.error[sample] != ""
    return Predictions(
        bundle=bundle,
        samples=samples,
        sample=sample,
        frame=frame,
        state=np.where(scored, SCORED, np.where(failed, FAILED, NOT_SELECTED)),
        probabilities=probabilities,
        ood=ood,
        seconds=seconds,
        predicted=predicted,
        in_training=None if anonymized else bundle.training.has_images(samples.content),
        threshold=bundle.threshold if threshold is None else threshold,
        reject=reject,
        notes=tuple(notes),
    )


def check(bundle: Bundle, *, threshold: float | None, reject: float | None) -> None:
    """Raise `UsageError` for a threshold or a rejection that the bundle cannot have."""
    for name, value in (("--threshold", threshold), ("--reject", reject)):
        if value is not None and not 0 <= value <= 1:
            raise errors.UsageError(f"{name} is between 0 and 1, not {value:g}.")
    if threshold is not None and bundle.positive is None:
        raise errors.UsageError(
            f"A threshold is for two classes, and {bundle.path} has {len(bundle.classes)}: the most probable "
            "one is predicted."
        )
    if reject is not None and bundle.novelty is None:
        raise errors.UsageError(
            f"{bundle.path} has no out-of-distribution reference to reject by: leave out --reject."
        )


def write_rows(out: TextIO, headings: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a table as CSV: numbers with six digits, true and false in lower case, nothing for None."""
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headings)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in headings])


def write_csv(path: Path, headings: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a table to a file, all of it or nothing."""
    with (
        atomic.replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as out,
    ):
        write_rows(out, headings, rows)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)
