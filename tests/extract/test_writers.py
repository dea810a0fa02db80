"""Promises about what stands in a writer's way: full disks, files that go, missing permission, other writers.

The processes here run the whole of icehouse but its network, a small one in NumPy (see `small_network`).
"""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.cache import distrust
from icehouse.cache.staging import Staging
from icehouse.extract.decode import open_image
from icehouse.extract.engines import LAYER
from icehouse.extract.settings import Settings, set_up
from small_network import (
    FULL,
    IMAGES,
    PARTIAL,
    START,
    SmallNetwork,
    Undisturbed,
    blocks,
    everything,
    names_in,
    run,
    start,
    wait_for,
)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """See that a run ended with exit code 1 and nothing but one clear message."""
    assert done.returncode == 1, f"exit code {done.returncode}: {done.stderr}"
    assert done.stdout == ""
    assert re.fullmatch(r"Error: [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert re.search(word, done.stderr), done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Yield a disk of 16 MB; skip where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def limits(undisturbed: Undisturbed) -> list[int]:
    """Return file sizes that end an extraction: while it stages a block, and while it merges."""
    generator = np.random.default_rng(2028)
    cache = (undisturbed.folder / "features.h5").stat().st_size
    many = 10 if FULL else 1
    return [
        *generator.integers(1_000, 8_000, many).tolist(),
        *generator.integers(100_000, cache - 20_000, 2 * many).tolist(),
    ]


@pytest.mark.slow
def test_where_no_more_can_be_written_one_sentence_says_so_and_nothing_is_lost(undisturbed, tmp_path) -> None:
    def one(trial: int) -> None:
        limit, at_start = limits(undisturbed)[trial], START[trial % 3]
        here = undisturbed.place(tmp_path / str(trial), at_start)
        before = (here / "features.h5").read_bytes() if at_start else None
        done = run(here, prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
        file = r"features\.h5" if limit > 50_000 else rf"{PARTIAL}/block-00000000\.npz"
        refused(done, rf"No room to write {file}: .* make room and repeat the command\.")
        assert ((here / "features.h5").read_bytes() if at_start else None) == before
        assert not list(here.glob("**/*.tmp"))
        assert run(here).returncode == 0
        undisturbed.check(here)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(len(limits(undisturbed)))))


@pytest.mark.slow
@pytest.mark.parametrize("room", [0, 0.3, 0.6, 0.8] if FULL else [0.6])
def test_a_disk_that_others_fill_in_mid_run_loses_nothing(undisturbed, small_disk, room) -> None:
    here = undisturbed.place(small_disk / "work", "half")
    before = (here / "features.h5").read_bytes()
    room = int(room * (undisturbed.folder / "features.h5").stat().st_size)
    child = start(here, seconds=0.02)
    wait_for(lambda: blocks(here), child)
    filler = here / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(here).free - room))
    out, err = child.communicate(timeout=60)
    refused(
        subprocess.CompletedProcess((), child.returncode, out, err),
        r"No room to write features\.h5.*: .* make room and repeat the command\.",
    )
    assert (here / "features.h5").read_bytes() == before
    assert not list(here.glob("**/.*.tmp"))
    filler.unlink()
    done = run(here, "--json")
    assert json.loads(done.stdout)["computed"] <= IMAGES // 2 - 64
    undisturbed.check(here)


def test_an_image_that_goes_or_breaks_in_mid_run_is_listed_and_computed_once_it_is_back(
    undisturbed, tmp_path
) -> None:
    here = tmp_path / "work"
    here.mkdir()
    shutil.copytree(undisturbed.folder / "images", here / "images")
    gone, broken = (
        here / "images" / "normal" / f"{IMAGES - 4:03}.png",
        here / "images" / "normal" / f"{IMAGES - 2:03}.png",
    )
    child = start(here, "--json", seconds=0.03)
    wait_for(lambda: blocks(here), child)
    gone.rename(here / "away")
    whole = broken.read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    out, err = child.communicate(timeout=60)
    assert (child.returncode, err) == (3, "")
    document = json.loads(out)
    assert (document["computed"], document["failed"]) == (IMAGES - 2, 2)
    listed = [(failure["path"], failure["stage"]) for failure in document["failures"]]
    assert listed == [(f"normal/{gone.name}", "read"), (f"normal/{broken.name}", "decode")]
    (here / "away").rename(gone)
    broken.write_bytes(whole)
    done = run(here, "--json")
    assert (done.returncode, json.loads(done.stdout)["computed"]) == (0, 2)
    undisturbed.check(here)


def test_a_write_protected_cache_is_named_and_stays(undisturbed, tmp_path) -> None:
    here = undisturbed.place(tmp_path / "work", "half")
    cache = here / "features.h5"
    before = cache.read_bytes()
    cache.chmod(0o444)
    refused(run(here), r"features\.h5 is write-protected\. Allow writing to it \(chmod u\+w\) first\.")
    assert (cache.read_bytes(), names_in(here)) == (before, ["features.h5", "images"])
    cache.chmod(0o644)
    assert run(here).returncode == 0
    undisturbed.check(here)


def test_a_write_protected_folder_is_named_and_its_cache_stays(undisturbed, tmp_path) -> None:
    """Root may write anywhere, so as root the command runs without root's capabilities."""
    without_powers = ("setpriv", "--bounding-set=-all", "--inh-caps=-all") if os.geteuid() == 0 else ()
    if without_powers and not shutil.which("setpriv"):
        pytest.skip("needs setpriv to do without root's capabilities")
    here = undisturbed.place(tmp_path / "work", "half")
    before = (here / "features.h5").read_bytes()
    here.chmod(0o555)
    try:
        refused(run(here, under=without_powers), r"No permission to write features\.h5 in the folder /")
    finally:
        here.chmod(0o755)
    assert ((here / "features.h5").read_bytes(), names_in(here)) == (before, ["features.h5", "images"])
    assert run(here).returncode == 0
    undisturbed.check(here)


def test_a_read_only_disk_is_named_and_its_cache_stays(undisturbed, small_disk) -> None:
    here = undisturbed.place(small_disk / "work", "half")
    before = (here / "features.h5").read_bytes()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused(run(here), r"No permission to write features\.h5 in the folder /")
    assert ((here / "features.h5").read_bytes(), names_in(here)) == (before, ["features.h5", "images"])
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert run(here).returncode == 0
    undisturbed.check(here)


def test_a_second_writer_is_told_who_writes_where_and_since_when(undisturbed, tmp_path) -> None:
    here = undisturbed.place(tmp_path / "work")
    child = start(here, hangs_at=20)
    try:
        wait_for(lambda: blocks(here), child)
        refused(
            run(here),
            rf"features\.h5 is being written to by {writing(str(child.pid))}\. Wait for it, or stop it",
        )
    finally:
        child.kill()
        child.communicate()
    assert run(here).returncode == 0
    undisturbed.check(here)


def test_writers_that_come_and_go_are_never_two_at_once_and_are_always_told_of_each_other(tmp_path) -> None:
    until = time.monotonic() + (20 if FULL else 2)
    inside: list[int] = []

    def come_and_go(seed: int) -> list[str]:
        generator = np.random.default_rng(seed)
        told = []
        while time.monotonic() < until:
            try:
                with Staging(tmp_path / "features.h5"):
                    inside.append(seed)
                    time.sleep(generator.uniform(0, 0.01))
                    assert inside == [seed]
                    inside.clear()
            except errors.CacheLocked as error:
                told.append(str(error))
            time.sleep(generator.uniform(0, 0.01))
        return told

    with ThreadPoolExecutor(3) as pool:
        told = [text for texts in pool.map(come_and_go, range(3)) for text in texts]
    assert told
    for text in told:
        assert re.search(f"is being written to by {writing(str(os.getpid()))}", text)
    assert names_in(tmp_path) == []


def writing(process: str) -> str:
    """Return what a message says of another writer, as a regular expression."""
    return (
        rf"process {process} on {re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00"
    )


def vectors_of(folder: Path) -> dict[str, bytes]:
    """Return the vector that each image's content must have, by its path below `folder`."""
    preparation, network = set_up(Settings(backbone="efficientnetlite0")).preparation, SmallNetwork(1)
    vectors = {}
    for file in folder.glob("*/*.png"):
        frame = preparation.frame(open_image(file.read_bytes()).frame(0))
        vector = network.run(frame.pixels[None]).vectors[LAYER][0]
        vectors[file.relative_to(folder).as_posix()] = vector.tobytes()
    return vectors


@pytest.mark.slow
def test_two_writers_and_a_reader_at_once_see_whole_caches_or_are_told_who_writes(
    undisturbed, tmp_path
) -> None:
    expected = vectors_of(undisturbed.folder / "images")
    paths = sorted(expected)
    sets = {"first.csv": paths[:100], "odd.csv": paths[1::2], "last.csv": paths[-130:], "all.csv": paths}
    for name, chosen in sets.items():
        (tmp_path / name).write_text("\n".join(["path", *chosen]) + "\n")
    root = ("--root", str(undisturbed.folder / "images"))
    until = time.monotonic() + (60 if FULL else 5)
    ends = {0: 0, 1: 0}
    told = (
        rf"Error: features\.h5 is being written to by {writing('[0-9]+')}\. Wait for it, or stop it first\.\n"
    )

    def write(seed: int) -> None:
        generator = np.random.default_rng(seed)
        while time.monotonic() < until:
            done = run(tmp_path, *root, data=str(generator.choice(list(sets))), seconds=0.002)
            assert done.returncode == 0 or re.fullmatch(told, done.stderr), f"{done.returncode}: {done.stderr}"
            assert done.returncode in ends, done.stderr
            with lock:
                ends[done.returncode] += 1

    lock = threading.Lock()
    reads = 0
    with ThreadPoolExecutor(2) as pool:
        writers = [pool.submit(write, seed) for seed in (1, 2)]
        while not all(writer.done() for writer in writers):
            time.sleep(0.02)
            if not (tmp_path / "features.h5").exists():
                continue
            with open_cache(tmp_path / "features.h5") as cache:
                vectors, samples = cache.X, cache.samples
            assert samples.path.tolist() in sets.values()
            assert set(samples.state) == {"done"}
            assert [vector.tobytes() for vector in vectors] == [expected[path] for path in samples.path]
            reads += 1
        for writer in writers:
            writer.result()
    print(f"{ends[0]} runs wrote, {ends[1]} were told who writes, {reads} reads")
    assert min(ends[0], reads) > 0
    assert run(tmp_path, *root, data="all.csv").returncode == 0
    assert names_in(tmp_path) == sorted(["features.h5", *sets])
    (tmp_path / "alone").mkdir()
    assert run(tmp_path, *root, data="all.csv", cache="alone/features.h5").returncode == 0
    alone, together = everything(tmp_path / "alone" / "features.h5"), everything(tmp_path / "features.h5")
    in_order = (
        "vectors/",
        "images/",
        "pixels/",
        "checksums/vectors/",
        "checksums/images/",
        "checksums/pixels/",
    )
    for name in (
        alone.keys() | together.keys()
    ):  # the rows of a cache stay where they are when samples are rearranged
        if not name.startswith(in_order):
            assert together.get(name) == alone.get(name), name


def test_a_cache_that_is_replaced_while_a_reader_opens_it_is_read_as_it_was(undisturbed, tmp_path) -> None:
    here = undisturbed.place(tmp_path / "work", "most")
    opened = distrust.open_file(here / "features.h5")
    smaller = here / "smaller.h5"
    smaller.write_bytes(b"what stands there now is not what was opened")
    smaller.replace(here / "features.h5")
    assert distrust.examine(opened, here / "features.h5").complete
    opened.close()
