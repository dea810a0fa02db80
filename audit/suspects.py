"""Images that may carry a wrong label, and images that are unlike all others, by their vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .copies import sample_of
from .frames import Frames
from .neighbours import NEAREST, Nearest
from .whitening import Floats

FAR = 3.5
"""From how many deviations above the median on a distance's logarithm is an outlier's."""
COMPONENTS = 64
"""Of the whitened vectors, the first: those after them tell single pictures, not kinds of pictures."""
_FOLDS = 5
_ROWS = 20_000
"""Rows that a fold is fitted on, at most."""
_PENALTY = 0.01
"""C of the logistic regression on whitened components, of which each has variance 1. With a twentieth of the
labels of chest X-rays and CT slices exchanged, the ones it contradicts were the exchanged ones more often than
those of other penalties, of discriminant analysis or of neighbours alone."""
_UNUSUAL = 0.1
_VOTES = 0.6
_TOLD = 0.2
"""How far from chance to all right the model must be for its doubts to mean anything."""
_PATIENTS = 10
"""A class of fewer patients says nothing of labels."""
_NEIGHBOUR = 4
"""The distance to the fifth nearest: one or two copies do not make an outlier usual."""
_LEAST_FRAMES = 50


def label_suspects(
    frames: Frames, points: Floats, unit: NDArray[np.int64], found: Nearest
) -> tuple[list[dict[str, Any]], dict[str, Any], list[str]]:
    """Return the samples whose label both a model and their neighbours contradict, the most doubtful first.

    A logistic regression, fitted on other patients, gives each frame the probability of each class. In the way
    of confident learning [1]_, a frame is suspected where another class than its own gets the largest
    probability, and one as large as usual for frames of that class; and where 60 % of the twenty nearest frames
    of other patients carry that class as well, classes counted alike.

    As usual is what nine in ten frames get that carry a class and are taken for it. By the mean over all that
    carry it, as in [1]_, too many wrong labels pass where classes are told well. With a twentieth of the labels
    exchanged (means of four draws): of X-rays, covid or normal, 81 % of the exchanged ones are listed, and 92 %
    of those listed are exchanged; by the mean it is 65 and 94 %. Where classes are told badly, most of those
    listed are hard and not wrong: normal or pneumonia 47 and 30 %, CT slices 41 and 22 %.

    Parameters
    ----------
    frames : Frames
        Of the cache alone.
    points : ndarray of float32, shape (n, k)
        Their whitened vectors.
    unit : ndarray of int, shape (n,)
        The number of each row's patient.
    found : Nearest

    Returns
    -------
    suspects : list of dict
        As `sample_of`, with suggested (a class), probability (of the label it carries), of_suggested and
        neighbours (the share of the nearest ones that carry the suggested class).
    model : dict
        classes, balanced_accuracy (out of fold: where it is low, most suspects are hard images, not wrong
        labels) and frames.
    notes : list of str

    References
    ----------
    .. [1] Northcutt, Jiang and Chuang: Confident Learning: Estimating Uncertainty in Dataset Labels, Journal of
       Artificial Intelligence Research 70 (2021), section 3.
    """
    classes, left_out = _classes(frames, unit)
    model: dict[str, Any] = {"classes": classes, "balanced_accuracy": None, "frames": 0}
    notes = []
    if left_out:
        words = ", ".join(left_out)
        notes.append(
            f"Labels of {words} are not doubted: fewer than {_PATIENTS} patients (or images) carry them."
        )
    if len(classes) < 2:
        notes.append("No labels are doubted: that takes two classes of enough patients.")
        return [], model, notes
    rows = np.flatnonzero(np.isin(frames.label, classes))
    y = np.searchsorted(classes, frames.label[rows])
    probability = _out_of_fold(points[rows, :COMPONENTS], y, unit[rows], len(classes))
    of_own = probability[np.arange(len(y)), y]
    suggested = probability.argmax(axis=1)
    usual = np.array([_usual(of_own[(y == label) & (suggested == label)]) for label in range(len(classes))])
    recalls = [(suggested == y)[y == label].mean() for label in range(len(classes))]
    model |= {"balanced_accuracy": round(float(np.mean(recalls)), 4), "frames": len(rows)}
    if np.mean(recalls) < 1 / len(classes) + _TOLD * (1 - 1 / len(classes)):
        told = f"(balanced accuracy {np.mean(recalls):.2f})"
        notes.append(f"No labels are doubted: the vectors hardly tell the classes {told}.")
        return [], model, notes
    share = _votes(frames, classes, found.row[rows], found.reference, suggested)
    doubted = (suggested != y) & (share > _VOTES)
    doubted &= probability[np.arange(len(y)), suggested] >= usual[suggested]
    listed = np.flatnonzero(doubted)
    beyond = probability[listed, suggested[listed]] - of_own[listed]
    listed = listed[np.lexsort((listed, -beyond))]
    suspects = [
        {
            **sample_of(frames, int(rows[row])),
            "suggested": classes[suggested[row]],
            "probability": round(float(of_own[row]), 4),
            "of_suggested": round(float(probability[row, suggested[row]]), 4),
            "neighbours": round(float(share[row]), 4),
        }
        for row in listed.tolist()
    ]
    return suspects, model, notes


def _usual(probabilities: NDArray[np.float64]) -> float:
    return float(np.quantile(probabilities, _UNUSUAL)) if len(probabilities) else 1.0


def _classes(frames: Frames, unit: NDArray[np.int64]) -> tuple[list[str], list[str]]:
    """Return the classes of enough patients, and the others."""
    enough: list[str] = []
    few: list[str] = []
    for label in np.unique(frames.label[frames.label != ""]).tolist():
        patients = len(np.unique(unit[frames.label == label]))
        (enough if patients >= _PATIENTS else few).append(label)
    return enough, few


def _out_of_fold(
    points: Floats, y: NDArray[np.int64], unit: NDArray[np.int64], classes: int
) -> NDArray[np.float64]:
    """Return the probability of each class for each row, by a model that has not seen its patient."""
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    generator = np.random.default_rng(0)
    _, number = np.unique(unit, return_inverse=True)
    fold = (generator.permutation(int(number.max()) + 1) % _FOLDS)[number]
    probability = np.zeros((len(y), classes))
    with threadpool_limits(limits=1):
        for part in range(_FOLDS):
            train, test = np.flatnonzero(fold != part), np.flatnonzero(fold == part)
            if len(train) > _ROWS:
                train = np.sort(generator.choice(train, _ROWS, replace=False))
            present = np.unique(y[train])
            if len(present) < 2:
                probability[test[:, None], present] = 1
                continue
            model = LogisticRegression(C=_PENALTY, class_weight="balanced", max_iter=200)
            model.fit(points[train], y[train])
            probability[test[:, None], present] = model.predict_proba(points[test])
    return probability


def _votes(
    frames: Frames,
    classes: list[str],
    nearest: NDArray[np.intp],
    reference: NDArray[np.intp],
    suggested: NDArray[np.intp],
) -> NDArray[np.float64]:
    """Return the share of each row's neighbours that carry the suggested class, each class counted alike."""
    label = np.searchsorted(classes, frames.label)
    known = np.isin(frames.label, classes)
    carried = np.where((nearest >= 0) & known[nearest], label[nearest], -1)
    votes = np.stack([(carried == number).sum(axis=1) for number in range(len(classes))], axis=1)
    counts = np.bincount(label[reference][known[reference]], minlength=len(classes))
    weighed = votes / np.maximum(counts, 1)
    total = weighed.sum(axis=1)
    return np.asarray(weighed[np.arange(len(suggested)), suggested] / np.where(total > 0, total, 1))


def outliers(
    frames: Frames, found: Nearest, fitted: NDArray[np.bool_]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the samples that lie far from those of all other patients, the farthest first.

    Far is a distance of which the logarithm lies `FAR` deviations above the median [1]_, a deviation being what
    lies between the median and the quantile that one deviation has in a normal distribution: of the upper half
    alone, as near duplicates make the lower one longer.

    Parameters
    ----------
    frames : Frames
        Of the cache alone.
    found : Nearest
    fitted : ndarray of bool, shape (n,)
        Whether the coordinates were found on a frame: those are compared with each other, as others lie nearer.

    Returns
    -------
    outliers : list of dict
        As `sample_of`, with distance (to the fifth nearest frame of another patient), times (of the median
        distance) and nearest (the path of the nearest one).
    notes : list of str
        Why they were not looked for, if they were not.

    References
    ----------
    .. [1] Iglewicz and Hoaglin: How to Detect and Handle Outliers, 1993, section 3 (modified z-scores; 3.5).
    """
    distance = found.distance[:, min(_NEIGHBOUR, NEAREST - 1)]
    if len(frames) < _LEAST_FRAMES:
        return [], [f"Outliers were not looked for: that takes {_LEAST_FRAMES} frames."]
    if not np.isfinite(distance).all() or not np.median(distance) > 0:
        why = "some have too few of other patients beside them, or most vectors are the same"
        return [], [f"Outliers were not looked for: {why}."]
    times = np.empty(len(frames))
    beyond = np.zeros(len(frames), dtype=bool)
    for alike in (fitted, ~fitted):
        if alike.any():
            logs = np.log(np.maximum(distance[alike], 1e-6 * distance.max()))
            middle, upper = np.quantile(logs, [0.5, 0.8413])
            times[alike] = np.exp(logs - middle)
            beyond[alike] = logs - middle > FAR * (upper - middle)
    rows = np.flatnonzero(beyond & (times > 1))
    rows = rows[np.lexsort((rows, -times[rows]))]
    listed = [
        {
            **sample_of(frames, row),
            "distance": round(float(distance[row]), 4),
            "times": round(float(times[row]), 2),
            "nearest": str(frames.path[found.row[row, 0]]),
        }
        for row in rows.tolist()
    ]
    return listed, []
