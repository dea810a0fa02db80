"""How the benchmarks run and compare: each side in a process of its own, whole, with its peak memory."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib


def run(script: str, *arguments: str, timeout: float | None = None) -> dict[str, float]:
    """Run a side of a benchmark (`script --side …`) and return the numbers it prints, and its wall time.

    `process_seconds` counts everything from the start of Python on; `megabytes` is the peak memory. A side that
    takes longer than `timeout` seconds is killed, and `TimeoutError` raised.
    """
    command = [sys.executable, script, *arguments]
    started = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert child.stdout is not None
    late = threading.Event()
    killer = threading.Timer(timeout or 0, lambda: (late.set(), child.kill()))
    if timeout is not None:
        killer.start()
    printed = child.stdout.read()
    killer.cancel()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - started
    if late.is_set():
        raise TimeoutError(f"{' '.join(command)} took longer than {timeout} s")
    if status:
        raise SystemExit(f"{' '.join(command)} failed; run it by hand to see why.")
    numbers = json.loads(printed.strip().splitlines()[-1])
    return {**numbers, "process_seconds": seconds, "megabytes": usage.ru_maxrss / 1024}


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return rows as a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def machine() -> str:
    """Return one line about this machine."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    model = names[0] if names else platform.machine()
    return f"{model}, {joblib.cpu_count()} processors, Python {platform.python_version()}"
