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
    some may belong to images that no sample names any more (`spare`).
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
        or the second only, None if they cannot be known; `relabelled`, how many of those in both have another
        label.
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
        "relabelled": None if first.anonymized or second.anonymized else _relabelled(first, second),
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


def _relabelled(first: Cache, second: Cache) -> int:
    labels = [
        {
            content: label
            for content, label, state in zip(
                as_bytes(contents_of(cache.samples.content)),
                cache.samples.label.tolist(),
                cache.samples.state.tolist(),
                strict=True,
            )
            if state == DONE
        }
        for cache in (first, second)
    ]
    shared = labels[0].keys() & labels[1].keys()
    return sum(labels[0][content] != labels[1][content] for content in shared)
