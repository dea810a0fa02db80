"""What became of each sample, and the tables of samples and failures that a cache gets of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache.samples import DONE, FAILED, NOT_SELECTED, PENDING, Failure, Samples, failure
from .knowledge import Known
from .picture import Facts
from .sources import Sample

_NOTHING = Known(Facts("", "", 0, 0, 0, frames=0, kind=""), ())


@dataclass
class Outcome:
    """What became of one sample.

    Parameters
    ----------
    content : bytes or None
        None if it was not read.
    failure : ImageError or None
    selected : bool
        Whether the rule takes its slice.
    seconds : float
        What reading it took that no frame of its own computed accounts for.
    """

    content: bytes | None
    failure: errors.ImageError | None = None
    selected: bool = True
    seconds: float = 0.0

    def state(self) -> str:
        if self.failure is not None:
            return FAILED
        if not self.selected:
            return NOT_SELECTED
        return DONE if self.content is not None else PENDING


def samples_table(samples: Sequence[Sample], outcomes: Sequence[Outcome], files: dict[bytes, Known]) -> Samples:
    """Return the samples table; one outcome for each sample.

    Parameters
    ----------
    samples : sequence of Sample
    outcomes : sequence of Outcome
    files : dict of bytes to Known
        What each content is.
    """
    known = [files.get(outcome.content or b"", _NOTHING) for outcome in outcomes]
    content = [np.frombuffer(outcome.content or bytes(32), dtype=np.uint8) for outcome in outcomes]
    names = list(dict.fromkeys(name for sample in samples for name in sample.columns))
    return Samples(
        path=_texts(sample.path for sample in samples),
        label=_texts(sample.label for sample in samples),
        patient=_texts(sample.patient for sample in samples),
        split=_texts(sample.split for sample in samples),
        content=np.stack(content),
        state=_texts(outcome.state() for outcome in outcomes),
        format=_texts(file.facts.format for file in known),
        mode=_texts(file.facts.mode for file in known),
        kind=_texts(file.facts.kind for file in known),
        width=_numbers(file.facts.width for file in known),
        height=_numbers(file.facts.height for file in known),
        bits=_numbers(file.facts.bits for file in known),
        frames=_numbers(file.facts.frames for file in known),
        chosen=_texts(file.text() for file in known),
        columns={name: _texts(sample.columns.get(name, "") for sample in samples) for name in names},
    )


def failures_table(samples: Sequence[Sample], outcomes: Sequence[Outcome]) -> list[Failure]:
    """Return the failures among the samples that were looked at."""
    return [
        failure(sample.path, outcome.failure.stage, outcome.failure.reason)
        for sample, outcome in zip(samples, outcomes, strict=False)  # what was not looked at has not failed
        if outcome.failure is not None
    ]


def _texts(values: Iterable[str]) -> NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)


def _numbers(values: Iterable[int]) -> NDArray[np.int32]:
    return np.array(list(values), dtype=np.int32)
