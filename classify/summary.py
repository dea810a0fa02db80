"""A head's rounds in numbers: means, spread, worst and best round, and an interval for each mean.

`metrics` judges one round, `intervals` has the arithmetic; which interval a number gets is decided here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import intervals
from .measures import PER_CLASS, Answers, measure
from .metrics import AIMS, LOWER_IS_BETTER, METRICS, WHY_UNDEFINED
from .problem import Problem
from .runs import Record
from .shares import Interval, Patients, limits
from .splits import Splits

Rounds = list[float | None]


def summarize(
    problem: Problem,
    splits: Splits,
    records: list[Record],
    units: NDArray[np.int64],
    *,
    seeded: bool = True,
    seed: int = 0,
    aside: float = 0.0,
) -> dict[str, Any]:
    """Return what the rounds of one head say together, as a JSON-ready document.

    Where a metric is undefined in some rounds, the others are summarized, `defined` says how many, and `reason`
    why. Standard deviations are the sample's (n − 1). The interval of 95 % is of the mean over splits, the
    seeds of a split averaged first: over two splits or more Student's t with the correction for rounds that
    share training data (`intervals.corrected_t`), the overlap counted in patients; over one the bootstrap over
    patients. It is widened to hold the Wilson interval of the patients who are tested in any split (see
    `shares.Patients`), and clipped to where the metric can lie.

    Parameters
    ----------
    problem : Problem
    splits : Splits
    records : list of Record
        In order of number.
    units : ndarray of int, shape (n,)
        The number of the patient of each row, or of the image where no patients are known.
    seeded : bool
        Whether the head's numbers depend on a seed.
    seed : int
        Of the bootstrap.
    aside : float
        Share of the training parts that was put aside for validation, and so not trained on.

    Returns
    -------
    dict
        "metrics": of each metric "mean", "std", "worst", "best", "low", "high" and "rounds", where needed
        "defined" and "reason"; "per_class": of each class and each of `measures.PER_CLASS` the same, and
        "support", the tested rows of each round; "spread": of each metric the standard deviation that the
        "split" and that the head's "seed" causes, None with a "reason" where it cannot be told; "interval": how
        the intervals are made, in a sentence.
    """
    of_splits = [record.split for record in records]
    tested = _tested(problem, records, units)
    drawn = _drawn(problem, records, units, seed) if len(set(of_splits)) == 1 else None
    ratio = intervals.tested_to_trained(splits.train, splits.test, units) / (1 - aside)
    per_class: dict[str, dict[str, Any]] = {}
    for index, label in enumerate(problem.classes):
        per_class[label] = {}
        for name in PER_CLASS:
            rounds = [record.judgement.per_class[label][name] for record in records]
            entry = _entry(name, rounds, f"{label} {WHY_UNDEFINED[name]}")
            interval = _interval(rounds, of_splits, ratio, drawn and drawn[1][name][:, index])
            floor = None if entry["mean"] is None else tested.of_class(name, entry["mean"], index)
            per_class[label][name] = _with_interval(entry, interval, floor, limits(name, 2))
        support = [record.judgement.per_class[label]["support"] for record in records]
        per_class[label]["support"] = {
            "mean": float(np.mean(np.array(support, dtype=float))),
            "rounds": support,
        }
    metrics = {}
    for name in METRICS:
        rounds = [record.judgement.values[name] for record in records]
        reasons = dict.fromkeys(record.judgement.reasons.get(name) for record in records)
        entry = _entry(name, rounds, "; ".join(reason for reason in reasons if reason))
        interval = _interval(rounds, of_splits, ratio, drawn and drawn[0][name])
        part = "sensitivity" if name == "balanced_accuracy" else name
        shares = [of_class[part]["mean"] for of_class in per_class.values()] if part in PER_CLASS else []
        floor = None if entry["mean"] is None else tested.floor(name, entry["mean"], shares, problem.positive)
        metrics[name] = _with_interval(entry, interval, floor, limits(name, len(problem.classes)))
    return {
        "metrics": metrics,
        "per_class": per_class,
        "spread": {name: _spread(metrics[name]["rounds"], of_splits, seeded) for name in METRICS},
        "interval": _sentence(len(set(of_splits)), ratio, tested.everyone, bool(np.any(problem.patient != ""))),
    }


def _entry(name: str, rounds: Rounds, reason: str) -> dict[str, Any]:
    defined = [value for value in rounds if value is not None]
    goodness = _goodness(name)
    entry: dict[str, Any] = {
        "mean": float(np.mean(defined)) if defined else None,
        "std": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
        "worst": min(defined, key=goodness) if defined else None,
        "best": max(defined, key=goodness) if defined else None,
        "low": None,
        "high": None,
        "rounds": rounds,
    }
    if len(defined) < len(rounds):
        entry["defined"] = len(defined)
        entry["reason"] = reason
    elif len(defined) == 1:
        entry["reason"] = "the standard deviation needs two rounds"
    return entry


def _goodness(name: str) -> Callable[[float], float]:
    if name in AIMS:
        return lambda value: -abs(value - AIMS[name])
    return (lambda value: -value) if name in LOWER_IS_BETTER else (lambda value: value)


def split_means(rounds: Sequence[float | None], of_splits: Sequence[int]) -> dict[int, float]:
    """Return the mean over the seeds of each split in which a metric is defined."""
    seeds: dict[int, list[float]] = {}
    for value, split in zip(rounds, of_splits, strict=True):
        if value is not None:
            seeds.setdefault(split, []).append(value)
    return {split: float(np.mean(values)) for split, values in seeds.items()}


def defined_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean over the first axis of what is not NaN."""
    known = ~np.isnan(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0.0).sum(axis=0)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _interval(
    rounds: Rounds, of_splits: list[int], ratio: float, drawn: NDArray[np.float64] | None
) -> Interval | None:
    """Return the interval of the mean; None where only one of several splits defines it."""
    means = list(split_means(rounds, of_splits).values())
    if drawn is not None:
        return intervals.percentiles(drawn) if means else None
    return intervals.corrected_t(means, ratio) if len(means) > 1 else None


def _with_interval(
    entry: dict[str, Any], interval: Interval | None, floor: Interval | None, limits: Interval
) -> dict[str, Any]:
    """Fill in the interval: widened to hold the mean and the floor, clipped to where the metric can lie."""
    if interval is not None:
        ends = [*interval, entry["mean"], *(floor or ())]
        entry["low"], entry["high"] = max(limits[0], min(ends)), min(limits[1], max(ends))
    elif entry["mean"] is not None:
        entry["reason"] = "; ".join(filter(None, [entry.get("reason"), "the interval needs a second split"]))
    return entry


def _drawn(
    problem: Problem, records: list[Record], units: NDArray[np.int64], seed: int
) -> tuple[dict[str, NDArray[np.float64]], dict[str, NDArray[np.float64]]]:
    """Return the bootstrap's draws of each metric, shape (draws,), and of each class's, shape (draws, c).

    All records are of one split; they are averaged in each draw.
    """
    names = [name for name in METRICS if any(record.judgement.values[name] is not None for record in records)]
    rows = records[0].rows
    count = len(problem.classes)

    def statistic(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        of_seeds = []
        for record in records:
            values, of_classes = measure(answers_of(problem, record), weights, names)
            of_seeds.append(np.column_stack([*values.values(), *(of_classes[name] for name in PER_CLASS)]))
        return defined_mean(np.stack(of_seeds))

    drawn = intervals.bootstrap(statistic, units[rows], problem.y[rows], seed=seed)
    values = {name: drawn[:, number] for number, name in enumerate(names)}
    of_classes = {
        name: drawn[:, len(names) + number * count :][:, :count] for number, name in enumerate(PER_CLASS)
    }
    return {name: values.get(name, np.full(len(drawn), np.nan)) for name in METRICS}, of_classes


def answers_of(problem: Problem, record: Record) -> Answers:
    """Return a record's answers with the truth."""
    probabilities = record.judgement.values["loss"] is not None
    return Answers(problem.y[record.rows], record.predicted, record.scores, problem.positive, probabilities)


def _tested(problem: Problem, records: list[Record], units: NDArray[np.int64]) -> Patients:
    """Return who was tested in any round."""
    _, numbers = np.unique(units, return_inverse=True)
    rows = np.concatenate([record.rows for record in records])
    return Patients(numbers[rows], problem.y[rows], np.concatenate([record.predicted for record in records]))


def _spread(rounds: Rounds, of_splits: list[int], seeded: bool) -> dict[str, Any]:
    """Return the standard deviations that splits and seeds cause, from one-way analysis of variance.

    S. R. Searle, G. Casella and C. E. McCulloch, Variance Components (1992), section 3.6; of splits with as
    many seeds each, as rounds have them.
    """
    by_split: dict[int, list[float]] = {}
    for value, split in zip(rounds, of_splits, strict=True):
        if value is not None:
            by_split.setdefault(split, []).append(value)
    groups = list(by_split.values())
    means = [float(np.mean(group)) for group in groups]
    between = float(np.var(means, ddof=1)) if len(means) > 1 else None
    if not seeded:
        reason = "this head has no seed: all its spread is the split's"
        return {"split": None if between is None else math.sqrt(between), "seed": None, "reason": reason}
    if not groups or min(map(len, groups)) < 2:
        reason = "split and seed are told apart with two seeds a split or more" if groups else "undefined"
        return {"split": None, "seed": None, "reason": reason}
    degrees = sum(len(group) - 1 for group in groups)
    within = sum(float(np.var(group, ddof=1)) * (len(group) - 1) for group in groups) / degrees
    if between is None:
        return {"split": None, "seed": math.sqrt(within), "reason": "one split has no spread between splits"}
    seeds = degrees / len(groups) + 1
    return {"split": math.sqrt(max(0.0, between - within / seeds)), "seed": math.sqrt(within)}


def _sentence(splits: int, ratio: float, tested: int, known: bool) -> str:
    who = "patients" if known else "images"
    if splits == 1:
        how = f"bootstrap of {intervals.DRAWS:,} draws over the {who} of the one test part, within classes"
    else:
        how = (
            f"Student's t over {splits} splits, its variance corrected for training parts that overlap "
            f"(× (1/{splits} + {ratio:.3g}), the ratio of tested to trained {who}; Nadeau and Bengio 2003)"
        )
    return (
        f"95 % intervals: {how}; no share's is narrower than the Wilson interval of the {tested} {who} tested."
    )
