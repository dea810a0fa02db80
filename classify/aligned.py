"""Laying stored runs over one another: the rows they have in common, on identical splits, or a refusal.

Rows are matched by the image's content and the frame, never by their order or the cache's recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .groups import tied
from .metrics import judge
from .problem import Problem
from .runs import Record
from .splits import Splits
from .stored import StoredRun

Key = tuple[bytes, int, int]


@dataclass(frozen=True)
class Aligned:
    """What several runs have in common.

    Parameters
    ----------
    problem : Problem
        The common rows, without vectors.
    splits : Splits
    records : dict of (int, str) to list of Record
        By the run's number and the head, judged on the common rows.
    left_out : list of dict
        Of each image that some run lacks: "path", "rows", and "in", the runs that have it.
    """

    problem: Problem
    splits: Splits
    records: dict[tuple[int, str], list[Record]]
    left_out: list[dict[str, Any]]


def align(runs: list[StoredRun]) -> Aligned:
    """Return what runs have in common.

    Raises
    ------
    RunError
        If one is not finished, or they are not of the same splits: it names what differs.
    """
    records = [_records(run) for run in runs]
    for run, of_run in zip(runs[1:], records[1:], strict=True):
        _check_alike(runs[0], run, records[0], of_run)
    keys = [_keys(run) for run in runs]
    shared = [key for key in keys[0] if all(key in others for others in keys[1:])]
    if not shared:
        named = " and ".join(str(run.path) for run in runs)
        raise errors.RunError(f"{named} have no image in common, so that nothing can be compared.")
    rows = [np.array([own[key] for key in shared], dtype=np.intp) for own in keys]
    for run, own in zip(runs[1:], rows[1:], strict=True):
        _check_rows(runs[0], run, rows[0], own)
    problem, splits = _problem(runs[0], rows[0]), _splits(runs[0].splits, rows[0])
    judged = {
        (number, head): [_judged(record, own, problem, len(run.frame)) for record in rounds]
        for number, (run, own, of_run) in enumerate(zip(runs, rows, records, strict=True))
        for head, rounds in of_run.items()
    }
    return Aligned(problem, splits, judged, _left_out(runs, keys, set(shared)))


def _records(run: StoredRun) -> dict[str, list[Record]]:
    """Return the records of each head; raise unless the run is finished."""
    heads, rounds = run.plan["heads"], run.plan["rounds"]
    of_head: dict[str, list[Record]] = {head: [] for head in heads}
    for record in run.records():
        if not np.array_equal(record.rows, np.flatnonzero(run.splits.test[record.split])):
            raise errors.RunError(
                f"Round {record.number + 1} of {record.head} in {run.path} does not fit the run's splits. "
                "Repeat the run under another name."
            )
        of_head[record.head].append(record)
    missing = sum(max(0, rounds - len(found)) for found in of_head.values())
    if missing or not run.finished:
        raise errors.RunError(
            f"{run.path} is not finished: {missing} of its {rounds * len(heads)} rounds are missing. Repeat "
            f"its command, which goes on with them{', with --overwrite' if run.finished else ''}."
        )
    return of_head


def _check_alike(
    first: StoredRun, other: StoredRun, records: dict[str, list[Record]], others: dict[str, list[Record]]
) -> None:
    """Raise unless two runs ask the same question and have as many splits and rounds."""
    same_labels = "Run both on the same labels, with the same --positive."
    again = f"Repeat {other.path} with --splits {first.path}."
    for what, remedy, here, there in (
        ("Classes", same_labels, *(", ".join(run.plan["classes"]) for run in (first, other))),
        ("Positive class", same_labels, *(str(run.plan["positive"]) for run in (first, other))),
        ("Kind of splits", again, *(run.splits.kind for run in (first, other))),
        ("Number of splits", again, *(str(len(run.splits)) for run in (first, other))),
        ("Number of rounds", again, *(str(max(map(len, found.values()))) for found in (records, others))),
    ):
        if here != there:
            raise _unlike(first, other, what, here, there, remedy)


def _unlike(
    first: StoredRun, other: StoredRun, what: str, here: str, there: str, remedy: str
) -> errors.RunError:
    return errors.RunError(
        f"{first.path} and {other.path} cannot be compared. {what} in the first: {here}; in the second: "
        f"{there}. {remedy}"
    )


def _keys(run: StoredRun) -> dict[Key, int]:
    """Return the row of each image and frame that takes part; copies of an image are told apart by number."""
    part = np.flatnonzero((run.splits.train | run.splits.test).any(axis=0))
    order = sorted(
        part.tolist(), key=lambda row: (str(run.label[row]), str(run.patient[row]), str(run.file[row]), row)
    )
    copies: dict[tuple[bytes, int], int] = {}
    rows: dict[Key, int] = {}
    for row in order:
        image = run.content[row].tobytes(), int(run.frame[row])
        number = copies[image] = copies.get(image, -1) + 1
        rows[(*image, number)] = row
    return dict(sorted(rows.items(), key=lambda item: item[1]))


def _check_rows(first: StoredRun, other: StoredRun, a: NDArray[np.intp], b: NDArray[np.intp]) -> None:
    """Raise unless each common row has one label and one patient, and is on the same side of each split."""
    for what, here, there in (
        ("Label", first.label[a], other.label[b]),
        ("Patient", first.patient[a], other.patient[b]),
    ):
        if (unlike := here != there).any():
            row = int(unlike.argmax())
            one, two = (str(value) or "none" for value in (here[row], there[row]))
            remedy = "Run both on the same labels and patients."
            raise _unlike(first, other, f"{what} of {first.file[a[row]]}", one, two, remedy)
    sides = [
        run.splits.train[:, rows] + 2 * run.splits.test[:, rows].astype(np.int8)
        for run, rows in ((first, a), (other, b))
    ]
    if (unlike := sides[0] != sides[1]).any():
        split, row = map(int, np.unravel_index(unlike.argmax(), unlike.shape))
        one, two = (("out of the split", "trained on", "tested")[side[split, row]] for side in sides)
        what = f"Side of {first.file[a[row]]} in split {first.splits.names[split]!r}"
        raise _unlike(first, other, what, one, two, f"Repeat {other.path} with --splits {first.path}.")


def _problem(run: StoredRun, rows: NDArray[np.intp]) -> Problem:
    """Return the problem of some rows of a run, without vectors."""
    classes, positive = tuple(run.plan["classes"]), run.plan["positive"]
    patient, content = run.patient[rows], run.content[rows]
    blocks = tied(patient, content)
    return Problem(
        X=np.empty((len(rows), 0)),
        further=np.empty((len(rows), 0, 0)),
        y=np.searchsorted(classes, run.label[rows]).astype(np.int64),
        classes=classes,
        positive=None if positive is None else classes.index(positive),
        groups=blocks,
        grouped=bool(np.any(patient != "")),
        content=content,
        frame=run.frame[rows],
        patient=patient,
        path=run.file[rows],
        left_out={},
        layers=(),
        widths=(),
        blocks=blocks,
    )


def _splits(splits: Splits, rows: NDArray[np.intp]) -> Splits:
    train, test = splits.train[:, rows], splits.test[:, rows]
    for name, trained, tested in zip(splits.names, train, test, strict=True):
        if not trained.any() or not tested.any():
            raise errors.RunError(
                f"Split {name} {'tests' if trained.any() else 'trains on'} none of the {len(rows)} images that "
                "the runs have in common, so that nothing can be compared."
            )
    return Splits(splits.kind, splits.names, train, test, np.zeros((len(splits), 0), dtype=bool))


def _judged(record: Record, rows: NDArray[np.intp], problem: Problem, count: int) -> Record:
    """Return a record with the common rows alone, by their new numbers, and judged on them."""
    number = np.full(count, -1)
    number[rows] = np.arange(len(rows))
    kept = np.flatnonzero(number[record.rows] >= 0)
    kept = kept[np.argsort(number[record.rows][kept])]
    tested = number[record.rows][kept]
    judgement = judge(
        problem.y[tested],
        record.predicted[kept],
        record.scores[kept],
        problem.classes,
        problem.positive,
        probabilities=record.judgement.values["loss"] is not None,
        patients=len(np.unique(problem.blocks[tested])),
    )
    return replace(
        record,
        judgement=judgement,
        rows=tested,
        predicted=record.predicted[kept],
        scores=record.scores[kept],
    )


def _left_out(runs: list[StoredRun], keys: list[dict[Key, int]], shared: set[Key]) -> list[dict[str, Any]]:
    """Name each image of which a run lacks rows that another has."""
    found: dict[bytes, dict[str, Any]] = {}
    for run, own in zip(runs, keys, strict=True):
        for key, row in own.items():
            if key in shared:
                continue
            image = found.setdefault(key[0], {"path": str(run.file[row]), "keys": set(), "in": []})
            image["keys"].add(key)
            if str(run.path) not in image["in"]:
                image["in"].append(str(run.path))
    return [{"path": image["path"], "rows": len(image["keys"]), "in": image["in"]} for image in found.values()]
