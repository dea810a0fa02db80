"""A head fitted on everything that a cache holds, and put together with all that its use needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__, errors
from ..cache.keys import contents_of
from ..cache.store import Cache
from ..classify import fitting as rounds
from ..classify import runs
from ..classify.heads import Spec
from ..classify.measures import OF_PROBABILITIES
from ..classify.problem import Problem
from ..classify.protocol import Protocol
from ..classify.sides import Splits
from ..classify.stored import read_run
from . import calibration, novelty, out_of_fold, portable, thresholds, training
from .bundle import MOST_CLASSES, Bundle, restored
from .calibration import Calibration
from .contents import Contents
from .out_of_fold import OutOfFold
from .preparation import Preparation

_FREE_OF_THRESHOLDS = ("roc_auc",)
_SHOWN = (
    "accuracy",
    "balanced_accuracy",
    "sensitivity",
    "specificity",
    "precision",
    "npv",
    "f1",
    "roc_auc",
    "brier",
)


@dataclass(frozen=True)
class Request:
    """How a head is fitted.

    Parameters
    ----------
    spec : Spec
    calibrate : bool
        Turn the head's probabilities into calibrated ones; heads without probabilities always get them so.
    sensitivity : float, optional
        Choose the threshold of two classes so that so many positives are found, as far as out-of-fold scores
        tell.
    reduce : int, optional
        Principal components.
    tune : bool
        Search the head's grid.
    balance : {None, "weights"}
    seed : int
    run : Path, optional
        A run that judged the same head on the same data: what to expect of it.
    """

    spec: Spec
    calibrate: bool = False
    sensitivity: float | None = None
    reduce: int | None = None
    tune: bool = False
    balance: str | None = None
    seed: int = 0
    run: Path | None = None

    def check(self) -> None:
        """Raise `UsageError` for what no data allow."""
        if not self.spec.head.standardized:
            raise errors.UsageError(
                f"Head {self.spec.text!r} is an estimator of your own, and a bundle keeps icehouse's heads "
                "only, as plain arrays: so no file from a stranger can run code."
            )
        if self.balance not in (None, "weights"):
            raise errors.UsageError(
                f"A head is fitted on everything: balance is 'weights' or none, not {self.balance!r}."
            )
        if self.balance == "weights" and not self.spec.head.weighs:
            raise errors.UsageError(
                f"Head {self.spec.text!r} cannot weigh samples: leave out --balance weights."
            )
        if self.sensitivity is not None and not 0 < self.sensitivity <= 1:
            raise errors.UsageError(f"--sensitivity is a share above 0 and up to 1, not {self.sensitivity:g}.")
        self.spec.check()

    @property
    def calibrates(self) -> bool:
        """Whether the head is calibrated: if asked for, and if it has no probabilities otherwise."""
        return self.calibrate or not self.spec.head.probabilities

    @property
    def protocol(self) -> Protocol:
        """How the head is fitted, as rounds are."""
        return Protocol(
            reduce=self.reduce, tune=self.tune, balance=self.balance, seed=self.seed, controls=False
        )


def fit(
    cache: Cache,
    problem: Problem,
    request: Request,
    path: Path,
    note: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Return a head fitted on every labelled row of a cache, ready to be kept.

    Parameters
    ----------
    cache : Cache
    problem : Problem
        What `problem.from_cache` makes of it.
    request : Request
    path : Path
        Where the bundle will lie; the key of the patients' hashes lies beside the cache.
    note : callable
        Told what the user should know.

    Raises
    ------
    UsageError, ClassesError
        If the data do not allow what is asked.
    BundleError
        If the run judged something else.
    """
    request.check()
    if len(problem.classes) > MOST_CLASSES:
        raise errors.ClassesError(f"A bundle holds up to {MOST_CLASSES} classes, not {len(problem.classes)}.")
    if request.sensitivity is not None and problem.positive is None:
        raise errors.UsageError(
            f"--sensitivity is that of the positive class of two, and there are {len(problem.classes)} classes."
        )
    notes: list[str] = []
    expected = _expected(request.run, request, cache, problem, notes) if request.run is not None else None
    judged = out_of_fold.out_of_fold(
        problem, request.spec, request.protocol, seed=request.seed, note=notes.append
    )
    calibrated = _calibration(request, problem, judged, notes)
    chosen = None
    if request.sensitivity is not None and problem.positive is not None:
        if judged is None:
            raise errors.ClassesError(f"--sensitivity cannot be had. {notes[-1]}")
        chosen = thresholds.of(judged, calibrated, problem.positive, request.sensitivity)
        notes += [chosen.note] if chosen.note else []
    reference = novelty.fit(problem, seed=request.seed, note=notes.append)
    estimator, tuned, prepared = _fitted(problem, request)
    state, arrays = portable.stored(request.spec, estimator)
    trained = training.of(
        problem, anonymized=cache.anonymized, folder=cache.path.absolute().parent, note=notes.append
    )
    document: dict[str, Any] = {
        "classes": list(problem.classes),
        "positive": problem.positive_class,
        "layers": list(problem.layers),
        "widths": list(problem.widths),
        "recipe": dict(cache.header.recipe),
        "frames": str(cache.header.selection.get("frames", "all")),
        "head": {
            "text": request.spec.text,
            "kind": request.spec.head.name,
            "parameters": _plain(request.spec.parameters),
            "seed": request.seed,
            "reduce": request.reduce,
            "tuned": _plain(tuned),
            "balance": request.balance,
        },
        "head_state": state,
        "expected": expected,
        "made_with": _made_with(),
        "notes": [*problem.notes, *notes],
    }
    canaries = cache.canaries()
    arrays.update(
        {f"canary/{number}": canaries[name] for number, name in enumerate(problem.layers) if name in canaries}
    )
    if (mean := cache.mean_map()) is not None:
        arrays["maps/mean"] = mean[0]
    arrays.update(prepared.stored())
    for name, part in (
        ("threshold", chosen),
        ("calibration", calibrated),
        ("novelty", reference),
        ("out_of_fold", judged),
        ("training", trained),
    ):
        if part is not None:
            document[name], more = part.stored()
            arrays.update(more)
    for text in notes:
        note(text)
    return restored(Contents(path, json.loads(json.dumps(document, allow_nan=False, sort_keys=True)), arrays))


def _calibration(
    request: Request, problem: Problem, judged: OutOfFold | None, notes: list[str]
) -> Calibration | None:
    if not request.calibrates:
        return None
    if judged is None:
        text = request.spec.text
        why = "cannot be calibrated" if request.spec.head.probabilities else "has no probabilities without it"
        raise errors.ClassesError(f"Head {text} {why}. {notes[-1]}")
    return calibration.calibrated(judged, problem.classes, note=notes.append)


def _fitted(problem: Problem, request: Request) -> tuple[Any, dict[str, Any] | None, Preparation]:
    """Return the head fitted on everything, what tuning chose, and the preparation of its vectors."""
    from threadpoolctl import threadpool_limits

    count = len(problem)
    further = 0 if problem.unlabelled is None else len(problem.unlabelled.y)
    everything = Splits(
        "everything",
        ("everything",),
        np.ones((1, count), dtype=bool),
        np.zeros((1, count), dtype=bool),
        np.zeros((1, further), dtype=bool),
    )
    ready = rounds.Ready(problem, everything, 0, request.protocol)
    try:
        with threadpool_limits(1):  # as in rounds, so that it is the head that they judged
            estimator, tuned = rounds.fit(ready, request.spec, request.protocol.head_seed(0))
    except errors.IcehouseError:
        raise
    except Exception as error:  # an estimator may refuse its parameters or the data in any way
        text = " ".join(str(error).split())[:300]
        raise errors.HeadError(f"Head {request.spec.text} failed: {text}") from error
    return estimator, tuned, Preparation(**ready.prepared.steps())


def _expected(run: Path, request: Request, cache: Cache, problem: Problem, notes: list[str]) -> dict[str, Any]:
    """Return what a run says of the head, once it is sure that it judged the same.

    Raises
    ------
    RunError
        If there is no such run, or it is unfinished.
    BundleError
        If it judged another head, other data, other vectors or another way of fitting.
    """
    stored = read_run(run)
    plan, text = stored.plan, request.spec.text
    if not stored.finished:
        raise errors.RunError(f"{run} is not finished. Repeat its command, which goes on where it was.")
    if text not in plan["heads"]:
        raise errors.BundleError(f"{run} did not judge {text}; it judged {', '.join(plan['heads'])}.")
    fingerprint = "+".join(cache.header.fingerprints[name] for name in problem.layers)
    asked = {
        "vectors": (plan["fingerprint"], fingerprint),
        "classes": (plan["classes"], list(problem.classes)),
        "positive class": (plan["positive"], problem.positive_class),
        "views": (plan["views"], problem.views),
        "--test-views": (plan["test_views"], "first"),
        "--reduce": (plan["reduce"], request.reduce),
        "--tune": (plan["tune"], request.tune),
        "--balance": (plan["balance"], request.balance),
        "keeping patients together": (plan["grouped"], problem.grouped),
    }
    for name, (there, here) in asked.items():
        if there != here:
            raise errors.BundleError(
                f"{run} judged something else: {name} differs, {_short(there)} there and {_short(here)} here. "
                "Fit in the same way, or judge anew."
            )
    others = ~np.isin(contents_of(stored.content), contents_of(problem.content))
    if others.any():
        raise errors.BundleError(
            f"{run} judged other data: {int(others.sum())} of its {len(others)} images are not among these, "
            f"such as {stored.file[int(np.argmax(others))]}. Judge anew."
        )
    if len(others) != len(problem):
        notes.append(f"{run.name} judged {len(others)} images, and the head is fitted on {len(problem)}.")
    shown = _FREE_OF_THRESHOLDS if request.sensitivity is not None else _SHOWN
    try:
        results = json.loads((run / "results.json").read_text(encoding="utf-8"))
        metrics = results["heads"][text]
        return {
            "run": run.name,
            "rounds": results["rounds"],
            "rows": plan["rows"],
            "metrics": {
                name: {key: metrics[name][key] for key in ("mean", "low", "high")}
                for name in shown
                if name not in OF_PROBABILITIES or not request.calibrates
            },
        }
    except (OSError, ValueError, KeyError, TypeError):
        raise errors.RunError(
            f"{run / 'results.json'} is missing or damaged. Repeat the run's command."
        ) from None


def _short(value: Any) -> str:
    words = {None: "none", True: "yes", False: "no"}
    if isinstance(value, (bool, type(None))):
        return words[value]
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return f"{text[:8]}…" if len(text) > 60 else text


def _plain(parameters: dict[str, Any] | None) -> Any:
    """Return parameters as JSON can hold them."""
    return None if parameters is None else json.loads(json.dumps(parameters, default=str))


def _made_with() -> dict[str, Any]:
    return {
        "icehouse": __version__,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        **runs.libraries(),
    }
