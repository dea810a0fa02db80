"""What is known of an explained picture, and explanations as text: what `icehouse explain` shows at its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .tables import DISCLAIMER, counted, text_table
from .thumbnails import name_of

UNLIKELY = 0.05
"""The out-of-distribution p-value below which a picture is said to be unlike those that were trained on."""
_SHOWN = 10
_LONGEST = 60
"""Characters of a path in a table; --json has all of it."""


@dataclass(frozen=True)
class Explanation:
    """Where a head looks in one picture.

    Parameters
    ----------
    path : str
        The first sample that it is of.
    content : bytes
        SHA-256 of its file.
    frame, frames : int
        Its number in the file, and how many the file has.
    label : str
        What the sample is said to be, empty where nothing is.
    probabilities : mapping of str to float
        Of each class.
    predicted, explained : str
        The class that is predicted, and the one that is explained.
    score : float
        The margin of the explained class above the best other one.
    ood : float or None
        Out-of-distribution p-value; None where the bundle has no reference.
    method, bundle : str
        How it was found, and of whose head.
    pixels : ndarray of uint8, shape (H, W, 3)
        What the network saw.
    weights : ndarray of float32, shape (h, w)
        What each cell of the last feature maps adds to the score.
    heat : ndarray of float32, shape (H, W)
        The same around each pixel.
    peak : tuple of float, or None
        Where most of it is, (y, x) as fractions of the picture; None where no place adds anything.
    """

    path: str
    content: bytes
    frame: int
    frames: int
    label: str
    probabilities: Mapping[str, float]
    predicted: str
    explained: str
    score: float
    ood: float | None
    method: str
    bundle: str
    pixels: NDArray[np.uint8]
    weights: NDArray[np.float32]
    heat: NDArray[np.float32]
    peak: tuple[float, float] | None

    @property
    def name(self) -> str:
        """Its path, and its frame if there are several."""
        return self.path if self.frames == 1 else f"{self.path}, frame {self.frame}"

    @property
    def probability(self) -> float:
        """That of the explained class."""
        return self.probabilities[self.explained]

    @property
    def known_label(self) -> str:
        """Its label if that is one of the head's classes; a folder's name may be none."""
        return self.label if self.label in self.probabilities else ""

    def entry(self) -> dict[str, Any]:
        """Return what JSON says of it; the peak is in fractions of what the network saw."""
        peak = self.peak
        return {
            "path": self.path,
            "frame": self.frame,
            "frames": self.frames,
            "label": self.label,
            "predicted": self.predicted,
            "class": self.explained,
            "probability": self.probability,
            "score": self.score,
            "ood": self.ood,
            "peak": None if peak is None else {"x": round(peak[1], 4), "y": round(peak[0], 4)},
            "weights": [[float(f"{value:.6g}") for value in row] for row in self.weights.tolist()],
            "picture": None,
        }


def explanation_text(document: dict[str, Any]) -> str:
    """Return what was explained, where the pictures are, and what failed.

    Parameters
    ----------
    document : dict
        "explanations", each with "path", "frame", "predicted", "class", "probability", "score" and "peak"
        (None, or "x" and "y", fractions of the picture); "failed", "not_selected", "predicted" (class to
        count), "out", "sheets", "seconds", "failures" (each with "path" and "reason") and "notes".
    """
    found, failures = document["explanations"], document["failures"]
    failed = f", {document['failed']} failed" if failures else ""
    where = f"{document['out']}: " if document["out"] else ""
    lines = [f"{where}{counted(len(found), 'picture')} explained{failed}, {document['seconds']:.1f} s"]
    if document["sheets"]:
        lines.append(f"  begin with {document['sheets'][0]}")
    if document["not_selected"]:
        lines.append(f"  {counted(document['not_selected'], 'slice')} not selected by the rule for frames")
    counts = ", ".join(f"{count} {name}" for name, count in document["predicted"].items())
    lines.append(f"  predicted: {counts or 'nothing'}")
    unlike = sum(one["ood"] is not None and one["ood"] < UNLIKELY for one in found)
    if unlike:
        of = f"{unlike} of {len(found)}"
        lines.append(f"  {of} unlike the pictures that the head was fitted on: ood below {UNLIKELY}")
    parts = ["\n".join(lines)]
    if found:
        more = f", the first {_SHOWN} of {len(found)}" if len(found) > _SHOWN else ""
        headings = ["picture", "predicted", "explained", "probability", "ood", "score", "peak x", "peak y"]
        parts.append(text_table(f"Explanations{more}", headings, map(_row, found[:_SHOWN])))
    if failures:
        rows = [[_shortened(failure["path"]), failure["reason"]] for failure in failures[:_SHOWN]]
        more = f", the first {_SHOWN} of {len(failures)}: --json lists all" if len(failures) > _SHOWN else ""
        parts.append(text_table(f"Failed{more}", ["path", "reason"], rows))
    return "\n\n".join([*parts, "\n".join([*document["notes"], DISCLAIMER])])


def _row(found: dict[str, Any]) -> list[str]:
    peak = found["peak"]
    name = name_of(found["path"], found["frame"], found["frames"])
    place = ["–", "–"] if peak is None else [f"{peak['x']:.2f}", f"{peak['y']:.2f}"]
    return [
        _shortened(name),
        found["predicted"],
        found["class"],
        f"{found['probability']:.4f}",
        "–" if found["ood"] is None else f"{found['ood']:.3f}",
        f"{found['score']:+.3f}",
        *place,
    ]


def _shortened(path: str) -> str:
    """Return a path, its middle left out where it is long."""
    half = _LONGEST // 2
    return path if len(path) <= _LONGEST else f"{path[:half]}…{path[-half:]}"
