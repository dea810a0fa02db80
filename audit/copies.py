"""Exact copies, near duplicates and patients as JSON-ready findings: what is the same as what."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .frames import Frames
from .looks import WAYS
from .near import Near

OWN, AGAINST = "the cache", "against"
"""What the two caches are called where leaks between them are listed."""


def sample_of(frames: Frames, row: int) -> dict[str, Any]:
    """Return what is known of a frame: path, frame, label, patient, split; against: of the other cache."""
    return {
        "path": str(frames.path[row]),
        "frame": int(frames.frame[row]),
        "label": str(frames.label[row]),
        "patient": str(frames.patient[row]),
        "split": str(frames.split[row]),
        "against": bool(frames.other[row]),
    }


def exact_duplicates(frames: Frames) -> list[dict[str, Any]]:
    """Return the groups of samples of one content, at least one of them of the cache itself.

    Returns
    -------
    list of dict
        content (hexadecimal), samples (as `sample_of`), labels_differ, patients_differ, splits_differ and
        against (whether one is of the other cache); those with differing labels first.
    """
    first = frames.taken(_first_frames(frames))
    groups = []
    for rows in _groups(first.content):
        if len(rows) < 2 or first.other[rows].all():
            continue
        groups.append(
            {
                "content": bytes(first.content[rows[0]].tobytes()).ljust(32, b"\0").hex(),
                "samples": [sample_of(first, row) for row in rows.tolist()],
                "labels_differ": _several(first.label[rows]),
                "patients_differ": _several(first.patient[rows]),
                "splits_differ": _several(first.split[rows]),
                "against": bool(first.other[rows].any()),
            }
        )
    return sorted(groups, key=lambda group: (not group["labels_differ"], -len(group["samples"])))


def near_duplicates(frames: Frames, found: Near) -> list[dict[str, Any]]:
    """Return the pairs of near duplicates, the most alike first.

    Parameters
    ----------
    frames : Frames
        The distinct ones that `found` numbers.

    Returns
    -------
    list of dict
        a and b (paths), similarity (the cosine of whitened vectors; of the pixels where there are none),
        vectors and pixels (each cosine, or None), way (how b lies beside a, or None), frames, labels,
        patients, splits (two each), labels_differ, splits_differ, against and patients_known.
    """
    listed = []
    for row, (first, second) in enumerate(zip(found.first.tolist(), found.second.tolist(), strict=True)):
        a, b = sample_of(frames, first), sample_of(frames, second)
        vectors, pixels = _number(found.vectors[row]), _number(found.pixels[row])
        listed.append(
            {
                "a": a["path"],
                "b": b["path"],
                "similarity": vectors if vectors is not None else pixels,
                "vectors": vectors,
                "pixels": pixels,
                "way": WAYS[found.way[row]] if found.way[row] >= 0 else None,
                "frames": [a["frame"], b["frame"]],
                "labels": [a["label"], b["label"]],
                "patients": [a["patient"], b["patient"]],
                "splits": [a["split"], b["split"]],
                "labels_differ": _differ(a["label"], b["label"]),
                "splits_differ": _differ(a["split"], b["split"]) and not b["against"],
                "against": b["against"],
                "patients_known": bool(a["patient"] and b["patient"]),
            }
        )
    return listed


def groups_of(frames: Frames, found: Near) -> list[dict[str, Any]]:
    """Return groups of near duplicates that may be one patient, of frames of which not all patients are known.

    Each group is one frame and those that are near duplicates of it, not of each other in turn: so a chain of
    pictures, each a little like the next, does not make one group of all.

    Returns
    -------
    list of dict
        samples (as `sample_of`, the middle one first) and least (the smallest similarity to that one).
    """
    unknown = (frames.patient[found.first] == "") | (frames.patient[found.second] == "")
    neighbours: dict[int, dict[int, float]] = defaultdict(dict)
    alike = np.fmax(found.vectors, found.pixels)
    for a, b, value in zip(
        found.first[unknown].tolist(), found.second[unknown].tolist(), alike[unknown].tolist(), strict=True
    ):
        neighbours[a][b] = neighbours[b][a] = value
    groups, taken = [], set()
    for centre in sorted(neighbours, key=lambda row: (-len(neighbours[row]), row)):
        around = {row: value for row, value in neighbours[centre].items() if row not in taken}
        if centre in taken or not around:
            continue
        taken |= {centre, *around}
        rows = [centre, *sorted(around, key=lambda row: (-around[row], row))]
        groups.append(
            {"samples": [sample_of(frames, row) for row in rows], "least": round(min(around.values()), 4)}
        )
    return groups


def patients_in_several_classes(frames: Frames) -> list[dict[str, Any]]:
    """Return the patients of the cache whose samples carry several labels: patient, and paths by label."""
    rows = np.flatnonzero((frames.patient != "") & (frames.label != "") & ~frames.other)
    return _by(frames, rows, frames.label, "labels")


def leaks(frames: Frames, exact: list[dict[str, Any]], near: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what stands in several splits, or in both caches.

    Returns
    -------
    list of dict
        kind ("content", "patient" or "near duplicate"), between (the splits, of which "against" is the other
        cache) and what is there: samples of a content; patient and paths of a patient, by split; a, b and
        similarity of near duplicates.
    """
    found: list[dict[str, Any]] = []
    for group in exact:
        splits = sorted({sample["split"] for sample in group["samples"] if not sample["against"]} - {""})
        if len(splits) > 1:
            found.append({"kind": "content", "between": splits, "samples": group["samples"]})
        if group["against"]:
            found.append({"kind": "content", "between": [OWN, AGAINST], "samples": group["samples"]})
    named = frames.patient != ""
    sides = np.where(frames.other, AGAINST, OWN)
    split = np.flatnonzero(named & (frames.split != "") & ~frames.other)
    for rows, of in ((split, frames.split), (np.flatnonzero(named), sides)):
        patients = _by(frames, rows, of, "paths")
        found += [{"kind": "patient", "between": list(one["paths"]), **one} for one in patients]
    for pair in near:
        if pair["against"] or pair["splits_differ"]:
            between = [OWN, AGAINST] if pair["against"] else sorted(pair["splits"])
            taken = {
                name: pair[name] for name in ("a", "b", "similarity", "pixels", "way", "labels", "patients")
            }
            found.append({"kind": "near duplicate", "between": between, **taken})
    return found


def _by(frames: Frames, rows: NDArray[np.intp], of: NDArray[np.str_], name: str) -> list[dict[str, Any]]:
    """Return the patients that stand in several of `of` among some rows, with the paths in each."""
    values, number = np.unique(of[rows], return_inverse=True)
    if len(values) < 2:
        return []
    patients, person = np.unique(frames.patient[rows], return_inverse=True)
    stands = np.unique(person * len(values) + number) // len(values)
    several = np.flatnonzero(np.bincount(stands, minlength=len(patients)) > 1)
    found = []
    chosen = np.flatnonzero(np.isin(person, several))
    for group in (chosen[part] for part in _groups(person[chosen])):
        paths: dict[str, list[str]] = {}
        for row in rows[group].tolist():
            held = paths.setdefault(str(of[row]), [])
            if str(frames.path[row]) not in held[-1:]:
                held.append(str(frames.path[row]))
        found.append({"patient": str(frames.patient[rows[group[0]]]), name: dict(sorted(paths.items()))})
    return sorted(found, key=lambda one: str(one["patient"]))


def _first_frames(frames: Frames) -> NDArray[np.intp]:
    """Return the first frame of each sample."""
    if not len(frames):
        return np.zeros(0, dtype=np.intp)
    same = (frames.path[1:] == frames.path[:-1]) & (frames.other[1:] == frames.other[:-1])
    return np.flatnonzero(np.concatenate([[True], ~same]))


def _groups(values: NDArray[Any]) -> list[NDArray[np.intp]]:
    """Return the rows of each value that occurs twice or more, in the order in which values first occur."""
    _, inverse, count = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(inverse, kind="stable")
    ends = np.cumsum(count)
    groups = [
        order[end - size : end] for end, size in zip(ends.tolist(), count.tolist(), strict=True) if size > 1
    ]
    return sorted(groups, key=lambda rows: int(rows[0]))


def _several(values: NDArray[np.str_]) -> bool:
    return len(np.unique(values[values != ""])) > 1


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else round(float(value), 4)
