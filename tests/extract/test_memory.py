"""The promise that extraction needs the same memory whatever the size of the data set."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from making import draw

SIZES = (2_000, 20_000) if os.environ.get("ICEHOUSE_FULL") == "1" else (400, 1_600)

_RUN = """
import sys
from pathlib import Path
import small_network
options = "--backbone efficientnetlite0 --quiet --json"
sys.argv = ["icehouse", "extract", "images", "-o", "features.h5", *options.split()]
try:
    small_network.main()
except SystemExit as end:
    assert not end.code
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
print(int(status["VmHWM"].split()[0]) / 1024)
"""


@pytest.mark.slow
def test_four_or_ten_times_the_images_take_no_more_memory(tmp_path) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    peaks, seconds = [], []
    for size in SIZES:
        folder = tmp_path / str(size)
        for number in range(size):
            draw(folder / "images" / f"{number % 2}" / f"{number}.png", number, size=(12, 12))
        done = subprocess.run(
            [sys.executable, "-c", _RUN],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *paths()])},
            capture_output=True,
            text=True,
            check=True,
        )
        document, peak = done.stdout.splitlines()
        assert json.loads(document)["computed"] == size
        peaks.append(float(peak))
        seconds.append(json.loads(document)["seconds"] / size)
    print(f"{SIZES} images: {peaks} MB, {[round(1000 * each, 2) for each in seconds]} ms an image")
    assert peaks[1] - peaks[0] < 50


def paths() -> list[str]:
    return [path for path in [os.environ.get("PYTHONPATH", "")] if path]
