"""How sure the metrics of external data are: each with an interval of patients, or the reason why it has none.

`classify.intervals` draws, `classify.shares` knows what so many patients allow; which of them a metric gets is
decided here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..classify import intervals
from ..classify.measures import PER_CLASS, Answers, measure
from ..classify.metrics import METRICS, WHY_UNDEFINED, Judgement, judge
from ..classify.shares import SHARES, Interval, Patients, limits, mean_interval

Floats = NDArray[np.float64]

FEW_PATIENTS = 10
"""With fewer patients of a class, draws from them say too little of those who were not there."""
_UNDEFINED_DRAWS = 0.05
"""What is undefined in a larger share of the draws gets no interval from the others."""
_OF_MIX = ("precision", "npv", "f1")
"""What says nothing where a class is alone or absent: all that is called so is then right, or all wrong."""


@dataclass(frozen=True)
class Certainty:
    """Answers on labelled rows, all of them decided, and what they say of patients like these.

    The interval of 95 % of a metric is that of a bootstrap over patients within classes. Of a share it is
    Wilson's with the bootstrap's variance (`share_interval`); that of a mean of sensitivities, which are of
    different patients, follows from theirs (`classify.shares.mean_interval`). Of anything else it is the draws'
    quantiles, widened to hold the least interval that so many patients allow (`classify.shares.Patients`) or,
    where there is none (loss, Brier score, calibration), moved outwards (`expanded`). So 51 right of 51 are no
    certainty. Where a metric concerns a class with under `FEW_PATIENTS`, a share has the interval of Clopper
    and Pearson, a mean of shares follows from theirs, and all else has none.

    Parameters
    ----------
    answers : Answers
    units : ndarray of int, shape (n,)
        The number of each row's patient, or of its image where no patients are known.
    classes : tuple of str
    counted : str
        What `units` are, for sentences.
    seed, draws : int
        Of the bootstrap.
    """

    answers: Answers
    units: NDArray[np.int64]
    classes: tuple[str, ...]
    counted: str
    seed: int
    draws: int

    @cached_property
    def tested(self) -> Patients:
        _, patient = np.unique(self.units, return_inverse=True)
        return Patients(patient, self.answers.truth, self.answers.predicted)

    @cached_property
    def of_each(self) -> list[int]:
        """How many patients each class has."""
        return [self.tested.patients(self.answers.is_class(index)) for index in range(len(self.classes))]

    @cached_property
    def drawn(self) -> tuple[dict[str, Floats], dict[str, Floats]]:
        """The draws of each metric, shape (draws,), and of each class's, shape (draws, c)."""
        defined = [name for name in METRICS if self._judgement.values[name] is not None]

        def statistic(weights: Floats) -> Floats:
            values, of_classes = measure(self.answers, weights, defined)
            return np.column_stack([*values.values(), *(of_classes[name] for name in PER_CLASS)])

        found = intervals.bootstrap(statistic, self.units, self.answers.truth, draws=self.draws, seed=self.seed)
        of_classes = np.split(found[:, len(defined) :], len(PER_CLASS), axis=1)
        values = {name: found[:, number] for number, name in enumerate(defined)}
        return values, dict(zip(PER_CLASS, of_classes, strict=True))

    @cached_property
    def _judgement(self) -> Judgement:
        answers = self.answers
        return judge(
            answers.truth,
            answers.predicted,
            answers.scores,
            self.classes,
            answers.positive,
            probabilities=answers.probabilities,
            patients=len(np.unique(self.units)),
        )

    @property
    def confusion(self) -> list[list[int]]:
        """Rows are true classes, columns predicted ones."""
        return self._judgement.confusion

    @cached_property
    def per_class(self) -> dict[str, dict[str, Any]]:
        """Of each class, each of `measures.PER_CLASS` with its interval, its "rows" and "patients"."""
        return {
            label: {
                **{name: self._of_class(name, index) for name in PER_CLASS},
                "rows": int(self.answers.is_class(index).sum()),
                "patients": self.of_each[index],
            }
            for index, label in enumerate(self.classes)
        }

    @property
    def metrics(self) -> dict[str, dict[str, Any]]:
        """Each of `metrics.METRICS` with its interval."""
        return {name: self._metric(name) for name in METRICS}

    def _of_class(self, name: str, index: int) -> dict[str, Any]:
        label, is_class = self.classes[index], self.answers.is_class(index)
        if name in _OF_MIX and (is_class.all() or not is_class.any()):
            return undefined(f"{label} {WHY_UNDEFINED['roc_auc']}")
        value = self._judgement.per_class[label][name]
        if value is None:
            return undefined(f"{label} {WHY_UNDEFINED[name]}")
        inside, outside = self.of_each[index], self.tested.patients(~is_class)
        concerned = min({"sensitivity": [inside], "specificity": [outside]}.get(name, [inside, outside]))
        if name in SHARES:
            of_rows = self.tested.denominator(name, index)
            if min(concerned, self.tested.patients(of_rows)) < FEW_PATIENTS:
                return entry(value, self.tested.exact(value, of_rows))
        if concerned < FEW_PATIENTS:
            return without_interval(value, self._few(index, outside))
        drawn = self.drawn[1][name][:, index]
        if name in SHARES:
            return self._share(value, drawn, concerned, self.tested.denominator(name, index))
        return self._from_draws(name, value, drawn, concerned, self.tested.of_class(name, value, index))

    def _metric(self, name: str) -> dict[str, Any]:
        positive = self.answers.positive
        if name in PER_CLASS and positive is not None:
            return dict(self.per_class[self.classes[positive]][name])
        value = self._judgement.values[name]
        if value is None:
            return undefined(self._judgement.reasons[name])
        part = "sensitivity" if name == "balanced_accuracy" else name
        of_classes = [self.per_class[label][part] for label in self.classes] if part in PER_CLASS else []
        if reasons := [of_class["reason"] for of_class in of_classes if of_class["value"] is None]:
            return undefined("; ".join(reasons))
        smallest = min(count for count in self.of_each if count)
        shares = [of_class["value"] for of_class in of_classes]
        if smallest < FEW_PATIENTS and name == "accuracy":
            return entry(value, self.tested.exact(value, np.ones(len(self.units), dtype=bool)))
        if part == "sensitivity" or (smallest < FEW_PATIENTS and part in SHARES):
            each = [(of_class["low"], of_class["high"]) for of_class in of_classes]
            return entry(value, mean_interval(shares, each))
        if smallest < FEW_PATIENTS:
            return without_interval(value, self._few())
        if name == "accuracy":
            return self._share(value, self.drawn[0][name], smallest, np.ones(len(self.units), dtype=bool))
        if name == "ece":
            return without_interval(
                value, "any draw of the same rows makes it larger, so that draws say nothing"
            )
        least = self.tested.floor(name, value, shares, positive)
        return self._from_draws(name, value, self.drawn[0][name], smallest, least)

    def _share(self, value: float, drawn: Floats, smallest: int, of_rows: NDArray[np.bool_]) -> dict[str, Any]:
        return entry(value, share_interval(value, drawn, smallest, self.tested.patients(of_rows)))

    def _from_draws(
        self, name: str, value: float, drawn: Floats, smallest: int, least: Interval | None
    ) -> dict[str, Any]:
        """Return a value with the interval of its draws, widened to the least one, clipped to what can be."""
        lost = int(np.isnan(drawn).sum())
        if lost > _UNDEFINED_DRAWS * len(drawn):
            return without_interval(value, f"undefined in {lost:,} of the bootstrap's {len(drawn):,} draws")
        if least is None and np.nanmin(drawn) == np.nanmax(drawn):
            return without_interval(value, "all draws are alike, as the head answers all rows alike")
        found = expanded(drawn, smallest) if least is None else intervals.percentiles(drawn)
        ends = [value, *(found or ()), *(least or ())]
        lowest, highest = limits(name, len(self.classes))
        return entry(value, (max(lowest, min(ends)), min(highest, max(ends))))

    def _few(self, index: int | None = None, outside: int = 0) -> str:
        """Say which class has too few patients for an interval: of all, or of one and the others."""
        if index is not None and len(self.classes) > 2 and self.of_each[index] >= FEW_PATIENTS:
            return f"an interval needs {FEW_PATIENTS} {self.counted} of other classes; there are {outside}"
        few = [
            f"{label} has {count}"
            for label, count in zip(self.classes, self.of_each, strict=True)
            if 0 < count < FEW_PATIENTS
        ]
        return f"an interval needs {FEW_PATIENTS} {self.counted} of each class; {', '.join(few)}"

    def sentence(self) -> str:
        """Say how the intervals are made."""
        present = [count for count in self.of_each if count]
        drawn = (
            f"bootstrap of {self.draws:,} draws over the {len(np.unique(self.units))} {self.counted}, within "
            f"classes; for shares Wilson's, of as many cases as its variance tells, at most the {self.counted}"
        )
        if min(present) >= FEW_PATIENTS:
            return f"95 % intervals: {drawn}."
        few = f"shares that concern a class with under {FEW_PATIENTS} {self.counted} have Clopper and Pearson's"
        more = f"; otherwise {drawn}" if max(present) >= FEW_PATIENTS else ""
        return f"95 % intervals: {few}, what is no share then has none{more}."


def share_interval(value: float, drawn: Floats, smallest: int, patients: int) -> Interval:
    """Return Wilson's interval of a share, with as many cases as have the variance of the bootstrap's draws.

    They are no more than the patients. E. L. Korn and B. I. Graubard, Confidence intervals for proportions with
    small expected number of positive counts estimated from survey data, Survey Methodology 24 (1998), who put
    such a number of cases into Clopper and Pearson's interval. Quantiles of the draws would say that nobody is
    ever missed where three of 51 were: one draw in twenty has none of the three.

    Parameters
    ----------
    value : float
    drawn : ndarray of float, shape (draws,)
    smallest : int
        Patients of the smallest class; of n patients, draws have (n − 1) / n of the variance.
    patients : int
        With a row that the share is of.
    """
    variance = float(np.nanvar(drawn)) * smallest / (smallest - 1)
    cases = value * (1 - value) / variance if variance > 0 else np.inf
    return intervals.wilson(value, min(cases, patients))


def expanded(drawn: Floats, patients: int) -> Interval:
    """Return the percentile interval of a bootstrap's draws, moved outwards for few patients.

    Draws from n patients vary less than patients do, by (n − 1) / n, and the normal distribution reaches less
    far than Student's t: T. C. Hesterberg, What teachers should know about the bootstrap, The American
    Statistician 69 (2015).
    """
    from scipy.special import ndtr, stdtrit

    reach = float(stdtrit(patients - 1, (1 + intervals.CONFIDENCE) / 2)) * np.sqrt(patients / (patients - 1))
    tail = float(ndtr(-reach))
    low, high = np.nanquantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def undefined(reason: str) -> dict[str, Any]:
    """Return the entry of a number that does not exist."""
    return {"value": None, "low": None, "high": None, "reason": reason}


def without_interval(value: float, reason: str) -> dict[str, Any]:
    """Return the entry of a number that has no interval."""
    return {"value": value, "low": None, "high": None, "reason": reason}


def entry(value: float, interval: Sequence[float]) -> dict[str, Any]:
    """Return the entry of a number with its interval."""
    return {"value": value, "low": float(interval[0]), "high": float(interval[1])}
