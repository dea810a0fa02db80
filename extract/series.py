"""Slices that belong together: DICOM files sorted into series, and which slices of a sequence are taken.

A sequence is one series of one patient: DICOM files of one SeriesInstanceUID, or other files of one folder and
patient. Volumes in one file are sequences of their own; `reading` treats those.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from .. import errors
from . import dicom_header, frames
from .decode import open_image
from .patients import PatientKey
from .pipeline import in_order
from .reading import read_bytes
from .sources import Sample, Source

_FIRST_BYTES = 132


def sort_out(source: Source, patients: PatientKey, workers: int) -> Source:
    """Return a source whose DICOM files have been looked at.

    Their patients become pseudonyms where nothing else is said of them. Those that are no slices or pictures to
    learn from (localizers, reformats, captured screens, reports) are passed over and counted. In a folder,
    the slices of a series stand in the order of their positions, else of their instance numbers, else of their
    names.

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
    person = _people(header for header in headers if header is not None)
    kept: list[Sample] = []
    passed_over: dict[str, list[str]] = {}
    for sample, header in zip(source.samples, headers, strict=True):
        if header is not None and header.passed_over is not None:
            passed_over.setdefault(header.passed_over, []).append(sample.path)
            continue
        patient = sample.patient
        if header is not None and not patient:
            patient = _pseudonym(header, person, patients)
        kept.append(replace(sample, header=header, patient=patient))
    if not kept:
        reasons = "; ".join(f"{reason}: {len(paths)}" for reason, paths in passed_over.items())
        raise errors.SourceError(
            f"Every file was passed over ({reasons}), such as {source.samples[0].path}: no picture is left."
        )
    if source.is_folder:
        kept = _in_slice_order(kept)
    return replace(source, samples=kept, passed_over=passed_over)


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

    Programs that replace UIDs by new ones, made of the clock, may begin another series as the second changes.
    Series of one folder, patient, modality and size of picture are one if their instance numbers go on where
    the others' end; whole series count from 1 each.
    """
    numbers: dict[tuple[object, ...], dict[str, list[int]]] = {}
    for sample, header in zip(samples, headers, strict=True):
        if header is not None and header.series and header.instance_number is not None:
            place = (sample.file.parent, header.patient_id, header.modality, header.size, header.orientation)
            numbers.setdefault(place, {}).setdefault(header.series, []).append(header.instance_number)
    joined: dict[str, str] = {}
    for series in numbers.values():
        last, first_of_them = None, ""
        for uid, held in sorted(series.items(), key=lambda item: (min(item[1]), item[0])):
            if last is None or min(held) != last + 1:
                first_of_them = uid
            joined[uid] = first_of_them
            last = max(held)
    return [
        replace(header, series=joined.get(header.series, header.series)) if header is not None else None
        for header in headers
    ]


def _people(headers: Iterable[dicom_header.Header]) -> dict[str, str]:
    """Return, for each UID of a study or series, one UID that stands for the person it is of.

    A study and a series are of one patient each; whoever wrote the files may have given the slices of one
    series to several studies, which are then of that patient, too.
    """
    person: dict[str, str] = {}

    def root(uid: str) -> str:
        while person.setdefault(uid, uid) != uid:
            person[uid] = uid = person[person[uid]]
        return uid

    for header in headers:
        uids = [root(uid) for uid in (header.study, header.series) if uid]
        for uid in uids:
            person[uid] = min(uids)
    return {uid: root(uid) for uid in person}


def _pseudonym(header: dicom_header.Header, person: dict[str, str], patients: PatientKey) -> str:
    """Return what stands for the patient; if the number is unknown, for what the studies and series tell."""
    if header.patient_id:
        return patients.pseudonym("patient", header.patient_id, header.issuer)
    uid = header.study or header.series
    return patients.pseudonym("person", person[uid]) if uid else ""


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
    """

    not_selected: set[int] = field(default_factory=set)
    failures: dict[int, errors.ImageError] = field(default_factory=dict)
    sequences: int = 0


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

    def look(sample: Sample) -> _Look:
        return _look(sample, rule)

    looks = []
    for found in in_order(look, samples, workers, ahead=4 * workers):
        looks.append(found)
        progress(len(looks))
        if stopped():
            return Slices()
    slices = Slices()
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
