"""Comparing heads, of one run or of several: differences on the same splits, their intervals and tests.

`aligned` lays the runs over one another and refuses what does not fit.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import intervals
from .aligned import align
from .measures import measure
from .metrics import METRICS
from .problem import Problem
from .runs import Record
from .splits import Splits
from .stored import StoredRun, read_run
from .summary import answers_of, defined_mean, split_means, summarize

PRIMARY = "balanced_accuracy"
"""The metric that is compared unless told."""

LEVEL = 0.05
"""A difference with a corrected p below it is called more than chance."""

_SPOKEN = {
    "npv": "NPV",
    "f1": "F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "mcc": "MCC",
    "brier": "Brier score",
    "ece": "expected calibration error",
}


def compare_heads(
    problem: Problem,
    splits: Splits,
    records_by_head: dict[str, list[Record]],
    units: NDArray[np.int64],
    metric: str = PRIMARY,
    seed: int = 0,
    aside: float = 0.0,
) -> list[dict[str, Any]]:
    """Return the difference of each pair of heads in one metric, and whether it may be chance.

    Over two splits or more it is tested by the corrected paired t-test (`intervals.corrected_t_test`), the
    seeds of a split averaged first; over one by the paired bootstrap over patients. Holm's correction is over
    all pairs. A round in which the metric is undefined for either head is left out for both.

    Parameters
    ----------
    problem : Problem
    splits : Splits
    records_by_head : dict of str to list of Record
        Every head on the same splits.
    units : ndarray of int, shape (n,)
        The number of the patient of each row, or of the image where no patients are known.
    metric : str
    seed : int
        Of the bootstrap.
    aside : float
        Share of the training parts that was put aside for validation, and so not trained on.

    Returns
    -------
    list of dict
        "a", "b", "difference" (a − b), "low", "high" (95 %), "p", "p_holm", "rounds" (how many it is of),
        "undefined" (how many were left out), "verdict" (a sentence). Where nothing can be said, numbers are
        None.

    Raises
    ------
    UsageError
        If there is no such metric.
    """
    check_metric(metric)
    several = len(splits) > 1
    overlap = intervals.tested_to_trained(splits.train, splits.test, units) / (1 - aside) if several else None
    pairs = []
    for a, b in itertools.combinations(records_by_head, 2):
        records = records_by_head[a], records_by_head[b]
        gone = {
            (record.split, record.seed)
            for record in itertools.chain(*records)
            if record.judgement.values[metric] is None
        }
        left = tuple([r for r in of_head if (r.split, r.seed) not in gone] for of_head in records)
        pair: dict[str, Any] = {"a": a, "b": b, **_difference(problem, left, units, metric, overlap, seed)}
        pairs.append({**pair, "rounds": len(left[0]), "undefined": len(gone)})
    tested = [pair for pair in pairs if pair["p"] is not None]
    for pair, corrected in zip(tested, intervals.holm([pair["p"] for pair in tested]), strict=True):
        pair["p_holm"] = corrected
    return [{**pair, "verdict": _verdict(pair, metric, len(tested))} for pair in pairs]


def check_metric(metric: str) -> None:
    """Raise `UsageError` unless there is such a metric."""
    if metric not in METRICS:
        near = difflib.get_close_matches(metric, METRICS, 1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}."
        raise errors.UsageError(f"There is no metric {metric!r}; {hint}")


def _difference(
    problem: Problem,
    records: tuple[list[Record], ...],
    units: NDArray[np.int64],
    metric: str,
    overlap: float | None,
    seed: int,
) -> dict[str, float | None]:
    """Return the difference, its interval and its p; `overlap` is None for a single split."""
    a, b = (
        split_means([r.judgement.values[metric] for r in of_head], [r.split for r in of_head])
        for of_head in records
    )
    differences = [a[split] - b[split] for split in sorted(a.keys() & b.keys())]
    found: dict[str, float | None] = dict.fromkeys(("difference", "low", "high", "p", "p_holm"))
    if differences:
        found["difference"] = float(np.mean(differences))
    if overlap is not None and len(differences) > 1:
        _, found["low"], found["high"], found["p"] = intervals.corrected_t_test(differences, overlap)
    elif overlap is None and differences:
        drawn = _drawn(problem, records, units, metric, seed)
        low, high = intervals.percentiles(drawn) or (differences[0], differences[0])
        found["low"], found["high"] = min(low, differences[0]), max(high, differences[0])
        found["p"] = intervals.bootstrap_p(drawn, differences[0])
    return found


def _drawn(
    problem: Problem,
    records: tuple[list[Record], ...],
    units: NDArray[np.int64],
    metric: str,
    seed: int,
) -> NDArray[np.float64]:
    """Return the bootstrap's draws of the difference of two heads on one test part, shape (draws,)."""
    rows = records[0][0].rows

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        a, b = (
            defined_mean(
                np.stack(
                    [measure(answers_of(problem, r), weights, [metric], False)[0][metric] for r in of_head]
                )
            )
            for of_head in records
        )
        return (a - b)[:, None]

    return intervals.bootstrap(statistic, units[rows], problem.y[rows], seed=seed)[:, 0]


def spoken(metric: str) -> str:
    """Return a metric's name as sentences have it."""
    return _SPOKEN.get(metric, metric.replace("_", " "))


def _verdict(pair: dict[str, Any], metric: str, pairs: int) -> str:
    name, a, b = spoken(metric), pair["a"], pair["b"]
    if pair["difference"] is None:
        return f"The {name} of {a} and of {b} are never defined in the same round."
    size = f"{abs(pair['difference']):.3f}"
    order = f"The {name} of {a} is {size} {'higher' if pair['difference'] > 0 else 'lower'} than that of {b}"
    if pair["p"] is None:
        return f"{order}, in the one split where both are defined: too little to tell whether that is chance."
    if pair["p_holm"] < LEVEL:
        return f"{order}, more than chance explains."
    if pair["p"] < LEVEL:
        return f"{order}, which may be chance once all {pairs} comparisons are counted."
    if pair["difference"] == 0:
        return f"The {name} of {a} and of {b} are the same."
    return f"{order}, which may be chance."


def compare_runs(paths: Sequence[Path | str], metric: str = PRIMARY) -> dict[str, Any]:
    """Compare every head of every run, on the images that all runs have and on identical splits.

    The metrics are computed again on those images. Recipes, layers and parameters may differ.

    Parameters
    ----------
    paths : sequence of Path or str
        Run folders; of a single one, the heads are compared.
    metric : str

    Returns
    -------
    dict
        JSON-ready: "metric"; "runs", of each its "path", "heads", "layer", "fingerprint" and "rows"; "kind",
        "splits" and "rounds" (of each head); "rows" and "patients" in common ("patients" None if unknown);
        "left_out", of each image that a run lacks its "path", its "rows" and the runs it is "in"; "heads", of
        each its "mean", "low" and "high" and where needed "defined" and "reason"; "pairs", as `compare_heads`
        has them; "interval", how the intervals of the means are made.

    Raises
    ------
    UsageError
        If there is no such metric, a run is named twice, or there is one head only.
    RunError
        If a run cannot be read or is not finished, or the runs are not of the same splits: it names what
        differs.
    """
    check_metric(metric)
    given = [Path(path) for path in paths]
    for first, second in itertools.combinations(given, 2):
        if first.resolve() == second.resolve():
            raise errors.UsageError(f"{first} and {second} are the same run. Name it once.")
    runs = [read_run(path) for path in given]
    if sum(len(run.plan["heads"]) for run in runs) < 2:
        raise errors.UsageError("There is one head only. Name a second run, or a run of several heads.")
    common = align(runs)
    by_place = labels_of(runs)
    by_label = {by_place[place]: records for place, records in common.records.items()}
    units = common.problem.blocks
    seed = runs[0].plan.get("seed", 0)
    aside = max(run.plan.get("validation") or 0.0 for run in runs)
    heads, how = {}, ""
    for label, records in by_label.items():
        summary = summarize(common.problem, common.splits, records, units, seed=seed, aside=aside)
        entry, how = summary["metrics"][metric], summary["interval"]
        kept = ("mean", "low", "high", "defined", "reason")
        heads[label] = {name: entry[name] for name in kept if name in entry}
    return {
        "metric": metric,
        "runs": [
            {
                "path": str(run.path),
                "heads": list(run.plan["heads"]),
                "layer": run.plan["layer"],
                "fingerprint": run.plan["fingerprint"],
                "rows": len(run.frame),
            }
            for run in runs
        ],
        "kind": common.splits.kind,
        "splits": len(common.splits),
        "rounds": max(map(len, by_label.values())),
        "rows": len(common.problem),
        "patients": common.problem.patients if common.problem.grouped else None,
        "left_out": common.left_out,
        "heads": heads,
        "pairs": compare_heads(common.problem, common.splits, by_label, units, metric, seed=seed, aside=aside),
        "interval": how,
    }


def labels_of(runs: Sequence[StoredRun]) -> dict[tuple[int, str], str]:
    """Return what each head of each run, by its number, is called: RUN/HEAD where there are several runs."""
    names = [run.path.resolve().name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.path) for run in runs]
    return {
        (number, head): head if len(runs) == 1 else f"{names[number]}/{head}"
        for number, run in enumerate(runs)
        for head in run.plan["heads"]
    }
