"""Whether the class goes with where images come from: the origin probe of a run, asked of a cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.store import Cache
from ..classify import facts, splits
from ..classify.groups import tied
from ..classify.kernels import gram, reduced
from ..classify.origins import origins
from ..classify.problem import Problem
from .frames import Frames

_SEED = 0
_LARGEST = 1e12
"""Numbers beyond it are scaled down, as their squares would be infinite; vectors are standardized anyway."""


def confounding(
    cache: Cache, frames: Frames, read: Callable[[NDArray[np.intp]], NDArray[np.floating[Any]]]
) -> dict[str, Any]:
    """Return what `classify`'s origin probe finds (see `classify.origins`).

    Parameters
    ----------
    cache : Cache
    frames : Frames
        Of this cache alone.
    read : callable
        Returns the vectors of some rows of `X`, ascending.

    Returns
    -------
    dict
        columns, those in alarm first, skipped, rows (how many frames were looked at) and, where nothing could
        be, reason.
    """
    empty = {"columns": [], "skipped": [], "rows": 0}
    rows = np.flatnonzero(frames.label != "")
    classes, y = np.unique(frames.label[rows], return_inverse=True)
    if len(classes) < 2:
        reason = "no class to go with anything" if not len(classes) else "one class only"
        return {**empty, "reason": f"There is {reason}."}
    problem = _without_vectors(cache, frames.taken(rows), rows, y, tuple(map(str, classes)))
    nothing = np.zeros((0, len(rows)), dtype=bool)
    few, _, units = reduced(
        problem,
        splits.Splits("columns", (), nothing, nothing, np.zeros((0, 0), dtype=bool)),
        splits.units(problem),
        _SEED,
    )
    X = read(few.X[:, 0].astype(np.intp))
    X = X / max(1.0, float(np.abs(X).max(initial=0)) / _LARGEST)
    few = replace(few, X=X)
    probed, skipped = origins(few, units, [], gram(X), seed=_SEED)
    probed.sort(key=lambda one: (not one["alarm"], -one["class_association"]))
    return {"columns": probed, "skipped": skipped, "rows": len(few)}


def _without_vectors(
    cache: Cache, frames: Frames, rows: NDArray[np.intp], y: NDArray[np.int64], classes: tuple[str, ...]
) -> Problem:
    """Return the problem that the labels pose, with the rows' numbers in place of vectors.

    Which rows are looked at is drawn first, so that only their vectors are read.
    """
    samples, of = cache.samples, cache.sample_of_row[rows]
    content = samples.content[of]
    blocks = tied(frames.guessed, content)
    known = bool(np.any(frames.patient != ""))
    return Problem(
        X=rows[:, None].astype(np.float64),
        further=np.empty((len(rows), 0, 1)),
        y=y.astype(np.int64),
        classes=classes,
        positive=None,
        groups=blocks if known else tied(frames.patient, content),
        grouped=known,
        content=content,
        frame=frames.frame,
        patient=frames.patient,
        path=frames.path,
        left_out={},
        layers=(),
        widths=(1,),
        blocks=blocks,
        guessed=not known and bool(np.any(frames.guessed != "")),
        columns=facts.columns_of(samples, of),
        technical=facts.technical_of(samples, of),
    )
