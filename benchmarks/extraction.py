"""Extraction from files: icehouse against Keras's own loop (`image_dataset_from_directory` and `predict`).

    python benchmarks/extraction.py IMAGES [--backbone NAME] [--weights imagenet|FILE|random:SEED] [--repeats N]

IMAGES is a folder with one sub-folder per class. Each side runs in its own process. Images/s count from the
building of the network to the last vector, imports left out; the whole process is given beside it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from side_by_side import machine, run, table


def icehouse_side(images: Path, backbone: str, weights: str) -> None:
    """Extract into a new cache and print what it took."""
    from icehouse import api
    from icehouse.extract import engines

    engines.import_keras()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        summary = api.extract(images, Path(folder) / "features.h5", backbone=backbone, weights=weights)
        seconds = time.perf_counter() - started
    print(json.dumps({"images": summary.computed, "seconds": seconds}))


def keras_side(images: Path, backbone: str, weights: str) -> None:
    """Do what Keras's documentation shows, with the same network and weights, and print what it took."""
    from icehouse.extract import backbones, canaries, engines
    from icehouse.extract import weights as weight_files
    from icehouse.extract.decode import Preparation

    keras = engines.import_keras()
    chosen = backbones.find(backbone)
    started = time.perf_counter()
    network = backbones.build(chosen)
    found = weight_files.resolve(weights, chosen)
    if found.path is not None:
        backbones.load_file(network, chosen, found.path)
    else:
        pixels = canaries.pixels(Preparation((chosen.size, chosen.size)))
        backbones.draw_random(network, found.seed, backbones.SCALINGS[chosen.scaling](pixels))
    scaling = {"tf": (1 / 127.5, -1.0), "lite": (1 / 128, -127 / 128), "caffe": (1.0, 0.0)}[chosen.scaling]
    model = keras.Sequential(
        [
            keras.Input((chosen.size, chosen.size, 3)),
            keras.layers.Rescaling(*scaling),
            network,
            keras.layers.GlobalAveragePooling2D(),
        ]
    )
    data = keras.utils.image_dataset_from_directory(
        images, labels=None, shuffle=False, image_size=(chosen.size, chosen.size), batch_size=32, verbose=False
    )
    vectors = model.predict(data, verbose=0)
    print(json.dumps({"images": len(vectors), "seconds": time.perf_counter() - started}))


def main() -> None:
    """Run both sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--backbone", default="efficientnetlite0")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--side", choices=("icehouse", "keras"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side = icehouse_side if options.side == "icehouse" else keras_side
        side(options.images, options.backbone, options.weights)
        return
    arguments = (str(options.images), "--backbone", options.backbone, "--weights", options.weights)
    results: dict[str, list[dict[str, float]]] = {"keras": [], "icehouse": []}
    for _ in range(options.repeats):
        for side, found in results.items():
            found.append(run(__file__, *arguments, "--side", side))
    print(f"{machine()}; {options.backbone}; medians of {options.repeats}\n")
    rates = {
        side: statistics.median(r["images"] / r["seconds"] for r in found) for side, found in results.items()
    }
    names = {"keras": "Keras: image_dataset_from_directory + predict", "icehouse": "icehouse extract"}
    rows = [
        [
            names[side],
            f"{found[0]['images']:.0f}",
            f"{rates[side]:.1f}",
            f"{rates[side] / rates['keras']:.2f}×",
            f"{statistics.median(r['process_seconds'] for r in found):.1f}",
            f"{max(r['megabytes'] for r in found):.0f}",
        ]
        for side, found in results.items()
    ]
    headings = ["", "images", "images/s", "ratio", "whole process, s", "peak memory, MB"]
    print(table(headings, rows))


if __name__ == "__main__":
    main()
