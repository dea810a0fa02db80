"""Large caches: what `icehouse cache info`, `verify` and `merge` cost, beside copying and hashing as much.

    python benchmarks/caches.py [--rows N] [--folder DIR]

Two synthetic caches of N/2 vectors of 2048 numbers each are made, and merged. Beside each command stands what
moves the same bytes without looking at them (cp, sha256sum), and for merging what a user would write with h5py
and NumPy. Whole processes are timed, with the files in the system's page cache.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from side_by_side import machine, table

DIMENSIONS = 2048
_BY_HAND = """
import sys, h5py, numpy as np
with h5py.File(sys.argv[1]) as a, h5py.File(sys.argv[2]) as b, h5py.File(sys.argv[3], "w") as out:
    for name in ("vectors/avg_pool", "images/content", "samples/path", "samples/label"):
        out[name] = np.concatenate([a[name][()], b[name][()]])
"""


def synthetic(rows: int, path: Path, seed: int) -> None:
    """Write a cache of random vectors, 4,096 at a time, as an extraction would."""
    from icehouse.cache.commit import commit
    from icehouse.cache.samples import Samples
    from icehouse.cache.staging import Block, Staging
    from icehouse.cache.writing import Contents

    generator = np.random.default_rng(seed)
    content = generator.integers(0, 256, (rows, 32), dtype=np.uint8)
    recipe = {"kind": "synthetic"}
    text, number = np.full(rows, "PNG"), np.full(rows, 1024, dtype=np.int32)
    samples = Samples(
        path=np.array([f"images/{seed}/{index:07d}.png" for index in range(rows)]),
        label=np.array(["covid", "normal"])[np.arange(rows) % 2],
        patient=np.array([f"patient-{index // 3}" for index in range(rows)]),
        split=np.full(rows, ""),
        content=content,
        state=np.full(rows, "done"),
        format=text,
        mode=text,
        kind=np.full(rows, ""),
        chosen=np.full(rows, ""),
        width=number,
        height=number,
        bits=number,
        frames=np.ones_like(number),
    )
    with Staging(path) as staging:
        staging.begin(recipe)
        for start in range(0, rows, 4096):
            part = content[start : start + 4096]
            block = Block(
                content=part,
                frame=np.zeros(len(part), dtype=np.int32),
                view=np.zeros(len(part), dtype=np.int16),
                vectors={"avg_pool": generator.random((len(part), DIMENSIONS), dtype=np.float32)},
                pixels=generator.integers(0, 256, (len(part), 256), dtype=np.uint8),
                map_sum=np.zeros((8, 8, DIMENSIONS)),
                facts={},
                canaries={"avg_pool": np.ones((3, DIMENSIONS), dtype=np.float32)},
                maker={},
            )
            staging.add(block)
        contents = Contents(recipe, ("avg_pool",), {"frames": "all", "views": 1}, samples, [], [{"time": ""}])
        commit(path, None, staging.blocks(), contents)
        staging.clear()


def timed(*command: str | Path) -> tuple[float, float]:
    """Return the wall seconds and the peak megabytes of a command."""
    started = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed.")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def main() -> None:
    """Make the caches, run each command beside its counterpart and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary folder unless told")
    chosen = parser.parse_args()
    icehouse = Path(sys.executable).parent / "icehouse"
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        folder = Path(name)
        first, second, whole = folder / "first.h5", folder / "second.h5", folder / "whole.h5"
        for seed, path in ((1, first), (2, second)):  # in a process of its own: a child begins with our memory
            arguments = (chosen.rows // 2, path, seed)
            half = multiprocessing.get_context("spawn").Process(target=synthetic, args=arguments)
            half.start()
            half.join()
        rows = []

        def side(what: str, size: int, *command: str | Path) -> float:
            seconds, peak = timed(*command)
            rate = f"{size / 1e6 / seconds:.0f}" if size else ""
            rows.append([what, f"{seconds:.2f}", rate, f"{peak:.0f}"])
            return seconds

        size = first.stat().st_size + second.stat().st_size
        merged = side("icehouse cache merge", size, icehouse, "cache", "merge", first, second, "-o", whole)
        hand = side(
            "by hand: h5py, np.concatenate",
            size,
            sys.executable,
            "-c",
            _BY_HAND,
            first,
            second,
            folder / "hand.h5",
        )
        copied = side("cp of both", size, "cp", first, second, _made(folder / "copy"))
        checked = side("icehouse cache verify", whole.stat().st_size, icehouse, "cache", "verify", whole)
        hashed = side("sha256sum", whole.stat().st_size, "sha256sum", whole)
        side("icehouse cache info", 0, icehouse, "cache", "info", whole)
        print(f"{chosen.rows} vectors of {DIMENSIONS}, {size / 1e9:.2f} GB; {machine()}\n")
        print(table(["what", "seconds", "MB/s", "peak MB"], rows))
        print(f"\nmerge takes {merged / copied:.1f}× as long as cp, {merged / hand:.2f}× as long as by hand;")
        print(f"verify takes {checked / hashed:.2f}× as long as sha256sum")


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
