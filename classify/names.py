"""Patients guessed from the names of files, where nobody says who they are.

Never used to split: a guess warns, and decides which images are permuted together in a control.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict

import numpy as np
from numpy.typing import NDArray

_SAID = re.compile(
    r"(?<![a-z])((?:patient|pat|pt|person|subject|subj|sub|case|proband)s?"
    r"[ _.-]*(?:(?:id|no|nr)[ _.-]*)?(?:[ _-][a-z]{1,3})?\d+)(?!\d)",
    re.IGNORECASE,
)
"""A word for a patient and a number: patient12, Pat_07, person100, sub-01, case 12, patient_id_3."""
_SHORT = re.compile(r"(p[ _-]?\d{2,})(?=[ _.-]|$)", re.IGNORECASE)
"""P001 at the start of a name."""
_RUNNING = re.compile(
    r"(?P<of>.*?)(?:"
    r"[ _.-]+(?:scan|slice|image|img|im|view|frame|day|series|study|visit|ses|fig|part|z|s|i|n)?[ _.-]?\d{1,4}"
    r"|[ _-]*\(\d{1,4}\)|[ _-]+[a-h]|(?<=\d)[a-h])",
    re.IGNORECASE,
)
"""What comes before a running number or letter: 00000013 of 00000013_005, 83 of 83_2, gr2_lrg of gr2_lrg-a."""
_DISEASE = re.compile(
    r"covid(?:[ _-]?(?:20)?19)?|sars[ _-]?cov[ _-]?2?|2019[ _-]?ncov|ncov[ _-]?2019", re.IGNORECASE
)
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d[-_.]?(?:0\d|1[0-2])(?:[-_.]?[0-3]\d)?$")
_YEAR = re.compile(r"(?:19|20)\d\d")
_NO_PATIENT = re.compile(
    r"(?:batch|fold|part|set|subset|dataset|data|scanner|machine|site|hospital|cent(?:er|re)|split|train|test|val|group|"
    r"class|grade|stage|level|source|version|v|ct|cxr|x-?ray)s?[ _.-]*\d*",
    re.IGNORECASE,
)
_UNIQUE_DIGITS = 5
"""A name with so many digits in a row is taken to mean one person in all classes: 00000013, not patient 12."""
_LEAST_SHARE = 0.1
_LEAST_PATIENTS = 6
"""In a class; fewer numbered folders or names are rather grades, sites or parts of the data."""


def guess(paths: NDArray[np.str_], labels: NDArray[np.str_]) -> NDArray[np.str_] | None:
    """Return a name for each row's patient, empty where there is none, or None if names do not look like it.

    Files can be named for a patient in so many words (patient12_3.png), lie in a folder for each patient, or be
    numbered within a name that holds a number itself (00000013_005.png). Running numbers alone say nothing, nor
    does a name that is the class's.

    Parameters
    ----------
    paths : ndarray of str, shape (n,)
        With slashes between folders; the frames of one file count once.
    labels : ndarray of str, shape (n,)
    """
    files, first, inverse = np.unique(paths, return_index=True, return_inverse=True)
    folders = [path.split("/")[:-1] for path in files.tolist()]
    stems = [_stem(path.rpartition("/")[2]) for path in files.tolist()]
    classes = labels[first].tolist()
    for way in (_said, _folder, _numbered):
        found = way(folders, stems, classes)
        if _evident(found):
            return np.array(found)[inverse]
    return None


def _stem(name: str) -> str:
    return name.rpartition(".")[0] or name


def example(paths: NDArray[np.str_], guessed: NDArray[np.str_]) -> tuple[str, str]:
    """Return the paths of two files of one guessed patient."""
    of: dict[str, str] = {}
    for path, patient in zip(paths.tolist(), guessed.tolist(), strict=True):
        if patient and of.setdefault(patient, path) != path:
            return of[patient], path
    raise ValueError("no patient has two files")


def _evident(found: list[str]) -> bool:
    """Tell whether two patients or more have several files, and these are no small part of all."""
    sizes = [size for name, size in Counter(found).items() if name and size > 1]
    return len(sizes) > 1 and sum(sizes) >= _LEAST_SHARE * len(found)


def _said(folders: list[list[str]], stems: list[str], classes: list[str]) -> list[str]:
    """Return what is called a patient, in a folder or the file's name."""
    found = []
    for folder, stem, label in zip(folders, stems, classes, strict=True):
        match = _SAID.search("/".join([*folder, stem])) or _SHORT.match(stem)
        found.append(_within(match[1], label) if match else "")
    return found


def _folder(folders: list[list[str]], stems: list[str], classes: list[str]) -> list[str]:
    """Return in each class the first folders on the way that there are several of, and that are numbered."""
    found = [""] * len(stems)
    for label in dict.fromkeys(classes):
        files = [index for index, its in enumerate(classes) if its == label]
        for depth in range(1, max(len(folders[index]) for index in files) + 1):
            deep = [index for index in files if len(folders[index]) >= depth]
            numbered = all(
                re.search(r"\d", name) and not _NO_PATIENT.fullmatch(name) and not _YEAR.fullmatch(name)
                for name in {folders[index][depth - 1] for index in deep}
            )
            names = ["/".join(folders[index][:depth]) for index in deep]
            if numbered and not _unlikely(names, [label] * len(deep)):
                for index, name in zip(deep, names, strict=True):
                    found[index] = name
                break
    return found


def _numbered(folders: list[list[str]], stems: list[str], classes: list[str]) -> list[str]:
    """Return what comes before a running number, where that is numbered itself.

    Numbers that run begin low: if all are 100 or more, they are part of a name, such as the figures of a paper.
    """
    found, running = [], set()
    for folder, stem, label in zip(folders, stems, classes, strict=True):
        match = _RUNNING.fullmatch(stem)
        name = match["of"] if match else ""
        found.append(_within("/".join([*folder, name]), label, name) if _identifies(name) else "")
        number = re.search(r"\d*(?=\)?$)", stem[len(name) :])
        if number is None or len(number[0]) < 3 or number[0].startswith("0"):
            running.add(found[-1])
    large = _unlikely(found, classes)
    return [
        name if name in running and label not in large else ""
        for name, label in zip(found, classes, strict=True)
    ]


def _identifies(name: str) -> bool:
    """Tell whether a name could be one patient's: it holds a number that is neither a disease's nor a date."""
    rest = _DISEASE.sub("", name)
    if _DATE.search(rest):
        return False
    last = re.split(r"[ _.-]+", rest)[-1]
    if _NO_PATIENT.fullmatch(rest) or _NO_PATIENT.fullmatch(last):
        return False
    return bool(re.search(r"\d", last)) or len(re.findall(r"\d", rest)) >= 4


def _within(name: str, label: str, short: str | None = None) -> str:
    """Return a patient's name, with that of the class where two classes may both have a patient 12."""
    own = name if short is None else short
    return own if re.search(rf"\d{{{_UNIQUE_DIGITS}}}", own) else f"{label}: {name}"


def _unlikely(found: list[str], classes: list[str]) -> set[str]:
    """Return the classes in which the names are no patients: there are few, or one holds more than a third."""
    of_class = Counter(classes)
    held: dict[str, Counter[str]] = defaultdict(Counter)
    for name, label in zip(found, classes, strict=True):
        if name:
            held[label][name] += 1
    return {
        label
        for label, names in held.items()
        if len(names) < _LEAST_PATIENTS or max(names.values()) > max(1, of_class[label] / 3)
    }
