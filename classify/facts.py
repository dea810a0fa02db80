"""What the samples of a cache say beside label and vectors, row by row: columns, files, labels of patients."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.samples import Samples
from ..cache.store import Cache

PATIENT_LABEL = "patient_label"


class PatientLabels(NamedTuple):
    """Samples without a label of patients with a label of their own.

    Parameters
    ----------
    samples : ndarray of int, shape (k,)
        Their numbers, ascending.
    labels : ndarray of int, shape (k,)
        Index into the classes.
    without_patient : int
        How many others have such a label and no patient: nobody could say on which side they belong.
    """

    samples: NDArray[np.intp]
    labels: NDArray[np.int64]
    without_patient: int


def labels_of_patients(cache: Cache, classes: tuple[str, ...]) -> PatientLabels:
    """Return the samples of which a column `patient_label` speaks, and they have no label.

    Raises
    ------
    ClassesError
        If such a label is none of the classes, or a patient has two.
    """
    samples = cache.samples
    nothing = np.full(len(samples), "")
    said = np.char.strip(samples.columns.get(PATIENT_LABEL, nothing))
    with_vectors = np.zeros(len(samples), dtype=bool)
    with_vectors[cache.sample_of_row] = True
    speaks = with_vectors & (samples.label == "") & (said != "")
    found = np.flatnonzero(speaks & (samples.patient != ""))
    labels = said[found]
    other = np.flatnonzero(~np.isin(labels, classes))
    if len(other):
        raise errors.ClassesError(
            f"The patient_label of {samples.path[found[other[0]]]} is {str(labels[other[0]])!r}, which is no "
            f"class of the labelled samples; there are {', '.join(classes)}. Correct it, or label such samples."
        )
    patients, first, inverse = np.unique(samples.patient[found], return_index=True, return_inverse=True)
    two = np.flatnonzero(labels != labels[first][inverse])
    if len(two):
        here = inverse[two[0]]
        raise errors.ClassesError(
            f"Patient {str(patients[here])!r} has the patient_label {str(labels[first[here]])!r} in "
            f"{samples.path[found[first[here]]]} and {str(labels[two[0]])!r} in {samples.path[found[two[0]]]}. "
            "Correct one of them."
        )
    index = np.searchsorted(np.array(classes), labels).astype(np.int64)
    return PatientLabels(found, index, int(np.sum(speaks)) - len(found))


def columns_of(samples: Samples, rows: NDArray[np.intp]) -> dict[str, NDArray[np.str_]]:
    """Return the samples' own columns for some samples, and "split" where any has one."""
    columns = {name: values[rows] for name, values in samples.columns.items()}
    split = samples.split[rows]
    return {**columns, "split": split} if np.any(split != "") else columns


def technical_of(samples: Samples, rows: NDArray[np.intp]) -> dict[str, NDArray[np.str_]]:
    """Return what the files of some samples are, where known of any: format, mode, size, bits, kind."""
    width, height, bits = samples.width[rows], samples.height[rows], samples.bits[rows]
    size = np.char.add(np.char.add(width.astype(str), "×"), height.astype(str))
    known = {
        "format": samples.format[rows],
        "mode": samples.mode[rows],
        "size": np.where((width > 0) & (height > 0), size, ""),
        "bits": np.where(bits > 0, bits.astype(str), ""),
        "kind": samples.kind[rows],
    }
    return {name: values for name, values in known.items() if np.any(values != "")}
