"""A small real network in NumPy, in place of what makes tests of whole processes wait: TensorFlow.

Run as a script, this file is the `icehouse` command with that network. Only `engines.load` is replaced:
decoding, staging, merging, locks, signals and messages are those that users have. The rest is what the tests of
such processes share.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from icehouse.extract.engines import LAYER, Output
from making import draw

FULL = os.environ.get("ICEHOUSE_FULL") == "1"
IMAGES = 288 if FULL else 160
"""Some blocks, the last one half full; in full, more rows than one checksum of a cache is of."""
PARTIAL = "features.h5.partial"

CHANNELS = 32
_CELLS, _POINTS = 4, 16


class SmallNetwork:
    """Mean colours of 4×4 cells (of 16×16 points), times a random matrix, rectified; then their mean.

    Each frame is computed on its own, so that its vector depends on nothing that lies in the same batch.

    Parameters
    ----------
    batch_size : int
    seconds : float
        How long each batch sleeps, so that there is time to disturb it.
    hangs_at : int
        The batch that sleeps for a minute.
    """

    name = "small-numpy"
    device = "cpu"
    precision = "float32"
    dimensions = {LAYER: CHANNELS}  # noqa: RUF012

    def __init__(self, batch_size: int, seconds: float = 0, hangs_at: int = -1) -> None:
        self.batch_size = max(batch_size, 3)
        self._seconds, self._hangs_at, self._batches = seconds, hangs_at, 0
        self._matrix = np.random.default_rng(0).normal(0, 1, (3, CHANNELS)).astype(np.float32)

    def run(self, pixels: np.ndarray) -> Output:
        time.sleep(60 if self._batches == self._hangs_at else self._seconds)
        self._batches += 1
        maps = np.stack([self._maps(frame) for frame in pixels])
        return Output({LAYER: maps.mean(axis=(1, 2))}, maps)

    def libraries(self) -> dict[str, str]:
        return {"numpy": np.__version__}

    def _maps(self, frame: np.ndarray) -> np.ndarray:
        points = frame[:: frame.shape[0] // _POINTS, :: frame.shape[1] // _POINTS]
        each = _POINTS // _CELLS
        cells = points.reshape(_CELLS, each, _CELLS, each, 3).mean(axis=(1, 3)) / 255
        colours = cells * np.float32([1, 2, 3]) - cells.mean()  # three different numbers of a grey picture
        return np.maximum(colours.astype(np.float32) @ self._matrix, 0)


def main() -> None:
    from icehouse import cli
    from icehouse.extract import engines

    seconds, hangs_at = json.loads(os.environ.get("SMALL_NETWORK", "[0, -1]"))
    engines.load = lambda _plan, batch_size, _pixels: SmallNetwork(batch_size, seconds, hangs_at)
    cli.main(sys.argv[1:])


def draw_images(folder: Path) -> Path:
    """Write the small pictures of two classes into `folder`."""
    for number in range(IMAGES):
        label = "covid" if number % 2 else "normal"
        draw(folder / label / f"{number:03}.png", number, bright=bool(number % 2), size=(16, 16))
    return folder


def start(
    folder: Path,
    *options: str,
    under: tuple[str, ...] = (),
    data: str = "images",
    cache: str = "features.h5",
    seconds: float = 0,
    hangs_at: int = -1,
    quiet: bool = True,
    prepare: Callable[[], None] | None = None,
) -> subprocess.Popen[str]:
    """Start an extraction in `folder` in a process of its own; `under` comes before the command."""
    options = options if "--backbone" in options else ("--backbone", "efficientnetlite0", *options)
    arguments = ["extract", data, "-o", cache, "--batch-size", "4", *options, *(["--quiet"] if quiet else [])]
    network = json.dumps([seconds, hangs_at])
    return subprocess.Popen(
        [*under, sys.executable, __file__, *arguments],
        cwd=folder,
        env={**os.environ, "SMALL_NETWORK": network, "OPENBLAS_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


def run(folder: Path, *options: str, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run an extraction to its end; an exit by a signal is a negative exit code."""
    child = start(folder, *options, **more)
    try:
        out, err = child.communicate(timeout=120)
    finally:
        child.kill()
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def wait_for(what: Callable[[], Any], child: subprocess.Popen[str]) -> None:
    """Wait until something is there, while `child` runs."""
    deadline = time.monotonic() + 60
    while not what():
        assert child.poll() is None, f"ended too early: {child.communicate()[1]}"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def blocks(folder: Path, cache: str = "features.h5") -> list[Path]:
    """Return the blocks that wait to be merged."""
    return sorted((folder / f"{cache}.partial").glob("block-*.npz"))


def names_in(folder: Path) -> list[str]:
    """Return everything in `folder`, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def everything(path: Path) -> dict[str, Any]:
    """Return each dataset of a cache but the provenance, as shape, type and bytes, and every attribute."""
    held: dict[str, Any] = {}

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        held.update({f"{name}@{key}": str(value) for key, value in item.attrs.items()})
        if isinstance(item, h5py.Dataset) and name not in ("provenance", "checksums/provenance"):
            held[name] = (item.shape, str(item.dtype), item[()].tobytes())

    with h5py.File(path, "r", locking=False) as file:
        note("", file)
        file.visititems(note)
    return held


def differing(path: Path, expected: dict[str, Any]) -> list[str]:
    """Return the names of what a cache holds and `expected` does not, or the other way round."""
    found = everything(path)
    return sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))


START = (None, "half", "most")
"""What a trial starts from: no cache, one of every other image, or one that lacks only the last few."""


@dataclass(frozen=True)
class Undisturbed:
    """How things are without an accident.

    Parameters
    ----------
    folder : Path
        With all images, and a cache for each start.
    held : dict
        What the cache holds in the end.
    seconds : float
        How long a run takes, of which `begins` until there is a staging folder.
    """

    folder: Path
    held: dict[str, Any]
    seconds: float
    begins: float

    def place(self, folder: Path, at_start: str | None = None) -> Path:
        """Make `folder` with all images and the cache to start from."""
        folder.mkdir()
        (folder / "images").symlink_to(self.folder / "images")
        if at_start:
            shutil.copy(self.folder / f"{at_start}.h5", folder / "features.h5")
        return folder

    def look(self, folder: Path, at_start: str | None) -> int:
        """See that the cache is the old one or the new one; return how many vectors it holds."""
        path = folder / "features.h5"
        if not path.exists():
            assert at_start is None
            return 0
        if at_start and path.read_bytes() == (self.folder / f"{at_start}.h5").read_bytes():
            return {"half": IMAGES // 2, "most": IMAGES - 24}[at_start]
        assert differing(path, self.held) == []
        return IMAGES

    def check(self, folder: Path) -> None:
        """See that `folder` holds the same cache, and nothing else."""
        assert differing(folder / "features.h5", self.held) == []
        assert names_in(folder) == ["features.h5", "images"]


def make_undisturbed(folder: Path) -> Undisturbed:
    """Draw the images into `folder` and extract them, and what trials start from, in peace."""
    files = sorted(draw_images(folder / "images").glob("*/*.png"))
    for at_start, chosen in (("half", files[::2]), ("most", files[:-24])):
        for file in chosen:
            copy = folder / at_start / file.relative_to(folder / "images")
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, copy)
        assert run(folder, data=at_start, cache=f"{at_start}.h5").returncode == 0
    began = time.monotonic()
    child = start(folder)
    wait_for((folder / "features.h5.partial").exists, child)
    begins = time.monotonic() - began
    assert child.communicate()[1] == ""
    return Undisturbed(folder, everything(folder / "features.h5"), time.monotonic() - began, begins)


if __name__ == "__main__":
    main()
