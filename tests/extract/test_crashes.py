"""Promises about accidents: killed, stopped or begun again with other options, no run loses or mixes anything.

The processes here run the whole of icehouse but its network, a small one in NumPy (see `small_network`).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.cache.staging import Staging
from small_network import (
    FULL,
    IMAGES,
    PARTIAL,
    START,
    Undisturbed,
    blocks,
    differing,
    names_in,
    run,
    start,
    wait_for,
)

CHANGES = ("write", "pwrite64", "ftruncate")
NAMES = ("rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir", "mkdir", "mkdirat")
TRACE = "trace=" + ",".join([*CHANGES, "fsync", *(f"?{name}" for name in NAMES)])


@pytest.fixture(scope="module")
def strace() -> str:
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run(
        [program, "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"tracing system calls is not permitted: {tried.stderr.strip()}")
    return program


@dataclass(frozen=True)
class Call:
    """A system call of one thread, as strace saw it."""

    thread: str
    name: str
    arguments: str

    @property
    def paths(self) -> list[str]:
        """The last parts of the paths that it is about, from their descriptors or names."""
        found = re.findall(r'(?:^|, )\d+<([^>]*)>|"([^"]*)"', self.arguments)
        return [Path(opened or named).name for opened, named in found]


Traces = dict[str | None, list[Call]]


@pytest.fixture(scope="module")
def traces(undisturbed: Undisturbed, strace: str, tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """Return the system calls of an undisturbed run from each start, in the order in which they ended."""
    folder = tmp_path_factory.mktemp("traced")
    return {at_start: trace(strace, undisturbed.place(folder / str(at_start), at_start)) for at_start in START}


def trace(strace: str, folder: Path) -> list[Call]:
    """Run an extraction and return its system calls; of overlapping ones, the first that ended first."""
    log = folder / "log"
    done = run(folder, under=(strace, "-f", "--seccomp-bpf", "-y", "-s", "0", "-o", str(log), "-e", TRACE))
    assert done.returncode == 0, done.stderr
    calls, begun = [], {}
    for line in log.read_text(errors="replace").splitlines():
        thread, text = line.split(maxsplit=1)
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>")
            continue
        if text.startswith("<... "):
            text = begun.pop(thread) + text.partition(" resumed>")[2]
        if match := re.match(r"(\w+)\((.*)\) += +\d+", text):
            calls.append(Call(thread, match[1], match[2]))
    return calls


def of_main_thread(calls: list[Call]) -> list[Call]:
    (main,) = {call.thread for call in calls if call.name.startswith("mkdir") and PARTIAL in call.paths}
    return [call for call in calls if call.thread == main]


def counts_of(calls: list[Call]) -> dict[tuple[str, str], int]:
    """Return how often each call is made: by the main thread, and by the one of all that makes it most."""
    counts = {(call, "main"): count for call, count in Counter(c.name for c in of_main_thread(calls)).items()}
    for (name, _), count in Counter((call.name, call.thread) for call in calls).items():
        counts[name, "any"] = max(count, counts.get((name, "any"), 0))
    return counts


Ending = Callable[[Path], int]


def killed_after(seconds: float) -> Ending:
    """Return what runs an extraction, kills it after a time and returns its exit code."""

    def end(folder: Path) -> int:
        child = start(folder)
        time.sleep(seconds)
        child.kill()
        child.communicate()
        return child.returncode

    return end


def killed_at(strace: str, name: str, thread: str, number: int) -> Ending:
    """Return what kills an extraction just before a system call that one thread, or any, makes as its n-th."""
    follow = () if thread == "main" else ("-f",)
    inject = f"inject={name}:signal=SIGKILL:when={number}"
    under = (strace, *follow, "-o", os.devnull, "-e", f"trace={name}", "-e", inject)
    return lambda folder: run(folder, under=under).returncode


def try_all(undisturbed: Undisturbed, folder: Path, trials: list[tuple[str | None, list[Ending]]]) -> None:
    """Run each trial: kill, look, kill, look, finish, look; see that at least half of the kills did kill."""

    def one(number: int) -> list[int]:
        at_start, endings = trials[number]
        here = undisturbed.place(folder / str(number), at_start)
        codes: list[int] = []
        while endings and codes in ([], [-signal.SIGKILL] * len(codes)):
            codes.append(endings.pop()(here))
            held = undisturbed.look(here, at_start)
        staged = sum(len(np.load(file)["frame"]) for file in blocks(here))
        done = run(here, "--json")
        assert done.returncode == 0, done.stderr
        missing = max(IMAGES - held - staged, 0)
        assert json.loads(done.stdout)["computed"] == missing  # what is in a block is not computed twice
        undisturbed.check(here)
        return codes

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        codes = [code for trial in pool.map(one, range(len(trials))) for code in trial]
    print(f"{len(trials)} trials, {codes.count(-signal.SIGKILL)} of {len(codes)} runs killed")
    assert set(codes) <= {0, -signal.SIGKILL}
    assert 2 * codes.count(-signal.SIGKILL) >= len(codes)


@pytest.mark.slow
def test_a_run_killed_at_any_time_ends_like_an_undisturbed_one_when_it_is_repeated(
    undisturbed, tmp_path
) -> None:
    generator = np.random.default_rng(2026)
    trials = []
    for number in range(30 if FULL else 3):
        times = generator.uniform(
            0.9 * undisturbed.begins, undisturbed.seconds, 1 + number % (3 if FULL else 2)
        )
        trials.append((START[number % 3], [killed_after(seconds) for seconds in times]))
    try_all(undisturbed, tmp_path, trials)


@pytest.mark.slow
def test_a_run_killed_at_any_system_call_ends_like_an_undisturbed_one_when_it_is_repeated(
    undisturbed, strace, traces, tmp_path
) -> None:
    generator = np.random.default_rng(2027)
    counts = {at_start: counts_of(calls) for at_start, calls in traces.items()}
    kinds = generator.permutation(sorted(set.intersection(*map(set, counts.values())))).tolist()
    trials = []
    for number in range(70 if FULL else 7):
        at_start, endings = START[number % 3], []
        for name, thread in (
            kinds[(number + 5 * kill) % len(kinds)] for kill in range(1 + number // 3 % (3 if FULL else 2))
        ):
            place = generator.integers(1, counts[at_start][name, thread] + 1)
            endings.append(killed_at(strace, name, thread, int(place)))
        trials.append((at_start, endings))
    try_all(undisturbed, tmp_path, trials)


def test_what_is_renamed_into_place_was_synced_before_and_its_folder_is_synced_after(traces) -> None:
    calls = traces["half"]
    renamed = [at for at, call in enumerate(calls) if call.name.startswith("rename")]
    assert {calls[at].paths[1] for at in renamed} > {"features.h5", "block-00000000.npz", "recipe.json"}
    for at in renamed:
        temporary, name = calls[at].paths
        last_write = max(positions(calls, CHANGES, temporary))
        (synced,) = positions(calls, ("fsync",), temporary)
        folder = "half" if name == "features.h5" else PARTIAL
        assert last_write < synced < at
        after = next(later for later in positions(calls, ("fsync",), folder) if later > at)
        assert not [call for call in calls[at:after] if call.name.startswith("unlink")], name


def test_no_block_is_deleted_before_the_cache_that_holds_it_is_durable(traces) -> None:
    for at_start, calls in traces.items():
        (at,) = (at for at, call in enumerate(calls) if call.paths[1:] == ["features.h5"])
        durable = next(later for later in positions(calls, ("fsync",), str(at_start)) if later > at)
        deleted = [at for at, call in enumerate(calls) if call.paths and call.paths[0].startswith("block-")]
        assert deleted
        assert min(deleted) > durable


def test_the_staging_folder_is_durable_before_the_blocks_in_it_are(traces) -> None:
    calls = traces[None]
    (made,) = positions(calls, ("mkdir", "mkdirat"), PARTIAL)
    first_block = min(at for at, call in enumerate(calls) if "block-00000000.npz" in call.paths)
    assert any(made < at < first_block for at in positions(calls, ("fsync",), "None"))


def positions(calls: list[Call], names: tuple[str, ...], path: str) -> list[int]:
    """Return which of the calls are of these names and about this file."""
    return [at for at, call in enumerate(calls) if call.name in names and path in call.paths]


SAFE = (
    r"Interrupted: \d+ images computed now are safe in features\.h5; \d+ samples were not looked at\. "
    r"Run the same command again to go on\.\n",
    r"Interrupted before the first image was computed; nothing was written\.\n",
    r"Interrupted\. Every file that was written is whole\.\n",
)


def stopped(code: int, message: str) -> bool:
    """Tell whether a run was stopped, and see that it either said so or was done already."""
    assert (code, message) == (0, "") or (code == 130 and any(re.fullmatch(text, message) for text in SAFE)), (
        f"exit code {code}: {message}"
    )
    return code == 130


@pytest.mark.slow
def test_ctrl_c_and_sigterm_at_any_time_say_what_is_safe_and_the_next_run_completes_it(
    undisturbed, tmp_path
) -> None:
    lasts = undisturbed.seconds - undisturbed.begins + IMAGES / 4 * 0.01
    delays = np.random.default_rng(2029).uniform(0, lasts, 30 if FULL else 4).tolist()

    def one(trial: int) -> bool:
        here = undisturbed.place(tmp_path / str(trial), START[trial % 3])
        child = start(here, seconds=0.01)
        wait_for((here / PARTIAL).exists, child)
        time.sleep(delays[trial])
        child.send_signal((signal.SIGINT, signal.SIGTERM)[trial % 2])
        _, message = child.communicate(timeout=60)
        if names_in(here) == ["features.h5", "images"] and not differing(
            here / "features.h5", undisturbed.held
        ):
            return False  # it came when everything was done
        was_stopped = stopped(child.returncode, message)
        if was_stopped and "are safe in" in message:
            assert names_in(here) == ["features.h5", "images"]
            with open_cache(here / "features.h5") as cache:
                assert len(cache.samples) == IMAGES
                assert not cache.header.complete
                assert len(cache.X) == np.sum(cache.samples.state == "done")
        assert run(here).returncode == 0
        undisturbed.check(here)
        return was_stopped

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(one, range(len(delays))))
    print(f"{sum(results)} of {len(results)} runs stopped")
    assert 4 * sum(results) >= len(results)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_the_cache_is_written_leaves_nothing_behind(
    undisturbed, strace, traces, tmp_path, number
) -> None:
    calls = of_main_thread(traces["half"])
    temporary = next(call.paths[0] for call in calls if call.paths[1:] == ["features.h5"])
    writes = positions(calls, CHANGES, temporary)
    middle = writes[len(writes) // 2]
    name, place = calls[middle].name, sum(call.name == calls[middle].name for call in calls[: middle + 1])
    inject = f"inject={name}:signal={signal.Signals(number).name}:when={place}"
    here = undisturbed.place(tmp_path / "work", "half")
    done = run(here, under=(strace, "-o", os.devnull, "-e", f"trace={name}", "-e", inject))
    stopped(done.returncode, done.stderr)
    assert not list(here.glob(".*.tmp"))
    undisturbed.look(here, "half")
    assert run(here).returncode == 0
    undisturbed.check(here)


def half_way(folder: Path) -> subprocess.Popen[str]:
    """Start a run that hangs when two blocks are written and a third is in the making."""
    child = start(folder, seconds=0.002, hangs_at=37)  # the canaries are batch 0
    wait_for(lambda: len(blocks(folder)) == 2, child)
    return child


def test_a_second_ctrl_c_stops_at_once_and_loses_only_the_block_in_flight(undisturbed, tmp_path) -> None:
    here = undisturbed.place(tmp_path / "work")
    child = half_way(here)
    time.sleep(0.5)
    child.send_signal(signal.SIGINT)
    time.sleep(0.3)
    assert child.poll() is None  # the first one waits for the batch, which would last for a minute
    for _ in range(40):  # pressed again if need be: two that come before a busy process looks count as one
        child.send_signal(signal.SIGINT)
        try:
            _, message = child.communicate(timeout=1)
            break
        except subprocess.TimeoutExpired:
            pass
    assert (child.returncode, message) == (130, "Interrupted. Every file that was written is whole.\n")
    done = run(here, "--json")
    assert json.loads(done.stdout)["reused"] >= 128
    undisturbed.check(here)


def test_a_run_stopped_half_way_is_never_mixed_with_another_recipe_and_the_field_is_named(
    undisturbed, tmp_path
) -> None:
    here = undisturbed.place(tmp_path / "work")
    child = half_way(here)
    child.kill()
    child.communicate()
    before = {file: file.read_bytes() for file in blocks(here)}
    for options, field in (
        (("--weights", "random:1"), "weights differs: 57934424… ≠ random:1"),
        (("--backbone", "resnet50", "--weights", "random:1"), "backbone differs: efficientnetlite0 ≠ resnet50"),
    ):
        done = run(here, *options)
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert done.stderr.startswith(
            f"Error: An interrupted run left vectors of another recipe in {PARTIAL}: "
        )
        assert field in done.stderr
    with open_cache(undisturbed.folder / "half.h5") as cache:
        recipe = {**cache.header.recipe, "precision": "bfloat16"}
    refusal = pytest.raises(errors.RecipeMismatch, match="precision differs: float32 ≠ bfloat16")
    with refusal, Staging(here / "features.h5") as staging:
        staging.begin(recipe)
    assert {file: file.read_bytes() for file in blocks(here)} == before
    assert not (here / "features.h5").exists()
    assert run(here).returncode == 0
    undisturbed.check(here)
