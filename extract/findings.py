"""What the notes of an inspection amount to: counts, copies, and what goes together with the class.

The document made here is what `icehouse inspect --json` prints, less the sentences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import numpy as np

from ..cache.association import cramers_v
from .inspection import IS_BLACK, IS_WHITE, MARKS, NOT_READ, Look, Told
from .sources import Source

TIED, BY_CHANCE = 0.3, 0.001
"""From which Cramér's V on, and below which p, something is said to go together with the class.

Of V with one degree of freedom, 0.3 is Cohen's medium effect (Statistical Power Analysis, 1988, section 7.2).
"""

LATERAL = frozenset({"LL", "RL", "LLO", "RLO", "LATERAL", "LAT", "LEFT LATERAL", "RIGHT LATERAL"})
"""View positions from the side or obliquely: terms of DICOM (PS3.3, C.8.1.1), and what is written instead."""

LONG = 2.0
"""A picture is called long if one side is more than so many times the other."""

_LEVELS = 8
_RARE = 5
_OTHER = "others"


def findings(source: Source, looks: Sequence[Look], size: int | None) -> dict[str, Any]:
    """Return what `looks` amount to, ready for JSON.

    Parameters
    ----------
    source : Source
    looks : sequence of Look
        One for each sample of `source`, in order.
    size : int or None
        Height and width of the network's input, if it has one.

    Returns
    -------
    dict
        Lists of paths are in the order of the samples.
    """
    read = [look for look in looks if look.is_read]
    return {
        "files": len(looks),
        "images": len({look.content for look in read}),
        "frames": sum(look.facts.frames for look in read if look.facts),
        "files_with_frames": sum(look.facts.frames > 1 for look in read if look.facts),
        "kinds": _kinds(read),
        "sizes": _sizes(read, size),
        "classes": _classes(looks),
        "splits": _splits(looks),
        "patients": _patients(looks),
        "copies": _copies(read),
        **{mark.replace(" ", "_"): _marked(read, mark) for mark in MARKS if mark != NOT_READ},
        "dicom": _dicom(read),
        "passed_over": source.passed_over,
        "unreadable": [
            {"path": look.sample.path, "stage": look.failure.stage, "reason": look.failure.reason}
            for look in looks
            if look.failure is not None
        ],
        "unknown": source.unknown,
        "unnamed": source.unnamed,
        "ties": ties(read),
    }


def _kinds(read: Sequence[Look]) -> list[dict[str, Any]]:
    """Return how many files there are of each format, colour mode, depth and kind, the most frequent first."""
    names = ("format", "mode", "bits", "kind")
    counts = Counter(tuple(getattr(look.facts, name) for name in names) for look in read)
    return [{**dict(zip(names, values, strict=True)), "files": count} for values, count in counts.most_common()]


def _sizes(read: Sequence[Look], size: int | None) -> dict[str, Any] | None:
    """Return the smallest, median and largest size (width, height) by number of pixels."""
    sides = [(look.facts.width, look.facts.height) for look in read if look.facts]
    if not sides:
        return None
    by_area = sorted(sides, key=lambda side: (side[0] * side[1], side))
    least = (size / 2, size / 2) if size else (0, 0)

    def paths(told: Callable[[int, int], bool]) -> list[str]:
        return [look.sample.path for look, side in zip(read, sides, strict=True) if told(*side)]

    return {
        "smallest": by_area[0],
        "median": by_area[(len(by_area) - 1) // 2],
        "largest": by_area[-1],
        "distinct": len(set(sides)),
        "long": paths(lambda width, height: max(width, height) > LONG * min(width, height)),
        "small": paths(lambda width, height: width < least[0] and height < least[1]),
    }


def _classes(looks: Sequence[Look]) -> dict[str, dict[str, Any]]:
    """Return files, those that can be read, and patients of each class."""
    members: dict[str, list[Look]] = defaultdict(list)
    for look in looks:
        members[look.sample.label].append(look)
    return {
        label: {
            "files": len(own),
            "read": sum(look.is_read for look in own),
            "patients": len({look.sample.patient for look in own} - {""}),
            "frames": sum(look.facts.frames for look in own if look.facts and look.is_read),
        }
        for label, own in sorted(members.items())
    }


def _splits(looks: Sequence[Look]) -> dict[str, dict[str, int]]:
    """Return how many files of each class are in each split."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for look in looks:
        if look.sample.split:
            counts[look.sample.split][look.sample.label] += 1
    return {split: dict(sorted(counts[split].items())) for split in sorted(counts)}


def _patients(looks: Sequence[Look]) -> dict[str, Any]:
    samples = [look.sample for look in looks]
    labels, splits = (
        _values_by(((sample.patient, getattr(sample, name)) for sample in samples), skip_empty=True)
        for name in ("label", "split")
    )
    return {
        "count": len(labels),
        "without": [sample.path for sample in samples if not sample.patient],
        "several_labels": [patient for patient, values in labels.items() if len(values) > 1],
        "several_splits": [patient for patient, values in splits.items() if len(values) > 1],
    }


def _copies(read: Sequence[Look]) -> dict[str, Any]:
    """Return groups of paths with one content, and with the same pixels in files that differ."""
    by_content = _looks_by(read, lambda look: look.content)
    by_pixels = _looks_by(read, lambda look: look.pixels)
    same_pixels = [group for group in by_pixels if len({look.content for look in group}) > 1]
    return {
        "content": _paths(by_content),
        "pixels": _paths(same_pixels),
        "several_labels": _paths(group for group in by_pixels if _differ(group, "label")),
        "several_splits": _paths(group for group in by_pixels if _differ(group, "split")),
        "several_patients": _paths(group for group in by_pixels if _differ(group, "patient")),
    }


def _dicom(read: Sequence[Look]) -> dict[str, Any] | None:
    told = [(look, look.told) for look in read if look.told is not None]
    if not told:
        return None
    views: dict[str, Counter[str]] = defaultdict(Counter)
    for look, header in told:
        views[look.sample.label][header.view] += 1
    return {
        "files": len(told),
        "modalities": dict(Counter(header.modality for _, header in told).most_common()),
        "views": dict(Counter(header.view for _, header in told).most_common()),
        "views_by_class": {label: dict(counts.most_common()) for label, counts in sorted(views.items())},
        "lateral": [look.sample.path for look, header in told if header.view in LATERAL],
        "burned_in": [look.sample.path for look, header in told if header.burned_in],
    }


def ties(read: Sequence[Look]) -> list[dict[str, Any]]:
    """Return what goes together with the class, the tightest first.

    Each has its `name`, Cramér's `v`, and how many files `by_class` have each value. Rare values are counted
    together as others; columns of numbers are cut at their quartiles.
    """
    labelled = [look for look in read if look.sample.label]
    labels = [look.sample.label for look in labelled]
    if len(set(labels)) < 2:
        return []
    facts = [_facts_of(look) for look in labelled]
    found = []
    for name in dict.fromkeys(name for own in facts for name in own):
        levels = _levels([own.get(name, "") for own in facts])
        if name == "size" and 2 * levels.count(_OTHER) > len(levels):  # nearly all differ
            name = "longer side"
            levels = _levels([str(max(look.facts.width, look.facts.height)) for look in labelled if look.facts])
        v, p = cramers_v(labels, levels)
        if v >= TIED and p < BY_CHANCE:
            counts: dict[str, Counter[str]] = defaultdict(Counter)
            for label, level in zip(labels, levels, strict=True):
                counts[label][level] += 1
            by_class = {label: dict(counts[label].most_common()) for label in sorted(counts)}
            found.append({"name": name, "v": round(v, 3), "by_class": by_class})
    return sorted(found, key=lambda tie: -tie["v"])


def _facts_of(look: Look) -> dict[str, str]:
    """Return what is known of a readable file, by the names that a user would give it."""
    assert look.facts is not None
    told = look.told or Told()
    saturated = [fault for fault in (IS_WHITE, IS_BLACK) if fault in look.faults]
    return {
        "format": look.facts.format,
        "colour mode": look.facts.mode,
        "bits": str(look.facts.bits),
        "size": f"{look.facts.width}×{look.facts.height}",
        "saturation": " and ".join(saturated) or "not saturated",
        "modality": told.modality,
        "view position": told.view,
        "burnt-in annotation": {True: "yes", False: "no", None: ""}[told.burned_in],
        **{f"column {name}": value for name, value in look.sample.columns.items()},
    }


def _levels(values: Sequence[str]) -> list[str]:
    """Return few levels in place of many values."""
    distinct = set(values) - {""}
    if len(distinct) > _LEVELS and (numbers := _as_numbers(distinct)):
        cuts = np.unique(np.quantile([numbers[value] for value in values if value], [0.25, 0.5, 0.75]))
        return [_interval(numbers[value], cuts) if value else "(empty)" for value in values]
    counts = Counter(values)
    common = {
        value for value, count in counts.most_common(_LEVELS) if count >= _RARE or len(distinct) <= _LEVELS
    }
    return [(value or "(empty)") if value in common else _OTHER for value in values]


def _as_numbers(values: Iterable[str]) -> dict[str, float] | None:
    try:
        numbers = {value: float(value) for value in values}
    except ValueError:
        return None
    return numbers if np.isfinite(list(numbers.values())).all() else None


def _interval(number: float, cuts: Any) -> str:
    place = int(np.searchsorted(cuts, number))
    if place == 0:
        return f"≤ {cuts[0]:g}"
    if place == len(cuts):
        return f"> {cuts[-1]:g}"
    return f"> {cuts[place - 1]:g} to {cuts[place]:g}"


def _marked(read: Sequence[Look], mark: str) -> list[str]:
    return [look.sample.path for look in read if mark in look.faults]


def _looks_by(read: Sequence[Look], key: Callable[[Look], Hashable]) -> list[list[Look]]:
    groups: dict[Hashable, list[Look]] = defaultdict(list)
    for look in read:
        groups[key(look)].append(look)
    return [group for group in groups.values() if len(group) > 1]


def _paths(groups: Iterable[Sequence[Look]]) -> list[list[str]]:
    return [[look.sample.path for look in group] for group in groups]


def _differ(group: Sequence[Look], name: str) -> bool:
    return len({getattr(look.sample, name) for look in group} - {""}) > 1


def _values_by(pairs: Iterable[tuple[str, str]], *, skip_empty: bool) -> dict[str, set[str]]:
    values: dict[str, set[str]] = defaultdict(set)
    for key, value in pairs:
        if key:
            values[key].update({value} - {""} if skip_empty else {value})
    return values
