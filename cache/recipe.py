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

_ABSENT = "(absent)"


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
    found: list[Difference] = []
    for name in sorted(first.keys() | second.keys()):
        a, b = first.get(name, _ABSENT), second.get(name, _ABSENT)
        if isinstance(a, Mapping) and isinstance(b, Mapping):
            inner = differences(a, b)
            found += [Difference(f"{name}.{each.field}", each.first, each.second) for each in inner]
        elif a != b:
            found.append(Difference(name, a, b))
    return found


def unaltered_differences(first: Recipe, second: Recipe) -> list[Difference]:
    """Return the fields that make the unaltered views of two recipes differ: all but how others are drawn."""
    return [found for found in differences(first, second) if found.field != "augment"]


def sentence(found: Sequence[Difference]) -> str:
    """Return differences in one line; that of the kind alone where the recipes are not even of one kind."""
    kinds = [difference for difference in found if difference.field == "kind"]
    return "; ".join(map(str, kinds or found))


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_shown(item)}" for name, item in value.items())
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    kind, _, digest = text.partition(":")
    if kind == "sha256" and len(digest) == 64:
        return f"{digest[:8]}…"
    return text
