"""Which rows of a problem are one unit (a patient, a study, …), and what is true of it: what `--by` asks for.

`patients` has the arithmetic; what the rows say together is `rolled`'s work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.samples import DONE, NOT_SELECTED
from ..cache.store import Cache
from .facts import PATIENT_LABEL
from .groups import numbered, tied
from .patients import labels_in, truths, units_of
from .problem import Problem
from .splits import Splits

PATIENT, PATH = "patient", "path"


@dataclass(frozen=True)
class By:
    """The units of a problem, u of them with a slice that is scored.

    Parameters
    ----------
    column : str
        What tells them: "patient", "path" or a column of the samples.
    names : ndarray of str, shape (u,)
        A slice without a patient's name (or another value of the column) is of the unit of its file.
    truth : ndarray of int, shape (u,)
        Index into the classes: the `patient_label` of the unit's slices, or else their label; negative where
        they disagree.
    of_row : ndarray of int, shape (n,)
        The unit of each labelled row.
    of_unlabelled : ndarray of int, shape (m,)
        The unit of each unlabelled row.
    blocks : ndarray of int, shape (u,)
        Units of one block share a patient or an image: what intervals count, and what is on one side.
    passed_over : ndarray of int, shape (u,)
        How many slices of each unit the selection of frames passed over.
    undecided : int
        How many further units with a label have no other slices than such.
    """

    column: str
    names: NDArray[np.str_]
    truth: NDArray[np.int64]
    of_row: NDArray[np.int64]
    of_unlabelled: NDArray[np.int64]
    blocks: NDArray[np.int64]
    passed_over: NDArray[np.int64]
    undecided: int

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of which rows are of which unit, and of what is true of it."""
        parts = (self.of_row, self.of_unlabelled, self.truth)
        return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def units_by(problem: Problem, cache: Cache, column: str) -> By:
    """Return the units that a column makes of a problem's rows.

    Parameters
    ----------
    problem : Problem
    cache : Cache
        Whose rows they are: it also knows the slices that were not selected.
    column : str

    Raises
    ------
    UsageError
        If there is no such column, or nobody knows a patient.
    ClassesError
        If the `patient_label` of a row is none of the classes.
    """
    samples, others = cache.samples, problem.unlabelled
    count = len(problem)
    values = _values(problem.columns, problem.patient, problem.path, column)
    further = None if others is None else _values(others.columns, others.patient, others.path, column)
    every = _values(samples.columns, samples.patient, samples.path, column)
    _check_known(values, further, every, column, sorted(problem.columns))
    parts = [part for part in (values, further, every) if part is not None]
    paths = [problem.path, *([] if others is None else [others.path]), samples.path]
    number, names = units_of(np.concatenate(parts), np.concatenate(paths))
    rows = number[: len(number) - len(samples)]
    units = int(rows.max()) + 1  # those of rows are numbered first

    said = np.char.strip(samples.columns.get(PATIENT_LABEL, np.full(len(samples), "")))
    own, labels = labels_in(said, problem.classes), labels_in(samples.label, problem.classes)
    truth = truths(number[len(rows) :], len(names), own, labels)
    _check_patient_labels(problem)

    held = np.bincount(cache.sample_of_row, minlength=len(samples))
    frames = np.where(samples.state == DONE, samples.frames, np.maximum(samples.frames, 1))
    passed = np.where(np.isin(samples.state, (DONE, NOT_SELECTED)), np.maximum(frames - held, 0), 0)
    passed_over = np.bincount(number[len(rows) :], passed, len(names)).astype(np.int64)
    with_vectors = np.bincount(number[len(rows) :], held, len(names)) > 0

    patient, content = problem.patient, problem.content
    if others is not None:
        patient, content = np.concatenate([patient, others.patient]), np.concatenate([content, others.content])
    blocks = joined(rows, tied(patient, content))
    return By(
        column=column,
        names=names[:units],
        truth=truth[:units],
        of_row=rows[:count],
        of_unlabelled=rows[count:],
        blocks=blocks[np.unique(rows, return_index=True)[1]],
        passed_over=passed_over[:units],
        undecided=int(np.sum(~with_vectors & (passed_over > 0) & (truth >= 0))),
    )


def _values(
    columns: Mapping[str, NDArray[np.str_]], patient: NDArray[np.str_], path: NDArray[np.str_], name: str
) -> NDArray[np.str_] | None:
    return {**columns, PATIENT: patient, PATH: path}.get(name)


def _check_known(
    values: NDArray[np.str_] | None,
    further: NDArray[np.str_] | None,
    every: NDArray[np.str_] | None,
    column: str,
    known: list[str],
) -> None:
    if values is None or every is None:
        names = ", ".join([PATIENT, PATH, *known])
        raise errors.UsageError(f"--by {column}: the samples have no such column; they have {names}.")
    if np.any(values != "") or (further is not None and np.any(further != "")):
        return
    if column == PATIENT:
        raise errors.UsageError(
            "--by patient: no patients are known. Add a column 'patient' to the manifest, or give it with "
            "--labels FILE; vectors are not computed again."
        )
    raise errors.UsageError(f"--by {column}: the column is blank in every row.")


def _check_patient_labels(problem: Problem) -> None:
    """Refuse a labelled row's `patient_label` that is no class; `facts` looks after unlabelled rows."""
    said = np.char.strip(problem.columns.get(PATIENT_LABEL, np.full(len(problem), "")))
    other = np.flatnonzero((said != "") & ~np.isin(said, problem.classes))
    if len(other):
        raise errors.ClassesError(
            f"The patient_label of {problem.path[other[0]]} is {str(said[other[0]])!r}, which is no class of "
            f"the labelled samples; there are {', '.join(problem.classes)}. Correct it, or leave it blank."
        )


def joined(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the sets of rows that are tied by a common number of either kind, directly or through others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    begin = int(first.max()) + 1
    nodes = begin + int(second.max()) + 1
    ends = (first, begin + second)
    graph = coo_array((np.ones(len(first), dtype=np.int8), ends), shape=(nodes, nodes))
    _, component = connected_components(graph, directed=False)
    return numbered(component[first])


def sides(by: By, splits: Splits) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which units are trained on and which tested in each split, both of shape (s, u)."""
    units = len(by.names)
    trained, tested = (np.zeros((len(splits), units), dtype=bool) for _ in range(2))
    for split in range(len(splits)):
        trained[split, by.of_row[splits.train[split]]] = True
        tested[split, by.of_row[splits.test[split]]] = True
        tested[split, by.of_unlabelled[splits.scored[split]]] = True
    return trained, tested


def check_sides(by: By, splits: Splits) -> None:
    """Refuse splits that no unit can be judged on.

    Raises
    ------
    UsageError
        If slices of one unit are on both sides of a split.
    ClassesError
        If a split tests no unit whose label is known.
    """
    trained, tested = sides(by, splits)
    both = np.argwhere(trained & tested)
    if len(both):
        split, unit = both[0]
        raise errors.UsageError(
            f"--by {by.column}: {str(by.names[unit])!r} is trained on and tested in split "
            f"{splits.names[split]!r}, so its slices are no answer to be judged by. Leave --by out, or choose "
            "a column, or splits, that keep such slices on one side."
        )
    without = np.flatnonzero(~(tested & (by.truth >= 0)).any(axis=1))
    if len(without):
        raise errors.ClassesError(
            f"--by {by.column}: split {splits.names[without[0]]!r} tests none whose slices have one label. "
            f"Give a column {PATIENT_LABEL}, or leave --by out."
        )
