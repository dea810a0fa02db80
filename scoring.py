"""Vectors for a bundle, from a cache or from new images, and what the bundle says of them.

A cache is read block by block, images run through the network batch by batch: what is held of each is its
scores. What users call is in `fitted`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .bundle import images
from .bundle.bundle import Bundle
from .bundle.predictions import Answers, Predictions, Samples, predictions
from .cache import drift
from .cache.keys import CONTENT_BYTES
from .cache.samples import FAILED, PENDING
from .cache.store import Cache

StrPath = str | Path
Told = Callable[[int, int, str], None]
"""Is told of progress: how much is done, of how much, and a few words more."""

_BLOCK = 1024
_PENDING = "pending: its extraction was not finished"


@dataclass(frozen=True)
class Choices(images.Choices):
    """What the user may choose of how images are scored.

    Parameters
    ----------
    threshold, reject : float, optional
        See `bundle.predictions`.
    reuse : str or Path, optional
        A cache whose vectors are taken where it has them; it is only read.
    """

    threshold: float | None = None
    reject: float | None = None
    reuse: StrPath | None = None

    def for_images(self) -> list[str]:
        """Return which of them were made that only images have."""
        made = {
            "--cache": self.reuse,
            "--frames": self.frames,
            "--weights": self.weights,
            "--trust-model": self.trust_model or None,
            "--batch-size": self.batch_size,
            "--workers": self.workers,
            "--root": self.root,
            "--engine": None if self.engine == "auto" else self.engine,
        }
        return [name for name, value in made.items() if value is not None]


def score_cache(
    bundle: Bundle,
    cache: Cache,
    choices: Choices,
    progress: Told = lambda done, total, words: None,
) -> Predictions:
    """Return what a bundle says of the vectors in a cache; no framework is loaded.

    Raises
    ------
    RecipeMismatch
        If the vectors were made by another recipe than the training ones, naming the field.
    CanaryDrift
        If they were made by a network that computes otherwise.
    UsageError
        For choices that only images have.
    """
    if given := choices.for_images():
        raise errors.UsageError(f"{given[0]} is for images, and {cache.path} is a cache.")
    cache.check_holds(
        bundle.recipe, bundle.layers, f"Extract the images by the recipe of {bundle.path}, or name the images."
    )
    drifted = drift.check(
        cache.canaries(),
        bundle.canaries,
        f"The vectors in {cache.path} are {{}} away from those {bundle.path} was trained on, though their "
        "recipe is the same: a library, a driver or the weights changed. Extract anew where the head was "
        "trained, or go on with --accept-drift.",
        accept=choices.accept_drift,
    )
    notes = images.drift_notes(bundle, drifted, canaries=bool(bundle.canaries and cache.canaries()))
    if choices.labels is not None and (unnamed := cache.relabel(choices.labels)):
        notes.append(f"{choices.labels} does not name {unnamed} of the samples: they keep their labels.")
    table = cache.samples
    reasons = {failure.path: f"{failure.stage}: {failure.reason}" for failure in cache.failures}
    states = zip(table.path.tolist(), table.state.tolist(), strict=True)
    error = [_error(state, reasons.get(path, "failed")) for path, state in states]
    samples = Samples(
        path=table.path,
        patient=table.patient,
        label=table.label,
        content=table.content,
        frames=np.maximum(table.frames, 1).astype(np.int64),
        error=np.array(error, dtype=np.str_),
        seconds=np.zeros(len(table)),
        columns={**table.columns, **({"split": table.split} if np.any(table.split != "") else {})},
    )
    scored = cache.sample_of_row
    answers = _Answers(bundle)
    for start in range(0, len(scored), _BLOCK):
        rows = slice(start, start + _BLOCK)
        answers.add({layer: cache.vectors(layer, rows) for layer in bundle.layers})
        progress(min(start + _BLOCK, len(scored)), len(scored), "")
    without = np.setdiff1d(np.arange(len(table)), scored)
    sample = np.concatenate([scored, without])
    order = np.argsort(sample, kind="stable")
    frame = np.concatenate([cache.frame_of_row, np.zeros(len(without), dtype=np.int32)])
    answer = np.concatenate([np.arange(len(scored)), np.full(len(without), -1)])
    return predictions(
        bundle,
        samples,
        (sample[order], frame[order].astype(np.int32), answer[order]),
        answers.all(),
        threshold=choices.threshold,
        reject=choices.reject,
        anonymized=cache.anonymized,
        notes=notes,
    )


def _error(state: str, reason: str) -> str:
    return {FAILED: reason, PENDING: _PENDING}.get(state, "")


class _Answers:
    """Collects what a bundle says of vectors as they come."""

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._parts: list[Answers] = []
        self.count = 0

    def add(
        self, vectors: dict[str, NDArray[np.floating[Any]]], seconds: NDArray[np.float64] | None = None
    ) -> None:
        """Score vectors, shape (k, d) of each layer; `seconds` is what they took before."""
        started = time.perf_counter()
        X = images.joined(self._bundle, vectors)
        probabilities, ood = self._bundle.scores(X)
        each = (time.perf_counter() - started) / max(len(X), 1)
        self._parts.append(
            Answers(
                probabilities,
                np.full(len(X), np.nan) if ood is None else ood,
                each + (np.zeros(len(X)) if seconds is None else seconds),
            )
        )
        self.count += len(X)

    def all(self) -> Answers:
        if not self._parts:
            nothing = np.zeros(0)
            return Answers(np.zeros((0, len(self._bundle.classes))), nothing, nothing)
        return Answers(*(np.concatenate(parts) for parts in zip(*self._fields(), strict=True)))

    def _fields(self) -> Iterator[tuple[NDArray[np.float64], ...]]:
        for part in self._parts:
            yield part.probabilities, part.ood, part.seconds


def score_images(
    bundle: Bundle,
    paths: Sequence[StrPath],
    choices: Choices,
    progress: Told = lambda done, total, words: None,
    note: Callable[[str], None] = lambda _: None,
) -> Predictions:
    """Return what a bundle says of images, whose vectors are computed by its own recipe and not kept.

    Raises
    ------
    SourceError
        If there are no such images.
    BundleError
        If the bundle's vectors were not made by icehouse, so that nobody knows how to make more.
    RecipeMismatch
        If this icehouse cannot follow the recipe, or the cache to be reused is of another, naming the field.
    WeightsError
        If the backbone's weights are not to be had.
    CanaryDrift
        If this machine's network does not compute what the bundle was trained on.
    Interrupted
    """
    from .extract import streaming
    from .report.progress import extraction_words

    opened = images.images_for(bundle, paths, choices, note)
    source = opened.source
    answers = _Answers(bundle)
    index: dict[tuple[bytes, int], int] = {}

    def take(frames: streaming.Frames) -> None:
        index.update(
            (name, answers.count + number)
            for number, name in enumerate(zip(frames.content, frames.frame.tolist(), strict=True))
        )
        answers.add(dict(frames.vectors), frames.seconds)

    reuse = Cache(choices.reuse) if choices.reuse is not None else None
    try:
        streamed = streaming.stream(
            source,
            opened.setup,
            take,
            layers=bundle.layers,
            held=opened.held,
            reuse=reuse,
            accept_drift=choices.accept_drift,
            progress=lambda now: progress(now.done, now.total, extraction_words(now)),
        )
    finally:
        if reuse is not None:
            reuse.close()
    rows = [
        (number, frame or 0, -1 if frame is None else index.get((looked.content or b"", frame), -1))
        for number, looked in enumerate(streamed.samples)
        for frame in (looked.chosen if looked.failure is None and looked.selected else (None,))
    ]
    names = sorted({name for sample in source.samples for name in sample.columns})
    blank = bytes(CONTENT_BYTES)
    contents = b"".join(looked.content or blank for looked in streamed.samples)
    samples = Samples(
        path=_texts(sample.path for sample in source.samples),
        patient=_texts(sample.patient for sample in source.samples),
        label=_texts(sample.label for sample in source.samples),
        content=np.frombuffer(contents, dtype=np.uint8).reshape(-1, CONTENT_BYTES),
        frames=np.array([max(looked.frames, 1) for looked in streamed.samples], dtype=np.int64),
        error=_texts(
            "" if looked.failure is None else f"{looked.failure.stage}: {looked.failure.reason}"
            for looked in streamed.samples
        ),
        seconds=np.array([looked.seconds for looked in streamed.samples]),
        columns={name: _texts(sample.columns.get(name, "") for sample in source.samples) for name in names},
    )
    columns = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    return predictions(
        bundle,
        samples,
        (columns[0].astype(np.intp), columns[1].astype(np.int32), columns[2].astype(np.intp)),
        answers.all(),
        threshold=choices.threshold,
        reject=choices.reject,
        notes=images.drift_notes(bundle, streamed.drifted, canaries=bool(bundle.canaries)),
    )


def _texts(texts: Iterator[str]) -> NDArray[np.str_]:
    return np.array(list(texts), dtype=np.str_)
