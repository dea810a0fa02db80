"""What is to be learned: the labelled rows of a cache, their classes, the positive class, the groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.samples import FAILED, NOT_SELECTED, PENDING
from ..cache.store import Cache
from . import facts, names
from .classes import positive_class
from .groups import tied

if TYPE_CHECKING:
    from .by import By


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
    columns : dict of str to ndarray of str, shape (m,)
        As the problem's.
    """

    X: NDArray[np.floating[Any]]
    content: NDArray[np.uint8]
    frame: NDArray[np.int32]
    patient: NDArray[np.str_]
    path: NDArray[np.str_]
    y: NDArray[np.int64]
    groups: NDArray[np.int64]
    columns: dict[str, NDArray[np.str_]] = field(default_factory=dict)


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
        Whether patients are known and kept on one side.
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
    by : By or None
        Whole patients, or other units, that are judged beside the frames.
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
    by: By | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.y)

    @property
    def layer(self) -> str:
        """The layers' names in one, as results show them."""
        return "+".join(self.layers)

    @property
    def patients(self) -> int:
        """The number of patients; an image without a patient's name counts as one."""
        named = self.patient != ""
        return len(np.unique(self.patient[named])) + len(np.unique(self.blocks[~named]))

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
    cache: Cache,
    *,
    positive: str | None = None,
    partial: bool = False,
    layer: str | Sequence[str] | None = None,
    grouped: bool = True,
) -> Problem:
    """Return the problem that a cache's labels pose.

    Parameters
    ----------
    cache : Cache
    positive : str, optional
        The positive class of two; found by its name unless given.
    partial : bool
        Go on although samples are pending.
    layer : str or sequence of str, optional
        Whose vectors; the cache's first one unless given. Those of several stand one after another in each row;
        "pyramid" is all layers of the cache.
    grouped : bool
        Keep the rows of a patient on one side. Without, only copies of an image are kept together: what scores
        gain by that is a leak.

    Raises
    ------
    CacheIncomplete
        If samples are pending and `partial` is not set.
    ClassesError
        If there are fewer than two classes, or the positive one cannot be told; if a patient's own label is
        none of them, or a patient has two.
    UsageError
        If there is no such layer.
    """
    samples = cache.samples
    pending = _check_complete(cache, partial)
    labelled = np.flatnonzero(cache.y != "")
    if not len(labelled):
        raise errors.ClassesError(
            f"{cache.path} holds no labels. Give them with --labels FILE, or extract from a folder of class "
            "folders or a manifest with a column 'label'; vectors already computed are reused."
        )
    count = len(labelled)
    rows = cache.sample_of_row[labelled]
    found, y = np.unique(samples.label[rows], return_inverse=True)
    classes = tuple(map(str, found))
    if len(classes) < 2:
        raise errors.ClassesError(
            f"{cache.path} holds one class only"
            + (f" with the labels of {cache.labels_from}" if cache.labels_from else "")
            + f", {classes[0]!r}; a classifier needs two or more."
        )
    layers = _layers(cache, layer)
    own = facts.labels_of_patients(cache, classes)
    others = np.flatnonzero(np.isin(cache.sample_of_row, own.samples))
    X, further, X_of_others = _vectors(cache, layers, labelled, others)
    # Labelled rows first, then unlabelled ones: who belongs together is asked of both at once.
    every = np.concatenate([rows, cache.sample_of_row[others]])
    patient, content, path = samples.patient[every], samples.content[every], samples.path[every]
    known = bool(np.any(patient != ""))
    blocks = tied(patient, content)
    groups = blocks if grouped or not known else tied(np.full(len(every), ""), content)
    guessed = None if known or cache.anonymized else names.guess(path[:count], samples.label[rows])
    columns = facts.columns_of(samples, every)
    unlabelled = Unlabelled(
        X=X_of_others,
        content=content[count:],
        frame=cache.frame_of_row[others],
        patient=patient[count:],
        path=path[count:],
        y=own.labels[np.searchsorted(own.samples, every[count:])],
        groups=groups[count:],
        columns={name: values[count:] for name, values in columns.items()},
    )
    without_label = len(np.unique(cache.sample_of_row)) - len(np.unique(every)) - own.without_patient
    left_out = {
        "pending": pending,
        "failed": int(np.sum(samples.state == FAILED)),
        "not selected": int(np.sum(samples.state == NOT_SELECTED)),
        "without a label": without_label,
        "with a patient_label, but without a label and a patient": own.without_patient,
    }
    left_out = {reason: number for reason, number in left_out.items() if number}
    notes = _notes(patient[:count], path[:count], known, grouped, guessed)
    notes += [f"{number} samples left out: {reason}." for reason, number in left_out.items()]
    pixels = cache.pixels()
    return Problem(
        X=X,
        further=further,
        y=y.astype(np.int64),
        classes=classes,
        positive=positive_class(classes, positive),
        groups=groups[:count],
        grouped=known and grouped,
        content=content[:count],
        frame=cache.frame_of_row[labelled],
        patient=patient[:count],
        path=path[:count],
        left_out=left_out,
        layers=layers,
        widths=tuple(cache.dimensions[name] for name in layers),
        blocks=blocks[:count] if guessed is None else tied(guessed, content[:count]),
        guessed=guessed is not None,
        columns={name: values[:count] for name, values in columns.items()},
        technical=facts.technical_of(samples, rows),
        pixels=None if pixels is None else _taken(pixels, labelled),
        unlabelled=unlabelled if len(others) else None,
        notes=tuple(notes),
    )


def _check_complete(cache: Cache, partial: bool) -> int:
    """Return how many samples are pending, if that is allowed."""
    pending = int(np.sum(cache.samples.state == PENDING))
    if pending and not partial:
        raise errors.CacheIncomplete(
            f"{cache.path} is not complete: {pending} of {len(cache.samples)} samples are pending. Finish the "
            "extraction by repeating its command, or go on without them with --partial."
        )
    if not cache.whole and not partial:
        raise errors.CacheIncomplete(
            f"{cache.path} is not complete: samples were lost in a repair. Repeat the extraction, which brings "
            "them back, or go on without them with --partial."
        )
    return pending


def _layers(cache: Cache, asked: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the layers that are asked for."""
    if not asked:
        return cache.layers[:1]
    layers = (asked,) if isinstance(asked, str) else tuple(asked)
    if layers == ("pyramid",) and "pyramid" not in cache.layers:
        return cache.layers
    if len(set(layers)) < len(layers):
        raise errors.UsageError(f"--layer {','.join(layers)}: a layer stands there twice.")
    for name in layers:
        if name not in cache.layers:
            raise errors.UsageError(f"{cache.path} has no layer {name!r}; it has {', '.join(cache.layers)}.")
    return layers


def _vectors(
    cache: Cache, layers: tuple[str, ...], labelled: NDArray[np.intp], others: NDArray[np.intp]
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return the vectors of the labelled rows of a cache, of their further views, and of some other rows.

    Their shapes are (n, d), (n, v, d) and (m, d), the layers one after another in d.
    """
    if len(layers) == 1:
        X, further = _of_layer(cache, layers[0])
        return _taken(X, labelled), _taken(further, labelled), X[others]
    widths = [cache.dimensions[name] for name in layers]
    shapes = ((len(labelled),), (len(labelled), cache.header.views - 1), (len(others),))
    joined: list[NDArray[np.floating[Any]]] = []
    begin = 0
    for name, width in zip(layers, widths, strict=True):
        X, further = _of_layer(cache, name)
        if not joined:
            joined = [np.empty((*shape, sum(widths)), dtype=X.dtype) for shape in shapes]
        for whole, part, rows in zip(joined, (X, further, X), (labelled, labelled, others), strict=True):
            whole[..., begin : begin + width] = _taken(part, rows)
        begin += width
    return joined[0], joined[1], joined[2]


def _of_layer(cache: Cache, layer: str) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    X = cache.vectors(layer)
    further, _ = cache.views(layer)  # by row, and of each row the same number
    return X, further.reshape(len(X), cache.header.views - 1, X.shape[1])


def _taken(values: NDArray[Any], rows: NDArray[np.intp]) -> NDArray[Any]:
    """Return some rows, ascending, without a copy where they are all."""
    return values if len(rows) == len(values) else values[rows]


def _notes(
    patient: NDArray[np.str_],
    path: NDArray[np.str_],
    known: bool,
    grouped: bool,
    guessed: NDArray[np.str_] | None,
) -> list[str]:
    notes = []
    if known and not grouped:
        notes.append(
            "Patients are known and disregarded, as was asked for (ungrouped): images of one patient can be on "
            "both sides of a split, and scores come out too high."
        )
    if known and grouped and (blank := int(np.sum(patient == ""))):
        notes.append(f"{blank} rows have no patient's name; each image of them counts as a patient of its own.")
    if guessed is not None:
        first, second = names.example(path, guessed)
        notes.append(
            f"No patients are given, but files are named as if they held them, such as {first} and {second}: "
            "images of one patient can be on both sides of a split, and scores come out too high. Add a column "
            "'patient' to the manifest, or give it with --labels FILE; vectors are not computed again."
        )
    return notes
