"""The results of a run as one document, ready for JSON: what `icehouse classify --json` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .comparison import compare_heads
from .controls import controls
from .heads import Spec
from .problem import Problem
from .protocol import Protocol, Round
from .rolled import Rolled, document_by
from .runs import Record
from .scheduling import Stopped
from .splits import Splits, units
from .summary import summarize

_SHOWN = (
    "fingerprint",
    "layer",
    "splits",
    "seed",
    "views",
    "test_views",
    "grouped",
    "classes",
    "positive",
    "rows",
)
"""What the document takes over from the plan."""
_ASKED = ("folds", "repeats", "split_columns", "vary", "seeds", "balance", "validation", "reduce", "tune")


def document_of(
    problem: Problem,
    splits: Splits,
    specs: list[Spec],
    protocol: Protocol,
    schedule: list[Round],
    plan: dict[str, Any],
    records: dict[str, list[Record]],
    rolled: dict[str, list[Rolled]] | None,
    stopped: list[Stopped],
    out: Path | None,
) -> dict[str, Any]:
    """Return the results.

    Parameters
    ----------
    problem : Problem
    splits : Splits
    specs : list of Spec
    protocol : Protocol
    schedule : list of Round
    plan : dict
        Of the run.
    records : dict of str to list of Record
        The rounds of each head that has all of them, by number.
    rolled : dict of str to list of Rolled, or None
        The same rounds by unit.
    stopped : list of Stopped
        The heads whose time was over.
    out : Path or None
        The run folder.
    """
    counted = units(problem)
    seeded = {spec.text: spec.seeded for spec in specs}
    asked: dict[str, Any] = {"seed": protocol.seed, "aside": protocol.validation or 0.0}
    summaries = {
        head: summarize(problem, splits, rounds, counted, seeded=seeded[head], **asked)
        for head, rounds in records.items()
    }
    tested = splits.test.any(axis=0)
    return {
        "run": str(out) if out is not None else None,
        **{key: plan[key] for key in _SHOWN},
        "kind": splits.kind,
        "test_size": plan["test_size"],
        "asked": {key: plan[key] for key in _ASKED},
        "rounds": len(schedule),
        "round_names": _names(splits, schedule, protocol),
        "patients": problem.patients if np.any(problem.patient != "") else None,
        "tested": {"rows": int(tested.sum()), "patients": len(np.unique(counted[tested]))},
        "left_out": problem.left_out,
        "unlabelled": 0 if problem.unlabelled is None else len(problem.unlabelled.y),
        "notes": [*problem.notes, *splits.notes],
        "heads": {head: summary["metrics"] for head, summary in summaries.items()},
        "per_class": {head: summary["per_class"] for head, summary in summaries.items()},
        "spread": {head: summary["spread"] for head, summary in summaries.items()},
        "interval": next((summary["interval"] for summary in summaries.values()), None),
        "comparison": {
            "metric": protocol.metric,
            "pairs": compare_heads(problem, splits, records, counted, metric=protocol.metric, **asked),
        },
        "controls": _controls(problem, splits, specs, protocol, records, summaries, counted)
        if protocol.controls
        else None,
        "confusion": {head: _confusion(rounds) for head, rounds in records.items()},
        "by": None if rolled is None else document_by(problem, splits, specs, protocol, rolled),
        "history": {
            head: [record.history for record in rounds]
            for head, rounds in records.items()
            if any(record.history for record in rounds)
        },
        "tuned": {head: [record.tuned for record in rounds] for head, rounds in records.items()}
        if protocol.tune
        else None,
        "seconds": {
            head: round(sum(record.seconds for record in rounds), 3) for head, rounds in records.items()
        },
        "stopped": [stop._asdict() for stop in stopped],
    }


def _names(splits: Splits, schedule: list[Round], protocol: Protocol) -> list[str]:
    """Return what each round is called."""
    if protocol.vary == "seed":
        return [f"seed {round_.seed + 1}" for round_ in schedule]
    if protocol.seeds == 1:
        return [splits.names[round_.split] for round_ in schedule]
    return [f"{splits.names[round_.split]}, seed {round_.number % protocol.seeds + 1}" for round_ in schedule]


def _controls(
    problem: Problem,
    splits: Splits,
    specs: list[Spec],
    protocol: Protocol,
    records: dict[str, list[Record]],
    summaries: dict[str, dict[str, Any]],
    counted: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the controls, which compare what the heads found in each split."""
    found = {
        head: [_mean_of_split(rounds, split) for split in range(len(splits))]
        for head, rounds in records.items()
    }
    intervals = {
        head: (summary["metrics"]["balanced_accuracy"]["low"], summary["metrics"]["balanced_accuracy"]["high"])
        for head, summary in summaries.items()
    }
    return controls(
        problem,
        splits,
        protocol.request,
        specs,
        found,
        intervals,
        seed=protocol.seed,
        units=counted,
    )


def _mean_of_split(rounds: list[Record], split: int) -> float:
    """Return a head's balanced accuracy in a split, the mean over its seeds."""
    values = [record.judgement.values["balanced_accuracy"] for record in rounds if record.split == split]
    return float(np.mean([value for value in values if value is not None]))


def _confusion(rounds: list[Record]) -> dict[str, Any]:
    matrices = [record.judgement.confusion for record in rounds]
    return {"rounds": matrices, "sum": np.sum(matrices, axis=0).tolist()}
