"""Running the rounds: every head on every split, side by side, and the results as one document."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import __version__, errors
from . import splits
from .heads import Spec
from .metrics import judge, summarize
from .problem import Problem
from .runs import Record, RunFolder

TEST_VIEWS = ("first", "mean")
_SHOWN = ("fingerprint", "layer", "splits", "rounds", "test_size", "seed", "views", "test_views", "grouped")
"""What the document takes over from the plan."""


@dataclass(frozen=True)
class Protocol:
    """How heads are judged.

    Parameters
    ----------
    rounds : int
        Splits of the data, each with its own head seed.
    test_size : float
        Share of the rows that is tested.
    seed : int
        Decides splits and heads; the same seed gives the same numbers.
    jobs : int or None
        Rounds that run at once; one per processor unless told. Changes no number.
    test_views : {"first", "mean"}
        Whether a frame is tested by its unaltered view, or by the mean of the scores over all its views.
    """

    rounds: int = 10
    test_size: float = 0.3
    seed: int = 0
    jobs: int | None = None
    test_views: str = "first"

    def check(self) -> None:
        """Raise `UsageError` for values that no protocol can have."""
        if not isinstance(self.rounds, int) or self.rounds < 1:
            raise errors.UsageError(f"rounds must be a whole number of 1 or more, not {self.rounds!r}.")
        if not 0 < self.test_size < 1:
            raise errors.UsageError(f"test_size must lie between 0 and 1, not {self.test_size:g}.")
        if self.seed < 0:
            raise errors.UsageError(f"seed must be 0 or more, not {self.seed}.")
        if self.test_views not in TEST_VIEWS:
            raise errors.UsageError(
                f"test_views must be one of {', '.join(TEST_VIEWS)}, not {self.test_views!r}."
            )


def run(
    problem: Problem,
    specs: list[Spec],
    protocol: Protocol,
    fingerprint: str,
    *,
    made_with: dict[str, Any] | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Judge each head in each round and return the results as a JSON-ready document.

    Parameters
    ----------
    problem : Problem
    specs : list of Spec
    protocol : Protocol
    fingerprint : str
        Of the vectors: that of the problem's layer.
    made_with : dict, optional
        What else the run folder shall say: cache, library versions.
    out : Path, optional
        The run folder to write; an unfinished run of the same plan goes on there.
    overwrite : bool
        Replace another run at `out`.
    progress : callable
        Called with the rounds done and their number, over all heads.
    """
    parted = splits.repeated_hold_out(
        problem, rounds=protocol.rounds, test_size=protocol.test_size, seed=protocol.seed
    )
    plan = _plan(problem, specs, protocol, fingerprint, splits.fingerprint(problem, parted))
    folder = RunFolder(out, plan, made_with or {}, overwrite=overwrite) if out is not None else None
    records: dict[tuple[str, int], Record] = {}
    if folder is not None:
        folder.save_splits(problem, parted)
        records.update({(record.head, record.number): record for record in folder.records()})
    tasks = [
        (number, spec, round_number)
        for number, spec in enumerate(specs)
        for round_number in range(protocol.rounds)
        if (spec.text, round_number) not in records
    ]
    total = len(specs) * protocol.rounds
    progress(total - len(tasks), total)
    for head_number, record in _side_by_side(problem, parted.test, tasks, protocol):
        records[record.head, record.number] = record
        if folder is not None:
            folder.save(head_number, record)
        progress(len(records), total)
    document = _document(problem, specs, protocol, plan, records, out)
    if folder is not None:
        folder.finish(document)
    return document


def _plan(
    problem: Problem, specs: list[Spec], protocol: Protocol, fingerprint: str, splits_fingerprint: str
) -> dict[str, Any]:
    return {
        "icehouse": __version__,
        "fingerprint": fingerprint,
        "splits": splits_fingerprint,
        "layer": problem.layer,
        "rows": len(problem.y),
        "views": problem.views,
        "classes": list(problem.classes),
        "positive": problem.positive_class,
        "grouped": problem.grouped,
        "heads": [spec.text for spec in specs],
        "rounds": protocol.rounds,
        "test_size": protocol.test_size,
        "seed": protocol.seed,
        "test_views": protocol.test_views,
    }


def _side_by_side(
    problem: Problem,
    tested: NDArray[np.bool_],
    tasks: list[tuple[int, Spec, int]],
    protocol: Protocol,
) -> Iterator[tuple[int, Record]]:
    """Yield each task's record in order, several at once in threads.

    NumPy, libsvm and XGBoost leave Python's lock while they work, so threads do without copies of the vectors
    and without starting processes. Each round computes on one thread: rounds at once are what fills the
    processors, and sums of floats then do not depend on their number.
    """
    from joblib import Parallel, cpu_count, delayed
    from threadpoolctl import threadpool_limits

    jobs = protocol.jobs or cpu_count()

    def one(head_number: int, spec: Spec, number: int) -> tuple[int, Record]:
        return head_number, _one_round(problem, tested[number], spec, number, protocol)

    with threadpool_limits(limits=1):
        results = Parallel(n_jobs=jobs, backend="threading", return_as="generator")(
            delayed(one)(*task) for task in tasks
        )
        try:
            for result in results:  # noqa: UP028  (`yield from` would close them before warnings are silenced)
                yield result
        finally:  # whoever stops early does so on purpose: joblib need not warn of unused results
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.close()


def _one_round(
    problem: Problem, tested: NDArray[np.bool_], spec: Spec, number: int, protocol: Protocol
) -> Record:
    started = time.perf_counter()
    head_seed = int(np.random.SeedSequence([protocol.seed, number, 1]).generate_state(1)[0] % 2**31)
    estimator = spec.build(head_seed)
    try:
        estimator.fit(*problem.vectors(np.flatnonzero(~tested)))
        rows = np.flatnonzero(tested)
        predicted, scores = _answers(estimator, problem, rows, spec.head.probabilities, protocol.test_views)
    except Exception as error:  # an estimator may refuse its parameters or the data in any way
        text = " ".join(str(error).split())[:300]
        raise errors.HeadError(f"Head {spec.text} failed in round {number + 1}: {text}") from error
    judgement = judge(
        problem.y[rows],
        predicted,
        scores,
        problem.classes,
        problem.positive,
        probabilities=spec.head.probabilities,
    )
    last = estimator[-1] if spec.head.scaled else estimator
    history = getattr(last, "history_", None)
    return Record(
        spec.text,
        number,
        number,
        number,
        judgement,
        rows,
        predicted,
        scores,
        history,
        time.perf_counter() - started,
        None,
        np.zeros(0, dtype=np.int64),
        np.zeros((0, scores.shape[1])),
    )


def _answers(
    estimator: Any, problem: Problem, rows: NDArray[np.intp], probabilities: bool, test_views: str
) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
    """Return the predicted class of each tested row, and the score of each class, shape (n_test, n_classes).

    Over several views, the class is that of the highest mean score.
    """
    if test_views == "mean" and problem.views > 1:
        X, _ = problem.vectors(rows)
        every = _scores(estimator, X, probabilities)
        further = every[len(rows) :].reshape(len(rows), problem.views - 1, every.shape[1])
        scores = (every[: len(rows)] + further.sum(axis=1)) / problem.views
        return scores.argmax(axis=1), scores
    scores = _scores(estimator, problem.X[rows], probabilities)
    if probabilities:
        return scores.argmax(axis=1), scores
    return np.asarray(estimator.predict(problem.X[rows])), scores


def _scores(estimator: Any, X: NDArray[np.floating[Any]], probabilities: bool) -> NDArray[np.floating[Any]]:
    """Return the score of each class, shape (n, n_classes).

    A head's scaling works in place: `X` is the caller's to lose.
    """
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


def _document(
    problem: Problem,
    specs: list[Spec],
    protocol: Protocol,
    plan: dict[str, Any],
    records: dict[tuple[str, int], Record],
    out: Path | None,
) -> dict[str, Any]:
    heads, confusion, history, seconds = {}, {}, {}, {}
    for spec in specs:
        rounds = [records[spec.text, number] for number in range(protocol.rounds)]
        heads[spec.text] = summarize([record.judgement for record in rounds])
        matrices = [record.judgement.confusion for record in rounds]
        confusion[spec.text] = {"rounds": matrices, "sum": np.sum(matrices, axis=0).tolist()}
        if any(record.history for record in rounds):
            history[spec.text] = [record.history for record in rounds]
        seconds[spec.text] = round(sum(record.seconds for record in rounds), 3)
    return {
        "run": str(out) if out is not None else None,
        **{key: plan[key] for key in _SHOWN},
        "classes": plan["classes"],
        "positive": plan["positive"],
        "rows": plan["rows"],
        "patients": problem.patients if problem.grouped else None,
        "left_out": problem.left_out,
        "heads": heads,
        "confusion": confusion,
        "history": history,
        "seconds": seconds,
    }
