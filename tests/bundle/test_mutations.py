"""The promise about altered bundles: each is refused in a sentence or works; no crash, no hang, no code run."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import icehouse
import mutating_bundles
import numpy as np
import pytest
import reading_bundles
from icehouse.classify.kinds import HEADS
from making import write_cache
from mutating_bundles import mutant, packed, unpacked
from small_network import FULL

SECONDS = 5.0
LOADER = "icehouse.bundle.bundle:load"
DIMENSIONS = 24


@dataclass
class Tally:
    """What became of the mutants of all kinds."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    longest: float = 0.0

    def __str__(self) -> str:
        kinds = sorted({kind for kind, _ in self.ended})
        rows = [f"{kind}: {self.ended[kind, 'refused']} / {self.ended[kind, 'works']}" for kind in kinds]
        return "\n".join(["refused / works", *rows, f"longest {self.longest} s", *self.failures])


def tried(folder: Path, loader: str, count: int, seconds: float = SECONDS) -> Tally:
    """Try mutants in processes of their own; a new one goes on after the mutant that ended one."""
    tally, begun, done = Tally(), 0, False
    while not done:
        program = [sys.executable, mutating_bundles.__file__, folder, loader]
        child = subprocess.run(
            [str(argument) for argument in (*program, count, begun, seconds)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = child.stdout.splitlines()
        names = [line.removeprefix("begin ") for line in lines if line.startswith("begin ")]
        done = lines[-1:] == ["done"]
        assert done or names, child.stderr
        for name, line in zip(names, [line for line in lines if line.startswith("end ")], strict=False):
            _, took, ended, *said = line.split(maxsplit=3)
            tally.ended[name.split()[0], ended] += 1
            tally.longest = max(tally.longest, float(took))
            if ended == "failed":
                tally.failures.append(f"{name}: failed {said[0]}")
            elif said:
                tally.refusals[said[0]] += 1
        if not done:
            tally.failures.append(f"{names[-1]}: exit {child.returncode}: {child.stderr[:1000]}")
        begun += len(names)
        assert len(tally.failures) < 100, tally
    return tally


@pytest.fixture(scope="module")
def bundles(tmp_path_factory) -> Path:
    """Return a folder with a bundle of each kind of head, KIND.head, and some vectors for them, rows.npy.

    They have two classes or three, calibration, principal components, patients, and a threshold of choice.
    """
    folder = tmp_path_factory.mktemp("bundles")
    generator = np.random.default_rng(4)
    for number, kind in enumerate(HEADS):
        classes = 2 + number % 2
        y = np.arange(60) % classes
        X = (generator.normal(size=(60, DIMENSIONS)) + 2 * np.eye(classes, DIMENSIONS)[y]).astype(np.float32)
        short = ":epochs=2" if HEADS[kind].epochs else ""
        save_bundle(folder / f"{kind}.head", X, y, f"{kind}{short}", reduced=number % 4 == 0)
    save_rows(folder, DIMENSIONS)
    return folder


def save_bundle(path: Path, X: np.ndarray, y: np.ndarray, head: str, *, reduced: bool) -> None:
    """Fit a head on a cache of these vectors and keep it."""
    labels = [("covid", "normal", "other")[label] for label in y]
    cache = path.with_suffix(".h5")
    write_cache(cache, X, labels, [f"p{number // 2}" for number in range(len(X))])
    two = len(set(labels)) == 2
    options = {"sensitivity": 0.9} if two else {}
    reduce = 6 if reduced else None
    icehouse.fit_head(cache, head, calibrate=True, reduce=reduce, out=path, note=lambda _: None, **options)
    cache.unlink()


@pytest.fixture
def simple(tmp_path) -> Path:
    """Return a folder with a simple bundle, for readers that are none of icehouse's."""
    reading_bundles.write(tmp_path / "simple.head")
    save_rows(tmp_path, reading_bundles.DIMENSIONS)
    return tmp_path


def save_rows(folder: Path, dimensions: int) -> None:
    rows = np.random.default_rng(9).normal(size=(5, dimensions))
    rows[3:] = [[0.0], [1e4]]
    np.save(folder / "rows.npy", rows.astype(np.float32))


@pytest.mark.slow
def test_every_altered_bundle_is_refused_in_a_sentence_or_works(bundles) -> None:
    count = 300 if FULL else 10
    tally = tried(bundles, LOADER, count)
    print(tally)
    print(*tally.refusals, sep="\n")
    assert not tally.failures
    assert sum(tally.ended.values()) == count * len(list(bundles.glob("*.head")))
    for ended in ("refused", "works"):  # mutants that are never or always refused would prove nothing
        assert sum(number for (_, what), number in tally.ended.items() if what == ended) > count / 10
    assert not (bundles / "mutant" / "planted").exists()


def test_mutants_are_the_same_every_time_and_differ_from_one_another(simple) -> None:
    whole = (simple / "simple.head").read_bytes()
    mutants = [mutant(whole, "simple", number) for number in range(40)]
    assert mutants == [mutant(whole, "simple", number) for number in range(40)]
    assert len({*mutants} - {packed(unpacked(whole))}) > 35


def test_a_reader_without_checks_does_not_pass(simple) -> None:
    tally = tried(simple, "reading_bundles:careless", 40)
    print(tally)
    for sign in ("it ran pickle.find_class", "failed with the p-values", "TypeError", "MemoryError"):
        assert any(sign in failure for failure in tally.failures), sign


def test_a_reader_that_hangs_crashes_or_takes_all_memory_is_noticed_and_the_rest_is_tried(simple) -> None:
    tally = tried(simple, "reading_bundles:failing", 6, seconds=0.3)
    print(tally)
    said = "\n".join(tally.failures)
    for sign in ("Timeout", f"exit -{signal.SIGSEGV.value}", "MemoryError"):
        assert sign in said, sign
    assert sum(tally.ended.values()) + said.count(": exit") == 6
