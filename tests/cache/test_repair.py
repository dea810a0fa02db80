"""Promises about damage: a flipped bit is found, only its block is lost, and the next extraction heals it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from icehouse import errors, open_cache
from icehouse.cache.anonymize import Pseudonyms
from icehouse.cache.commit import commit
from icehouse.cache.keys import as_bytes
from icehouse.cache.merge import merge
from icehouse.cache.repair import repair
from icehouse.cache.samples import Failure
from icehouse.cache.split import split
from icehouse.cache.store import Cache
from icehouse.cache.verify import verify
from icehouse.cache.writing import Contents
from icehouse.classify import problem
from making import SELECTION, block_of, samples_of

ROWS, DIMENSIONS = 1100, 24
FLIPS = 200 if os.environ.get("ICEHOUSE_FULL") == "1" else 30


@pytest.fixture(scope="module")
def pristine(tmp_path_factory) -> Path:
    """Return a cache of five blocks with everything in it that format 1 has."""
    generator = np.random.default_rng(0)
    content = generator.integers(0, 256, (ROWS, 32), dtype=np.uint8)
    vectors = generator.normal(size=(ROWS, DIMENSIONS)).astype(np.float32)
    samples = samples_of(
        content,
        ["covid" if row % 2 else "normal" for row in range(ROWS)],
        [f"patient {row // 2}" for row in range(ROWS)],
        ["done"] * (ROWS - 1) + ["failed"],
    )
    samples.columns["hospital"] = np.array([f"hospital {row % 5}" for row in range(ROWS)])
    contents = Contents(
        {"kind": "by hand"},
        ("avg_pool",),
        SELECTION,
        samples,
        [Failure(f"{ROWS - 1}.png", "network", "its vector is infinite")],
        [{"time": "2026-01-01T00:00:00+00:00"}],
    )
    path = tmp_path_factory.mktemp("pristine") / "features.h5"
    commit(path, None, [block_of(content, vectors)], contents)
    return path


@pytest.fixture
def cache_path(pristine, tmp_path) -> Path:
    shutil.copy(pristine, tmp_path / "features.h5")
    return tmp_path / "features.h5"


def damage(path: Path, dataset: str, block: int) -> None:
    """Flip one bit in the middle of a block, as a disk might."""
    with h5py.File(path) as file:
        info = file[dataset].id.get_chunk_info(block)
    flip(path, info.byte_offset + 7)


def flip(path: Path, offset: int, bit: int = 3) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def vectors_of(path: Path) -> dict[bytes, bytes]:
    with Cache(path) as cache:
        rows = cache.read("vectors/avg_pool")
        return dict(zip(as_bytes(cache.image_keys), (row.tobytes() for row in rows), strict=True))


def test_an_undamaged_cache_is_intact_and_repairing_it_changes_no_byte(cache_path) -> None:
    before = cache_path.read_bytes()
    with Cache(cache_path) as cache:
        found = verify(cache)
    assert found.intact
    assert found.checked == found.blocks > 40
    assert repair(cache_path)["rows_lost"] == 0
    assert cache_path.read_bytes() == before


def test_a_sample_of_the_blocks_is_read_where_that_is_asked_for(cache_path) -> None:
    with Cache(cache_path) as cache:
        found = verify(cache, sample=1)
    assert found.checked < found.blocks


@pytest.mark.parametrize("dataset", ["vectors/avg_pool", "images/content", "images/frame", "pixels/16"])
def test_a_flipped_bit_in_a_row_costs_its_block_and_no_more(cache_path, pristine, dataset) -> None:
    damage(cache_path, dataset, 2)
    with Cache(cache_path) as cache:
        found = verify(cache)
    assert [(item.dataset, item.block, item.rows) for item in found.damaged] == [(dataset, 2, (512, 767))]
    result = repair(cache_path)
    assert (result["rows_kept"], result["rows_lost"]) == (ROWS - 256, 256)
    before, after = vectors_of(pristine), vectors_of(cache_path)
    assert after.items() <= before.items()
    assert len(after) == ROWS - 256
    with Cache(cache_path) as cache:
        assert verify(cache).intact
        assert not cache.header.complete
        assert np.flatnonzero(cache.samples.state == "pending").tolist() == list(range(512, 768))
        assert result["lost"] == [f"{row}.png" for row in range(512, 768)]
        assert len(cache.failures) == 1
        assert cache.provenance()[-1]["repaired"]["rows_lost"] == 256


def test_reading_damaged_vectors_names_the_commands_that_help(cache_path) -> None:
    damage(cache_path, "vectors/avg_pool", 0)
    with (
        open_cache(cache_path) as cache,
        pytest.raises(errors.CacheDamaged, match=r"its checksum is wrong.*icehouse cache verify .* repair"),
    ):
        cache.X  # noqa: B018  (reading is the test)


@pytest.mark.parametrize("dataset", ["samples/label", "samples/width", "samples/content", "samples/columns/0"])
def test_damaged_samples_are_listed_and_no_vector_is_lost(cache_path, dataset) -> None:
    damage(cache_path, dataset, 1)
    result = repair(cache_path)
    assert result["rows_lost"] == 0
    assert [lost["row"] for lost in result["samples_lost"]] == list(range(256, 512))
    assert result["samples_lost"][0]["path"] == "256.png"
    with Cache(cache_path) as cache:
        assert verify(cache).intact
        assert len(cache.samples) == ROWS - 256
        assert cache.rows == ROWS
        assert not cache.header.complete
        with pytest.raises(errors.CacheIncomplete, match="samples were lost in a repair"):
            problem.from_cache(cache)
        assert set(cache.samples.columns) == {"hospital"}


@pytest.mark.parametrize(
    ("dataset", "loss"),
    [
        ("canary/avg_pool", "the canaries"),
        ("maps/sum", "the mean feature map"),
        ("provenance", "the provenance"),
        ("failures/reason", "1 lines of the failures"),
        ("checksums/vectors/avg_pool", "the checksums of vectors/avg_pool cannot be read"),
    ],
)
def test_whatever_else_is_damaged_is_left_out_and_named(cache_path, dataset, loss) -> None:
    damage(cache_path, dataset, 0)
    result = repair(cache_path)
    assert result["rows_lost"] == 0
    assert any(loss in text for text in result["other_losses"])
    with Cache(cache_path) as cache:
        assert verify(cache).intact


def test_what_was_changed_with_another_program_is_found_too(cache_path) -> None:
    with h5py.File(cache_path, "r+") as file:  # fletcher32 is then right, and SHA-256 is not
        file["vectors/avg_pool"][700, 3] += 1
        file.attrs["selection"] = '{"frames": "middle", "views": 1}'
    with Cache(cache_path) as cache:
        found = verify(cache)
    assert [(item.dataset, item.block, item.reason) for item in found.damaged] == [
        ("vectors/avg_pool", 2, "another SHA-256")
    ]
    assert "the attributes" in found.problems[0]


def test_vectors_that_are_no_numbers_are_found_and_repaired_one_by_one(cache_path) -> None:
    with Cache(cache_path) as cache:
        block = cache.read("vectors/avg_pool")
    block[5, 3], block[900, 0] = np.nan, np.inf
    with h5py.File(cache_path, "r+") as file:
        from icehouse.cache import checksums

        file["vectors/avg_pool"][...] = block
        file["checksums/vectors/avg_pool"][...] = checksums.of_rows(file["vectors/avg_pool"])
    with Cache(cache_path) as cache:
        assert [item.rows for item in verify(cache).damaged] == [(5, 5), (900, 900)]
    assert repair(cache_path)["lost"] == ["5.png", "900.png"]


def test_repair_to_another_file_leaves_the_damaged_one_alone(cache_path, tmp_path) -> None:
    damage(cache_path, "vectors/avg_pool", 2)
    before = cache_path.read_bytes()
    repair(cache_path, tmp_path / "mended.h5")
    assert cache_path.read_bytes() == before
    with Cache(tmp_path / "mended.h5") as cache:
        assert verify(cache).intact
    with pytest.raises(errors.OutputExists, match=r"mended\.h5 exists"):
        repair(cache_path, tmp_path / "mended.h5")


def test_an_image_that_lost_one_of_its_frames_is_pending_even_where_its_name_was_lost_too(tmp_path) -> None:
    generator = np.random.default_rng(2)
    content = generator.integers(0, 256, (300, 32), dtype=np.uint8)
    rows = np.repeat(np.arange(300), 3)  # frames 0, 1, 2 of each: block 1 begins and ends within an image
    block = block_of(content[rows], generator.normal(size=(900, 4)), np.tile(np.arange(3), 300))
    samples = samples_of(content, ["covid", "normal"] * 150, frames=3)
    contents = Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}])
    path = tmp_path / "volumes.h5"
    for dataset in ("vectors/avg_pool", "images/content"):
        path.unlink(missing_ok=True)
        commit(path, None, [block], contents)
        damage(path, dataset, 1)
        result = repair(path)
        assert result["rows_lost"] == 256
        assert result["lost"] == [f"{image}.png" for image in range(85, 171)]
        with Cache(path) as cache:
            assert cache.X.shape == (3 * (300 - 86), 4)


def test_failures_of_lost_samples_go_with_them(cache_path) -> None:
    damage(cache_path, "samples/label", 4)
    repair(cache_path)
    with Cache(cache_path) as cache:
        assert cache.failures == []
        assert verify(cache).intact


def test_the_mean_map_goes_with_the_vectors_that_it_would_betray(cache_path) -> None:
    damage(cache_path, "vectors/avg_pool", 0)
    assert any("the mean feature map" in loss for loss in repair(cache_path)["other_losses"])
    with Cache(cache_path) as cache:
        assert cache.mean_map() is None


def test_vectors_that_nobody_can_compute_again_survive_their_thumbnails(pristine, tmp_path) -> None:
    merge([pristine], tmp_path / "anonymous.h5", pseudonyms=Pseudonyms())
    damage(tmp_path / "anonymous.h5", "pixels/16", 1)
    result = repair(tmp_path / "anonymous.h5")
    assert (result["rows_lost"], result["extractable"]) == (0, False)
    with Cache(tmp_path / "anonymous.h5") as cache:
        assert cache.pixels() is None
        assert verify(cache).intact


def test_that_samples_are_lost_is_not_forgotten_on_the_way(cache_path, tmp_path) -> None:
    damage(cache_path, "samples/label", 1)
    repair(cache_path)
    repair(cache_path, tmp_path / "again.h5")
    merge([cache_path], tmp_path / "merged.h5", pseudonyms=Pseudonyms())
    parts = split(cache_path, tmp_path / "parts", by="label")["parts"]
    for path in (tmp_path / "again.h5", tmp_path / "merged.h5", *(part["cache"] for part in parts)):
        with Cache(path) as cache:
            assert not cache.header.complete
            assert not cache.whole


def test_an_incomplete_cache_whose_states_are_damaged_is_repaired_too(cache_path) -> None:
    damage(cache_path, "vectors/avg_pool", 1)
    repair(cache_path)
    damage(cache_path, "samples/state", 3)
    assert len(repair(cache_path)["samples_lost"]) == 256
    with Cache(cache_path) as cache:
        assert verify(cache).intact
        assert not cache.header.complete


def test_nothing_is_dropped_as_spare_while_the_samples_are_damaged(cache_path) -> None:
    damage(cache_path, "samples/label", 0)
    result = repair(cache_path, compact=True)
    assert (result["rows_kept"], result["spare_dropped"]) == (ROWS, 0)
    assert any("nothing was compacted" in text for text in result["other_losses"])


def test_an_image_whose_frames_lie_in_two_damaged_blocks_is_pending(tmp_path) -> None:
    generator = np.random.default_rng(2)
    content = generator.integers(0, 256, (300, 32), dtype=np.uint8)
    rows = np.repeat(np.arange(300), 3)  # image 85 has its frames in rows 255 to 257
    block = block_of(content[rows], generator.normal(size=(900, 4)), np.tile(np.arange(3), 300))
    samples = samples_of(content, ["a"] * 300, frames=3)
    contents = Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}])
    path = tmp_path / "volumes.h5"
    commit(path, None, [block], contents)
    damage(path, "images/content", 0)
    damage(path, "vectors/avg_pool", 2)
    assert {f"{image}.png" for image in [*range(86), *range(170, 256)]} == set(repair(path)["lost"])


def test_repair_through_a_link_mends_the_file_it_leads_to(cache_path, tmp_path) -> None:
    (tmp_path / "link.h5").symlink_to(cache_path)
    damage(cache_path, "vectors/avg_pool", 0)
    assert repair(tmp_path / "link.h5")["rows_lost"] == 256
    assert (tmp_path / "link.h5").is_symlink()
    with Cache(cache_path) as cache:
        assert verify(cache).intact


def test_compact_drops_spare_rows_and_only_those(cache_path) -> None:
    with Cache(cache_path) as old:
        kept = np.arange(ROWS) % 3 > 0
        fields = {name: value[kept] for name, value in vars(old.samples).items() if name != "columns"}
        samples = type(old.samples)(**fields)
        contents = Contents(old.header.recipe, old.layers, old.header.selection, samples, [], [{}])
        commit(cache_path, old, [], contents)
    with Cache(cache_path) as cache:
        assert cache.rows == ROWS
        X = cache.X
    size = cache_path.stat().st_size
    assert repair(cache_path)["spare_dropped"] == 0
    assert repair(cache_path, compact=True)["spare_dropped"] == ROWS - kept.sum()
    with Cache(cache_path) as cache:
        assert cache.rows == kept.sum()
        assert verify(cache).intact
        np.testing.assert_array_equal(cache.X, X)
    assert cache_path.stat().st_size < size


def test_a_large_cache_that_lost_most_of_its_rows_leaves_no_gaps_in_the_file(tmp_path) -> None:
    generator = np.random.default_rng(3)
    content = generator.integers(0, 256, (5000, 32), dtype=np.uint8)
    vectors = generator.random((5000, 2048), dtype=np.float32)
    path = tmp_path / "large.h5"
    samples = samples_of(content, ["a"] * 5000)
    contents = Contents({"kind": "by hand"}, ("avg_pool",), SELECTION, samples, [], [{}])
    commit(path, None, [block_of(content, vectors)], contents)
    few = samples_of(content[:600], ["a"] * 600)
    with Cache(path) as old:
        commit(path, old, [], Contents(contents.recipe, contents.layers, SELECTION, few, [], [{}]))
    assert repair(path, compact=True)["rows_kept"] == 600
    assert path.stat().st_size < 600 * 2048 * 4 * 1.5
    with Cache(path) as cache:
        np.testing.assert_array_equal(cache.X, vectors[:600])


_TRIAL = """
import json, shutil, sys
from pathlib import Path
from icehouse import errors
from icehouse.cache.repair import repair
from icehouse.cache.store import Cache
from icehouse.cache.verify import verify
sys.path.insert(0, sys.argv[3])
from test_repair import flip, vectors_of
from small_network import everything

pristine, work = Path(sys.argv[1]), Path(sys.argv[2])
before, held = vectors_of(pristine), everything(pristine)
for line in sys.stdin:
    offset, bit = json.loads(line)
    shutil.copy(pristine, work)
    flip(work, offset, bit)
    outcome = {"offset": offset, "damaged": [], "refused": None, "silent": False}
    try:
        with Cache(work) as cache:
            found = verify(cache)
        outcome["damaged"] = [[item.dataset, item.block] for item in found.damaged]
        outcome["problems"] = found.problems
        if found.intact:
            outcome["silent"] = everything(work) != held
        else:
            result = repair(work)
            after = vectors_of(work)
            outcome["lost"] = len(before) - len(after)
            outcome["wrong"] = len(after.items() - before.items())
            with Cache(work) as cache:
                outcome["mended"] = verify(cache).intact
    except errors.IcehouseError as error:
        outcome["refused"] = str(error)
    print(json.dumps(outcome), flush=True)
"""


def test_no_flipped_bit_goes_unnoticed_and_none_costs_more_than_its_block(pristine, tmp_path) -> None:
    """At random offsets of the file: rows, tables, checksums and HDF5's own structures alike.

    HDF5 may crash on a broken structure: a trial runs in a process of its own, and a crash is a refusal.
    """
    generator = np.random.default_rng(1)
    trials = [
        (int(offset), int(generator.integers(8)))
        for offset in generator.integers(0, pristine.stat().st_size, FLIPS)
    ]
    holder = _holders(pristine)
    outcomes = _run_trials(pristine, tmp_path, trials)
    in_rows = 0
    for (offset, _), outcome in zip(trials, outcomes, strict=True):
        assert not outcome.get("silent"), outcome
        for name, block, first, last in holder:
            if first <= offset < last:
                assert outcome["refused"] is None, outcome
                if not name.startswith("checksums/"):
                    assert outcome["damaged"] == [[name, block]], outcome
                    in_rows += 1
        if outcome.get("refused") is None and (outcome["damaged"] or outcome["problems"]):
            assert outcome["lost"] <= 256, outcome
            assert outcome["wrong"] == 0, outcome
            assert outcome["mended"], outcome
    refused = sum(outcome["refused"] is not None for outcome in outcomes)
    harmless = sum(not (o["refused"] or o["damaged"] or o["problems"]) for o in outcomes)
    print(f"{FLIPS} flips: {in_rows} in rows, each found; {refused} refused, {harmless} without effect")
    assert in_rows > FLIPS / 2


def _holders(path: Path) -> list[tuple[str, int, int, int]]:
    """Return which bytes of the file belong to which block of which dataset."""
    found: list[tuple[str, int, int, int]] = []

    def note(name: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset):
            for number in range(item.id.get_num_chunks()):
                info = item.id.get_chunk_info(number)
                found.append((name, number, info.byte_offset, info.byte_offset + info.size))

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def _run_trials(pristine: Path, folder: Path, trials: list[tuple[int, int]]) -> list[dict]:
    outcomes: list[dict] = []
    while len(outcomes) < len(trials):
        lines = "\n".join(json.dumps(trial) for trial in trials[len(outcomes) :])
        child = subprocess.run(
            [sys.executable, "-c", _TRIAL, pristine, folder / "work.h5", str(Path(__file__).parent)],
            input=lines,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
                ),
            },
        )
        outcomes += [json.loads(line) for line in child.stdout.splitlines()]
        if child.returncode:
            assert child.returncode < 0, child.stderr  # a signal; anything else is a bug of ours
            outcomes.append({"refused": f"signal {-child.returncode}"})
    return outcomes
