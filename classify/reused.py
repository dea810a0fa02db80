"""Splits taken over from another run, whatever its backbone, layer or order of rows."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.keys import Keys, keys_of
from .given import check_sides, on_both_sides
from .problem import Problem
from .sides import Splits
from .stored import StoredRun, read_run

_NAMED = 3


class Reused(NamedTuple):
    """The splits of a run for the rows of a problem, and what the run's plan says of them.

    Parameters
    ----------
    splits : Splits
        Without unlabelled rows, which a run does not hold.
    folds : int
        How many of them are one cross-validation.
    seed : int or None
        Which decided them.
    share : float
        How much of the rows they were asked to test, or do.
    balanced : bool
        Whether surplus patients have left their training parts.
    """

    splits: Splits
    folds: int
    seed: int | None
    share: float
    balanced: bool


def reused(problem: Problem, path: Path) -> Reused:
    """Return the splits of the run in a folder for the rows of a problem.

    Rows are the same if content and frame are. Those that the run has not take no part.

    Raises
    ------
    RunError
        If there is no run, or it is damaged.
    ClassesError
        If it is of other data: other labels or patients, too few common images, or a class without any.
    """
    run = read_run(path)
    there, here = _keys(run.content, run.frame), _keys(problem.content, problem.frame)
    names, first, inverse = np.unique(there, return_index=True, return_inverse=True)
    _check_copies(run, first[inverse])
    place = np.minimum(np.searchsorted(names, here), len(names) - 1)
    known = names[place] == here
    _check_same(problem, run, there, here, known)
    new, gone = np.flatnonzero(~known), np.flatnonzero(~np.isin(there, here))
    if 2 * len(np.unique(here[new])) > len(np.unique(here)) or 2 * len(np.unique(there[gone])) > len(names):
        raise errors.ClassesError(
            f"The splits of {path} are of other images: {len(names) - len(np.unique(there[gone]))} of its "
            f"{len(names)} are among the {len(np.unique(here))} here. Make new splits, or name another run."
        )
    rows = first[place]
    train, test = (sides[:, rows] & known for sides in (run.splits.train, run.splits.test))
    splits = Splits(run.splits.kind, run.splits.names, train, test, np.zeros((len(train), 0), dtype=bool))
    called = [f"Split {name!r} of {path}" for name in splits.names]
    check_sides(problem, splits, called)
    notes = [f"The splits are those of {path}."]
    if len(gone):
        notes.append(f"{_named(run.file[gone], run.frame[gone])} of {path} are not here and take no part.")
    if len(new):
        named = _named(problem.path[new], problem.frame[new])
        notes.append(f"{named} here are not in {path}: neither trained on nor tested.")
    notes += on_both_sides(problem, splits, called)
    splits = Splits(splits.kind, splits.names, train, test, splits.scored, tuple(notes))
    drawn = run.plan.get("drawn") or run.plan
    seed, share = drawn.get("seed"), drawn.get("test_size")
    return Reused(
        splits,
        folds=_folds(splits.names),
        seed=seed if type(seed) is int else None,
        share=share if isinstance(share, float) else float(test.mean()),
        balanced=drawn.get("balance") == "subsample",
    )


def _keys(content: NDArray[np.uint8], frame: NDArray[np.int32]) -> Keys:
    return keys_of(content, frame, np.zeros(len(frame), dtype=np.int16))


def _check_copies(run: StoredRun, original: NDArray[np.intp]) -> None:
    """Refuse a run in which an image stands twice, on different sides."""
    differ = np.zeros(len(original), dtype=bool)
    for sides in (*run.splits.train, *run.splits.test):
        differ |= sides != sides[original]
    if differ.any():
        raise errors.RunError(
            f"{run.path} has {run.file[int(np.argmax(differ))]} on both sides of a split, as the image stands "
            "in it twice: such splits cannot be taken over. Give its columns with --split-columns instead."
        )


def _check_same(problem: Problem, run: StoredRun, there: Keys, here: Keys, known: NDArray[np.bool_]) -> None:
    """Refuse a run that says another label or patient of an image."""
    said: dict[bytes, list[tuple[str, str]]] = {}
    for key, name, person in zip(there.tolist(), run.label.tolist(), run.patient.tolist(), strict=True):
        said.setdefault(key, []).append((name, person))
    labels = np.array(problem.classes)[problem.y].tolist()
    for row, (key, label, patient) in enumerate(
        zip(here.tolist(), labels, problem.patient.tolist(), strict=True)
    ):
        if known[row] and (label, patient) not in said[key]:
            other = said[key][0]
            what, mine, its = (
                ("label", label, other[0]) if label != other[0] else ("patient", patient, other[1])
            )
            raise errors.ClassesError(
                f"The {what} of {problem.path[row]} is {mine!r} here and {its!r} in {run.path}: its splits are "
                "of other data. Make the two agree (--labels FILE), or make new splits."
            )


def _named(paths: NDArray[np.str_], frames: NDArray[np.int32]) -> str:
    """Return how many images there are, and the first few by name."""
    names = [
        f"{path} (frame {frame})" if frame else path
        for path, frame in zip(paths[:_NAMED].tolist(), frames[:_NAMED].tolist(), strict=True)
    ]
    more = ", …" if len(paths) > _NAMED else ""
    return f"{len(paths)} images ({', '.join(names)}{more})"


def _folds(names: tuple[str, ...]) -> int:
    """Return how many splits are one cross-validation: those that are called alike but for the fold."""
    return sum(name.rpartition("fold ")[0] == names[0].rpartition("fold ")[0] for name in names)
