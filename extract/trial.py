"""Whether one engine really runs: it computes the canaries' vectors, in a process of its own.

`doctor` starts it as `python -m icehouse.extract.trial ENGINE`, so that a framework that hangs or crashes takes
nothing with it; what came of it is printed as one line of JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from typing import Any

from .. import errors
from . import backbones, canaries, engines, weights
from .decode import Preparation

SECONDS = 120.0
"""How long an engine may take. TensorFlow alone is imported in two seconds or in twenty, as disks are."""

PRECISIONS = ("bfloat16", "float16")
_BACKBONE = "efficientnetlite0"  # the smallest, and the one whose weights are installed


def start(engine: str) -> subprocess.Popen[str]:
    """Start the trial of `engine` in a process of its own."""
    command = [sys.executable, "-P", "-m", __name__, engine]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen[str], seconds: float = SECONDS) -> dict[str, Any]:
    """Wait for a trial and return what `run` did, or an `error`."""
    with process:
        try:
            told, said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            return {"error": f"it did not answer within {seconds:.0f} seconds"}
        finally:
            process.kill()
    try:
        return dict(json.loads(told.splitlines()[-1]))
    except (IndexError, ValueError):
        last = said.strip().splitlines()[-1:] or [f"it ended with exit code {process.returncode}"]
        return {"error": last[0][:300]}


def run(engine: str) -> dict[str, Any]:
    """Compute the canaries' vectors with `engine` and return what is worth knowing of it.

    Parameters
    ----------
    engine : str
        `keras` or `openvino`.

    Raises
    ------
    IcehouseError
        If it does not run.
    """
    backbone = backbones.find(_BACKBONE)
    here = weights.imagenet_present(backbone)
    found = weights.resolve("imagenet" if here else "random:0", backbone)
    pixels = canaries.pixels(Preparation(backbone.size))
    plan = engines.Plan(backbone, found, backbone.size, backbone.scaling or "none", engine=engine)
    started = time.perf_counter()
    network = engines.load(plan, len(pixels), pixels)
    vectors = network.run(pixels).vectors[engines.LAYER]
    seconds = time.perf_counter() - started
    precisions = [network.precision]
    for precision in PRECISIONS if engine == "openvino" else ():  # the others take seconds to load each time
        try:
            precisions.append(engines.load(replace(plan, precision=precision), len(pixels), pixels).precision)
        except errors.IcehouseError:
            continue  # refused, as this processor cannot
    return {
        "name": network.name,
        "device": network.device,
        "precisions": sorted(set(precisions)),
        "libraries": network.libraries(),
        "seconds": round(seconds, 1),
        "vectors": vectors.tolist(),
    }


def main() -> None:
    """Try the engine named on the command line and print what came of it."""
    try:
        print(json.dumps(run(sys.argv[1])))
    except errors.IcehouseError as error:
        print(json.dumps({"error": str(error)}))


if __name__ == "__main__":
    main()
