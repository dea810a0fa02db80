"""What a head answers for rows that it was not trained on: grouped cross-validation over a whole problem.

Calibration and thresholds are found on these answers, as a head is surer of its own training rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..classify.facts import PATIENT_LABEL
from ..classify.groups import numbered, table, tied
from ..classify.heads import Spec
from ..classify.patients import NO_LABEL, SEVERAL_LABELS, labels_in, truths
from ..classify.problem import Problem
from ..classify.protocol import Protocol
from ..classify.runs import Record
from ..classify.scheduling import Task, in_threads
from ..classify.splits import Splits, make
from .contents import Contents

FOLDS = 5


@dataclass(frozen=True)
class OutOfFold:
    """Answers for the n labelled rows of a problem, each by a head trained without its patient.

    Rows are in an order, and units are numbered in a way, that only who has the vectors can trace back.

    Parameters
    ----------
    folds : int
    probabilities : bool
        Whether the scores are probabilities, or merely rank.
    scores : ndarray of float32, shape (n, c)
    truth, predicted : ndarray of int32, shape (n,)
        Indices of classes.
    unit : ndarray of int32, shape (n,)
        The number of each row's patient, or of its image where patients are not known, from 0 on.
    further_scores : ndarray of float32, shape (m, c)
        Those of unlabelled rows of patients with a label of their own, which are never trained on.
    further_unit : ndarray of int32, shape (m,)
        Numbered as `unit`.
    unit_truth : ndarray of int32, shape (u,)
        What is true of each unit: its `patient_label`, else the class of its rows; negative where they
        disagree.
    """

    folds: int
    probabilities: bool
    scores: NDArray[np.float32]
    truth: NDArray[np.int32]
    predicted: NDArray[np.int32]
    unit: NDArray[np.int32]
    further_scores: NDArray[np.float32]
    further_unit: NDArray[np.int32]
    unit_truth: NDArray[np.int32]

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle keeps: a JSON object and arrays."""
        arrays = {f"out_of_fold/{name}": getattr(self, name) for name in _ARRAYS}
        return {"folds": self.folds, "probabilities": self.probabilities}, arrays

    @classmethod
    def restored(cls, contents: Contents, classes: int) -> OutOfFold:
        """Return what a bundle kept.

        Parameters
        ----------
        contents : Contents
        classes : int
            How many there are.

        Raises
        ------
        BundleDamaged
        """
        fields = contents.fields("out_of_fold")
        held: dict[str, NDArray[Any]] = {}
        for prefix in ("", "further_"):
            scores = contents.array(f"out_of_fold/{prefix}scores", (None, classes))
            held[f"{prefix}scores"] = scores
            for name in ("unit",) if prefix else ("truth", "unit", "predicted"):
                held[prefix + name] = contents.array(f"out_of_fold/{prefix}{name}", (len(scores),), "int32")
        rows = len(held["scores"]) + len(held["further_scores"])
        for name, values in held.items():
            most = 1.0 if name.endswith("scores") else rows if name.endswith("unit") else classes
            if name.endswith("scores") and not fields.truth("probabilities"):
                continue
            # Scores of 1 are fine, numbers of rows and classes end before their count.
            beyond = values > most + 1e-6 if name.endswith("scores") else values >= most
            if np.any(values < 0) or np.any(beyond):
                raise contents.fault(f"the array out_of_fold/{name} holds numbers out of range")
        units = 1 + max(int(held[name].max(initial=-1)) for name in ("unit", "further_unit"))
        held["unit_truth"] = contents.array("out_of_fold/unit_truth", (units,), "int32")
        if np.any(held["unit_truth"] >= classes) or np.any(held["unit_truth"] < SEVERAL_LABELS):
            raise contents.fault("the array out_of_fold/unit_truth holds numbers out of range")
        if not len(held["scores"]):
            raise contents.fault("the array out_of_fold/scores is empty")
        return cls(fields.whole("folds", low=2), fields.truth("probabilities"), **held)


_ARRAYS = (
    *("scores", "truth", "predicted", "unit"),
    *("further_scores", "further_unit", "unit_truth"),
)


def out_of_fold(
    problem: Problem,
    spec: Spec,
    protocol: Protocol,
    *,
    seed: int,
    note: Callable[[str], None] = lambda _: None,
) -> OutOfFold | None:
    """Return a head's answers for all rows of a problem, from a cross-validation that keeps patients whole.

    The head is fitted as the protocol says (reduced, tuned, weighed, on all views), in each of five folds, or
    in fewer where a class has fewer patients.

    Parameters
    ----------
    problem : Problem
    spec : Spec
    protocol : Protocol
        Its splits are not used.
    seed : int
        Decides folds and heads.
    note : callable
        Told why there are no answers.

    Returns
    -------
    OutOfFold or None
        None if a class has only one patient.

    Raises
    ------
    ClassesError, HeadError
        If the head cannot be fitted on a fold's training part, such as one with fewer vectors than components.
    """
    parted = _folds(problem, seed, note)
    if parted is None:
        return None
    own = replace(
        protocol,
        rounds=None,
        test_size=None,
        folds=len(parted),
        repeats=1,
        split_columns=(),
        reused=None,
        vary="both",
        seeds=1,
        seed=seed,
    )
    tasks = [Task(spec, round_) for round_ in own.schedule(len(parted))]
    records = sorted(in_threads(problem, parted, own, tasks), key=lambda record: record.number)
    return _gathered(problem, records, probabilities=spec.head.probabilities)


def _folds(problem: Problem, seed: int, note: Callable[[str], None]) -> Splits | None:
    groups = table(problem.groups, problem.content, problem.y, len(problem.classes)).groups_of_class
    fewest = int(np.argmin(groups))
    reason = f"class {problem.classes[fewest]!r} has only one patient or image"
    for count in range(min(FOLDS, int(groups[fewest])), 1, -1):
        try:
            return make(problem, Protocol(folds=count, seed=seed).request)
        except errors.ClassesError:  # patients of several classes: fewer folds may hold every class
            reason = "patients of several classes allow no folds with every class in each of them"
    note(
        f"The head's answers cannot be calibrated, nor a threshold be found, as {reason}: that takes rows that "
        "it was not trained on."
    )
    return None


def _gathered(problem: Problem, records: list[Record], *, probabilities: bool) -> OutOfFold:
    rows = np.concatenate([record.rows for record in records])
    scores = np.concatenate([record.scores for record in records]).astype(np.float32)
    predicted = np.concatenate([record.predicted for record in records])
    # What decides the order is known to none who has not the vectors.
    secret = hashlib.sha256(np.ascontiguousarray(problem.X).data).digest()
    generator = np.random.default_rng(list(secret))
    order = generator.permutation(len(rows))
    rows, scores, predicted = rows[order], scores[order], predicted[order]
    others = problem.unlabelled
    further_scores = np.zeros((0, scores.shape[1]), dtype=np.float32)
    further = np.zeros(0, dtype=np.int64)
    patient, content = problem.patient[rows], problem.content[rows]
    own = labels_in(problem.columns.get(PATIENT_LABEL, np.full(len(problem), ""))[rows], problem.classes)
    labels = problem.y[rows]
    if others is not None:
        further = np.concatenate([record.unlabelled for record in records])
        shuffled = generator.permutation(len(further))
        further = further[shuffled]
        further_scores = np.concatenate([record.unlabelled_scores for record in records])[shuffled]
        own = np.concatenate([own, others.y[further]])
        labels = np.concatenate([labels, np.full(len(further), NO_LABEL)])
        patient = np.concatenate([patient, others.patient[further]])
        content = np.concatenate([content, others.content[further]])
    unit = numbered(tied(patient, content)).astype(np.int32)
    return OutOfFold(
        folds=len(records),
        probabilities=probabilities,
        scores=scores,
        truth=problem.y[rows].astype(np.int32),
        predicted=predicted.astype(np.int32),
        unit=unit[: len(rows)],
        further_scores=further_scores.astype(np.float32),
        further_unit=unit[len(rows) :],
        unit_truth=truths(unit.astype(np.int64), int(unit.max()) + 1, own, labels).astype(np.int32),
    )
