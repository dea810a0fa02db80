"""One round: a head is fitted on a split's training part and answers for its test part."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .heads import Spec
from .metrics import judge
from .preparation import BLOCK_ROWS, Prepared, Vectors
from .problem import Problem
from .protocol import Protocol, Round
from .runs import Record
from .splits import Splits, units
from .validation import put_aside


class Ready:
    """A split made ready for all its heads.

    Parameters
    ----------
    problem : Problem
    splits : Splits
    split : int
        Which of them.
    protocol : Protocol
    """

    def __init__(self, problem: Problem, splits: Splits, split: int, protocol: Protocol) -> None:
        self.problem = problem
        self.protocol = protocol
        train = np.flatnonzero(splits.train[split])
        held_out = np.zeros(0, dtype=np.intp)
        if protocol.validation is not None:
            train, held_out = put_aside(problem, train, protocol.validation, _seed(protocol, split, 3))
        self.tuned: dict[str, dict[str, Any]] = {}  # the same for all seeds
        self.tested = np.flatnonzero(splits.test[split])
        self.unlabelled = np.flatnonzero(splits.scored[split])
        self.train = train
        self.prepared = Prepared(problem, train, protocol.reduce, _seed(protocol, split, 2))
        self.validation = None
        if len(held_out):
            self.validation = (self.prepared.transform(problem.X[held_out]), problem.y[held_out])

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weight of each training vector that makes classes count alike, 1 on average."""
        counts = np.bincount(self.prepared.y, minlength=len(self.problem.classes))
        return np.asarray(len(self.prepared.y) / (len(counts) * counts[self.prepared.y]))


def _seed(protocol: Protocol, split: int, use: int) -> int:
    """Return a seed of a split's own, another one for each use."""
    return int(np.random.SeedSequence([protocol.seed, split, use]).generate_state(1)[0] % 2**31)


def one_round(ready: Ready, spec: Spec, round_: Round) -> Record:
    """Fit a head and judge it.

    Raises
    ------
    HeadError
        If the head refuses its parameters or the data, or answers what is no answer.
    """
    started = time.perf_counter()
    problem, protocol = ready.problem, ready.protocol
    try:
        if protocol.tune and spec.text not in ready.tuned:
            ready.tuned[spec.text] = _tune(ready, spec)
        tuned = ready.tuned[spec.text] if protocol.tune else None
        estimator = _fitted(ready, spec, protocol.head_seed(round_.seed), tuned or {})
        predicted, scores = _answers(estimator, ready, spec, ready.tested)
        _, further = _scores_of_unlabelled(estimator, ready, spec, scores.shape[1])
    except errors.IcehouseError:
        raise
    except Exception as error:  # an estimator may refuse its parameters or the data in any way
        text = " ".join(str(error).split())[:300]
        raise errors.HeadError(f"Head {spec.text} failed in round {round_.number + 1}: {text}") from error
    judgement = judge(
        problem.y[ready.tested],
        predicted,
        scores,
        problem.classes,
        problem.positive,
        probabilities=spec.head.probabilities,
        patients=len(np.unique(units(problem)[ready.tested])),
    )
    return Record(
        head=spec.text,
        number=round_.number,
        split=round_.split,
        seed=round_.seed,
        judgement=judgement,
        rows=ready.tested,
        predicted=predicted,
        scores=scores,
        history=getattr(estimator, "history_", None),
        seconds=time.perf_counter() - started,
        tuned=tuned,
        unlabelled=ready.unlabelled,
        unlabelled_scores=further,
    )


def _tune(ready: Ready, spec: Spec) -> dict[str, Any]:
    from .tuning import tuned

    prepared, problem = ready.prepared, ready.problem
    return tuned(
        spec,
        prepared.X,
        prepared.y,
        problem.groups[prepared.rows],
        ready.protocol.head_seed(0),
        _widths(ready),
        ready.weights if ready.protocol.balance == "weights" else None,
    )


def _widths(ready: Ready) -> tuple[int, ...] | None:
    """Return how many numbers of a vector each layer has; None where they are mixed into components."""
    return ready.problem.widths if ready.protocol.reduce is None else None


def _fitted(ready: Ready, spec: Spec, seed: int, tuned: dict[str, Any]) -> Any:
    estimator = spec.estimator(seed, _widths(ready))
    if tuned:
        estimator.set_params(**tuned)
    further: dict[str, Any] = {}
    if ready.protocol.balance == "weights":
        further["sample_weight"] = ready.weights
    if ready.validation is not None and spec.head.epochs:
        further["validation"] = ready.validation
    if spec.head.standardized:
        return estimator.fit(ready.prepared.X, ready.prepared.y, **further)
    X, y = ready.problem.vectors(ready.train)
    return estimator.fit(X, y, **further)


def _answers(
    estimator: Any, ready: Ready, spec: Spec, rows: NDArray[np.intp]
) -> tuple[NDArray[np.int64], Vectors]:
    """Return the predicted class of each row, and the score of each class, shape (n_test, n_classes).

    Over several views, the class is that of the highest mean score.
    """
    problem = ready.problem
    probabilities = spec.head.probabilities
    mean = ready.protocol.test_views == "mean" and problem.views > 1
    predicted, scores = [], []
    for start in range(0, len(rows), BLOCK_ROWS):
        part = rows[start : start + BLOCK_ROWS]
        X = problem.vectors(part)[0] if mean else problem.X[part]
        X = ready.prepared.transform(X) if spec.head.standardized else X
        every = _scores(estimator, X, probabilities)
        if every.shape[1] != len(problem.classes):
            raise ValueError(f"it scores {every.shape[1]} classes of {len(problem.classes)}")
        if mean:
            further = every[len(part) :].reshape(len(part), problem.views - 1, every.shape[1])
            every = (every[: len(part)] + further.sum(axis=1)) / problem.views
        decided = mean or (probabilities and spec.head.standardized)  # a user's own may decide otherwise
        predicted.append(every.argmax(axis=1) if decided else np.asarray(estimator.predict(X)))
        scores.append(every)
    answers = np.concatenate(predicted).astype(np.int64)
    if not np.isin(answers, np.arange(len(problem.classes))).all():
        raise ValueError(
            f"it answers {answers.min()} to {answers.max()} for {len(problem.classes)} classes from 0"
        )
    return answers, np.concatenate(scores)


def _scores_of_unlabelled(
    estimator: Any, ready: Ready, spec: Spec, classes: int
) -> tuple[NDArray[np.intp], Vectors]:
    """Return the unlabelled rows of tested patients, and the score of each class, shape (m, n_classes)."""
    rows = ready.unlabelled
    if not len(rows) or ready.problem.unlabelled is None:
        return rows, np.zeros((0, classes))
    X = ready.problem.unlabelled.X[rows]
    X = ready.prepared.transform(X) if spec.head.standardized else X
    return rows, _scores(estimator, X, spec.head.probabilities)


def _scores(estimator: Any, X: Vectors, probabilities: bool) -> Vectors:
    """Return the score of each class, shape (n, n_classes)."""
    if probabilities:
        scores = np.asarray(estimator.predict_proba(X))
        if not (np.isfinite(scores).all() and scores.min() >= 0 and scores.max() <= 1 + 1e-6):
            raise ValueError("its answers are no probabilities; training may have diverged")
        return scores
    scores = np.asarray(estimator.decision_function(X))
    if scores.ndim == 1:  # two classes: one number, positive for the second
        scores = np.column_stack([-scores, scores])
    if not np.isfinite(scores).all():
        raise ValueError("its scores are infinite or not a number; training may have diverged")
    return scores
