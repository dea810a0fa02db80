"""Caches described in JSON-ready documents: what `icehouse cache info` and `icehouse cache diff` show."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from . import drift
from .keys import as_bytes, contents_in, contents_of
from .recipe import differences
from .samples import DONE
from .store import Cache


def describe(cache: Cache) -> dict[str, Any]:
    """Return what `cache` is, what it was made with and what it holds.

    Counts of samples by state, label and split leave out what is empty; `rows` counts vectors, of which
    some may be of images, frames or views that no sample takes (`spare`); `frames` counts those of the samples'
    files, as far as they are known.
    """
    header = cache.header
    return {
        "cache": str(cache.path),
        "bytes": cache.path.stat().st_size,
        "complete": header.complete,
        "anonymized": header.anonymized,
        "created_by": header.created_by,
        "recipe": header.recipe,
        "fingerprints": header.fingerprints,
        "selection": header.selection,
        "dimensions": cache.dimensions,
        "rows": cache.rows,
        "spare": int(cache.spare.sum()),
        "samples": cache.shape("samples/path")[0],
        "frames": int(cache.read("samples/frames").sum(dtype=np.int64)),
        "kinds": cache.counts("kind"),
        "states": cache.counts("state"),
        "labels": cache.counts("label"),
        "splits": cache.counts("split"),
        "patients": len(cache.counts("patient")),
        "columns": list(cache.own_columns().values()),
        "failures": [vars(failure) for failure in cache.failures],
        "provenance": cache.provenance(),
    }


def compare(first: Cache, second: Cache) -> dict[str, Any]:
    """Return how two caches differ: field by field in what decides the vectors, and in what they hold.

    Returns
    -------
    dict
        `same_recipe`; `fields`, each with `field`, `first`, `second`; `layers` with whether their fingerprints
        are the same, None where only one cache has it; `canary_distance`, None unless both have canaries;
        `selection`, the fields that differ there; `images`, how many distinct contents are in both, the first
        or the second only, None if they cannot be known; `relabelled` and `rechosen`, how many of those in both
        have another label, or other frames chosen.
    """
    prints = (first.header.fingerprints, second.header.fingerprints)
    return {
        "first": str(first.path),
        "second": str(second.path),
        "same_recipe": not differences(first.header.recipe, second.header.recipe),
        "fields": _fields(first.header.recipe, second.header.recipe),
        "layers": {
            layer: prints[0][layer] == prints[1][layer] if layer in prints[0] and layer in prints[1] else None
            for layer in sorted({**prints[0], **prints[1]})
        },
        "canary_distance": _canary_distance(first, second),
        "selection": _fields(first.header.selection, second.header.selection),
        "samples": [len(first.samples), len(second.samples)],
        "images": None if first.anonymized or second.anonymized else _overlap(first, second),
        "relabelled": None if first.anonymized or second.anonymized else _changed(first, second, "label"),
        "rechosen": None if first.anonymized or second.anonymized else _changed(first, second, "chosen"),
    }


def _fields(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"field": item.field, "first": item.first, "second": item.second, "sentence": str(item)}
        for item in differences(first, second)
    ]


def _canary_distance(first: Cache, second: Cache) -> float | None:
    one, two = first.canaries(), second.canaries()
    comparable = [layer for layer in one if layer in two and one[layer].shape == two[layer].shape]
    if not comparable:
        return None
    distance = drift.distance({layer: one[layer] for layer in comparable}, two)
    return distance if np.isfinite(distance) else None


def _overlap(first: Cache, second: Cache) -> dict[str, int]:
    one, two = (np.unique(contents_in(cache.image_keys)) for cache in (first, second))
    both = len(np.intersect1d(one, two, assume_unique=True))
    return {"both": both, "first_only": len(one) - both, "second_only": len(two) - both}


def _changed(first: Cache, second: Cache, column: str) -> int:
    """Return of how many contents in both caches finished samples say different things."""
    said = [
        {
            content: text
            for content, text, state in zip(
                as_bytes(contents_of(cache.samples.content)),
                getattr(cache.samples, column).tolist(),
                cache.samples.state.tolist(),
                strict=True,
            )
            if state == DONE
        }
        for cache in (first, second)
    ]
    shared = said[0].keys() & said[1].keys()
    return sum(said[0][content] != said[1][content] for content in shared)
