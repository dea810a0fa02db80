"""Scoring a folder of images: `icehouse predict` against the script one would otherwise write.

    python benchmarks/prediction.py [IMAGES] [--backbone NAME] [--weights imagenet|FILE|random:SEED] [--draw N]
                                    [--head NAME] [--sides NAME ...]

IMAGES is a folder with one sub-folder per class; without one, N small pictures are drawn (10,000 unless told).
A head is fitted on 200 of them beforehand. The script by hand loads the Keras network and a pickled pipeline of
scikit-learn, and runs `image_dataset_from_directory`, `predict` and `predict_proba`. Each side runs in its own
process and writes a CSV file; images/s are of whole processes, imports and loading included. The difference is
the largest of icehouse's probabilities of one class to those from images.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
from pathlib import Path

import numpy as np
from extraction import Task, build
from side_by_side import machine, run, table

NAMES = {
    "hand": "by hand: Keras, image_dataset_from_directory, pickled pipeline",
    "images": "icehouse predict, from images",
    "reuse": "icehouse predict, from images, --cache with all vectors",
    "cache": "icehouse predict, from a cache",
}
REFERENCE = "images"
TRAINED_ON = 200


def draw(folder: Path, count: int) -> None:
    """Write small grey pictures of two classes: noise, and noise with a bright spot."""
    from PIL import Image

    generator = np.random.default_rng(0)
    y, x = np.mgrid[0:64, 0:64]
    for number in range(count):
        name = ("normal", "spot")[number % 2]
        pixels = generator.normal(110, 25, (64, 64))
        if name == "spot":
            row, column = generator.integers(16, 48, 2)
            pixels += 90 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 60)
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(folder / name / f"{number:06}.png")


def prepare(folder: Path, options: argparse.Namespace) -> None:
    """Extract all vectors, and fit the head that every side uses: as a bundle and as a pickled pipeline."""
    import icehouse
    import joblib
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    settings = {"backbone": options.backbone, "weights": options.weights}
    few = icehouse.extract_features(options.images, folder / "few.h5", limit=TRAINED_ON // 2, **settings)
    icehouse.fit_head(few, options.head, out=folder / "model.head", note=lambda _: None)
    by_hand = CalibratedClassifierCV(SVC(), ensemble=False)
    joblib.dump(make_pipeline(StandardScaler(), by_hand).fit(few.X, few.y), folder / "pipeline.joblib")
    icehouse.extract_features(options.images, folder / "all.h5", **settings).close()


def by_hand(folder: Path, options: argparse.Namespace, out: Path) -> int:
    """Score as a script would that knows Keras and scikit-learn."""
    import joblib
    import keras
    from icehouse.extract import engines

    engines.import_keras()
    files = sorted(path for path in options.images.resolve().glob("**/*") if path.is_file())
    model, scale = build(Task(files, options.backbone, options.weights, out))
    size = model.input_shape[1]
    data = keras.utils.image_dataset_from_directory(
        options.images, labels=None, shuffle=False, image_size=(size, size), batch_size=32, verbose=False
    )
    vectors = model.predict(data.map(scale), verbose=0)["avg_pool"]
    pipeline = joblib.load(folder / "pipeline.joblib")
    probabilities = pipeline.predict_proba(vectors)
    with out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", *(f"p_{name}" for name in pipeline.classes_)])
        writer.writerows(
            [path, *row] for path, row in zip(data.file_paths, probabilities.tolist(), strict=True)
        )
    return len(vectors)


def side(name: str, folder: Path, options: argparse.Namespace) -> None:
    """Run one side, or what all of them need, and print how many images it scored."""
    out = folder / f"{name}.csv"
    if name == "prepare":
        prepare(folder, options)
        count = 0
    elif name == "hand":
        count = by_hand(folder, options, out)
    else:
        import icehouse

        head = icehouse.load_head(folder / "model.head")
        weights = None if options.weights == "imagenet" or ":" in options.weights else options.weights
        given = {"weights": weights} if name != "cache" else {}
        if name == "reuse":
            given["reuse"] = folder / "all.h5"
        found = head.predict(folder / "all.h5" if name == "cache" else options.images, **given)
        found.write(out, overwrite=True)
        count = len(found)
    print(json.dumps({"images": count}))


def column(file: Path) -> dict[str, float]:
    """Return the first probability of each image, by the end of its path."""
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    share = next(name for name in rows[0] if name.startswith("p_"))
    return {"/".join(Path(row["path"]).parts[-2:]): float(row[share]) for row in rows}


def main() -> None:
    """Run the sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--backbone", default="efficientnetlite0")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--draw", type=int, default=10_000)
    parser.add_argument("--head", default="svm")
    parser.add_argument("--sides", nargs="+", choices=list(NAMES), default=list(NAMES))
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side(options.side, options.folder, options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if options.images is None:
            options.images = folder / "images"
            draw(options.images, options.draw)
        arguments = [str(options.images), "--folder", temporary, "--backbone", options.backbone]
        arguments += ["--weights", options.weights, "--head", options.head]
        run(__file__, *arguments, "--side", "prepare")  # a child's peak is at least its parent's at that moment
        results = {name: run(__file__, *arguments, "--side", name) for name in options.sides}
        print(f"{machine()}; {options.backbone}; {options.head}\n")
        rates = {name: found["images"] / found["process_seconds"] for name, found in results.items()}
        reference = column(folder / f"{REFERENCE}.csv") if REFERENCE in results else {}
        lines = []
        for name, found in results.items():
            mine = column(folder / f"{name}.csv")
            apart = max((abs(mine[path] - share) for path, share in reference.items()), default=float("nan"))
            shown = "" if name == "hand" else f"{apart:.1e}"
            ratio = f"{rates[name] / rates['hand']:.1f}×" if "hand" in rates else ""
            seconds, memory = f"{found['process_seconds']:.1f}", f"{found['megabytes']:.0f}"
            lines.append([NAMES[name], f"{rates[name]:.0f}", ratio, seconds, memory, shown])
        headings = ["", "images/s", "ratio", "whole process, s", "peak memory, MB", "difference"]
        print(table(headings, lines))


if __name__ == "__main__":
    main()
