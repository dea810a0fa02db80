"""What is to be learned: the labelled rows of a cache, their classes, the positive class, the groups."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from .. import errors
from ..cache.samples import FAILED, NOT_SELECTED, PENDING
from ..cache.store import Cache

_NEGATIVE = re.compile(
    r"(normal|negative|neg|healthy|controls?|nofindings?|none|absent|non[ _-]?\w.*|(no|not)[ _-]\w.*)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Unlabelled:
    """Frames without a label of patients whose own label is known: scored where tested, never trained on.

    Parameters
    ----------
    X : ndarray of float, shape (m, d)
    content : ndarray of uint8, shape (m, 32)
    frame : ndarray of int, shape (m,)
    patient, path : ndarray of str, shape (m,)
    y : ndarray of int, shape (m,)
        The label of the frame's patient, an index into the problem's classes.
    groups : ndarray of int, shape (m,)
        Numbered as the problem's: a frame is where the labelled frames of its group are.
    """

    X: NDArray[np.floating[Any]]
    content: NDArray[np.uint8]
    frame: NDArray[np.int32]
    patient: NDArray[np.str_]
    path: NDArray[np.str_]
    y: NDArray[np.int64]
    groups: NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """A classification problem; every array has one element (or row) per frame.

    Splits and groups are of frames. The further views of a frame go where it goes, and are only ever trained
    on, unless `Protocol.test_views` asks for their mean.

    Parameters
    ----------
    X : ndarray of float, shape (n, d)
        Transfer values of the unaltered view.
    further : ndarray of float, shape (n, v, d)
        Those of the v further views of each frame; v is 0 where there are none.
    y : ndarray of int, shape (n,)
        Index into `classes`.
    classes : tuple of str
        In alphabetical order; their order decides nothing.
    positive : int or None
        Index of the positive class; None unless there are two classes.
    groups : ndarray of int, shape (n,)
        Rows of one group must never be on both sides of a split: they share a patient or an image's content.
    grouped : bool
        Whether patients are known.
    content : ndarray of uint8, shape (n, 32)
    frame : ndarray of int, shape (n,)
        The number of the frame in its file.
    patient, path : ndarray of str, shape (n,)
    left_out : dict of str to int
        How many samples were left out, by the reason.
    layers : tuple of str
        The layers of the cache that the vectors are of, one after another in each row.
    widths : tuple of int
        How many numbers of a row each layer has.
    blocks : ndarray of int, shape (n,)
        Rows of one block go together whatever the splits do: they share a patient, known or guessed from the
        names of files, or an image's content. What is permuted as one.
    guessed : bool
        Whether the blocks' patients are guessed from names.
    columns : dict of str to ndarray of str, shape (n,)
        The samples' own columns, and "split" where they have one.
    technical : dict of str to ndarray of str, shape (n,)
        What the files are: "format", "mode", "size", "bits", "kind".
    pixels : ndarray of uint8, shape (n, 256), or None
        Each frame as 16×16 grey values, if the cache keeps them.
    unlabelled : Unlabelled or None
    notes : tuple of str
        What the user should know of the data.
    """

    X: NDArray[np.floating[Any]]
    further: NDArray[np.floating[Any]]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    positive: int | None
    groups: NDArray[np.int64]
    grouped: bool
    content: NDArray[np.uint8]
    frame: NDArray[np.int32]
    patient: NDArray[np.str_]
    path: NDArray[np.str_]
    left_out: dict[str, int]
    layers: tuple[str, ...]
    widths: tuple[int, ...]
    blocks: NDArray[np.int64]
    guessed: bool = False
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    technical: dict[str, NDArray[np.str_]] = field(default_factory=dict)
    pixels: NDArray[np.uint8] | None = None
    unlabelled: Unlabelled | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def layer(self) -> str:
        """The layers' names in one, as results show them."""
        return "+".join(self.layers)

    @property
    def patients(self) -> int:
        """The number of patients; each row without a patient's name counts as one."""
        return len(np.unique(self.patient[self.patient != ""])) + int(np.sum(self.patient == ""))

    @property
    def views(self) -> int:
        """The number of views of each frame, the unaltered one among them."""
        return 1 + int(self.further.shape[1])

    def vectors(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.floating[Any]], NDArray[np.int64]]:
        """Return a copy of all views of some rows, shape (k · views, d), and the label of each.

        The unaltered views come first, in the order of `rows`; then the further ones, by row, then view.
        """
        count, further = len(rows), self.views - 1
        X = np.empty((count * self.views, self.X.shape[1]), dtype=self.X.dtype)
        # Without "clip", NumPy would put a copy between.
        np.take(self.X, rows, axis=0, out=X[:count], mode="clip")
        if further:
            views = X[count:].reshape(count, further, self.X.shape[1])
            np.take(self.further, rows, axis=0, out=views, mode="clip")
        return X, np.concatenate([self.y[rows], np.repeat(self.y[rows], further)])

    @property
    def positive_class(self) -> str | None:
        return None if self.positive is None else self.classes[self.positive]


def from_cache(
    cache: Cache, *, positive: str | None = None, partial: bool = False, layer: str | None = None
) -> Problem:
    """Return the problem that a cache's labels pose.

    Parameters
    ----------
    cache : Cache
    positive : str, optional
        The positive class of two; found by its name unless given.
    partial : bool
        Go on although samples are pending.
    layer : str, optional
        Whose vectors; the cache's first one unless given.

    Raises
    ------
    CacheIncomplete
        If samples are pending and `partial` is not set.
    ClassesError
        If there are fewer than two classes, or the positive one cannot be told.
    UsageError
        If there is no such layer.
    """
    samples = cache.samples
    pending = int(np.sum(samples.state == PENDING))
    if pending and not partial:
        raise errors.CacheIncomplete(
            f"{cache.path} is not complete: {pending} of {len(samples)} samples are pending. Finish the "
            "extraction by repeating its command, or go on without them with --partial."
        )
    if not cache.whole and not partial:
        raise errors.CacheIncomplete(
            f"{cache.path} is not complete: samples were lost in a repair. Repeat the extraction, which brings "
            "them back, or go on without them with --partial."
        )
    labelled = np.flatnonzero(cache.y != "")
    if not len(labelled):
        raise errors.ClassesError(
            f"{cache.path} holds no labels. Give them with --labels FILE, or extract from a folder of class "
            "folders or a manifest with a column 'label'; vectors already computed are reused."
        )
    rows = cache.sample_of_row[labelled]
    names, y = np.unique(samples.label[rows], return_inverse=True)
    classes = tuple(map(str, names))
    if len(classes) < 2:
        raise errors.ClassesError(
            f"{cache.path} holds one class only"
            + (f" with the labels of {cache.labels_from}" if cache.labels_from else "")
            + f", {classes[0]!r}; a classifier needs two or more."
        )
    X, further = _vectors(cache, layer, labelled)
    patient = samples.patient[rows]
    content = samples.content[rows]
    grouped = bool(np.any(patient != ""))
    notes = []
    if grouped and (blank := int(np.sum(patient == ""))):
        notes.append(f"{blank} rows have no patient's name; each of them counts as a patient of its own.")
    if np.any(samples.split[rows] != ""):
        notes.append("The samples' own split is not used: every round draws its own.")
    left_out = {
        "pending": pending,
        "failed": int(np.sum(samples.state == FAILED)),
        "not selected": int(np.sum(samples.state == NOT_SELECTED)),
        "without a label": len(set(cache.sample_of_row)) - len(set(rows)),
    }
    left_out = {reason: count for reason, count in left_out.items() if count}
    notes += [f"{count} samples left out: {reason}." for reason, count in left_out.items()]
    return Problem(
        X=X,
        further=further,
        y=y.astype(np.int64),
        classes=classes,
        positive=positive_class(classes, positive),
        groups=_groups(patient, content),
        grouped=grouped,
        content=content,
        frame=cache.frame_of_row[labelled],
        patient=patient,
        path=samples.path[rows],
        left_out=left_out,
        layers=(layer or cache.layers[0],),
        widths=(X.shape[1],),
        blocks=_groups(patient, content),
        notes=tuple(notes),
    )


def _vectors(
    cache: Cache, layer: str | None, labelled: NDArray[np.intp]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return the vectors of some rows of a cache, shape (n, d), and their further views', shape (n, v, d)."""
    X = cache.vectors(layer)
    further, _ = cache.views(layer)  # by row, and of each row the same number
    further = further.reshape(len(X), cache.header.views - 1, X.shape[1])
    return (X, further) if len(labelled) == len(X) else (X[labelled], further[labelled])


def positive_class(classes: tuple[str, ...], given: str | None) -> int | None:
    """Return the index of the positive class of two, or None if there are more.

    Unless given, it is the class that is not called normal, negative, healthy, control, no finding or
    non-something; the alphabet decides nothing.

    Raises
    ------
    UsageError
        If the class given is none of `classes`, or there are more than two.
    ClassesError
        If the names do not tell.
    """
    if given is not None:
        if given not in classes:
            raise errors.UsageError(f"--positive {given}: no such class; there are {', '.join(classes)}.")
        if len(classes) > 2:
            raise errors.UsageError(f"--positive needs two classes; there are {len(classes)}.")
        return classes.index(given)
    if len(classes) > 2:
        return None
    positives = [index for index, name in enumerate(classes) if not _NEGATIVE.fullmatch(name.strip())]
    if len(positives) != 1:
        raise errors.ClassesError(
            f"Which of {classes[0]!r} and {classes[1]!r} is the positive class cannot be told from the names: "
            f"say it with --positive, such as --positive {classes[0]}"
        )
    return positives[0]


def _groups(patient: NDArray[np.str_], content: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Number the sets of rows that are tied by a common patient or by the same image."""
    count = len(patient)
    rows = np.arange(count)
    image = count + _numbers(np.array([row.tobytes() for row in content], dtype=object))
    person = 3 * count + rows  # a person of its own, unless the patient has a name
    named = patient != ""
    person[named] = 2 * count + _numbers(patient[named])
    ends = (np.concatenate([rows, rows]), np.concatenate([image, person]))
    graph = coo_array((np.ones(2 * count, dtype=np.int8), ends), shape=(4 * count, 4 * count))
    _, component = connected_components(graph, directed=False)
    return _numbers(component[:count])


def _numbers(values: NDArray[Any]) -> NDArray[np.int64]:
    """Number equal values alike, from 0 on in the order in which they first occur."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(value, len(seen)) for value in values.tolist()], dtype=np.int64)
