"""Permuted labels: what heads score where there is nothing to learn, and whether the real score is better.

Labels are permuted between patients, whole patients at a time, and all that follows is repeated: a protocol
that puts one patient on both sides of a split scores above chance on labels that mean nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .heads import Spec
from .kernels import Gram, balanced_accuracy, quick_head
from .problem import Problem
from .splits import Request, Splits, make

DRAWS = 39
"""So that p = (b + 1) / (m + 1) can be as small as 0.025."""
_SPLITS = 3
_MARGIN = 0.02
"""How far above chance the mean must lie to be called a leak: less would change no conclusion."""
_SURE = 0.999
"""The interval that must lie above chance, too: at 0.95, one small data set in forty would be called leaky."""
_PART = 12


def permuted(
    problem: Problem,
    splits: Splits,
    request: Request,
    specs: list[Spec],
    products: Gram,
    *,
    seed: int,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Score a quick head on the real labels and on permuted ones, and judge both.

    The score is the mean balanced accuracy over three splits. Random splits are stratified by the labels, so
    they are drawn again for each permutation by the same procedure, and for the real labels, too: only so is
    the real score one of m + 1 exchangeable ones if the labels mean nothing, and p valid. Splits given by
    columns, or taken over from another run, are kept.

    Parameters
    ----------
    problem : Problem
        Of few enough rows for a matrix of n × n (`kernels.reduced`).
    splits : Splits
        Those of the run.
    request : Request
        How they were asked for.
    specs : list of Spec
        The heads of the run.
    products : Gram
        Of the problem's vectors.
    seed : int
    draws : int
        Permutations, m.

    Returns
    -------
    dict
        JSON-ready: head, unit (what is permuted as one), draws, redrawn (whether splits are), chance, observed,
        scores (of each permutation), their mean with a 95 % interval, p, alarm and verdict.

    References
    ----------
    Phipson and Smyth, Permutation p-values should never be zero, Statistical Applications in Genetics and
    Molecular Biology 9 (2010): p = (b + 1) / (m + 1).
    """
    name, predict = quick_head(specs, products)

    def score(y: NDArray[np.int64]) -> float | None:
        scores = [
            balanced_accuracy(y[test], predict(train, test, y))
            for train, test in _sides(replace(problem, y=y), splits, request)
        ]
        return float(np.mean(scores)) if scores else None

    result: dict[str, Any] = {
        "head": name,
        "unit": _unit(problem),
        "redrawn": _redrawn(request),
        "chance": 1 / len(problem.classes),
        "observed": score(problem.y),
    }
    scores: list[float] = []
    for number in range(2 * draws if result["observed"] is not None else 0):
        generator = np.random.default_rng([seed, _PART, number])
        value = score(permute(problem.y, problem.blocks, generator))
        if value is not None:  # else a class was on one side only: the next one counts in its place
            scores.append(value)
        if len(scores) == draws:
            break
    result |= {"draws": len(scores), "scores": scores}
    if len(scores) < 2:
        return result | {"alarm": False, "verdict": _NOT_DRAWN.format(_WORDS[result["unit"]])}
    return result | _judge(result)


_WORDS = {
    "patient": "patients",
    "guessed patient": "patients (guessed from the names of files)",
    "image": "images",
}
_NOT_DRAWN = "Labels could not be permuted between {}: there are too few for a class to be on both sides."


def _unit(problem: Problem) -> str:
    if problem.guessed:
        return "guessed patient"
    return "patient" if np.any(problem.patient != "") else "image"


def _redrawn(request: Request) -> bool:
    return not request.columns and request.run is None


def _sides(
    problem: Problem, splits: Splits, request: Request
) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return the rows trained on and tested in a few splits that have every class on both sides."""
    if _redrawn(request):
        few = replace(request, rounds=_SPLITS, repeats=1, vary="both")
        try:
            splits = make(replace(problem, unlabelled=None), few)
        except errors.ClassesError:
            return []
    sides = []
    for masks in zip(splits.train, splits.test, strict=True):
        train, test = (np.flatnonzero(mask) for mask in masks)
        if all(len(np.unique(problem.y[side])) == len(problem.classes) for side in (train, test)):
            sides.append((train, test))
    return sides[:_SPLITS]


def permute(
    y: NDArray[np.int64], blocks: NDArray[np.int64], generator: np.random.Generator
) -> NDArray[np.int64]:
    """Give each block the labels of another one.

    A block's labels move as one, in the order of its rows: repeated where they come to a larger block, cut off
    where they come to a smaller one. Where every block is of one class, each is so afterwards.

    Parameters
    ----------
    y, blocks : ndarray of int, shape (n,)
    generator : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (n,)
    """
    _, block, sizes = np.unique(blocks, return_inverse=True, return_counts=True)
    order = np.argsort(block, kind="stable")
    starts = np.cumsum(sizes) - sizes
    place = np.arange(len(y)) - starts[block[order]]
    source = generator.permutation(len(sizes))[block[order]]
    permuted_labels = np.empty_like(y)
    permuted_labels[order] = y[order][starts[source] + place % sizes[source]]
    return permuted_labels


def _judge(result: dict[str, Any]) -> dict[str, Any]:
    from .intervals import corrected_t

    scores, observed, chance = np.array(result["scores"]), result["observed"], result["chance"]
    mean = float(scores.mean())
    low, high = corrected_t(scores, 0.0)  # permutations do not overlap, so nothing is to be corrected
    p = float((np.sum(scores >= observed) + 1) / (len(scores) + 1))
    leak = bool(corrected_t(scores, 0.0, _SURE)[0] > chance and mean >= chance + _MARGIN)
    unit, head = result["unit"], result["head"]
    opening = f"labels permuted between {_WORDS[unit]}"
    if leak:
        verdict = (
            f"Leak: with {opening}, {head} still scores {mean:.2f} where chance is {chance:.2f}: the splits "
            "let it recognize what it was trained on, so the scores of this run are too high."
        )
    else:
        better = f"better than chance (p = {p:.3f})" if p <= 0.05 else f"no better than chance (p = {p:.2f})"
        verdict = (
            f"No leak seen: with {opening}, {head} scores {mean:.2f}, and chance is {chance:.2f}; with the "
            f"real ones it scores {observed:.2f}, {better}."
        )
    if unit == "image":
        verdict += " Patients are unknown: a leak between images of one patient cannot be seen."
    if not result["redrawn"]:
        verdict += " (On the given splits.)"
    return {"mean": mean, "low": low, "high": high, "p": p, "alarm": leak, "verdict": verdict}
