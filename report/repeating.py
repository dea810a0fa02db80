"""How a run is repeated: the commands that lead to it, the recipe of its vectors, the versions of libraries."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from .. import errors
from ..classify.protocol import Protocol
from ..extract import backbones, matching
from ..extract.settings import Settings
from .judged import Judged
from .parts import Part, Section, Table, Words
from .tables import plain_text

_VALUES = {field.name: field.default for field in fields(Protocol)}
_OPTIONS = (
    "folds",
    "repeats",
    "split_columns",
    "vary",
    "seeds",
    "balance",
    "validation",
    "tune",
    "seed",
    "test_views",
    "by",
    "rule",
)
"""Of `classify`, those whose values stand in a run's plan as they were given."""


def repeating(runs: list[Judged]) -> Section:
    """Return the section that says how to do all this again."""
    commands = dict.fromkeys(
        command
        for run in runs
        for command in (extract_command(run.stored.made_with), classify_command(run))
        if command is not None
    )
    parts: list[Part] = [
        Words("\n".join(commands), "code"),
        _table("Versions", ((run.name, _versions(run)) for run in runs)),
        _table("Recipe of the vectors", ((run.name, _recipe(run)) for run in runs)),
    ]
    if any(not run.stored.plan["own_estimators"] for run in runs):
        words = (
            "With the same versions, these commands give the same numbers. DATA stands for where the images "
            "are, and the weights are those whose SHA-256 the recipe names."
        )
        parts.insert(1, Words(words))
    return Section("How to repeat this", tuple(parts))


def extract_command(made_with: Mapping[str, Any]) -> str | None:
    """Return the command that makes a run's vectors, or None for vectors that icehouse did not compute."""
    recipe, selection = made_with.get("recipe") or {}, made_with.get("selection") or {}
    if recipe.get("kind") != "icehouse":
        return None
    layers, rule = selection.get("layers") or [], selection.get("frames") or Settings.frames
    try:
        settings = matching.settings_of(recipe, layers, rule, weights=_weights(recipe))
    except errors.IcehouseError:
        return None  # of a version that this one does not know
    backbone = backbones.BACKBONES.get(settings.backbone)
    own = backbone is not None and (settings.size == backbone.size, settings.scaling == backbone.scaling)
    options = {
        "backbone": settings.backbone,
        "weights": settings.weights,
        "intensity": settings.intensity,
        "scaling": None if own and own[1] else settings.scaling,
        "frames": settings.frames,
        "resize": settings.resize,
        "size": None if own and own[0] else settings.size,
        "views": selection.get("views", 1),
        "augment": settings.augment if selection.get("views", 1) > 1 else None,
        "layer": None if settings.layers == ("avg_pool",) else settings.layers,
        "engine": settings.engine,
        "precision": settings.precision,
    }
    asked = {name: value for name, value in options.items() if value != getattr(Settings, name, None)}
    asked["backbone"] = settings.backbone
    return _command("icehouse extract DATA", {"output": made_with.get("cache"), **asked})


def _weights(recipe: Mapping[str, Any]) -> str | None:
    return "FILE" if recipe.get("backbone") == matching.MODEL else None


def classify_command(run: Judged) -> str | None:
    """Return the command that makes a run, or None if it has heads that only Python can name."""
    plan, made_with = run.stored.plan, run.stored.made_with
    if plan["own_estimators"]:
        return None
    asked: dict[str, Any] = {"head": plan["heads"]}
    if plan["test_size"] is not None:
        asked |= {"rounds": plan["rounds"] // plan["seeds"], "test_size": plan["test_size"]}
    elif not plan["folds"] and not plan["split_columns"]:
        asked["splits"] = made_with.get("splits") or "RUN"
    asked |= {name: plan[name] for name in _OPTIONS if plan[name] != _VALUES[name]}
    if asked.get("split_columns"):
        asked["split_columns"] = ",".join(asked["split_columns"])
    if plan["reduce"] is not None:
        asked["reduce"] = f"pca:{plan['reduce']}"
    its_own = plan["test_size"] is not None or plan["folds"] is not None
    asked |= {"ungrouped": its_own and not plan["grouped"] and run.document["patients"] is not None}
    asked |= {"positive": plan["positive"], "labels": made_with.get("labels")}
    layers = (made_with.get("selection") or {}).get("layers") or []
    if len(layers) > 1:
        asked["layer"] = plan["layer"].split("+")
    text = _command(
        f"icehouse classify {shlex.quote(str(made_with.get('cache')))}", {"output": run.name, **asked}
    )
    return text if plan["controls"] else f"{text} --no-controls"


def _command(start: str, options: Mapping[str, Any]) -> str:
    """Return a command with options; several values repeat one, and those without a value are left out."""
    words = [start]
    for name, value in options.items():
        option = "-o" if name == "output" else f"--{name.replace('_', '-')}"
        for item in value if isinstance(value, (list, tuple)) else [value]:
            if item is True:
                words.append(option)
            elif item is not None and item is not False:
                words.append(f"{option} {shlex.quote(str(item))}")
    return " ".join(words)


def _versions(run: Judged) -> dict[str, str]:
    made_with = run.stored.made_with
    return {
        "icehouse": str(run.stored.plan.get("icehouse")),
        "Python": str(made_with.get("python")),
        **{str(name): str(version) for name, version in (made_with.get("libraries") or {}).items()},
    }


def _recipe(run: Judged) -> dict[str, str]:
    recipe = run.stored.made_with.get("recipe") or {}
    return {
        "layer": run.stored.plan["layer"],
        **{name: plain_text(value) for name, value in recipe.items()},
        "fingerprint": run.stored.plan["fingerprint"],
    }


def _table(caption: str, columns: Iterable[tuple[str, dict[str, str]]]) -> Table:
    """Return a table of one column for each run, whose rows are the fields of any."""
    held = dict(columns)
    names = dict.fromkeys(name for values in held.values() for name in values)
    rows = tuple((name, *(values.get(name, "–") for values in held.values())) for name in names)
    return Table(caption, ("", *held), rows)
