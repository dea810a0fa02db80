"""Promises about canaries: two kinds of vectors are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from icehouse import errors
from icehouse.cache import drift

SENTENCE = "vectors {} away from those in features.h5"


def test_canaries_that_drift_are_refused_unless_accepted() -> None:
    then = {"avg_pool": np.ones((3, 8), dtype=np.float32)}
    now = {"avg_pool": then["avg_pool"] * np.float32(1.01)}
    with pytest.raises(errors.CanaryDrift, match=r"vectors 1\.0e-02 \(allowed: 1e-03\) away from those in"):
        drift.check(now, then, SENTENCE, accept=False)
    assert drift.check(now, then, SENTENCE, accept=True) == pytest.approx(0.01, rel=1e-3)
    assert drift.check(then, then, SENTENCE, accept=False) == 0


def test_a_network_that_yields_no_numbers_has_drifted() -> None:
    then = {"avg_pool": np.ones((3, 8), dtype=np.float32)}
    with pytest.raises(errors.CanaryDrift):
        drift.check({"avg_pool": then["avg_pool"] * np.nan}, then, SENTENCE, accept=False)
