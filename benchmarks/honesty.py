"""Whether the numbers are honest: what icehouse says of data in which there is nothing to find.

    python benchmarks/honesty.py [--repetitions N] [--heads HEAD …] [--without-intervals]

Each repetition draws 50 patients with two to six images each, vectors that tell whose image each is, and a
label for each patient by lot; then it does what a run does: splits, rounds, 95 % intervals, permuted labels.
Where patients are kept together, one interval in twenty may exclude chance ("t" is the corrected t interval as
it is; the one that is reported is never narrower than Wilson's, and excludes chance less often), one p-value in
twenty may be 0.05 or less, and no leak may be seen. Splits by image stand beside it for contrast, once in ten
repetitions: they find what is not there, and the permuted labels say so. A thousand repetitions take half an
hour on two cores.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np
from icehouse.classify import splits
from icehouse.classify.heads import Spec, parse_all
from icehouse.classify.kernels import gram
from icehouse.classify.permuted import permuted
from icehouse.classify.problem import Problem
from side_by_side import machine, table

PATIENTS, WIDTH = 50, 64
FEWEST = 5
"""Patients of a class, at least: fewer could not be tested in each of five folds."""
INTERVALS = {"balanced_accuracy": "balanced accuracy", "roc_auc": "ROC-AUC"}
PROTOCOLS = {
    "hold-out, 10 rounds": (splits.Request(rounds=10), True),
    "5 folds": (splits.Request(folds=5), True),
    "hold-out by image": (splits.Request(rounds=10), False),
}
QUICK = ("knn", "svm")
"""Heads whose labels are permuted; others would be judged by the nearest neighbour in their place."""

Finding = tuple[str, str, str, bool]
"""Protocol, head, what was looked at, and whether it found something."""


def noise(number: int) -> Problem:
    """Return a problem in which the label has nothing to do with the vectors."""
    generator = np.random.default_rng([number, 2026])
    label = generator.integers(0, 2, PATIENTS)
    while np.bincount(label, minlength=2).min() < FEWEST:
        label = generator.integers(0, 2, PATIENTS)
    owner = np.repeat(np.arange(PATIENTS), generator.integers(2, 7, PATIENTS))
    centres = generator.normal(size=(PATIENTS, WIDTH))
    X = (centres[owner] + 0.5 * generator.normal(size=(len(owner), WIDTH))).astype(np.float32)
    return Problem(
        X=X,
        further=np.empty((len(owner), 0, WIDTH), dtype=np.float32),
        y=label[owner],
        classes=("covid", "normal"),
        positive=0,
        groups=owner,
        grouped=True,
        content=generator.integers(0, 256, (len(owner), 32), dtype=np.uint8),
        frame=np.zeros(len(owner), dtype=np.int32),
        patient=owner.astype(str),
        path=np.arange(len(owner)).astype(str),
        left_out={},
        layers=("noise",),
        widths=(WIDTH,),
        blocks=owner,
    )


def repetition(number: int, heads: list[str], with_intervals: bool) -> list[Finding]:
    """Judge heads on one draw of noise."""
    from threadpoolctl import threadpool_limits

    drawn = noise(number)
    found: list[Finding] = []
    with threadpool_limits(limits=1):
        products = gram(drawn.X)
        for protocol, (request, by_patient) in PROTOCOLS.items():
            if not by_patient and number % 10:
                continue
            images = np.arange(len(drawn))
            problem = drawn if by_patient else replace(drawn, groups=images, grouped=False)
            asked = replace(request, seed=number)
            parted = splits.make(problem, asked)
            for spec in parse_all(heads):
                if with_intervals:
                    found += _intervals(problem, parted, spec, protocol)
                if spec.head.name in QUICK:
                    result = permuted(problem, parted, asked, [spec], products, seed=number)
                    found.append((protocol, spec.text, "p ≤ 0.05", result["p"] <= 0.05))
                    found.append((protocol, spec.text, "leak seen", result["alarm"]))
    return found


def _intervals(problem: Problem, parted: splits.Splits, spec: Spec, protocol: str) -> list[Finding]:
    """Say for each metric whether its 95 % interval excludes chance, without and with Wilson's beneath it."""
    from icehouse.classify.fitting import Ready, one_round
    from icehouse.classify.intervals import corrected_t, tested_to_trained
    from icehouse.classify.protocol import Protocol, Round
    from icehouse.classify.summary import summarize

    records = [
        one_round(Ready(problem, parted, number, Protocol()), spec, Round(number, number, number))
        for number in range(len(parted))
    ]
    metrics: dict[str, dict[str, Any]] = summarize(problem, parted, records, problem.blocks)["metrics"]
    ratio = tested_to_trained(parted.train, parted.test, problem.blocks)
    found = []
    for name, title in INTERVALS.items():
        entry = metrics[name]
        for what, (low, high) in (
            (f"{title}, t", corrected_t(entry["rounds"], ratio)),
            (title, (entry["low"], entry["high"])),
        ):
            found.append((protocol, spec.text, what, not low <= 0.5 <= high))
    return found


def share(found: list[bool]) -> str:
    """Return a share with its 95 % interval (Wilson's)."""
    from icehouse.classify.intervals import wilson

    low, high = wilson(float(np.mean(found)), len(found))
    return f"{np.mean(found):.1%} ({low:.1%}–{high:.1%})"


def main() -> None:
    """Print the table."""
    from joblib import Parallel, cpu_count, delayed

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--heads", nargs="+", default=list(QUICK))
    parser.add_argument("--without-intervals", action="store_true", help="permuted labels only")
    options = parser.parse_args()
    started = time.perf_counter()
    results = Parallel(n_jobs=cpu_count())(
        delayed(repetition)(number, options.heads, not options.without_intervals)
        for number in range(options.repetitions)
    )
    found: dict[tuple[str, str, str], list[bool]] = {}
    for protocol, head, what, wrong in (finding for result in results for finding in result):
        found.setdefault((protocol, head, what), []).append(wrong)
    columns = list(dict.fromkeys(what for _, _, what in found))
    lines = list(dict.fromkeys((protocol, head) for protocol, head, _ in found))
    rows = [
        [*line, *(share(found[*line, what]) if (*line, what) in found else "–" for what in columns)]
        for line in lines
    ]
    print(machine())
    print(f"\n{options.repetitions} draws of noise, {time.perf_counter() - started:.0f} s\n")
    titles = [what if what in ("p ≤ 0.05", "leak seen") else f"{what} excludes 0.5" for what in columns]
    print(table(["splits", "head", *titles], rows))


if __name__ == "__main__":
    main()
