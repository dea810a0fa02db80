"""Extraction from files: icehouse, each engine and precision, against what one would otherwise write.

    python benchmarks/extraction.py IMAGES [--backbone NAME] [--weights imagenet|FILE|random:SEED] [--limit N]
                                    [--repeats N] [--sides NAME ...] [--save FOLDER]

IMAGES is a folder with one sub-folder per class. Each side runs in its own process. Images/s count from the
building of the network to the last vector, imports left out; the whole process is given beside it. The distance
is the median of ‖v − w‖₂ / ‖w‖₂ to the vectors w of icehouse on Keras at float32: other loops differ
mostly by how it resizes. The two ceilings are the network alone on pictures in memory, and reading and decoding
alone.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import machine, run, table

REFERENCE = "icehouse keras float32"


@dataclass(frozen=True)
class Task:
    """What every side is given."""

    files: list[Path]
    backbone: str
    weights: str
    vectors: Path


def build(task: Task) -> tuple[Any, Any]:
    """Return the network with its pooling as a Keras model, and what it does to pixels before."""
    from dataclasses import replace

    from icehouse.extract import backbones, canaries, networks
    from icehouse.extract.settings import Settings, set_up

    setup = set_up(Settings(backbone=task.backbone, weights=task.weights, engine="keras"))
    scale = backbones.SCALINGS[setup.plan.scaling]
    pixels = scale(canaries.pixels(setup.canary_preparation))
    plan = replace(setup.plan, layers=("avg_pool",))
    return networks.assemble(plan, pixels, forward), scale


def forward(model: Any, pixels: Any) -> list[Any]:
    """Run a Keras model once, for calibrating random weights."""
    import keras

    return [np.asarray(output) for output in keras.tree.flatten(model.predict_on_batch(pixels))]


def loop(task: Task) -> int:
    """Keras's own loop: `image_dataset_from_directory` and `predict`."""
    import keras

    model, scale = build(task)
    size = model.input_shape[1]
    with tempfile.TemporaryDirectory() as folder:
        for number, file in enumerate(task.files):
            (Path(folder) / f"{number:06}{file.suffix}").symlink_to(file)
        data = keras.utils.image_dataset_from_directory(
            folder, labels=None, shuffle=False, image_size=(size, size), batch_size=32, verbose=False
        )
        outputs = model.predict(data.map(scale), verbose=0)  # tensors know the operators that it is made of
    np.save(task.vectors, outputs["avg_pool"])
    return len(outputs["avg_pool"])


def one_at_a_time(task: Task) -> int:
    """One image at a time: `load_img`, `img_to_array`, `predict`, as most scripts on the web do."""
    import keras

    model, scale = build(task)
    size = model.input_shape[1]
    vectors = []
    for file in task.files:
        image = keras.utils.load_img(file, target_size=(size, size))
        pixels = scale(keras.utils.img_to_array(image)[np.newaxis])
        vectors.append(model.predict(pixels, verbose=0)["avg_pool"][0])
    np.save(task.vectors, np.stack(vectors))
    return len(vectors)


def torch_loop(task: Task) -> int:
    """The same network on PyTorch: a `DataLoader` with two workers, `inference_mode`, batches of 32."""
    import torch
    from PIL import Image

    model, scale = build(task)
    size = model.input_shape[1]

    class Pictures(torch.utils.data.Dataset[Any]):
        def __len__(self) -> int:
            return len(task.files)

        def __getitem__(self, index: int) -> Any:
            with Image.open(task.files[index]) as image:
                pixels = np.asarray(image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
            return scale(pixels.astype(np.float32)[np.newaxis])[0].copy()

    loader = torch.utils.data.DataLoader(Pictures(), batch_size=32, num_workers=2)
    with torch.inference_mode():
        vectors = [model(batch)["avg_pool"].numpy() for batch in loader]
    np.save(task.vectors, np.concatenate(vectors))
    return len(task.files)


def icehouse(task: Task, engine: str, precision: str) -> int:
    """Extract into a new cache."""
    from icehouse import api

    with tempfile.TemporaryDirectory() as folder:
        manifest, cache = Path(folder) / "manifest.csv", Path(folder) / "features.h5"
        manifest.write_text("path\n" + "".join(f'"{file.relative_to("/")}"\n' for file in task.files), "utf-8")
        options = {"backbone": task.backbone, "weights": task.weights, "engine": engine, "precision": precision}
        summary = api.extract(manifest, cache, root="/", **options)
        if summary.failed:
            raise SystemExit(f"{summary.failed} images failed: leave them out, for the others stop at them.")
        with api.open_cache(cache) as opened:
            np.save(task.vectors, opened.X)
    return summary.computed


def network_alone(task: Task, engine: str, precision: str) -> Iterator[None]:
    """Yield once the engine is warm; then run it on as many pictures in memory as there are files."""
    from dataclasses import replace

    from icehouse.extract import canaries, engines
    from icehouse.extract.settings import Settings, set_up

    settings = Settings(backbone=task.backbone, weights=task.weights, engine=engine, precision=precision)
    setup = set_up(settings)
    pixels = canaries.pixels(setup.canary_preparation)
    loaded = engines.load(replace(setup.plan, engine=engine), setup.batch_size, pixels)
    batch = np.resize(pixels, (loaded.batch_size, *pixels.shape[1:]))
    loaded.run(batch)
    yield
    for start in range(0, len(task.files), len(batch)):
        loaded.run(batch[: len(task.files) - start])


def decode_alone(task: Task) -> Iterator[None]:
    """Yield at once; then read, decode and resize every file, in as many threads as an extraction does."""
    from icehouse.extract.clock import Clock
    from icehouse.extract.knowledge import Knowledge
    from icehouse.extract.pipeline import in_order
    from icehouse.extract.reading import Reader
    from icehouse.extract.settings import Settings, set_up

    setup = set_up(Settings(backbone=task.backbone, weights=task.weights))
    reader = Reader(setup.preparation, setup.rule, 1, Knowledge(), Clock())
    yield
    for _ in in_order(reader.read, task.files, setup.settings.threads(), ahead=64):
        pass


def side(name: str, task: Task) -> None:
    """Run one side and print what it took."""
    kind, *options = name.split()
    if kind in ("network", "decode"):
        part = network_alone(task, *options) if kind == "network" else decode_alone(task)
        next(part)
        started = time.perf_counter()
        next(part, None)
        images = len(task.files)
    else:
        if kind == "torch":
            os.environ["KERAS_BACKEND"] = "torch"
        if "openvino" not in name:
            from icehouse.extract import engines

            engines.import_keras()
        started = time.perf_counter()
        others = {"loop": loop, "one": one_at_a_time, "torch": torch_loop}
        images = icehouse(task, *options) if kind == "icehouse" else others[kind](task)
    print(json.dumps({"images": images, "seconds": time.perf_counter() - started}))


NAMES = {
    "loop": "Keras: image_dataset_from_directory + predict",
    "one": "Keras: one image at a time",
    "torch": "PyTorch: DataLoader + inference_mode",
    "decode": "reading and decoding alone",
}
OURS = [f"{engine} {precision}" for engine in ("keras", "openvino") for precision in ("float32", "bfloat16")]


def sides() -> list[str]:
    """Return every side that this machine can run."""
    from importlib.util import find_spec

    able = ["loop", "one", *(["torch"] if find_spec("torch") else [])]
    ours = [name for name in OURS if find_spec(name.split()[0])]
    return [*able, *(f"icehouse {name}" for name in ours), *(f"network {name}" for name in ours), "decode"]


def main() -> None:
    """Run the sides in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("--backbone", default="inceptionv3")
    parser.add_argument("--weights", default="imagenet")
    parser.add_argument("--limit", type=int, help="files, evenly spread over all of them")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--sides", nargs="+", help=", ".join(sides()))
    parser.add_argument("--save", type=Path, help="keep the vectors of each side in this folder")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    known = {".png", ".jpg", ".jpeg", ".bmp"}  # what every side can read
    files = sorted(path for path in options.images.resolve().glob("**/*") if path.suffix.lower() in known)
    step = max(1, len(files) // (options.limit or len(files)))
    folder = options.save or Path(tempfile.mkdtemp())
    if options.side:
        vectors = folder / f"{options.side.replace(' ', '-')}.npy"
        side(options.side, Task(files[::step][: options.limit], options.backbone, options.weights, vectors))
        return
    folder.mkdir(exist_ok=True)
    arguments = [str(options.images), "--backbone", options.backbone, "--weights", options.weights]
    arguments += ["--save", str(folder), *(["--limit", str(options.limit)] if options.limit else [])]
    chosen = options.sides or sides()
    results: dict[str, list[dict[str, float]]] = {name: [] for name in chosen}
    for _ in range(options.repeats):
        for name, found in results.items():
            with suppress(SystemExit):  # a precision that this processor does not have
                found.append(run(__file__, *arguments, "--side", name))
    print(f"{machine()}; {options.backbone}; {len(files[::step][: options.limit])} files; ", end="")
    print(f"medians of {options.repeats}\n")
    headings = ["", "images/s", "ratio", "whole process, s", "peak memory, MB", "distance"]
    print(table(headings, rows(results, folder)))


def rows(results: dict[str, list[dict[str, float]]], folder: Path) -> list[list[str]]:
    """Return a line for each side; the ratio is to Keras's own loop."""
    rates = {
        name: statistics.median(r["images"] / r["seconds"] for r in found)
        for name, found in results.items()
        if found
    }
    lines = []
    for name, found in results.items():
        if not found:
            lines.append([NAMES.get(name, name), "cannot be had on this machine", "", "", "", ""])
            continue
        alone = name.startswith(("network", "decode"))
        distance = distance_of(
            folder / f"{name.replace(' ', '-')}.npy", folder / f"{REFERENCE.replace(' ', '-')}.npy"
        )
        lines.append(
            [
                NAMES.get(name, name.replace("network", "network alone:")),
                f"{rates[name]:.1f}",
                f"{rates[name] / rates['loop']:.2f}×" if "loop" in rates else "",
                "" if alone else f"{statistics.median(r['process_seconds'] for r in found):.1f}",
                "" if alone else f"{max(r['megabytes'] for r in found):.0f}",
                "" if alone else distance,
            ]
        )
    return lines


def distance_of(file: Path, reference: Path) -> str:
    """Return the median relative distance of two files of vectors."""
    if not file.exists() or not reference.exists():
        return ""
    vectors, others = np.load(file).astype(np.float64), np.load(reference).astype(np.float64)
    apart = np.linalg.norm(vectors - others, axis=1) / np.linalg.norm(others, axis=1)
    return f"{np.median(apart):.1e}"


if __name__ == "__main__":
    main()
