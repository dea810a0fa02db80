"""What an extraction tells of itself: its progress, and at the end its summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cache.samples import Failure
from .clock import Clock


@dataclass(frozen=True)
class Progress:
    """Where an extraction stands: samples looked at of how many, vectors computed, failures, the clock."""

    done: int
    total: int
    computed: int
    failed: int
    clock: Clock


@dataclass(frozen=True)
class Summary:
    """What an extraction did; `as_dict` is what `extract --json` prints.

    Parameters
    ----------
    cache : Path
    fingerprint : str
        Of the first layer.
    samples : int
    images : int
        One for each view of each frame of each distinct file: computed, reused and failed together.
    computed, reused, failed : int
    not_selected : int
        Samples whose frame the rule leaves out.
    sequences : int
        Sequences of files that the rule was applied to.
    passed_over : mapping of str to int
        DICOM files that are nothing to learn from, by the reason.
    dimensions : mapping of str to int
        Each layer's length of vectors.
    intensity : mapping of str to mapping
        For each kind of picture: how many files, and which policy they got.
    engine, device, precision : str or None
        What computed; None if nothing was to be computed.
    seconds : float
    images_per_second : float or None
    stages : mapping of str to float
        Seconds of decoding (summed over threads), network and writing.
    advice : str or None
        One line on what would make it quicker.
    spare : int
        Vectors kept that belong to no sample as things are.
    failures : list of Failure
    """

    cache: Path
    fingerprint: str
    samples: int
    images: int
    computed: int
    reused: int
    failed: int
    not_selected: int
    sequences: int
    passed_over: Mapping[str, int]
    dimensions: Mapping[str, int]
    intensity: Mapping[str, Mapping[str, Any]]
    engine: str | None
    device: str | None
    precision: str | None
    seconds: float
    images_per_second: float | None
    stages: Mapping[str, float]
    advice: str | None
    spare: int
    failures: list[Failure] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return {
            **vars(self),
            "cache": str(self.cache),
            "failures": [vars(failure) for failure in self.failures],
        }
