"""A head of a stored run fitted once more, as it was in a round: records keep its answers, not the head.

What rows the round trained on, its seed, and what tuning chose are the run's; the vectors come from a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import fitting, heads
from .fitting import Ready
from .groups import tied
from .heads import Spec
from .problem import Problem
from .protocol import Protocol
from .runs import Record
from .stored import StoredRun

SAME = 1e-6
"""Scores that differ by no more are the same, but for the order in which numbers were added."""


class Refitted(NamedTuple):
    """A head as it was in a round.

    Parameters
    ----------
    spec : Spec
    estimator : estimator
        It takes vectors as `Ready.prepared.transform` returns them; a user's own, as they are.
    apart : float
        How far its scores are from those of the round, at most, over the rows asked for.
    """

    spec: Spec
    estimator: Any
    apart: float


def problem_of(run: StoredRun, X: NDArray[np.floating[Any]], further: NDArray[np.floating[Any]]) -> Problem:
    """Return the problem that a run was of, as far as fitting a head needs it.

    Parameters
    ----------
    run : StoredRun
    X : ndarray of float, shape (n, d)
        The vectors of its rows.
    further : ndarray of float, shape (n, v, d)
        Those of their further views.
    """
    classes = tuple(run.plan["classes"])
    y = np.array([classes.index(label) for label in run.label.tolist()], dtype=np.int64)
    positive = run.plan["positive"]
    blocks = tied(run.patient, run.content)
    grouped = bool(run.plan["grouped"])
    return Problem(
        X=X,
        further=further,
        y=y,
        classes=classes,
        positive=None if positive is None else classes.index(positive),
        groups=blocks if grouped else tied(np.full(len(y), ""), run.content),
        grouped=grouped,
        content=run.content,
        frame=run.frame,
        patient=run.patient,
        path=run.file,
        left_out={},
        layers=(run.plan["layer"],),
        widths=(X.shape[1],),
        blocks=blocks,
    )


def protocol_of(plan: dict[str, Any]) -> Protocol:
    """Return how a run judged its heads, from its plan."""
    known = {field.name for field in fields(Protocol)}
    given = {name: value for name, value in plan.items() if name in known}
    return Protocol(**{**given, "split_columns": tuple(plan["split_columns"])})


def check_head(run: StoredRun, head: str) -> Spec:
    """Return what a head's name in a run means.

    Raises
    ------
    UsageError
        If it was an estimator of the user's own, which a run does not keep.
    """
    if head in run.plan["own_estimators"]:
        raise errors.UsageError(f"{head} is an estimator of your own, which the run does not keep.")
    return heads.parse(head)


def rounds_for(records: Sequence[Record], rows: Sequence[int]) -> list[tuple[Record, NDArray[np.intp]]]:
    """Return rounds of one head that together tested all of some rows: as few as that needs, or nearly.

    Parameters
    ----------
    records : sequence of Record
    rows : sequence of int
        Each was tested in at least one of them.

    Returns
    -------
    list of (Record, ndarray of int)
        Each with those of the rows that are its own.
    """
    left = np.unique(np.asarray(rows, dtype=np.intp))
    found = []
    while len(left):
        best = max(records, key=lambda record: (int(np.isin(left, record.rows).sum()), -record.number))
        tested = np.isin(left, best.rows)
        if not tested.any():
            break
        found.append((best, left[tested]))
        left = left[~tested]
    return found


def refit(ready: Ready, spec: Spec, record: Record, rows: NDArray[np.intp]) -> Refitted:
    """Return a head as it was fitted in a round, and how far its scores of some rows are from those kept.

    Parameters
    ----------
    ready : Ready
        The round's split.
    spec : Spec
    record : Record
        The round.
    rows : ndarray of int
        Some of those that it tested.

    Raises
    ------
    HeadError
        If the head refuses the data, as another version of its library may.
    """
    from threadpoolctl import threadpool_limits

    try:
        with threadpool_limits(1):  # as in rounds
            estimator = fitting.fitted(ready, spec, ready.protocol.head_seed(record.seed), record.tuned or {})
            scores = fitting.answers(estimator, ready, spec, rows)[1]
    except errors.IcehouseError:
        raise
    except Exception as error:  # an estimator may refuse its parameters or the data in any way
        text = " ".join(str(error).split())[:300]
        raise errors.HeadError(f"Head {spec.text} could not be fitted again: {text}") from error
    kept = record.scores[np.searchsorted(record.rows, rows)]
    return Refitted(spec, estimator, float(np.abs(scores - kept).max(initial=0.0)))
