"""Ten rounds of three heads: icehouse against the loop that a user would write, and how its time grows.

    python benchmarks/rounds.py [--cache FILE] [--rounds N]
    python benchmarks/rounds.py --grow

The other side is Keras `fit` (64-32, 100 epochs, batch 32), `SVC()` and `XGBClassifier()` at their defaults, in
one process, on the same splits and the same standardized vectors. Whole processes are timed: imports and
start-up are counted on both sides. icehouse runs twice: without its controls, which is the same work, and with
them. Without --cache, two synthetic sets of vectors are used: 252×2048 with two classes, 1124×2048 with three.
--grow times icehouse alone, head by head, for more rounds, images and dimensions.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import machine, run, table

HEADS = ("mlp", "svm", "xgboost")
SHAPES = ((252, 2), (1124, 3))
QUICK_HEADS = ("knn", "svm", "lda", "logistic", "mlp", "xgboost")
GROWTH = (
    # images, dimensions, rounds
    (250, 2048, 10),
    (250, 2048, 100),
    (1000, 512, 10),
    (1000, 2048, 10),
    (1000, 8192, 10),
    (10_000, 2048, 2),
    (100_000, 2048, 1),
)
BUDGET = 300
"""Seconds that a head may take in the table of growth."""


def synthetic(images: int, classes: int, path: Path, dimensions: int = 2048) -> None:
    """Write a cache of vectors that overlap about as much as real ones do."""
    from icehouse.cache.commit import commit
    from icehouse.cache.samples import Samples
    from icehouse.cache.staging import Block
    from icehouse.cache.writing import Contents

    generator = np.random.default_rng(0)
    labels = np.arange(images) % classes
    centres = generator.normal(0, 0.12, (classes, dimensions)).astype(np.float32)
    vectors = generator.standard_normal((images, dimensions), dtype=np.float32)
    vectors *= 0.8
    vectors += 0.2
    vectors += centres[labels]
    np.maximum(vectors, 0, out=vectors)
    content = generator.integers(0, 256, (images, 32), dtype=np.uint8)
    names = np.array(["normal", "covid", "pneumonia"])[labels]
    empty, number = np.full(images, ""), np.zeros(images, dtype=np.int32)
    samples = Samples(
        path=np.array([f"{index}.png" for index in range(images)]),
        label=names,
        patient=empty,
        split=empty,
        content=content,
        state=np.full(images, "done"),
        format=empty,
        mode=empty,
        kind=empty,
        chosen=empty,
        width=number,
        height=number,
        bits=number,
        frames=np.ones_like(number),
    )
    block = Block(
        content=content,
        frame=number,
        view=number.astype(np.int16),
        vectors={"avg_pool": vectors},
        pixels=generator.integers(0, 256, (images, 256), dtype=np.uint8),
        map_sum=np.zeros((1, 1, dimensions)),
        facts={},
        canaries={},
        maker={},
    )
    selection = {"frames": "all", "views": 1}
    contents = Contents({"kind": "synthetic"}, ("avg_pool",), selection, samples, [], [{"time": ""}])
    commit(path, None, [block], contents)


def icehouse_side(cache: Path, run_folder: Path, rounds: int, heads: tuple[str, ...], controls: bool) -> None:
    """Run the rounds and print accuracies and seconds."""
    import icehouse

    result = icehouse.run_rounds(cache, heads, rounds, out=run_folder, controls=controls)
    found = result.document["heads"]
    numbers = {f"accuracy_{head}": found[head]["accuracy"]["mean"] for head in found}
    print(json.dumps({**numbers, **{f"seconds_{h}": s for h, s in result.document["seconds"].items()}}))


def nothing() -> None:
    """Import what a run imports and print no numbers: the memory that is no vector's."""
    import sklearn.svm
    import xgboost

    print(json.dumps({"libraries": len((sklearn.__version__, xgboost.__version__))}))


def user_side(cache: Path, run_folder: Path) -> None:
    """Do the same as a user would without icehouse, and print accuracies and seconds."""
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import h5py
    import keras
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC
    from xgboost import XGBClassifier

    with np.load(run_folder / "splits.npz") as file:
        splits, labels, content = file["test"], file["label"], file["content"]
    with h5py.File(cache) as file:
        row_of = {digest.tobytes(): row for row, digest in enumerate(file["images/content"][()])}
        X = file["vectors/avg_pool"][()][[row_of[digest.tobytes()] for digest in content]]
    classes, y = np.unique(labels, return_inverse=True)
    right: dict[str, list[float]] = {head: [] for head in HEADS}
    seconds = dict.fromkeys(HEADS, 0.0)

    def mlp() -> Any:
        network = keras.Sequential(
            [
                keras.layers.Dense(64, activation="relu"),
                keras.layers.Dense(32, activation="relu"),
                keras.layers.Dense(len(classes), activation="softmax"),
            ]
        )
        network.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        return network

    for tested in splits:
        scaler = StandardScaler().fit(X[~tested])
        train, test = scaler.transform(X[~tested]), scaler.transform(X[tested])
        for head in HEADS:
            started = time.perf_counter()
            if head == "mlp":
                network = mlp()
                network.fit(train, y[~tested], epochs=100, batch_size=32, verbose=0)
                predicted = network.predict(test, verbose=0).argmax(axis=1)
            else:
                estimator = SVC() if head == "svm" else XGBClassifier()
                predicted = estimator.fit(train, y[~tested]).predict(test)
            right[head].append(float(np.mean(predicted == y[tested])))
            seconds[head] += time.perf_counter() - started
    numbers = {f"accuracy_{head}": float(np.mean(right[head])) for head in HEADS}
    print(json.dumps({**numbers, **{f"seconds_{head}": seconds[head] for head in HEADS}}))


def compare(cache: Path, title: str, rounds: int) -> None:
    """Run both sides on one cache and print their table."""
    with tempfile.TemporaryDirectory() as folder:
        common = ("--cache", str(cache), "--rounds", str(rounds), "--run")
        ours = run(__file__, *common, str(Path(folder) / "run"), "--side", "icehouse")
        controlled = run(__file__, *common, str(Path(folder) / "controlled"), "--side", "controls")
        theirs = run(__file__, *common, str(Path(folder) / "run"), "--side", "user")
    sides = (
        ("Keras fit, SVC(), XGBClassifier()", theirs),
        ("icehouse classify --no-controls", ours),
        ("icehouse classify", controlled),
    )
    rows = [
        [
            name,
            *(f"{side[f'accuracy_{head}']:.3f}" for head in HEADS),
            f"{side['process_seconds']:.1f}",
            f"{theirs['process_seconds'] / side['process_seconds']:.1f}×",
            f"{side['megabytes']:.0f}",
        ]
        for name, side in sides
    ]
    print(f"\n{title}, {rounds} rounds\n")
    headings = [*(f"accuracy {head}" for head in HEADS), "whole process, s", "ratio", "peak memory, MB"]
    print(table(["", *headings], rows))
    for name, side in sides[:2]:
        by_head = ", ".join(f"{h} {side[f'seconds_{h}']:.1f} s" for h in HEADS)
        print(f"\nSeconds in each head, {name}: {by_head}", flush=True)


def grow() -> None:
    """Print how long a round of each head takes, and the memory beside that of the vectors."""
    base = run(__file__, "--side", "nothing")["megabytes"]
    print(f"\nicehouse alone, three classes; {base:.0f} MB are taken by Python and the libraries\n")
    rows = []
    for images, dimensions, rounds in GROWTH:
        with tempfile.TemporaryDirectory() as folder:
            cache = Path(folder) / "synthetic.h5"
            synthetic(images, 3, cache, dimensions)
            cells = []
            peak = 0.0
            for head in QUICK_HEADS:
                options = ("--cache", str(cache), "--run", str(Path(folder) / head), "--rounds", str(rounds))
                try:
                    done = run(__file__, *options, "--heads", head, "--side", "icehouse", timeout=BUDGET)
                except TimeoutError:
                    cells.append(f"> {BUDGET}")
                    continue
                cells.append(f"{done['process_seconds']:.1f}")
                peak = max(peak, done["megabytes"])
            held = images * dimensions * 4 / 1e6
        beside = f"{(peak - base) * 1.048576 / held:.1f}×"
        rows.append([f"{images:,}", f"{dimensions:,}", str(rounds), *cells, f"{held:.0f}", beside])
        print(f"{images} images done", file=sys.stderr, flush=True)
    headings = ["images", "dimensions", "rounds", *(f"{head}, s" for head in QUICK_HEADS)]
    print(table([*headings, "vectors, MB", "peak beside it"], rows))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--grow", action="store_true")
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--heads", nargs="+", default=HEADS, help=argparse.SUPPRESS)
    sides = ("icehouse", "controls", "user", "nothing")
    parser.add_argument("--side", choices=sides, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side in ("icehouse", "controls"):
        controls = options.side == "controls"
        icehouse_side(options.cache, options.run, options.rounds, tuple(options.heads), controls)
    elif options.side == "user":
        user_side(options.cache, options.run)
    elif options.side == "nothing":
        nothing()
    elif options.grow:
        print(machine())
        grow()
    else:
        print(machine())
        if options.cache:
            compare(options.cache, str(options.cache), options.rounds)
            return
        for images, classes in SHAPES:
            with tempfile.TemporaryDirectory() as folder:
                cache = Path(folder) / "synthetic.h5"
                synthetic(images, classes, cache)
                compare(cache, f"{images}×2048, {classes} classes, synthetic", options.rounds)


if __name__ == "__main__":
    main()
