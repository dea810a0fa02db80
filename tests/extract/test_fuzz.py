"""The promise about damaged files: of every format, each becomes pictures or a failure, quickly and small."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import fuzzing
import pytest
from small_network import FULL

SECONDS, MEGABYTES = 5.0, 1024.0


@dataclass
class Tally:
    """What became of the files of all formats."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    longest: tuple[float, str] = (0.0, "")
    largest: tuple[float, str] = (0.0, "")
    crashed: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    begun: int = 0

    def count(self, name: str, line: str) -> None:
        _, seconds, megabytes, outcome, *_ = line.split()
        self.ended[name.rpartition(" ")[0], outcome] += 1
        self.longest = max(self.longest, (float(seconds), name))
        self.largest = max(self.largest, (float(megabytes), name), key=lambda pair: pair[0])

    def __str__(self) -> str:
        names = sorted({name for name, _ in self.ended})
        rows = [f"{name}: {self.ended[name, 'pictures']} / {self.ended[name, 'failure']}" for name in names]
        most = f"longest {self.longest}, largest {self.largest}, crashed {self.crashed}, hung {self.hung}"
        return "\n".join(["pictures / failures", *rows, most])


def fuzz(count: int, printed: Path) -> Tally:
    """Open damaged files in processes of their own; a new one goes on where one crashed or hung."""
    tally = Tally()
    done = False
    while not done:
        command = [sys.executable, fuzzing.__file__, str(count), str(tally.begun)]
        with (
            printed.open("a") as log,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, bufsize=0) as child,
        ):
            name, done = watch(child, tally)
        if not done and not name:
            raise AssertionError(f"nothing could be opened: {printed.read_text()}")
        if not done and (not tally.hung or tally.hung[-1] != name):
            tally.crashed.append(f"{name} ({child.returncode})")
        assert len(tally.crashed) + len(tally.hung) < 10, tally
    return tally


def watch(child: subprocess.Popen[bytes], tally: Tally) -> tuple[str, bool]:
    """Count what a process says until it ends or hangs; return its last file, and whether it did all."""
    assert child.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(child.stdout, selectors.EVENT_READ)
    name, rest = "", b""
    while True:
        patience = SECONDS if name else 60.0  # it imports every decoder first
        if not selector.select(patience):
            tally.hung.append(name)
            child.kill()
            return name, False
        piece = os.read(child.stdout.fileno(), 2**16)
        if not piece:
            return name, False
        *lines, rest = (rest + piece).split(b"\n")
        for line in (line.decode() for line in lines):
            if line == "done":
                return name, True
            if line.startswith("begin "):
                name = line.removeprefix("begin ")
                tally.begun += 1
            else:
                tally.count(name, line)


@pytest.mark.slow
def test_every_damaged_file_becomes_pictures_or_a_failure_quickly_and_in_little_memory(tmp_path) -> None:
    count = 1000 if FULL else 20
    tally = fuzz(count, tmp_path / "printed")
    print(tally)
    assert not tally.crashed
    assert not tally.hung
    assert tally.longest[0] < SECONDS
    assert tally.largest[0] < MEGABYTES
    formats = len(fuzzing.seeds())
    assert sum(tally.ended.values()) == count * formats
    for outcome in ("pictures", "failure"):  # damage that is never or always fatal would prove nothing
        assert (
            sum(number for (_, what), number in tally.ended.items() if what == outcome) > count * formats / 10
        )
    assert (tmp_path / "printed").read_text() == ""
