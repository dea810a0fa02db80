"""What several tests need: small images on disk, caches made by hand, the real data if present."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if "PYTEST_XDIST_WORKER" in os.environ:  # before NumPy: threads of several processes wait for each other
    os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import numpy as np
import pytest
from making import draw, write_cache


@pytest.fixture(scope="session", autouse=True)
def _exported_networks(tmp_path_factory) -> Iterator[None]:
    """Keep what is exported for OpenVINO in a folder of the tests', not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache-home")))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of real data that is no part of the project; skip where it is absent."""
    folder = os.environ.get("ICEHOUSE_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("ICEHOUSE_SHARED names no folder with real data")
    return Path(folder)


@pytest.fixture
def image_folder(tmp_path: Path) -> Path:
    """Return a folder of two classes, normal and covid, of six pictures each."""
    for number in range(6):
        draw(tmp_path / "images" / "normal" / f"{number}.png", number)
        draw(tmp_path / "images" / "covid" / f"{number}.png", number, bright=True)
    return tmp_path / "images"


CacheMaker = Callable[..., Path]


@pytest.fixture
def make_cache(tmp_path: Path) -> CacheMaker:
    """Return a function that writes a cache of given vectors, labels and patients."""

    def make(
        vectors: np.ndarray,
        labels: list[str],
        patients: list[str] | None = None,
        *,
        name: str = "features.h5",
        **given: Any,
    ) -> Path:
        return write_cache(tmp_path / name, vectors, labels, patients, **given)

    return make


@pytest.fixture
def two_clouds() -> tuple[np.ndarray, list[str]]:
    """Return 120 vectors of 16 numbers in two classes that overlap a little, and their labels."""
    generator = np.random.default_rng(3)
    y = np.arange(120) % 2
    vectors = generator.normal(0, 1, (120, 16)) + 1.2 * y[:, None] * (np.arange(16) < 4)
    return vectors.astype(np.float32), ["covid" if label else "normal" for label in y]


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def icehouse() -> Command:
    """Return a function that runs the `icehouse` command in a process of its own."""

    def run(
        *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).parent / "icehouse", *map(str, arguments)],
            cwd=cwd,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
