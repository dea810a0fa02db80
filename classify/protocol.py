"""How heads are judged: everything a user can ask of a run, checked, and the rounds that follow from it.

Which rows a split trains on is `splits`' work, and running the rounds `rounds`'.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .. import errors
from . import rules
from .comparison import check_metric
from .sides import Request

TEST_VIEWS = ("first", "mean")
_ROUNDS, _TEST_SIZE = 10, 0.3


class Round(NamedTuple):
    """One split plus one head seed, all counted from 0 on."""

    number: int
    split: int
    seed: int


@dataclass(frozen=True)
class Protocol:
    """How heads are judged.

    Parameters
    ----------
    rounds : int, optional
        Random splits, each with its own head seed; 10 unless told. Only for repeated hold-out, and for
        `vary="seed"`, where it is the number of seeds.
    test_size : float, optional
        Share of the rows that a random split tests; 0.3 unless told.
    folds : int, optional
        Cross-validation in so many folds in place of random splits, `repeats` times.
    repeats : int
    split_columns : tuple of str
        Columns of the data that say which rows are trained on and tested, a split each.
    reused : Path, optional
        A run whose splits are taken over.
    vary : {"both", "split", "seed"}
        What differs between rounds: the split, the head's seed, or both.
    seeds : int
        Head seeds for each split.
    balance : {None, "weights", "subsample"}
        How classes of unequal size are made even in training.
    validation : float, optional
        Share of the training part, whole patients, that is put aside to follow training on.
    reduce : int, optional
        Principal components that vectors are reduced to, fitted on each training part.
    tune : bool
        Whether each head's grid is searched within each training part.
    seed : int
        Decides splits and heads; the same seed gives the same numbers.
    test_views : {"first", "mean"}
        Whether a frame is tested by its unaltered view, or by the mean of the scores over all its views.
    controls : bool
    metric : str
        What heads are compared by.
    jobs : int or None
        Rounds that run at once; one per processor unless told. Changes no number.
    time_budget : float, optional
        Seconds that the rounds of one head may take. Changes no number.
    by : str, optional
        "patient" or another column whose units are judged beside the images.
    rule : str, optional
        By which the images of a unit become one answer; see `rules`.
    """

    rounds: int | None = None
    test_size: float | None = None
    folds: int | None = None
    repeats: int = 1
    split_columns: tuple[str, ...] = ()
    reused: Path | None = None
    vary: str = "both"
    seeds: int = 1
    balance: str | None = None
    validation: float | None = None
    reduce: int | None = None
    tune: bool = False
    seed: int = 0
    test_views: str = "first"
    controls: bool = True
    metric: str = "balanced_accuracy"
    jobs: int | None = None
    time_budget: float | None = None
    by: str | None = None
    rule: str | None = None

    def check(self) -> None:
        """Raise `UsageError` for values that no protocol can have, and for those that exclude each other."""
        for name, least in (("seeds", 1), ("reduce", 1), ("jobs", 1)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise errors.UsageError(f"{name} must be a whole number of {least} or more, not {value!r}.")
        if self.validation is not None and not 0 < self.validation < 1:
            raise errors.UsageError(f"validation must lie between 0 and 1, not {self.validation:g}.")
        if self.test_views not in TEST_VIEWS:
            known = ", ".join(TEST_VIEWS)
            raise errors.UsageError(f"test_views must be one of {known}, not {self.test_views!r}.")
        budget: Any = self.time_budget
        if budget is not None and not (isinstance(budget, (int, float)) and budget > 0):
            raise errors.UsageError(f"time_budget must be positive seconds, not {budget!r}.")
        check_metric(self.metric)
        self.request.check()
        self._check_together()

    def _check_together(self) -> None:
        if (self.by is None) != (self.rule is None):
            if self.by is None:
                raise errors.UsageError("--rule is for whole patients: give --by patient, or another column.")
            raise errors.UsageError(f"--by {self.by} needs a --rule: {rules.RULES}.")
        if self.rule is not None:
            rules.parse(self.rule)
        if self.folds is not None or self.split_columns or self.reused is not None:
            way = (
                "--folds" if self.folds is not None else "--split-columns" if self.split_columns else "--splits"
            )
            if self.test_size is not None:
                raise errors.UsageError(f"--test-size is for random splits; it does not go with {way}.")
            if self.rounds is not None and self.vary != "seed":
                more = ", which are repeated by --repeats." if self.folds is not None else "."
                raise errors.UsageError(f"--rounds is for random splits; it does not go with {way}{more}")
        if self.vary == "seed" and self.seeds > 1:
            raise errors.UsageError("With --vary seed, --rounds is the number of seeds: leave --seeds out.")

    @property
    def request(self) -> Request:
        """What is asked of the splits."""
        return Request(
            rounds=self.rounds if self.rounds is not None else _ROUNDS,
            test_size=self.test_size if self.test_size is not None else _TEST_SIZE,
            folds=self.folds,
            repeats=self.repeats,
            columns=self.split_columns,
            run=self.reused,
            vary=self.vary,
            balance=self.balance,
            seed=self.seed,
        )

    def schedule(self, splits: int) -> list[Round]:
        """Return the rounds on so many splits, split by split."""
        if self.vary == "seed":
            if splits > 1:
                raise errors.UsageError(f"--vary seed is for one split, and these are {splits}: use --seeds.")
            return [Round(number, 0, number) for number in range(self.request.rounds)]
        return [
            Round(split * self.seeds + k, split, k if self.vary == "split" else split * self.seeds + k)
            for split in range(splits)
            for k in range(self.seeds)
        ]

    def head_seed(self, index: int) -> int:
        """Return a head's seed by its number."""
        return int(np.random.SeedSequence([self.seed, index, 1]).generate_state(1)[0] % 2**31)

    def as_plan(self) -> dict[str, Any]:
        """Return what decides numbers, ready for JSON; the splits themselves are fingerprinted beside it."""
        left_out = ("jobs", "time_budget", "reused", "metric")
        plan = {name: value for name, value in asdict(self).items() if name not in left_out}
        plan["split_columns"] = list(self.split_columns)
        if self.folds is None and not self.split_columns and self.reused is None:
            plan["test_size"] = self.request.test_size
        return plan


def components(text: int | str | None) -> int | None:
    """Return how many principal components `256` or `"pca:256"` asks for.

    Raises
    ------
    UsageError
    """
    if text is None or isinstance(text, int):
        return text
    kind, _, number = str(text).rpartition(":")
    if not isinstance(text, str) or kind not in ("", "pca") or not number.isdecimal():
        raise errors.UsageError(f"--reduce must be of the form pca:256, not {text!r}.")
    return int(number)
