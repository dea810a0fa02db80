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
from .rules import AUTO
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
        self.resting = _resting(problem, splits, split)
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


def _resting(problem: Problem, splits: Splits, split: int) -> NDArray[np.intp]:
    """Return the unlabelled rows that go with the training part: neither trained on nor tested."""
    if problem.unlabelled is None:
        return np.zeros(0, dtype=np.intp)
    groups = problem.unlabelled.groups
    resting = np.isin(groups, problem.groups[splits.train[split]])
    if splits.kind != "columns":  # those of no labelled row are on a side by lot
        resting |= ~np.isin(groups, problem.groups)
    return np.flatnonzero(resting & ~splits.scored[split])


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
        seed = protocol.head_seed(round_.seed)
        estimator, tuned = fit(ready, spec, seed)
        predicted, scores = answers(estimator, ready, spec, ready.tested)
        further = scores_of_unlabelled(estimator, ready, spec, ready.unlabelled, scores.shape[1])
        rule = _rule(ready, spec, seed, tuned or {}) if protocol.rule == AUTO else None
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
        rule=rule,
    )


def fit(ready: Ready, spec: Spec, seed: int) -> tuple[Any, dict[str, Any] | None]:
    """Return a head fitted on a split's training part, and the parameters that tuning chose, if asked."""
    if ready.protocol.tune and spec.text not in ready.tuned:
        ready.tuned[spec.text] = _tune(ready, spec)
    tuned = ready.tuned[spec.text] if ready.protocol.tune else None
    return fitted(ready, spec, seed, tuned or {}), tuned


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


def _rule(ready: Ready, spec: Spec, seed: int, tuned: dict[str, Any]) -> str:
    from .choosing import chosen_rule

    return chosen_rule(ready, spec, seed, tuned).text


def _widths(ready: Ready) -> tuple[int, ...] | None:
    """Return how many numbers of a vector each layer has; None where they are mixed into components."""
    return ready.problem.widths if ready.protocol.reduce is None else None


def fitted(
    ready: Ready, spec: Spec, seed: int, tuned: dict[str, Any], *, kept: NDArray[np.bool_] | None = None
) -> Any:
    """Return a head fitted on the training part, or on those of its rows that are kept.

    Parameters
    ----------
    ready : Ready
    spec : Spec
    seed : int
    tuned : dict
        Parameters that take the place of the head's own.
    kept : ndarray of bool, shape (n_train,), optional
        Without the others the head is fitted to be judged within the training part: nothing put aside for
        validation is followed then.
    """
    estimator = spec.estimator(seed, _widths(ready))
    if tuned:
        estimator.set_params(**tuned)
    further: dict[str, Any] = {}
    rows = ready.train if kept is None else ready.train[kept]
    vectors = slice(None) if kept is None else np.isin(ready.prepared.rows, rows)
    if ready.protocol.balance == "weights":
        further["sample_weight"] = ready.weights[vectors]
    if ready.validation is not None and spec.head.epochs and kept is None:
        further["validation"] = ready.validation
    if spec.head.standardized:
        return estimator.fit(ready.prepared.X[vectors], ready.prepared.y[vectors], **further)
    return estimator.fit(*ready.problem.vectors(rows), **further)


def answers(
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
    classes = np.concatenate(predicted).astype(np.int64)
    if not np.isin(classes, np.arange(len(problem.classes))).all():
        raise ValueError(
            f"it answers {classes.min()} to {classes.max()} for {len(problem.classes)} classes from 0"
        )
    return classes, np.concatenate(scores)


def scores_of_unlabelled(
    estimator: Any, ready: Ready, spec: Spec, rows: NDArray[np.intp], classes: int
) -> Vectors:
    """Return the score of each class for some unlabelled rows, shape (m, n_classes)."""
    if not len(rows) or ready.problem.unlabelled is None:
        return np.zeros((0, classes))
    X = ready.problem.unlabelled.X[rows]
    X = ready.prepared.transform(X) if spec.head.standardized else X
    return _scores(estimator, X, spec.head.probabilities)


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
