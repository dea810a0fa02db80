"""What a head was trained on: how much of what, and hashes by which its images and patients are known again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache import patient_key
from ..cache.keys import CONTENT_BYTES, contents_of
from ..cache.patient_key import PatientKey, is_pseudonym
from ..classify.problem import Problem
from .contents import Contents

_NAME = "training"


@dataclass(frozen=True)
class Counts:
    """How much was trained on.

    Parameters
    ----------
    images, frames, views : int
        Distinct files, their frames, and the views of each.
    patients : int or None
        None where no patient is known.
    per_class : dict of str to int
        Frames of each class.
    anonymized : bool
        Whether the contents are pseudonyms, so that no image can be known again.
    """

    images: int
    frames: int
    views: int
    patients: int | None
    per_class: dict[str, int]
    anonymized: bool


@dataclass(frozen=True)
class Training:
    """What a head was trained on.

    Parameters
    ----------
    counts : Counts
    contents : ndarray of uint8, shape (m, 32)
        SHA-256 of each training image, ascending.
    patients : ndarray of uint8, shape (p, 32)
        Hashes of the patients' names by the key that `mark` tells from others, ascending.
    mark : str
        Empty where no patient is known.
    """

    counts: Counts
    contents: NDArray[np.uint8]
    patients: NDArray[np.uint8]
    mark: str

    def has_images(self, content: NDArray[np.uint8]) -> NDArray[np.bool_] | None:
        """Return which contents, shape (n, 32), were trained on, shape (n,); None where nobody can know."""
        if self.counts.anonymized:
            return None
        return np.isin(contents_of(content), contents_of(self.contents))

    def has_patients(self, patient: NDArray[np.str_], key: PatientKey) -> NDArray[np.bool_]:
        """Return which of some patients, named as in training, were trained on; a blank name is nobody's."""
        names, inverse = np.unique(patient, return_inverse=True)
        known = np.isin(contents_of(key.digests(names.tolist())), contents_of(self.patients))
        return np.asarray((known & (names != ""))[inverse])

    def key(self, folders: Iterable[Path]) -> PatientKey | None:
        """Return the key that the patients were hashed with, if it lies in one of these folders."""
        return patient_key.find(folders, self.mark) if self.mark else None

    def stored(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return what a bundle keeps."""
        arrays = {f"{_NAME}/contents": self.contents, f"{_NAME}/patients": self.patients}
        return {**asdict(self.counts), "mark": self.mark}, arrays


def of(
    problem: Problem, *, anonymized: bool, folder: Path, note: Callable[[str], None] = lambda _: None
) -> Training:
    """Return what a problem's rows are; their patients are hashed with the key in `folder`.

    `note` is told where they are pseudonyms and the key that made them is not there: nobody else's files would
    ever get the same, so that hashes of them would promise what they cannot keep.

    Raises
    ------
    SourceError
        If patients are known and the key cannot be read or made.
    """
    named = np.unique(problem.patient[problem.patient != ""])
    key = PatientKey(folder)
    contents = np.unique(problem.content, axis=0)
    counts = Counts(
        images=len(contents),
        frames=len(problem),
        views=problem.views,
        patients=problem.patients if len(named) else None,
        per_class={
            name: int(count)
            for name, count in zip(
                problem.classes, np.bincount(problem.y, minlength=len(problem.classes)), strict=True
            )
        },
        anonymized=anonymized,
    )
    lost = not key.there and any(map(is_pseudonym, named.tolist()))
    if lost and not anonymized:
        note(
            f"The training patients are pseudonyms, and the key that made them ({patient_key.FILE}) is not "
            "beside the cache: evaluate will not be able to tell whether they are among other data."
        )
    if not len(named) or anonymized or lost:  # a pseudonym drawn for one cache is nobody's elsewhere
        return Training(counts, contents, np.zeros((0, CONTENT_BYTES), dtype=np.uint8), "")
    return Training(counts, contents, np.unique(key.digests(named.tolist()), axis=0), key.mark())


def restored(contents: Contents, classes: tuple[str, ...]) -> Training:
    """Return what a bundle says of its training.

    Raises
    ------
    BundleDamaged
    """
    fields = contents.fields(_NAME)
    per_class = fields.fields("per_class")
    counts = Counts(
        images=fields.whole("images", 1),
        frames=fields.whole("frames", 1),
        views=fields.whole("views", 1),
        patients=fields.whole("patients", 1) if fields.has("patients") else None,
        per_class={name: per_class.whole(name) for name in classes},
        anonymized=fields.truth("anonymized"),
    )
    return Training(
        counts,
        contents.array(f"{_NAME}/contents", (None, CONTENT_BYTES), "uint8"),
        contents.array(f"{_NAME}/patients", (None, CONTENT_BYTES), "uint8"),
        fields.text("mark"),
    )
