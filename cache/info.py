"""A cache described in one JSON-ready document: what `icehouse cache info` shows."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from .keys import contents_in, contents_of
from .store import Cache


def describe(cache: Cache) -> dict[str, Any]:
    """Return what `cache` is, what it was made with and what it holds.

    Counts of samples by state, label and split leave out what is empty; `rows` counts vectors, of which
    some may belong to images that no sample names any more (`spare`).
    """
    samples, header = cache.samples, cache.header
    spare = ~np.isin(contents_in(cache.image_keys), contents_of(samples.content))
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
        "spare": int(spare.sum()),
        "samples": len(samples),
        "states": _counts(samples.state),
        "labels": _counts(samples.label),
        "splits": _counts(samples.split),
        "patients": len(set(samples.patient.tolist()) - {""}),
        "columns": list(samples.columns),
        "failures": [vars(failure) for failure in cache.failures],
        "provenance": cache.provenance(),
    }


def _counts(values: np.ndarray[Any, np.dtype[np.str_]]) -> dict[str, int]:
    counted = Counter(values.tolist())
    return {value: counted[value] for value in sorted(counted) if value}
