"""The share of positive slices that makes a patient positive, found inside a training part: `--rule auto`.

No tested row is ever seen: the head is fitted anew on folds of the training part, whole units at a time, and
the share is the one that tells the units apart best by slices that the fit did not see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .fitting import Ready, answers, fitted, scores_of_unlabelled
from .folds import folds
from .groups import table
from .heads import Spec
from .patients import UNDECIDED, choose
from .rules import Rule

FOLDS = 3


def chosen_rule(ready: Ready, spec: Spec, seed: int, tuned: dict[str, Any]) -> Rule:
    """Return the rule that `auto` is in a round.

    Parameters
    ----------
    ready : Ready
        Of a problem with units.
    spec : Spec
    seed : int
        Of the head, and of the folds: three, fewer where a class has fewer patients.
    tuned : dict
        Parameters that were chosen on the training part.

    Raises
    ------
    ClassesError
        If a class has fewer than two patients in the training part.
    """
    problem, by = ready.problem, ready.problem.by
    if by is None or problem.positive is None:
        raise errors.UsageError("The rule auto is for units of two classes, one of them positive.")
    fold, further = _dealt(ready, seed)
    decided = np.full(len(ready.train), UNDECIDED, dtype=np.int64)
    decided_of_further = np.full(len(ready.resting), UNDECIDED, dtype=np.int64)
    for number in range(int(fold.max()) + 1):
        out = fold == number
        estimator = fitted(ready, spec, seed, tuned, kept=~out)
        decided[out], scores = answers(estimator, ready, spec, ready.train[out])
        also = further == number
        of_further = scores_of_unlabelled(estimator, ready, spec, ready.resting[also], scores.shape[1])
        decided_of_further[also] = of_further.argmax(axis=1)
    return choose(
        np.concatenate([by.of_row[ready.train], by.of_unlabelled[ready.resting]]),
        by.truth,
        np.concatenate([decided, decided_of_further]),
        np.ones(len(ready.train) + len(ready.resting), dtype=bool),
        problem.positive,
    )


def _dealt(ready: Ready, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the fold that scores each row trained on, and each unlabelled row that rests.

    Unlabelled rows go with their block; those of blocks without a labelled row are nobody's training rows, so
    that any fold may score them.
    """
    problem, by = ready.problem, ready.problem.by
    assert by is not None
    blocks, classes = by.blocks[by.of_row[ready.train]], len(problem.classes)
    groups = table(blocks, problem.content[ready.train], problem.y[ready.train], classes)
    fewest = int(groups.groups_of_class.min())
    if fewest < 2:
        raise errors.ClassesError(
            "The rule auto needs two patients of each class in every training part, and one class has "
            f"{fewest} in this one. Name a rule, such as any or fraction:0.1."
        )
    count = min(FOLDS, fewest)
    try:
        fold = folds(groups, count=count, repeats=1, seed=seed)[0]
    except errors.ClassesError:
        raise errors.ClassesError(
            f"The rule auto found no {count} folds of a training part with every class in each of them, as "
            "patients have several classes. Name a rule, such as any or fraction:0.1."
        ) from None
    of_block = np.arange(by.blocks.max() + 1) % count
    of_block[blocks] = fold
    return fold, of_block[by.blocks[by.of_unlabelled[ready.resting]]]
