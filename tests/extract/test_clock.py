"""Promises about the line of advice at the end of an extraction: it names what bounds the speed."""

from __future__ import annotations

import time

import pytest
from icehouse.extract.clock import Clock


def clock(seconds: float, **stages: float) -> Clock:
    now = time.perf_counter()
    return Clock(started=now - seconds, ended=now, **stages)


def test_where_the_network_waits_for_files_more_workers_are_advised_if_there_are_processors() -> None:
    waited = clock(100, network=30, waiting=60)
    assert waited.advice(2, 8, "openvino", "cpu").endswith("raise --workers.")
    assert waited.advice(2, 8, "openvino", "cpu").startswith("60% of the time")
    assert "--workers" not in waited.advice(8, 8, "openvino", "cpu")


@pytest.mark.parametrize(
    ("engine", "device", "words"),
    [
        ("keras-tensorflow", "cpu", "openvino is quicker"),
        ("openvino", "cpu", "GPU"),
        ("keras-jax", "gpu", "bfloat16"),
    ],
)
def test_where_the_network_takes_the_time_the_advice_depends_on_what_computes(engine, device, words) -> None:
    assert words in clock(100, network=90).advice(2, 2, engine, device)


def test_loading_the_network_is_not_counted_and_a_short_extraction_gets_no_advice() -> None:
    assert clock(60, loading=58, network=1).advice(2, 2, "openvino", "cpu") is None
    assert clock(60, loading=40).seconds == pytest.approx(20)
