"""`icehouse audit` and `icehouse.audit_cache`: what is wrong with the data behind a cache."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .cache.opening import relabelled
from .cache.recipe import sentence, unaltered_differences
from .cache.samples import DONE
from .cache.store import Cache

if TYPE_CHECKING:
    from .audit.frames import Frames
    from .audit.looks import Looks
    from .audit.whitening import Whitened

StrPath = str | Path

COUNTED = (
    "exact_duplicates",
    "near_duplicates",
    "patients_in_several_classes",
    "leaks",
    "label_suspects",
    "confounding",
)
"""What makes `--strict` end with exit code 4; of confounding only what is in alarm. Outliers do not: each data
set has some."""


def audit_cache(
    cache: Cache | StrPath,
    *,
    against: Cache | StrPath | None = None,
    layer: str | None = None,
    labels: StrPath | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Look for copies, leaks, doubtful labels, outliers and confounding; no network is needed, and no image.

    Memory stays at some thousand bytes a frame beside a block of vectors; there is no table of all pairs.

    Parameters
    ----------
    cache : Cache, str or Path
    against : Cache, str or Path, optional
        A second cache, such as one of external test images, that shares nothing with the first if all is well.
    layer : str, optional
        Whose vectors; the cache's first one unless told.
    labels : str or Path, optional
        A CSV file (path, label, patient, split, …) in place of what the cache says.
    progress : callable
        Told of work done, and how much there is.
    note : callable
        Told what could not be looked at.

    Returns
    -------
    dict
        What `icehouse audit --json` prints: cache, against, layer, samples, frames and patients (counts);
        exact_duplicates, near_duplicates, groups, patients_in_several_classes and leaks (see `audit.copies`),
        neighbours_within_patients (a count), label_suspects with label_model, and outliers (`audit.suspects`),
        confounding with confounding_skipped and confounding_frames (`audit.confounding`), similarities and
        thresholds (`audit.near`), notes (what could not be looked at), seconds, found (how many of each kind
        count for `--strict`) and anything (whether there are any).

    Raises
    ------
    CacheNotFound, CacheDamaged
        If a cache is absent or cannot be read.
    UsageError
        If it has no such layer, or nothing to look at.
    SourceError
        If `labels` names none of the samples.
    """
    from threadpoolctl import threadpool_limits

    from .audit import confounding, copies, neighbours, suspects
    from .audit.frames import frames_of
    from .audit.near import near
    from .classify.groups import tied

    started = time.perf_counter()
    notes: list[str] = []
    with ExitStack() as stack:
        opened = stack.enter_context(relabelled(cache, labels, notes.append))
        other = None if against is None else stack.enter_context(relabelled(against, None, notes.append))
        if other is not None and other.path.resolve() == opened.path.resolve():
            raise errors.UsageError(f"--against {other.path} is the audited cache itself: name another one.")
        notes += _passed_over(opened, "")
        chosen = layer or opened.layers[0]
        if chosen not in opened.layers:
            raise errors.UsageError(
                f"{opened.path} has no layer {chosen!r}; it has {', '.join(opened.layers)}."
            )
        every = frames_of(opened, other)
        if not every.own:
            raise errors.UsageError(
                f"{opened.path} holds no vector of a finished sample: there is nothing to audit."
            )
        if other is not None:
            notes += [*_passed_over(other, " of the other cache"), *_not_comparable(opened, other, chosen)]
        distinct = every.distinct()
        white = _whitened(opened, other, chosen, distinct)
        found = near(distinct, white.unit(), _looks(opened, other, distinct), progress=progress)
        exact = copies.exact_duplicates(every)
        pairs = copies.near_duplicates(distinct, found)
        own = distinct.taken(np.arange(distinct.own))
        unit = tied(own.guessed, opened.samples.content[opened.sample_of_row[own.line]])
        white = white._replace(values=white.values[: len(own)], fitted=white.fitted[: len(own)])
        with threadpool_limits(limits=1):  # so that sums do not depend on the number of processors
            nearest = neighbours.nearest(neighbours.space(white), unit)
            doubted, model, more = suspects.label_suspects(own, white.values, unit, nearest)
            odd, unlooked = suspects.outliers(own, nearest, white.fitted)
            origin = confounding.confounding(
                opened, every.taken(np.arange(every.own)), lambda rows: _rows(opened, chosen, rows)
            )
        notes += [*found.notes, *more, *unlooked, *_unknown(every)]
        notes += [origin["reason"]] if "reason" in origin else []
        document: dict[str, Any] = {
            "cache": str(opened.path),
            "against": None if other is None else str(other.path),
            "layer": chosen,
            "samples": len(opened.samples),
            "frames": every.own,
            "patients": len(np.unique(every.patient[~every.other & (every.patient != "")])),
            "exact_duplicates": exact,
            "near_duplicates": pairs,
            "groups": copies.groups_of(distinct, found),
            "neighbours_within_patients": found.within,
            "patients_in_several_classes": copies.patients_in_several_classes(every),
            "leaks": copies.leaks(every, exact, pairs),
            "label_suspects": doubted,
            "label_model": model,
            "outliers": odd,
            "confounding": origin["columns"],
            "confounding_skipped": origin["skipped"],
            "confounding_frames": origin["rows"],
            "similarities": found.similarities,
            "thresholds": found.thresholds,
            "notes": notes,
            "seconds": round(time.perf_counter() - started, 1),
        }
    for text in notes:
        note(text)
    counted = {name: len(document[name]) for name in COUNTED}
    counted["confounding"] = sum(one["alarm"] for one in document["confounding"])
    return {**document, "found": counted, "anything": any(counted.values())}


def _passed_over(cache: Cache, of: str) -> list[str]:
    states = cache.counts("state")
    return [
        f"{count} samples{of} are {state}: not looked at." for state, count in states.items() if state != DONE
    ]


def _not_comparable(cache: Cache, other: Cache, layer: str) -> list[str]:
    """Return what cannot be compared between two caches, and why."""
    notes = []
    if cache.anonymized or other.anonymized:
        notes.append(
            "One of the caches is anonymized: whether they share contents or patients cannot be known; only "
            "near duplicates are looked for between them."
        )
    if layer not in other.layers:
        notes.append(f"{other.path} has no layer {layer}: its images are compared by their 16×16 pixels alone.")
    elif differing := unaltered_differences(cache.header.recipe, other.header.recipe):
        notes.append(
            f"The two caches' vectors are of different recipes ({sentence(differing)}): images are compared by "
            "their 16×16 pixels alone."
        )
    return notes


def _comparable(cache: Cache, other: Cache, layer: str) -> bool:
    return layer in other.layers and not unaltered_differences(cache.header.recipe, other.header.recipe)


def _whitened(cache: Cache, other: Cache | None, layer: str, frames: Frames) -> Whitened:
    from .audit.whitening import Read, whiten

    def read(of: Cache) -> Read:
        return lambda rows: of.vectors(layer, rows)

    own = frames.own
    also = []
    if other is not None and _comparable(cache, other, layer):
        also.append((read(other), frames.line[own:]))
    return whiten(read(cache), frames.line[:own], cache.dimensions[layer], also)


def _looks(cache: Cache, other: Cache | None, frames: Frames) -> Looks | None:
    """Return the pictures of the first frames, as far as both caches keep any."""
    from .audit.looks import looks

    own = frames.own
    pixels = cache.pixels()
    if pixels is None:
        return None
    pixels = pixels[frames.line[:own]]
    theirs = None if other is None else other.pixels()
    if theirs is not None:
        pixels = np.concatenate([pixels, theirs[frames.line[own:]]])
    return looks(pixels, fitted_on=own)


def _rows(cache: Cache, layer: str, rows: NDArray[np.intp]) -> NDArray[np.floating[Any]]:
    """Return the vectors of ascending rows of `X`, of which there are few, without holding the others."""
    from .audit.whitening import blocks

    width = cache.dimensions[layer]
    return np.concatenate([*blocks(lambda part: cache.vectors(layer, part), rows, width)])


def _unknown(frames: Frames) -> list[str]:
    notes = []
    own = ~frames.other
    if not np.any(frames.patient[own] != ""):
        notes.append(
            "No patients are known: images of one patient cannot be told from copies, and leaks by patient "
            "not found."
        )
    if not np.any(frames.label[own] != ""):
        notes.append("No labels are known: none is doubted.")
    if not np.any(frames.split[own] != "") and not np.any(frames.other):
        notes.append("No splits are known, and no other cache was named: there is nothing to leak between.")
    return notes
