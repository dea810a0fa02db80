"""The map of the vectors of a run or of a cache, with their pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from . import finding
from .cache.store import Cache
from .classify.cached import is_of, layers_of, rows_of, vectors_of
from .classify.facts import columns_of, technical_of
from .finding import Found, Told, silent
from .report import thumbnails as small
from .report.judged import Judged
from .report.parts import Section, Words
from .report.vectors_map import TITLE, Points, drawn, tells_apart, vectors_map

Origin = tuple[str, NDArray[np.str_]]


def map_of_run(judged: Judged, cache: Cache | None, found: Found | None, progress: Told = silent) -> Section:
    """Return the map of the vectors of a run's images, with their pictures.

    Parameters
    ----------
    judged : Judged
    cache : Cache or None
        That of the run; without it the section only says so.
    found : Found or None
        Where its images are; without, pictures are the 16×16 grey values that the cache keeps.
    progress : callable
    """
    if cache is None:
        return _without("The run's cache is not there, so that its vectors cannot be shown.")
    rows = rows_of(cache, judged.stored.content, judged.stored.frame)
    if not is_of(cache, judged.stored) or not np.any(rows >= 0):
        return _without(f"{cache.path} does not hold the vectors that {judged.name} was made of.")
    here = np.flatnonzero(rows >= 0)
    label = judged.stored.label[here]
    chosen = drawn(label)
    of_cache = rows[here[chosen]]
    origin = _origin(judged, cache, of_cache)
    return _map(cache, layers_of(judged.stored), of_cache, label[chosen], len(here), origin, found, progress)


def map_of_cache(cache: Cache, found: Found | None, progress: Told = silent) -> Section:
    """Return the map of the vectors of a cache's first layer, labelled or not, with their pictures."""
    label = cache.y
    chosen = drawn(label)
    return _map(cache, cache.layers[:1], chosen, label[chosen], len(label), None, found, progress)


def _without(why: str) -> Section:
    return Section(TITLE, (Words(why, "note"),))


def _map(
    cache: Cache,
    layers: tuple[str, ...],
    rows: NDArray[np.intp],
    label: NDArray[np.str_],
    total: int,
    origin: Origin | None,
    found: Found | None,
    progress: Told,
) -> Section:
    pictures, failed = finding.pictures(cache, found, rows, small.largest(), progress)
    progress(0, 1, "map of the vectors")
    section = vectors_map(
        Points(
            vectors=vectors_of(cache, layers, rows),
            label=label,
            names=tuple(finding.names(cache, rows, label)),
            thumbnails=small.within(pictures),
            total=total,
            origin=origin,
        )
    )
    progress(1, 1, "map of the vectors")
    said = tuple(Words(text, "note") for text in finding.remarks(found, failed))
    return replace(section, parts=(*section.parts, *said))


def _origin(judged: Judged, cache: Cache, rows: NDArray[np.intp]) -> Origin | None:
    """Return the column that goes with the class most, of those that the run sounded an alarm about."""
    controls = judged.document["controls"] or {"origin": []}
    sample = cache.sample_of_row[rows]
    known = {**columns_of(cache.samples, sample), **technical_of(cache.samples, sample)}
    alarms = [entry for entry in controls["origin"] if entry["alarm"] and entry["column"] in known]
    alarms = [entry for entry in alarms if tells_apart(known[entry["column"]])]
    if not alarms:
        return None
    column = max(alarms, key=lambda entry: (entry["class_association"], entry["roc_auc"] or 0.0))["column"]
    return column, known[column]
