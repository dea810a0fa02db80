"""The frames that are audited, each with what is known of it, of one cache or of two side by side.

Vectors and pixels are not here: `whitening` and `looks` read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cache.keys import contents_of
from ..cache.store import Cache
from ..classify import names


@dataclass(frozen=True)
class Frames:
    """Frames of a cache, and after them those of the cache that it is held against.

    Parameters
    ----------
    other : ndarray of bool, shape (n,)
        Whether each is of the other cache.
    line : ndarray of int, shape (n,)
        Its row of its cache's `X`.
    frame : ndarray of int, shape (n,)
    content : ndarray of S32, shape (n,)
    path, label, patient, split : ndarray of str, shape (n,)
        Empty where unknown.
    guessed : ndarray of str, shape (n,)
        The patient, or where no patient is known at all, one guessed from the names of files.
    """

    other: NDArray[np.bool_]
    line: NDArray[np.intp]
    frame: NDArray[np.int32]
    content: NDArray[np.bytes_]
    path: NDArray[np.str_]
    label: NDArray[np.str_]
    patient: NDArray[np.str_]
    split: NDArray[np.str_]
    guessed: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.line)

    @property
    def own(self) -> int:
        """How many are of the cache itself; they come first."""
        return int(np.sum(~self.other))

    def taken(self, rows: NDArray[np.intp]) -> Frames:
        """Return some of them."""
        return Frames(**{name: values[rows] for name, values in vars(self).items()})

    def distinct(self) -> Frames:
        """Return the first frame of each content and number: the others are exact copies."""
        packed = np.rec.fromarrays([self.content, self.frame])
        return self.taken(np.sort(np.unique(packed, return_index=True)[1]))

    def one_patient(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell of pairs of frames whether they are known to be of one patient."""
        return np.asarray((self.patient[first] == self.patient[second]) & (self.patient[first] != ""))

    def two_patients(self, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.bool_]:
        """Tell of pairs of frames whether they are of two patients, as far as anything says so.

        Where patients are not known, two classes are taken to be two patients.
        """
        known = (self.guessed[first] != "") & (self.guessed[second] != "")
        labelled = (self.label[first] != "") & (self.label[second] != "")
        apart = labelled & (self.label[first] != self.label[second])
        return np.asarray(np.where(known, self.guessed[first] != self.guessed[second], apart))


def frames_of(cache: Cache, against: Cache | None = None) -> Frames:
    """Return the frames of the finished samples of a cache, and of another."""
    tables = [_of(cache, False)] + ([_of(against, True)] if against is not None else [])
    joined = {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}
    return Frames(**joined)


def _of(cache: Cache, other: bool) -> dict[str, NDArray[Any]]:
    samples, of = cache.samples, cache.sample_of_row
    path, label, patient = samples.path[of], samples.label[of], samples.patient[of]
    guessed = None
    if not np.any(patient != "") and np.any(label != "") and not cache.anonymized:
        guessed = names.guess(path, label)
    return {
        "other": np.full(len(of), other),
        "line": np.arange(len(of)),
        "frame": cache.frame_of_row,
        "content": contents_of(samples.content[of]),
        "path": path,
        "label": label,
        "patient": patient,
        "split": samples.split[of],
        "guessed": patient if guessed is None else guessed,
    }
