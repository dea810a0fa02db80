"""Where a fitted head comes from: how it was fitted, with what, and what a run says to expect of it.

Nothing of this is computed with; it is checked all the same, as it is shown to people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..classify.metrics import METRICS
from .contents import Contents, Fields

HOW_FITTED = ("text", "kind", "parameters", "seed", "reduce", "tuned", "balance")
_ENDS = ("mean", "low", "high")


@dataclass(frozen=True)
class Provenance:
    """What is known of a head beside what it computes with, JSON-ready.

    Parameters
    ----------
    head : dict
        `HOW_FITTED`.
    expected : dict or None
        "run", "rounds", "rows", and "metrics", each with "mean", "low" and "high".
    made_with : dict
        Versions and the time.
    notes : list of str
        What was told as it was fitted.
    """

    head: dict[str, Any]
    expected: dict[str, Any] | None
    made_with: dict[str, Any]
    notes: list[str]


def restored(contents: Contents) -> Provenance:
    """Return what a bundle says of its head's making.

    Raises
    ------
    BundleDamaged
    """
    head, made = contents.fields("head"), contents.fields("made_with")
    libraries = made.fields("libraries")
    return Provenance(
        head={
            "text": head.text("text"),
            "kind": head.text("kind"),
            "parameters": _parameters(head, "parameters"),
            "seed": head.whole("seed"),
            "reduce": head.whole("reduce", 1) if head.has("reduce") else None,
            "tuned": _parameters(head, "tuned") if head.has("tuned") else None,
            "balance": head.text("balance") if head.has("balance") else None,
        },
        expected=_expected(contents.fields("expected")) if contents.has("expected") else None,
        made_with={
            **{name: made.text(name) for name in ("icehouse", "time", "python")},
            "libraries": {name: libraries.text(name) for name in libraries.names()},
        },
        notes=list(contents.texts("notes")),
    )


def _parameters(head: Fields, name: str) -> dict[str, Any]:
    """Return the parameters of a head: numbers, texts, truths, none, and lists of them."""
    fields = head.fields(name)
    values = {key: fields.plain(key) for key in fields.names()}
    for key, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, (list, dict)):
                raise fields.fault(f"{key} is no parameter")
    return values


def _expected(fields: Fields) -> dict[str, Any]:
    metrics = fields.fields("metrics")
    found = {name: metrics.fields(name) for name in METRICS if metrics.has(name)}
    return {
        "run": fields.text("run"),
        "rounds": fields.whole("rounds", 1),
        "rows": fields.whole("rows", 1),
        "metrics": {
            name: {end: each.number(end) if each.has(end) else None for end in _ENDS}
            for name, each in found.items()
        },
    }
