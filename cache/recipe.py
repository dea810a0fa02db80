"""What decides a vector's values: the recipe, its fingerprint, and how two recipes differ.

A recipe is a plain JSON object. This module knows how recipes are compared and hashed, not what goes into
one: `extract.extraction` composes it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Recipe = Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """One field in which two recipes differ."""

    field: str
    first: Any
    second: Any

    def __str__(self) -> str:
        return f"{self.field} differs: {_shown(self.first)} ≠ {_shown(self.second)}"


def canonical_json(recipe: Recipe) -> str:
    """Return the one spelling of `recipe` that is hashed: sorted keys, no spaces, no NaN."""
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(recipe: Recipe) -> str:
    """Return the SHA-256 of `recipe`, 64 hexadecimal digits."""
    return hashlib.sha256(canonical_json(recipe).encode()).hexdigest()


def fingerprint(recipe: Recipe, layer: str) -> str:
    """Return the digest of `recipe` together with the layer the vector is taken at."""
    return digest({**recipe, "layer": layer})


def fingerprints(recipe: Recipe, layers: tuple[str, ...]) -> dict[str, str]:
    """Return the fingerprint of each layer."""
    return {layer: fingerprint(recipe, layer) for layer in layers}


def differences(first: Recipe, second: Recipe) -> list[Difference]:
    """Return the fields, in alphabetical order, whose values differ; a nested field is named with dots."""
    a, b = _flat(first), _flat(second)
    absent = "(absent)"
    return [
        Difference(field, a.get(field, absent), b.get(field, absent))
        for field in sorted(a.keys() | b.keys())
        if a.get(field, absent) != b.get(field, absent)
    ]


def sentence(found: Sequence[Difference]) -> str:
    """Return differences in one line; that of the kind alone where the recipes are not even of one kind."""
    kinds = [difference for difference in found if difference.field == "kind"]
    return "; ".join(map(str, kinds or found))


def _flat(recipe: Recipe, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _shown(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    kind, _, digest = text.partition(":")
    if kind == "sha256" and len(digest) == 64:
        return f"{digest[:8]}…"
    return text
