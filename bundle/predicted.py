"""What a head predicts for a set of images: the table and its summary, ready to be written or shown."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from .bundle import free
from .predictions import NOBODY, NOT_SELECTED, Predictions, write_csv
from .rolled import Rolled

StrPath = str | Path


class Predicted:
    """What a head predicts for images.

    Parameters
    ----------
    predictions : Predictions
        A row for each frame that was scored, and for each sample that could not be.
    rolled : Rolled or None
        A row for each patient, or whatever they were rolled up to.
    seconds : float

    Attributes
    ----------
    document : dict
        What `icehouse predict --json` prints, without the rows.
    """

    def __init__(self, predictions: Predictions, rolled: Rolled | None, seconds: float) -> None:
        self.predictions = predictions
        self.rolled = rolled
        self.seconds = seconds

    def __repr__(self) -> str:
        return f"<icehouse predictions, {len(self)} rows>"

    def __len__(self) -> int:
        return len(self.predictions if self.rolled is None else self.rolled)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of the table, for `pandas.DataFrame`: a patient each where they were rolled up."""
        return list((self.predictions if self.rolled is None else self.rolled).rows())

    @property
    def images(self) -> list[dict[str, Any]]:
        """The rows of the images, whatever they were rolled up to."""
        return list(self.predictions.rows())

    def write(self, path: StrPath, *, images: bool = False, overwrite: bool = False) -> None:
        """Write the table, or that of the images, as CSV.

        Raises
        ------
        OutputExists
            If the file exists and `overwrite` is not set, or it is no such table.
        """
        free(Path(path), overwrite=overwrite, table=True)
        table = self.predictions if images or self.rolled is None else self.rolled
        write_csv(Path(path), table.headings(), table.rows())

    def failures(self) -> list[dict[str, str]]:
        """Return which samples failed, and why."""
        samples = self.predictions.samples
        return [
            {"path": str(samples.path[number]), "reason": str(samples.error[number])}
            for number in np.flatnonzero(samples.error != "").tolist()
        ]

    @property
    def document(self) -> dict[str, Any]:
        table, rolled = self.predictions, self.rolled
        classes, scored = table.bundle.classes, table.scored
        answers = table.predicted[scored] if rolled is None else rolled.answer.predicted
        counts = Counter(answers.tolist())
        known = table.in_training
        return {
            "bundle": str(table.bundle.path),
            "samples": len(table.samples),
            "frames": int(scored.sum()),
            "failed": table.failed,
            "not_selected": int(np.sum(table.state == NOT_SELECTED)),
            "classes": list(classes),
            "positive": table.bundle.positive_class,
            "threshold": table.threshold,
            "reject": table.reject,
            "predicted": {name: counts[index] for index, name in enumerate(classes)},
            "undecided": counts[NOBODY],
            "in_training": None if known is None else int(known.sum()),
            "ood_below_5_percent": table.unlikely,
            "by": {"column": rolled.column, "rule": rolled.rule.text, "units": len(rolled)}
            if rolled is not None
            else None,
            "seconds": round(self.seconds, 3),
            "images_per_second": round(int(scored.sum()) / self.seconds, 1) if self.seconds else None,
            "failures": self.failures(),
            "notes": list(table.notes),
        }
