"""Controls: what a run's scores must be held against before they are believed.

The share of the largest class, labels permuted between patients, a head on 16×16 pixels, and whether the
vectors tell where an image comes from. Each ends in one sentence, and in an alarm where that sentence casts
doubt on the scores. All scores here are balanced accuracies, of which chance is one in the number of classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .heads import Spec, parse
from .kernels import balanced_accuracy, gram, reduced
from .origins import origins
from .permuted import permuted
from .problem import Problem
from .splits import Request, Splits

_STEPS = 3
_PIXEL_SPLITS = 10
_AS_GOOD = 0.03
"""How much better than pixels a head may be and yet about as good, where chance could explain the rest."""


def controls(
    problem: Problem,
    splits: Splits,
    request: Request,
    specs: list[Spec],
    heads: Mapping[str, Sequence[float | None]],
    intervals: Mapping[str, tuple[float | None, float | None]],
    *,
    seed: int,
    units: NDArray[np.int64],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Return the controls of a run as a JSON-ready document.

    Above 2,500 rows all but the first look at so many, drawn by patient (`kernels.reduced`). Everything is
    computed on one thread, so that no number depends on how many there are.

    Parameters
    ----------
    problem : Problem
    splits : Splits
    request : Request
        How the splits were asked for.
    specs : list of Spec
        The heads of the run.
    heads : mapping of str to sequence of float
        What the run found: each head's balanced accuracy in each split, the mean over its seeds; None or NaN
        where undefined.
    intervals : mapping of str to (float, float)
        The 95 % interval of each head's mean, as the run reports it.
    seed : int
        The same seed gives the same document.
    units : ndarray of int, shape (n,)
        The number of each row's patient, or of its image if no patient is known: what is counted.
    progress : callable
        Called with the controls done and their number.

    Returns
    -------
    dict
        majority, permuted, pixels: each a dict with its numbers, alarm (bool) and verdict (a sentence); origin:
        a list of such, one for each column; skipped: the columns that were passed over, with the reason; rows:
        how many were looked at; alarm: whether any of them is raised.
    """
    import scipy.linalg  # noqa: F401  (only the thread pools of libraries that are loaded can be limited)
    import sklearn.svm  # noqa: F401
    from threadpoolctl import threadpool_limits

    best = _best(problem, heads, intervals)
    few, few_splits, few_units = reduced(problem, splits, units, seed)
    with threadpool_limits(limits=1):
        products = gram(few.X)
        document: dict[str, Any] = {"majority": majority(problem, splits, best)}
        document["permuted"] = permuted(few, few_splits, request, specs, products, seed=seed)
        progress(1, _STEPS)
        document["pixels"] = pixels(few, few_splits, best, few_units, seed=seed, all_rows=few is problem)
        progress(2, _STEPS)
        own = (
            splits.names if splits.kind == "columns" else ()
        )  # columns that are splits, of this run or another
        probed, skipped = origins(few, few_units, specs, products, without=own, seed=seed)
        progress(_STEPS, _STEPS)
    document |= {"origin": probed, "skipped": skipped, "rows": len(few)}
    if len(few) < len(problem):
        note = f" (On {len(few)} of {len(problem)} images, drawn by patient.)"
        for one in (document["permuted"], document["pixels"], *probed):
            one["verdict"] += note
    alarms = [one["alarm"] for one in (*(document[key] for key in _SINGLE), *probed)]
    return document | {"alarm": any(alarms)}


_SINGLE = ("majority", "permuted", "pixels")


@dataclass(frozen=True)
class Best:
    """The head of a run with the highest mean balanced accuracy.

    Parameters
    ----------
    name : str
    of_splits : ndarray of float, shape (s,)
        NaN where undefined.
    low, high : float
        The 95 % interval of the mean.
    better : bool
        Whether that interval lies above chance.
    """

    name: str
    of_splits: NDArray[np.float64]
    low: float
    high: float
    better: bool

    @property
    def mean(self) -> float:
        return float(np.nanmean(self.of_splits))

    @property
    def says(self) -> str:
        """The head and its score with the interval, for a sentence."""
        return f"{self.name} reaches {self.mean:.2f} (95 % interval {self.low:.2f} to {self.high:.2f})"


def _best(
    problem: Problem,
    heads: Mapping[str, Sequence[float | None]],
    intervals: Mapping[str, tuple[float | None, float | None]],
) -> Best | None:
    """Return the best head, None if no head has a score in any split."""
    scores = {
        name: np.array([math.nan if value is None else value for value in values], dtype=np.float64)
        for name, values in heads.items()
    }
    scores = {name: values for name, values in scores.items() if np.isfinite(values).any()}
    if not scores:
        return None
    name = max(scores, key=lambda head: float(np.nanmean(scores[head])))
    low, high = intervals[name]
    low, high = low if low is not None else 0.0, high if high is not None else 1.0
    return Best(name, scores[name], low, high, low > 1 / len(problem.classes))


def _interval(
    problem: Problem, splits: Splits, scores: NDArray[np.float64], units: NDArray[np.int64]
) -> tuple[float, float]:
    """Return the 95 % interval of a mean balanced accuracy: of overlapping splits, or of the patients of one.

    It is never narrower than the classes' Wilson intervals on the patients tested, combined in quadrature.
    """
    from .intervals import corrected_t, tested_to_trained, wilson

    known = scores[np.isfinite(scores)]
    mean, count = float(known.mean()), len(problem.classes)
    tested = splits.test.any(axis=0)
    patients = [len(np.unique(units[tested & (problem.y == label)])) for label in range(count)]
    of_classes = [wilson(mean, number) for number in patients]
    below = math.hypot(*(mean - low for low, _ in of_classes)) / count
    above = math.hypot(*(high - mean for _, high in of_classes)) / count
    ends = [mean - below, mean + above]
    if len(known) > 1:
        ends += corrected_t(known, tested_to_trained(splits.train, splits.test, units))
    return max(0.0, min(ends)), min(1.0, max(ends))


def majority(problem: Problem, splits: Splits, best: Best | None) -> dict[str, Any]:
    """Compare the best head with always answering the class that is the most frequent in training.

    Returns
    -------
    dict
        class, accuracy and balanced_accuracy of that answer; head, its mean, low and high; alarm if its
        interval holds chance; verdict.
    """
    chance = 1 / len(problem.classes)
    labels = range(len(problem.classes))
    answers = [
        int(np.argmax([np.sum(problem.y[train] == label) for label in labels])) for train in splits.train
    ]
    shares = [float(np.mean(problem.y[test] == x)) for x, test in zip(answers, splits.test, strict=True)]
    name, share = problem.classes[max(labels, key=answers.count)], float(np.mean(shares))
    common = {"class": name, "accuracy": share, "balanced_accuracy": chance}
    opening = f"Always answering {name} is right for {share:.0%} of the tested images, a balanced accuracy of"
    opening = opening.replace("%", " %") + f" {chance:.2f}"
    if best is None:
        return {**common, "alarm": False, "verdict": f"{opening}; no head has a score to compare."}
    verdict = f"{opening}; {best.says}, " + (
        "which is better." if best.better else "which cannot be told from that."
    )
    found = {"head": best.name, "mean": best.mean, "low": best.low, "high": best.high}
    return {**common, **found, "alarm": not best.better, "verdict": verdict}


def pixels(
    problem: Problem,
    splits: Splits,
    best: Best | None,
    units: NDArray[np.int64],
    *,
    seed: int,
    all_rows: bool = True,
) -> dict[str, Any]:
    """Compare the best head with an SVM (RBF) on each image's 16×16 grey values, on the run's own splits.

    At most ten splits are taken; the difference is judged by the corrected paired t-test. Where only some of
    the run's rows are looked at, an SVM on their vectors takes the best head's place, which has seen more.

    Returns
    -------
    dict
        mean, low, high and rounds of the SVM; head, difference (best − pixels), difference_low, difference_high
        and p; alarm if the pixels are better than chance and the difference may be nothing; verdict. Only the
        last two where it could not be tried.
    """
    if problem.pixels is None:
        return _untried("the cache does not keep them")
    if (problem.pixels == problem.pixels[0]).all():
        return _untried("those in the cache are the same for every image")
    if best is None:
        return _untried("no head has a score to compare")
    numbers = np.flatnonzero(np.isfinite(best.of_splits))[:_PIXEL_SPLITS]
    scores = _svm_scores(problem, splits, problem.pixels, numbers, seed)
    name, others = best.name, best.of_splits
    if not all_rows:
        name, others = "an SVM on the vectors", _svm_scores(problem, splits, problem.X, numbers, seed)
    used = np.isfinite(scores)
    if not used.any():
        return _untried("no split has every class on both sides")
    taken = replace(splits, train=splits.train[used], test=splits.test[used])
    low, high = _interval(problem, taken, scores[used], units)
    found = {
        "mean": float(scores[used].mean()),
        "low": low,
        "high": high,
        "rounds": scores[used].tolist(),
        "head": name,
        **_difference(problem, taken, others[used], scores[used], units),
    }
    return found | _judge_pixels(found, 1 / len(problem.classes))


def _svm_scores(
    problem: Problem, splits: Splits, X: NDArray[Any], numbers: NDArray[np.intp], seed: int
) -> NDArray[np.float64]:
    """Return the balanced accuracy of an SVM in some of the splits; NaN in the others."""
    scores = np.full(len(splits), np.nan)
    for number in numbers.tolist():
        train, test = (np.flatnonzero(side[number]) for side in (splits.train, splits.test))
        if all(len(np.unique(problem.y[side])) == len(problem.classes) for side in (train, test)):
            machine = parse("svm").build(seed).fit(X[train].astype(np.float32), problem.y[train])
            answers = machine.predict(X[test].astype(np.float32))
            scores[number] = balanced_accuracy(problem.y[test], np.asarray(answers))
    return scores


def _untried(reason: str) -> dict[str, Any]:
    return {"alarm": False, "verdict": f"A head on 16×16 pixels could not be tried: {reason}."}


def _difference(
    problem: Problem,
    splits: Splits,
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    units: NDArray[np.int64],
) -> dict[str, Any]:
    """Return the mean difference of two heads on the same splits, its 95 % interval, and p.

    Of one split, the intervals of both are combined as if the patients were others: wider than need be, and
    without a p.
    """
    from .intervals import corrected_t_test, tested_to_trained

    if len(first) > 1:
        ratio = tested_to_trained(splits.train, splits.test, units)
        difference, low, high, p = corrected_t_test(first - second, ratio)
        return {"difference": difference, "difference_low": low, "difference_high": high, "p": p}
    difference = float(first[0] - second[0])
    (low_1, high_1), (low_2, high_2) = (_interval(problem, splits, x, units) for x in (first, second))
    low = difference - math.hypot(first[0] - low_1, high_2 - second[0])
    high = difference + math.hypot(high_1 - first[0], second[0] - low_2)
    return {"difference": difference, "difference_low": low, "difference_high": high, "p": None}


def _judge_pixels(found: dict[str, Any], chance: float) -> dict[str, Any]:
    mean, head, difference = found["mean"], found["head"], found["difference"]
    low, high = found["difference_low"], found["difference_high"]
    opening = (
        f"An SVM on 16×16 pixels scores {mean:.2f}, and {head} {mean + difference:.2f} on the same splits "
        f"(difference {difference:+.2f}, 95 % interval {low:+.2f} to {high:+.2f}): "
    )
    if low > 0:
        return {"alarm": False, "verdict": f"{opening}the vectors tell more than brightness and outline do."}
    if found["low"] <= chance:
        ending = "the pixels are not clearly better than chance, but the splits cannot tell the two apart."
        return {"alarm": False, "verdict": opening + ending}
    if difference > _AS_GOOD:
        ending = "too few patients or splits to tell whether the vectors know more than brightness and outline."
        return {"alarm": False, "verdict": opening + ending}
    ending = "pixels do about as well as the CNN: the task is trivial or confounded."
    return {"alarm": True, "verdict": opening + ending}
