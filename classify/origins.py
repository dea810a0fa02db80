"""The origin probe: how well vectors tell where an image comes from, and whether the class goes with that.

A scanner, a hospital, a file format or a size that the vectors tell and that goes with the class may be what a
head recognizes in place of the disease.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.association import cramers_v
from .heads import Spec
from .kernels import Gram, balanced_accuracy, quick_head
from .levels import PATIENTS, Levels, all_levels
from .problem import Problem

_FOLDS = 5
_PENALTY = 3.0
"""Of the ridge, in units of the vectors' length, as the products of standardized vectors grow with it. Of 0.01
to 10, tried on chest X-rays and CT slices: smaller ones tell rare formats and colour modes worse."""
_TIED = 0.9
"""Cramér's V from which on class and origin are as good as the same."""
_PARTLY = 0.5
_SOMEWHAT = 0.3
_TOLD = 0.7
"""The area under the ROC curve from which on the vectors tell an origin."""
_BY_CLASS_ONLY = 0.6
"""Below it inside one class, what the vectors tell of an origin is no more than the class tells."""
_PART = 13


def origins(
    problem: Problem,
    units: NDArray[np.int64],
    specs: list[Spec],
    products: Gram,
    *,
    without: Sequence[str] = (),
    seed: int,
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Probe each column of the samples and of their files, and judge it.

    The vectors' AUC for a level, one against the rest, is that of a ridge regression on its indicator, in five
    folds by blocks (patients), the mean over folds and over levels of five patients or more.

    Parameters
    ----------
    problem : Problem
        Of few enough rows for a matrix of n × n (`kernels.reduced`).
    units : ndarray of int, shape (n,)
        The number of each row's patient, or of its image if no patient is known.
    specs : list of Spec
        The heads of the run: one of them, if it is quick, is tested on one origin and trained on the others.
    products : Gram
        Of the problem's vectors.
    without : sequence of str
        Columns that say how the data is split.
    seed : int

    Returns
    -------
    probed : list of dict
        JSON-ready, for each column: column, levels (patients of each), roc_auc, label_association (Cramér's V
        with the label), class and class_association (the one of several classes that goes with it most,
        against the rest), within_class_auc (None where no class has two levels of five patients), alarm and
        verdict; and where an origin has several classes, leave_one_out (balanced accuracy on an origin never
        trained on, by `head`) and mixed (on the same images, with origins mixed).
    skipped : list of dict
        Column and reason of those that were passed over.
    """
    columns, skipped = all_levels(problem, units, without)
    if not columns:
        return [], skipped
    fold = _folds(problem.blocks, seed)
    everywhere = np.arange(len(problem))
    areas = _areas(products, fold, everywhere, columns, [levels.counted for levels in columns])
    within = _within_classes(problem, units, products, fold, columns)
    left_out = _LeftOut(problem, units, specs, products, fold)
    probed = []
    for levels, area, inside in zip(columns, areas, within, strict=True):
        found = {
            "column": levels.column,
            "levels": {level: _patients(units[levels.of_row == level]) for level in levels.counted},
            "roc_auc": area,
            **_association(problem, units, levels),
            "within_class_auc": inside,
        }
        if found["class_association"] < _TIED:
            found |= left_out.of(levels)
        probed.append(found | _judge(found, _sharing(problem, units, levels)))
    return probed, skipped


def _patients(units: NDArray[np.int64]) -> int:
    return len(np.unique(units))


def _association(problem: Problem, units: NDArray[np.int64], levels: Levels) -> dict[str, Any]:
    """Return Cramér's V of class and level, each patient counted once for each pair of them.

    With more than two classes, V of all of them is small where one goes with the origin and the others do not:
    so the class that goes with it most, one against the rest, is named with its V.
    """
    distinct = set(zip(units.tolist(), problem.y.tolist(), levels.of_row.tolist(), strict=True))
    label = np.array([label for _, label, _ in distinct])
    level = [level for _, _, level in distinct]
    tied = [cramers_v((label == index).astype(str).tolist(), level).v for index in range(len(problem.classes))]
    together = cramers_v(label.astype(str).tolist(), level).v
    most = int(np.argmax(tied))
    several = len(problem.classes) > 2
    return {
        "label_association": together,
        "class": problem.classes[most] if several else None,
        "class_association": max(tied[most], together),
    }


def _sharing(problem: Problem, units: NDArray[np.int64], levels: Levels) -> list[str]:
    """Return the classes that have five patients in a level that another has them in, too; none if all have."""
    sharing: set[str] = set()
    for level in levels.counted:
        inside = levels.of_row == level
        present = _classes(problem, units, inside)
        sharing |= {problem.classes[label] for label in present} if len(present) > 1 else set()
    return sorted(sharing) if len(sharing) < len(problem.classes) else []


def _classes(problem: Problem, units: NDArray[np.int64], chosen: NDArray[np.bool_]) -> list[int]:
    """Return the classes that have five patients or more among some rows."""
    labels = range(len(problem.classes))
    return [label for label in labels if _patients(units[chosen & (problem.y == label)]) >= PATIENTS]


def _folds(blocks: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Return the fold of each row, that of its block."""
    names, block = np.unique(blocks, return_inverse=True)
    order = np.random.default_rng([seed, _PART]).permutation(len(names))
    fold: NDArray[np.int64] = np.empty(len(names), dtype=np.int64)
    fold[order] = np.arange(len(names)) % _FOLDS
    return np.asarray(fold[block])


def _areas(
    products: Gram,
    fold: NDArray[np.int64],
    rows: NDArray[np.intp],
    columns: Sequence[Levels],
    counted: Sequence[Sequence[str]],
) -> list[float | None]:
    """Return the AUC of each column among some rows, the mean over its levels in `counted`; None without any.

    One factorization per fold serves every level of every column.
    """
    from scipy.linalg import cho_factor, cho_solve

    asked = [(number, level) for number, levels in enumerate(counted) for level in levels]
    if not asked:
        return [None] * len(columns)
    is_level = np.stack([columns[number].of_row == level for number, level in asked], axis=1)
    found: list[list[float]] = [[] for _ in asked]
    for part in range(_FOLDS):
        test, train = (rows[side] for side in (fold[rows] == part, fold[rows] != part))
        if not len(test) or not len(train):
            continue
        penalized = products.products[np.ix_(train, train)].astype(np.float64)
        penalized.flat[:: len(train) + 1] += _PENALTY * products.width
        target = is_level[train] - is_level[train].mean(axis=0)
        weights = cho_solve(cho_factor(penalized, overwrite_a=True, check_finite=False), target)
        scores = products.products[np.ix_(test, train)] @ weights
        for areas, truth, score in zip(found, is_level[test].T, scores.T, strict=True):
            if truth.any() and not truth.all():
                areas.append(area_under_roc(truth, score))
    means: list[list[float]] = [[] for _ in columns]
    for (number, _), areas in zip(asked, found, strict=True):
        if areas:
            means[number].append(float(np.mean(areas)))
    return [float(np.mean(areas)) if areas else None for areas in means]


def area_under_roc(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Return in what share of pairs, one of each kind, the true one has the higher score; ties count half."""
    others = np.sort(scores[~truth])
    below, above = (np.searchsorted(others, scores[truth], side) for side in ("left", "right"))
    return float(np.mean(below + above) / (2 * len(others)))


def _within_classes(
    problem: Problem,
    units: NDArray[np.int64],
    products: Gram,
    fold: NDArray[np.int64],
    columns: Sequence[Levels],
) -> list[float | None]:
    """Return the AUC of each column inside a class, trained and tested there: the mean over such classes."""
    of_classes: list[list[float]] = [[] for _ in columns]
    for label in range(len(problem.classes)):
        rows = np.flatnonzero(problem.y == label)
        counted = []
        for levels in columns:
            many = [x for x in levels.counted if _patients(units[rows][levels.of_row[rows] == x]) >= PATIENTS]
            counted.append(many if len(many) > 1 else [])
        for areas, area in zip(of_classes, _areas(products, fold, rows, columns, counted), strict=True):
            areas += [] if area is None else [area]
    return [float(np.mean(areas)) if areas else None for areas in of_classes]


class _LeftOut:
    """Scores on an origin that was never trained on, beside those on the same images with origins mixed."""

    def __init__(
        self,
        problem: Problem,
        units: NDArray[np.int64],
        specs: list[Spec],
        products: Gram,
        fold: NDArray[np.int64],
    ) -> None:
        self._problem, self._units = problem, units
        self._name, self._predict = quick_head(specs, products)
        self._mixed: NDArray[np.int64] | None = None
        self._fold = fold

    def of(self, levels: Levels) -> dict[str, Any]:
        """Return the mean over the levels that hold several classes, or nothing if none does."""
        y, blocks = self._problem.y, self._problem.blocks
        alone, mixed = [], []
        for level in levels.counted:
            inside = levels.of_row == level
            classes = _classes(self._problem, self._units, inside)
            test = np.flatnonzero(inside & np.isin(y, classes))
            train = np.flatnonzero(~np.isin(blocks, blocks[inside]))
            if len(classes) < 2 or not np.isin(classes, y[train]).all():
                continue
            alone.append(balanced_accuracy(y[test], self._predict(train, test, y)))
            mixed.append(balanced_accuracy(y[test], self._with_origins_mixed()[test]))
        if not alone:
            return {}
        return {
            "head": self._name,
            "leave_one_out": float(np.mean(alone)),
            "mixed": float(np.mean(mixed)),
        }

    def _with_origins_mixed(self) -> NDArray[np.int64]:
        """Return the predicted class of each row, never trained on its block."""
        if self._mixed is None:
            self._mixed = np.empty_like(self._problem.y)
            for part in range(_FOLDS):
                test, train = np.flatnonzero(self._fold == part), np.flatnonzero(self._fold != part)
                if len(test):
                    self._mixed[test] = self._predict(train, test, self._problem.y)
        return self._mixed


def _judge(found: dict[str, Any], together: list[str]) -> dict[str, Any]:
    """Return whether the origin casts doubt on the scores, and say so in one sentence."""
    column, tied, area, inside = (
        found[key] for key in ("column", "class_association", "roc_auc", "within_class_auc")
    )
    if area is None:
        return {"alarm": False, "verdict": f"Whether the vectors tell {column} could not be tested."}
    name = f"class {found['class']}" if found["class"] else "the class"
    association = f"{name} (Cramér's V {tied:.2f})"
    told = f"tell it (ROC-AUC {area:.2f})"
    if tied >= _TIED:
        how = "" if area >= _TOLD else "hardly "
        ending = f", except among {' and '.join(together)}, which share one." if together else "."
        verdict = (
            f"{column} goes with {association} and the vectors {how}{told}: these data cannot separate disease "
            f"from origin{ending}"
        )
        return {"alarm": True, "verdict": verdict}
    if area < _TOLD:
        return {"alarm": False, "verdict": f"The vectors hardly tell {column} (ROC-AUC {area:.2f})."}
    alarm = tied >= _PARTLY and (inside is None or inside >= _BY_CLASS_ONLY)
    if alarm:
        verdict = f"{column} is tied to {association} and the vectors {told}: part of the score may be origin"
    elif tied >= _PARTLY:
        verdict = f"{column} is tied to {association}, but inside one class the vectors hardly tell it "
        verdict += f"(ROC-AUC {inside:.2f})"
    else:
        how = "somewhat" if tied >= _SOMEWHAT else "little"
        verdict = f"The vectors tell {column} (ROC-AUC {area:.2f}), which is {how} tied to {association}"
    if "leave_one_out" in found:
        verdict += (
            f"; {found['head']}, trained on the others and tested on one, scores {found['leave_one_out']:.2f}, "
            f"and {found['mixed']:.2f} with origins mixed"
        )
    return {"alarm": alarm, "verdict": f"{verdict}."}
