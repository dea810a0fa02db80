"""The audit: what it finds of copies and wrong labels that were planted, and what it costs on a large cache.

    python benchmarks/audit.py [--rows N] [--subset M]
    python benchmarks/audit.py --data MANIFEST [--seeds K]

Without --data, a synthetic cache of N vectors of 2048 numbers is audited, with 1,000 altered copies among
them, beside what one would write with scikit-learn to find each image's nearest neighbour. That is run on M
vectors, as the audit is, too; for N it is extrapolated by the square, and said so.

With --data, 60 images of a data set are copied beside the others under new names and patients: 20 as they are,
20 resized or encoded again, 20 mirrored or turned, some of them resized as well. All are extracted with
EfficientNet-Lite0 and audited. What is listed beside them is counted as false, be it right or not. Then a
twentieth of the labels of the original images is exchanged, and the doubtful ones listed are compared with
them.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from side_by_side import machine, run, table

DIMENSIONS = 2048
_COPIES = 1000
_EACH = 20
_EXCHANGED = 0.05
_TURNS = [
    Image.Transpose.FLIP_LEFT_RIGHT,
    Image.Transpose.FLIP_TOP_BOTTOM,
    Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_180,
]


def synthetic(rows: int, path: Path) -> None:
    """Write a cache of vectors and pixels in 50 clusters, of which the last `_COPIES` are altered copies."""
    from icehouse.cache.commit import commit
    from icehouse.cache.samples import Samples
    from icehouse.cache.staging import Block, Staging
    from icehouse.cache.writing import Contents

    generator = np.random.default_rng(0)
    content = generator.integers(0, 256, (rows, 32), dtype=np.uint8)
    kind = generator.integers(0, 50, rows)
    centres = generator.gamma(1, 1, (50, DIMENSIONS)).astype(np.float32)
    pictures = generator.integers(60, 200, (50, 256))
    originals = rows - _COPIES
    text, number = np.full(rows, "PNG"), np.full(rows, 1024, dtype=np.int32)
    patient = np.arange(rows) // 3
    samples = Samples(
        path=np.array([f"images/{index:07d}.png" for index in range(rows)]),
        label=np.where(kind % 2, "covid", "normal"),
        patient=np.array([f"patient-{index}" for index in patient.tolist()]),
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
        columns={"scanner": np.array(["A", "B"])[kind % 2]},
    )

    def made(start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return vectors and pixels of rows of the originals, always the same."""
        drawn = np.random.default_rng([1, start])
        here = kind[start : start + count]
        vectors = centres[here] + drawn.gamma(1, 1, (count, DIMENSIONS)).astype(np.float32)
        return vectors, np.clip(pictures[here] + drawn.normal(0, 25, (count, 256)), 0, 255).astype(np.uint8)

    with Staging(path) as staging:
        recipe = {"kind": "synthetic"}
        staging.begin(recipe)
        starts = [*range(0, originals, 4096), originals]
        for start, end in zip(starts, [*starts[1:], rows], strict=True):
            if start == originals:  # altered copies of the first ones
                vectors, pixels = made(0, min(4096, originals))
                vectors, pixels = vectors[:_COPIES], pixels[:_COPIES]
                vectors = vectors + 0.2 * generator.standard_normal(vectors.shape, dtype=np.float32)
                pixels = pixels.reshape(-1, 16, 16)[:, :, ::-1].reshape(-1, 256)
            else:
                vectors, pixels = made(start, end - start)
            block = Block(
                content=content[start:end],
                frame=np.zeros(end - start, dtype=np.int32),
                view=np.zeros(end - start, dtype=np.int16),
                vectors={"avg_pool": vectors},
                pixels=pixels,
                map_sum=np.zeros((1, 1, DIMENSIONS)),
                facts={},
                canaries={"avg_pool": np.ones((3, DIMENSIONS), dtype=np.float32)},
                maker={},
            )
            staging.add(block)
        contents = Contents(recipe, ("avg_pool",), {"frames": "all", "views": 1}, samples, [], [{"time": ""}])
        commit(path, None, staging.blocks(), contents)
        staging.clear()


def audited(path: str) -> dict[str, float]:
    """Return what the audit of a cache takes, and how many of the planted copies it lists."""
    from icehouse.auditing import audit_cache

    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    document = audit_cache(path)
    after = resource.getrusage(resource.RUSAGE_SELF)
    first = document["frames"] - _COPIES
    right = sum(
        int(Path(pair["b"]).stem) - int(Path(pair["a"]).stem) == first for pair in document["near_duplicates"]
    )
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "seconds": time.perf_counter() - started,
        "processor": used,
        "found": right,
        "false": len(document["near_duplicates"]) - right,
    }


def by_hand(path: str) -> dict[str, float]:
    """Return what scikit-learn takes to find the nearest neighbour of each vector of a cache, by cosine."""
    import h5py
    from sklearn.neighbors import NearestNeighbors

    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    with h5py.File(path) as file:
        X = file["vectors/avg_pool"][()]
    NearestNeighbors(n_neighbors=2, metric="cosine", algorithm="brute", n_jobs=-1).fit(X).kneighbors(X)
    after = resource.getrusage(resource.RUSAGE_SELF)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": time.perf_counter() - started, "processor": used}


def plant(data: Path, folder: Path, seed: int) -> dict[str, tuple[str, str]]:
    """Copy a data set into `folder` with 60 copies of its images; return the original and kind of each."""
    generator = np.random.default_rng(seed)
    with data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        target = folder / row["path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(data.parent / row["path"], target)
    planted = {}
    for number, index in enumerate(generator.choice(len(rows), 3 * _EACH, replace=False).tolist()):
        what = ("exact", "resized or encoded again", "mirrored or turned")[number // _EACH]
        original = rows[index]
        name = f"copies/{number}{Path(original['path']).suffix}"
        target = folder / name
        target.parent.mkdir(exist_ok=True)
        if what == "exact":
            shutil.copy(data.parent / original["path"], target)
        else:
            name = f"copies/{number}.{generator.choice(['jpg', 'png'])}"
            _altered(data.parent / original["path"], folder / name, what, generator)
        planted[name] = (original["path"], what)
        rows.append({**original, "path": name, "patient": f"copy-{number}"})
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return planted


def _altered(source: Path, target: Path, what: str, generator: np.random.Generator) -> None:
    """Write an altered copy of an image."""
    with Image.open(source) as opened:
        picture = opened.convert("L" if opened.mode == "L" else "RGB")
    turned = what == "mirrored or turned"
    if turned:
        picture = picture.transpose(_TURNS[generator.integers(len(_TURNS))])
    if generator.random() < (0.5 if turned else 0.8):
        share = generator.uniform(0.4, 0.9)
        size = (max(16, int(share * picture.width)), max(16, int(share * picture.height)))
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    picture.save(target, **({"quality": int(generator.integers(50, 85))} if target.suffix == ".jpg" else {}))


def measured(data: Path, seed: int) -> tuple[list[str], list[str]]:
    """Return two rows of results, for copies and for labels, and print the pairs that count as false."""
    from icehouse.api import extract
    from icehouse.auditing import audit_cache

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        planted = plant(data, folder, seed)
        cache = folder / "features.h5"
        extract(folder / "manifest.csv", cache, backbone="efficientnetlite0")
        document = audit_cache(cache)
        found = {what: 0 for _, what in planted.values()}
        for group in document["exact_duplicates"]:
            names = {one["path"] for one in group["samples"]}
            copies = [path for path in names if planted.get(path, ("", ""))[1] == "exact"]
            found["exact"] += sum(planted[path][0] in names for path in copies)
        false = 0
        for pair in document["near_duplicates"]:
            # Of an exact copy and its original, whichever stands first is looked at in place of both.
            a, b = (planted.get(path, (path, ""))[0] for path in (pair["a"], pair["b"]))
            if a == b:
                of = next(path for path in (pair["b"], pair["a"]) if path in planted)
                found[planted[of][1]] += 1
            else:
                false += 1
                print(f"  seed {seed}: {pair['a']}, {pair['b']}: {pair['vectors']}, {pair['pixels']}")
        counts = [f"{count}/{_EACH}" for count in found.values()]
        return [str(seed), *counts, str(false)], _labels(folder, cache, planted, seed)


def _labels(folder: Path, cache: Path, planted: dict[str, Any], seed: int) -> list[str]:
    """Exchange some labels of the original images, and return how many of those listed were exchanged."""
    from icehouse.auditing import audit_cache

    generator = np.random.default_rng([seed, 1])
    with (folder / "manifest.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"] not in planted]
    classes = sorted({row["label"] for row in rows})
    exchanged = set()
    for index in generator.choice(len(rows), int(_EXCHANGED * len(rows)), replace=False).tolist():
        row = rows[index]
        row["label"] = str(generator.choice([label for label in classes if label != row["label"]]))
        exchanged.add(row["path"])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=["path", "label"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    listed = [one["path"] for one in audit_cache(cache, labels=folder / "labels.csv")["label_suspects"]]
    right = sum(path in exchanged for path in listed)
    first = sum(path in exchanged for path in listed[:_EACH])
    return [
        str(seed),
        str(len(exchanged)),
        str(len(listed)),
        f"{right / max(len(listed), 1):.2f}",
        f"{right / len(exchanged):.2f}",
        f"{first / _EACH:.2f}",
    ]


def main() -> None:
    """Run what was asked for and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--subset", type=int, default=10_000)
    parser.add_argument("--data", type=Path, help="a manifest: plant copies and labels in this data set")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", choices=("audit", "by-hand"), help=argparse.SUPPRESS)
    parser.add_argument("--cache", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        print(json.dumps((audited if chosen.side == "audit" else by_hand)(chosen.cache)))
        return
    if chosen.data:
        copies, labels = zip(*(measured(chosen.data, seed) for seed in range(chosen.seeds)), strict=True)
        kinds = ["exact", "resized or encoded again", "mirrored or turned"]
        print(table(["seed", *kinds, "others listed"], [*copies]))
        headings = ["seed", "labels exchanged", "listed", "precision", "recall", "precision of the first 20"]
        print(f"\n{table(headings, [*labels])}")
        return
    rows, seconds = [], {}
    with tempfile.TemporaryDirectory() as name:
        for count in (chosen.subset, chosen.rows):
            path = Path(name) / f"{count}.h5"
            synthetic(count, path)
            for side in ("by-hand", "audit") if count == chosen.subset else ("audit",):
                numbers = run(__file__, "--side", side, "--cache", str(path))
                seconds[side, count] = numbers["process_seconds"]
                copies = "{found:.0f}, and {false:.0f} others".format(**numbers) if side == "audit" else ""
                cells = [f"{numbers[key]:.1f}" for key in ("process_seconds", "processor")]
                rows.append([side, f"{count:,}", *cells, f"{numbers['megabytes']:.0f}", copies])
    print(f"{_COPIES} altered copies among vectors of {DIMENSIONS} numbers; {machine()}\n")
    print(table(["what", "vectors", "wall s", "processor s", "peak MB", "copies found"], rows))
    hand, ours = seconds["by-hand", chosen.subset], seconds["audit", chosen.subset]
    whole = hand * (chosen.rows / chosen.subset) ** 2
    ratio = whole / seconds["audit", chosen.rows]
    print(f"\n{chosen.subset:,} vectors: {hand / ours:.1f}× as quick as by hand. {chosen.rows:,} by hand would")
    print(f"take about {whole:.0f} s, by the square of their number; the audit is {ratio:.1f}× as quick.")


if __name__ == "__main__":
    main()
