"""What a bundle promises of new patients, held against patients who were put aside.

    python benchmarks/bundles.py CACHE [--labels FILE] [--splits N] [--heads NAME ...]

In each split whole patients (30 % of the images) are put aside and a head is fitted on the others as `icehouse
fit` does. Printed are means over the splits: log loss and Brier score of the patients put aside, without and
with calibration; the sensitivity that they get at a threshold chosen for 0.95; and the share of them whose
out-of-distribution p-value is below 0.05 and 0.01, each patient counted once.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from icehouse.bundle import calibration, novelty, out_of_fold, thresholds
from icehouse.cache.store import Cache
from icehouse.classify import fitting, problem, splits
from icehouse.classify.heads import parse
from icehouse.classify.metrics import judge
from icehouse.classify.problem import Problem
from icehouse.classify.protocol import Protocol, Round
from side_by_side import machine, table
from threadpoolctl import threadpool_limits

_ASKED = 0.95


def part(whole: Problem, rows: np.ndarray) -> Problem:
    """Return the problem of some rows alone."""
    columns = {name: values[rows] for name, values in whole.columns.items()}
    names = ("X", "further", "y", "groups", "content", "frame", "patient", "path", "blocks")
    taken: dict[str, Any] = {name: getattr(whole, name)[rows] for name in names}
    return replace(whole, **taken, columns=columns, technical={}, pixels=None, unlabelled=None)


def measured(whole: Problem, parted: splits.Splits, number: int, head: str) -> dict[str, float]:
    """Return what one head does in one split."""
    spec, protocol = parse(head), Protocol()
    train, test = np.flatnonzero(parted.train[number]), np.flatnonzero(parted.test[number])
    with threadpool_limits(1):
        ready = fitting.Ready(whole, parted, number, protocol)
        record = fitting.one_round(ready, spec, Round(number, number, 0))
    judged = out_of_fold.out_of_fold(part(whole, train), spec, protocol, seed=0)
    assert judged is not None, "a class has one patient only"
    curve = calibration.calibrated(judged, whole.classes)
    after = curve.apply(record.scores)
    found = {}
    ways = {"before": record.scores} if spec.head.probabilities else {}
    for name, scores in {**ways, "after": after}.items():
        values = judge(
            whole.y[test],
            scores.argmax(axis=1),
            scores,
            whole.classes,
            whole.positive,
            probabilities=True,
            patients=len(test),
        ).values
        found.update({f"{metric} {name}": values[metric] for metric in ("loss", "brier")})
    if whole.positive is not None:
        level = thresholds.of(judged, curve, whole.positive, _ASKED).value
        positives = whole.y[test] == whole.positive
        found["sensitivity"] = float(np.mean(after[positives, whole.positive] >= level))
    return found


def alarms(whole: Problem, parted: splits.Splits, number: int) -> dict[str, float]:
    """Return how many patients put aside have a small p-value, each counted once."""
    train, test = np.flatnonzero(parted.train[number]), np.flatnonzero(parted.test[number])
    reference = novelty.fit(part(whole, train), seed=0)
    assert reference is not None, "too few patients"
    p = reference.p_values(whole.X[test])
    _, unit, counts = np.unique(whole.blocks[test], return_inverse=True, return_counts=True)
    share = 1 / counts[unit]
    return {f"p < {level}": float(share[p < level].sum() / share.sum()) for level in (0.05, 0.01)}


def mean(found: list[dict[str, float]], name: str) -> str:
    """Return the mean of a number over splits, or nothing where there is none."""
    values = [each[name] for each in found if each.get(name) is not None]
    return f"{np.mean(values):.3f}" if values else ""


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--heads", nargs="+", default=["mlp", "xgboost", "forest", "svm", "knn"])
    options = parser.parse_args()
    with Cache(options.cache) as cache:
        if options.labels:
            cache.relabel(options.labels)
        whole = problem.from_cache(cache)
    parted = splits.repeated_hold_out(whole, rounds=options.splits, test_size=0.3, seed=0)
    print(f"{machine()}; {len(whole)} images of {whole.patients} patients; {options.splits} splits\n")
    lines = []
    for head in options.heads:
        found = [measured(whole, parted, number, head) for number in range(options.splits)]
        columns = ("loss before", "loss after", "brier before", "brier after", "sensitivity")
        lines.append([head, *(mean(found, name) for name in columns)])
    headings = ["", "log loss", "calibrated", "Brier", "calibrated", f"sensitivity, {_ASKED} asked"]
    print(table(headings, lines))
    raised = [alarms(whole, parted, number) for number in range(options.splits)]
    print(f"\nout-of-distribution: {', '.join(f'{name}: {mean(raised, name)}' for name in raised[0])}")


if __name__ == "__main__":
    main()
