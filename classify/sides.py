"""What splits are, and how they are asked for; how they come about is other modules' work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors

VARY = ("both", "split", "seed")
BALANCE = (None, "weights", "subsample")


@dataclass(frozen=True)
class Splits:
    """Which rows of a problem are trained on and which are tested, in each of s splits.

    Parameters
    ----------
    kind : {"hold-out", "folds", "columns"}
        Splits of another run keep the kind that they had there.
    names : tuple of str, length s
        What each is called: "3", "fold 2", "repeat 1, fold 2", the name of a column.
    train, test : ndarray of bool, shape (s, n)
        Never both; a row that is neither takes no part in that split.
    scored : ndarray of bool, shape (s, m)
        Which of the problem's unlabelled rows are scored, being of tested patients.
    notes : tuple of str
        What the user should know of them.
    """

    kind: str
    names: tuple[str, ...]
    train: NDArray[np.bool_]
    test: NDArray[np.bool_]
    scored: NDArray[np.bool_]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Request:
    """How splits are asked for.

    Parameters
    ----------
    rounds : int
        Random splits (repeated hold-out).
    test_size : float
        Share of the rows that each of them tests.
    folds : int, optional
        Cross-validation in so many folds in place of hold-out, `repeats` times.
    columns : tuple of str
        Columns that say "train" or "test" for each row, a split each, in place of random ones.
    run : Path, optional
        A run whose splits are taken over.
    vary : {"both", "split", "seed"}
        What differs between rounds; "seed" asks for a single split.
    balance : {None, "weights", "subsample"}
        "subsample" leaves whole patients of the larger classes out of the training parts; "weights" is the
        engine's work and changes no split.
    seed : int
    """

    rounds: int = 10
    test_size: float = 0.3
    folds: int | None = None
    repeats: int = 1
    columns: tuple[str, ...] = ()
    run: Path | None = None
    vary: str = "both"
    balance: str | None = None
    seed: int = 0

    def check(self) -> None:
        """Raise `UsageError` for what cannot be asked for, whatever the data."""
        if type(self.rounds) is not int or self.rounds < 1:
            raise errors.UsageError(f"rounds must be a whole number of 1 or more, not {self.rounds!r}.")
        share: Any = self.test_size
        if not isinstance(share, (int, float, np.number)) or not 0 < share < 1:
            raise errors.UsageError(f"test_size must lie between 0 and 1, not {share!r}.")
        if self.folds is not None and (type(self.folds) is not int or self.folds < 2):
            raise errors.UsageError(f"folds must be a whole number of 2 or more, not {self.folds!r}.")
        if type(self.repeats) is not int or self.repeats < 1:
            raise errors.UsageError(f"repeats must be a whole number of 1 or more, not {self.repeats!r}.")
        if self.repeats > 1 and self.folds is None:
            raise errors.UsageError("repeats are of folds: say how many with --folds, or ask for --rounds.")
        if type(self.seed) is not int or self.seed < 0:
            raise errors.UsageError(f"seed must be a whole number of 0 or more, not {self.seed!r}.")
        if self.vary not in VARY:
            raise errors.UsageError(f"vary must be one of {', '.join(VARY)}, not {self.vary!r}.")
        if self.balance not in BALANCE:
            raise errors.UsageError(f"balance must be weights or subsample, not {self.balance!r}.")
        if "" in self.columns:
            raise errors.UsageError("--split-columns names no column between its commas.")
        if len(set(self.columns)) < len(self.columns):
            raise errors.UsageError(f"--split-columns {','.join(self.columns)}: a column stands there twice.")
        self._check_together()

    def _check_together(self) -> None:
        ways = {
            "--folds": self.folds is not None,
            "--split-columns": bool(self.columns),
            "--splits": self.run is not None,
        }
        asked = [option for option, given in ways.items() if given]
        if len(asked) > 1:
            raise errors.UsageError(f"{' and '.join(asked)} ask for different splits; choose one.")
        if self.vary == "seed" and (self.folds is not None or len(self.columns) > 1):
            raise errors.UsageError(
                f"--vary seed judges every seed on one split, but {asked[0]} asks for several. Leave one of "
                "the two out, or give --seeds to have several seeds a split."
            )
