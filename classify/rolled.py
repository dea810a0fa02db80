"""What a head says of whole units: the scores of a round's slices put together, judged and summarized."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .by import By, sides
from .heads import Spec
from .measures import OF_PROBABILITIES
from .metrics import Judgement, judge
from .patients import SEVERAL_LABELS, UNDECIDED, RolledUp, roll_up
from .problem import Problem
from .protocol import Protocol
from .rules import Rule, parse
from .runs import Record
from .splits import Splits
from .summary import summarize

TABLE = ("head", "round", "unit", "label", "predicted", "score", "slices", "selected", "positive")


class Rolled(NamedTuple):
    """One head in one round, unit by unit.

    Parameters
    ----------
    rule : Rule
    units : ndarray of int, shape (k,)
        The tested units.
    answers : RolledUp
        Of each of them; `slices` counts those that were not selected too.
    record : Record
        The round of the units whose label is known and that are decided: its rows are units.
    """

    rule: Rule
    units: NDArray[np.int64]
    answers: RolledUp
    record: Record


def roll(
    problem: Problem, specs: list[Spec], protocol: Protocol, records: dict[str, list[Record]]
) -> dict[str, list[Rolled]]:
    """Return what the rounds of each head say of the units that they test.

    An unlabelled slice is of the class that it scores highest.
    """
    probabilities = {spec.text: spec.head.probabilities for spec in specs}
    return {
        head: [_rolled(problem, protocol, record, probabilities[head]) for record in rounds]
        for head, rounds in records.items()
    }


def _rolled(problem: Problem, protocol: Protocol, record: Record, probabilities: bool) -> Rolled:
    by = problem.by
    assert by is not None
    rule = parse(record.rule if record.rule is not None else str(protocol.rule))
    of = np.concatenate([by.of_row[record.rows], by.of_unlabelled[record.unlabelled]])
    units, unit = np.unique(of, return_inverse=True)
    decided = np.concatenate([record.predicted, record.unlabelled_scores.argmax(axis=1)])
    answers = roll_up(
        rule,
        unit,
        len(units),
        np.concatenate([record.scores, record.unlabelled_scores]),
        decided.astype(np.int64),
        np.ones(len(of), dtype=bool),
        positive=problem.positive,
    )
    answers = answers._replace(slices=answers.slices + by.passed_over[units])
    judged = (by.truth[units] >= 0) & (answers.predicted != UNDECIDED)
    rows = units[judged]
    unit_record = replace(
        record,
        judgement=_judgement(problem, by, rule, rows, answers, judged, probabilities),
        rows=rows,
        predicted=answers.predicted[judged],
        scores=answers.scores[judged],
        history=None,
        unlabelled=record.unlabelled[:0],
        unlabelled_scores=record.unlabelled_scores[:0],
    )
    return Rolled(rule, units, answers, unit_record)


def _judgement(
    problem: Problem,
    by: By,
    rule: Rule,
    rows: NDArray[np.int64],
    answers: RolledUp,
    judged: NDArray[np.bool_],
    probabilities: bool,
) -> Judgement:
    """Return how good the answers are; only a mean of probabilities is a probability."""
    judgement = judge(
        by.truth[rows],
        answers.predicted[judged],
        answers.scores[judged],
        problem.classes,
        problem.positive,
        probabilities=probabilities and rule.kind == "mean",
        patients=len(np.unique(by.blocks[rows])),
    )
    if probabilities and rule.kind != "mean":
        reason = f"by the rule {rule.kind} scores are no probabilities"
        reasons = {**judgement.reasons, **dict.fromkeys(OF_PROBABILITIES, reason)}
        judgement = replace(judgement, reasons=reasons)
    return judgement


def document_by(
    problem: Problem, splits: Splits, specs: list[Spec], protocol: Protocol, rolled: dict[str, list[Rolled]]
) -> dict[str, Any]:
    """Return the results by unit, ready for JSON: the section "by" of a run's document."""
    by = problem.by
    assert by is not None
    trained, tested = sides(by, splits)
    seeded = {spec.text: spec.seeded for spec in specs}
    whole = _of_units(problem, by)
    parted = replace(splits, train=trained, test=tested)
    summaries = {
        head: summarize(
            whole,
            parted,
            [each.record for each in rounds],
            by.blocks,
            seeded=seeded[head],
            seed=protocol.seed,
            aside=protocol.validation or 0.0,
        )
        for head, rounds in rolled.items()
    }
    taken = tested.any(axis=0)
    several = int(np.sum(taken & (by.truth == SEVERAL_LABELS)))
    return {
        "column": by.column,
        "rule": protocol.rule,
        "units": int(np.sum(taken & (by.truth >= 0))),
        "left_out": {"several labels": several} if several else {},
        "undecided": by.undecided,
        "heads": {head: summary["metrics"] for head, summary in summaries.items()},
        "per_class": {head: summary["per_class"] for head, summary in summaries.items()},
        "spread": {head: summary["spread"] for head, summary in summaries.items()},
        "interval": next((summary["interval"] for summary in summaries.values()), None),
        "confusion": {
            head: {
                "rounds": (matrices := [each.record.judgement.confusion for each in rounds]),
                "sum": np.sum(matrices, axis=0).tolist(),
            }
            for head, rounds in rolled.items()
        },
        "rules": {head: [each.rule.text for each in rounds] for head, rounds in rolled.items()},
    }


def _of_units(problem: Problem, by: By) -> Problem:
    """Return the problem whose rows are units, without vectors: what their summary is of."""
    units, others = len(by.names), problem.unlabelled
    of = np.concatenate([by.of_row, by.of_unlabelled])
    patient = problem.patient if others is None else np.concatenate([problem.patient, others.patient])
    first = np.unique(of, return_index=True)[1]
    return replace(
        problem,
        X=problem.X[:0],
        further=problem.further[:0],
        y=by.truth,
        groups=by.blocks,
        blocks=by.blocks,
        content=np.zeros((units, problem.content.shape[1]), dtype=np.uint8),
        frame=np.zeros(units, dtype=np.int32),
        patient=patient[first],
        path=by.names,
        columns={},
        technical={},
        pixels=None,
        unlabelled=None,
        by=None,
    )


def table_of(problem: Problem, rolled: dict[str, list[Rolled]], round_names: list[str]) -> str:
    """Return a row for each head, round and tested unit, as CSV with the header `TABLE`.

    The score is the positive class's, of more than two classes the predicted one's. The label of a unit whose
    slices have several is blank, and so are class and score of an undecided one.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TABLE)
    for head, rounds in rolled.items():
        for each in rounds:
            name = round_names[each.record.number]
            writer.writerows([head, name, *cells] for cells in _cells(problem, each))
    return text.getvalue()


def _cells(problem: Problem, rolled: Rolled) -> Iterator[list[str]]:
    by, classes = problem.by, (*problem.classes, "")
    assert by is not None
    for number, unit in enumerate(rolled.units.tolist()):
        predicted = int(rolled.answers.predicted[number])
        of = predicted if problem.positive is None else problem.positive
        score = "" if predicted == UNDECIDED else repr(float(rolled.answers.scores[number, of]))
        counts = (rolled.answers.slices, rolled.answers.selected, rolled.answers.positive)
        truth = int(by.truth[unit])
        yield [
            str(by.names[unit]),
            classes[truth if truth >= 0 else -1],
            classes[predicted],
            score,
            *(str(int(count[number])) for count in counts),
        ]
