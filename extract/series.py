"""Slices that belong together: DICOM files sorted into series, and which slices of a sequence are taken.

A sequence is one series of one patient: DICOM files of one SeriesInstanceUID, or other files of one folder and
patient. Volumes in one file are sequences of their own; `reading` treats those.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from .. import errors
from ..cache.patient_key import PatientKey
from . import dicom_header, frames, persons
from .decode import open_image
from .pipeline import in_order
from .reading import read_bytes
from .sources import Sample, Source

SERIES = "series"
"""The column that names the series of a section."""

_FIRST_BYTES = 132
_SECTIONS = frozenset({"CT", "MR", "PT", "NM"})
_CLOCK = re.compile("[0-9]{10,17}")  # from seconds since 1970 to a date and time with milliseconds
_TICKS = 120  # two minutes, for a clock of seconds
_SPACING = 0.25  # of the usual step between slices: how much the one where two pieces meet may differ


def sort_out(source: Source, patients: PatientKey, workers: int) -> Source:
    """Return a source whose DICOM files have been looked at.

    Their patients become pseudonyms where nothing else is said of them (see `persons`). Those that are no
    slices or pictures to learn from (localizers, reformats, captured screens, reports) are passed over and
    counted. In a folder, the slices of a series stand in the order of their positions, else of their instance
    numbers, else of their names. Where there are sections, a column `series` names each one's series,
    unless the data have such a column of their own.

    Parameters
    ----------
    source : Source
    patients : PatientKey
    workers : int
        Threads that read.

    Raises
    ------
    SourceError
        If nothing is left.
    """
    headers = _rejoined(source.samples, list(in_order(_header, source.samples, workers, ahead=64)))
    people = persons.named(source.samples, headers, patients)
    kept: list[Sample] = []
    passed_over: dict[str, list[str]] = {}
    for sample, header, patient in zip(source.samples, headers, people, strict=True):
        if header is not None and header.passed_over is not None:
            passed_over.setdefault(header.passed_over, []).append(sample.path)
            continue
        kept.append(replace(sample, header=header, patient=patient))
    if not any(SERIES in sample.columns for sample in kept):
        kept = _with_series(kept)
    if not kept:
        reasons = "; ".join(f"{reason}: {len(paths)}" for reason, paths in passed_over.items())
        raise errors.SourceError(
            f"Every file was passed over ({reasons}), such as {source.samples[0].path}: no picture is left."
        )
    if source.is_folder:
        kept = _in_slice_order(kept)
    return replace(source, samples=kept, passed_over=passed_over)


def _with_series(samples: list[Sample]) -> list[Sample]:
    """Return samples with a column that names the series of sections; a radiograph is a series of its own.

    The name is a hash of the UID, so that it is the same in caches that are merged. It needs no key, unlike a
    patient's number: whoever can tell the series by it has its files, and would know them by their content.
    """
    names: dict[str, str] = {}
    for sample in samples:
        header = sample.header
        if header is not None and header.series and header.modality in _SECTIONS:
            names[header.series] = f"{SERIES}-{hashlib.sha256(header.series.encode()).hexdigest()[:12]}"
    if not names:
        return samples
    found = [names.get(sample.header.series, "") if sample.header else "" for sample in samples]
    return [
        replace(sample, columns={**sample.columns, SERIES: name})
        for sample, name in zip(samples, found, strict=True)
    ]


def _header(sample: Sample) -> dicom_header.Header | None:
    """Return the header of a DICOM file; None of any other file, and of one that cannot be read."""
    try:
        with sample.file.open("rb") as file:
            first = file.read(_FIRST_BYTES)
        if not (dicom_header.looks_like_dicom(first) or dicom_header.is_bare_dicom(first)):
            return None
        return dicom_header.read_header(sample.file)
    except (OSError, errors.ImageError):
        return None  # why it fails is said when it is decoded


def _rejoined(
    samples: list[Sample], headers: list[dicom_header.Header | None]
) -> list[dicom_header.Header | None]:
    """Return headers in which series that were torn apart have one UID again.

    Programs that replace UIDs by new ones, made of the clock, may begin another study and series as the second
    changes: …1588608729… holds the slices 1 to 5, …1588608730… those from 6 to 42. Whole series count from 1
    each, but not all do, as phases of one study that are numbered on. So pieces are one series only where
    nothing speaks against it:

    - they are sections (CT, MR, PT, NM), one a file, in one folder, of one patient, size and orientation;
    - each has at least two slices, numbered without a gap, and no two pieces share a number; the first
      begins at 1, every other where exactly one ends, which no other goes on from;
    - where positions are known, they go on in one direction, without a change of spacing where the pieces meet;
    - where they are not, the UIDs of both study and series differ in the same one component, which is as long
      as a clock's and at most 120 later. Two series of one study are then never joined, nor what has no study.
    """
    pieces = _pieces(samples, headers)
    before = {
        uid: [other for other, earlier in pieces.items() if _goes_on(earlier, piece)]
        for uid, piece in pieces.items()
    }
    followed = Counter(other for others in before.values() for other in others)
    joined: dict[str, str] = {}
    for uid, _ in sorted(pieces.items(), key=lambda item: item[1].first):
        others = before[uid]
        if len(others) == 1 and followed[others[0]] == 1 and others[0] in joined:
            joined[uid] = joined[others[0]]
        elif pieces[uid].first == 1:
            joined[uid] = uid
    return [
        replace(header, series=joined.get(header.series, header.series)) if header is not None else None
        for header in headers
    ]


@dataclass(frozen=True)
class _Piece:
    """A series that may be a part of one: where it belongs, its UIDs, its first and last number, positions."""

    place: tuple[object, ...]
    study: str
    series: str
    first: int
    last: int
    positions: tuple[float | None, ...]


def _pieces(samples: list[Sample], headers: list[dicom_header.Header | None]) -> dict[str, _Piece]:
    """Return the series that look like slices of one stack, by their UIDs."""
    members: dict[str, list[tuple[tuple[object, ...], dicom_header.Header]]] = {}
    for sample, header in zip(samples, headers, strict=True):
        if header is not None and header.series and header.passed_over is None:
            whose = (sample.file.parent, sample.patient, header.patient_id, header.issuer)
            place = (*whose, header.modality, header.size, header.orientation)
            members.setdefault(header.series, []).append((place, header))
    pieces = {}
    for uid, found in members.items():
        slices = [header for _, header in found]
        numbers = sorted(header.instance_number or 0 for header in slices)
        if (
            len(slices) > 1
            and slices[0].modality in _SECTIONS
            and all(header.frames == 1 for header in slices)
            and len({(place, header.study) for place, header in found}) == 1
            and numbers[0] >= 1
            and numbers == list(range(numbers[0], numbers[0] + len(slices)))
        ):
            slices.sort(key=lambda header: header.instance_number or 0)
            positions = tuple(header.position for header in slices)
            pieces[uid] = _Piece(found[0][0], slices[0].study, uid, numbers[0], numbers[-1], positions)
    return pieces


def _goes_on(earlier: _Piece, later: _Piece) -> bool:
    """Tell whether a piece goes on where another ends."""
    if earlier.place != later.place or later.first != earlier.last + 1:
        return False
    known = [position for position in earlier.positions + later.positions if position is not None]
    if known:
        if len(known) < later.last - earlier.first + 1:
            return False
        steps = np.diff(known)
        usual, meeting = float(np.median(steps)), float(steps[len(earlier.positions) - 1])
        one_way = bool((steps > 0).all() or (steps < 0).all())
        return one_way and abs(meeting - usual) <= _SPACING * abs(usual)
    ticks = _ticks(earlier.study, later.study)
    return ticks is not None and ticks == _ticks(earlier.series, later.series)


def _ticks(earlier: str, later: str) -> tuple[int, int] | None:
    """Return the only component in which two UIDs differ, if it may be a clock that went on a little."""
    parts = earlier.split("."), later.split(".")
    if len(parts[0]) != len(parts[1]):
        return None
    differing = [pair for pair in zip(*parts, strict=True) if pair[0] != pair[1]]
    if len(differing) != 1 or not all(_CLOCK.fullmatch(part) for part in differing[0]):
        return None
    before, after = map(int, differing[0])
    return (before, after) if 0 < after - before <= _TICKS else None


def _in_slice_order(samples: list[Sample]) -> list[Sample]:
    """Return samples with each series' slices in order, at the places that its files have."""
    ordered = list(samples)
    for members in _grouped(samples, range(len(samples))).values():
        if samples[members[0]].header is not None:
            for place, index in zip(sorted(members), members, strict=True):
                ordered[place] = samples[index]
    return ordered


def _grouped(samples: list[Sample], indices: Iterable[int]) -> dict[tuple[str, ...], list[int]]:
    """Return the sequences among some samples, the members of each in the order of their slices."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index in indices:
        sample = samples[index]
        if sample.header is not None and sample.header.series:
            key = ("series", sample.header.series, "")
        else:
            key = ("folder", str(sample.file.parent), sample.patient)
        groups.setdefault(key, []).append(index)
    return {key: _sorted(samples, members) for key, members in groups.items()}


def _sorted(samples: list[Sample], members: list[int]) -> list[int]:
    headers = [samples[index].header for index in members]
    for name in ("position", "instance_number"):
        values = [getattr(header, name, None) for header in headers]
        if None not in values and len(set(values)) > 1:
            pairs = zip(values, members, strict=True)
            return [
                index for _, index in sorted(pairs, key=lambda pair: (pair[0], _natural(samples[pair[1]].path)))
            ]
    return sorted(members, key=lambda index: _natural(samples[index].path))


def _natural(path: str) -> list[tuple[int, int, str]]:
    """Return a path as a key that sorts IM2 before IM10."""
    parts = re.findall(r"[0-9]+|[^0-9]+", path)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts]


@dataclass(frozen=True)
class Slices:
    """Which files of a source are not taken.

    Parameters
    ----------
    not_selected : set of int
        Indices of samples that the rule leaves out.
    failures : dict of int to ImageError
        Those whose sequence the rule cannot be applied to.
    sequences : int
        How many sequences of files there are.
    seconds : list of float
        What looking at each file took in its thread; empty where no file had to be looked at.
    """

    not_selected: set[int] = field(default_factory=set)
    failures: dict[int, errors.ImageError] = field(default_factory=dict)
    sequences: int = 0
    seconds: list[float] = field(default_factory=list)


def select(
    samples: list[Sample],
    rule: frames.Rule,
    workers: int,
    progress: Callable[[int], None] = lambda done: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Slices:
    """Apply a rule to the sequences of files of one frame each.

    Parameters
    ----------
    samples : list of Sample
    rule : Rule
    workers : int
        Threads that read.
    progress : callable
        Called with the number of files looked at.
    stopped : callable
        Whether the user wants to stop; nothing is then left out, and nothing should be computed.
    """
    if rule.text == "all":
        return Slices()

    def look(sample: Sample) -> tuple[_Look, float]:
        started = time.perf_counter()
        return _look(sample, rule), time.perf_counter() - started

    looks, slices = [], Slices()
    for found, seconds in in_order(look, samples, workers, ahead=4 * workers):
        looks.append(found)
        slices.seconds.append(seconds)
        progress(len(looks))
        if stopped():
            return Slices()
    single = [index for index, found in enumerate(looks) if found.count == 1]
    groups = _grouped(samples, single)
    for members in groups.values():
        try:
            chosen = _chosen(rule, [looks[index] for index in members])
        except errors.ImageError as failure:
            slices.failures.update(dict.fromkeys(members, failure))
            continue
        taken = {members[number] for number in chosen}
        slices.not_selected.update(set(members) - taken)
    return replace(slices, sequences=len(groups))


@dataclass(frozen=True)
class _Look:
    """How many frames a file has (0 if it cannot be read), and what a rule needs to know of the only one."""

    count: int
    evidence: frames.Evidence | errors.ImageError | None = None


def _chosen(rule: frames.Rule, looks: list[_Look]) -> tuple[int, ...]:
    """Return which slices of a sequence are taken."""
    if not rule.needs_pixels:
        return rule.choose(len(looks))
    evidence = []
    for look in looks:
        if isinstance(look.evidence, errors.ImageError):
            raise look.evidence
        assert look.evidence is not None
        evidence.append(look.evidence)
    return frames.choose_open_lung(rule, evidence)


def _look(sample: Sample, rule: frames.Rule) -> _Look:
    if sample.header is not None and not rule.needs_pixels:
        return _Look(sample.header.frames)
    try:
        opened = open_image(read_bytes(sample.file))
        if opened.facts.frames > 1 or not rule.needs_pixels:
            return _Look(opened.facts.frames)
        picture = opened.frame(0)
    except errors.ImageError:
        return _Look(0)  # why it fails is said when it is extracted
    try:
        return _Look(1, frames.evidence(rule, picture))
    except errors.ImageError as failure:
        return _Look(1, failure)
