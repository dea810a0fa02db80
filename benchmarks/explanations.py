"""Where heads look, where it is known where they should: lesions of phantoms, infections that experts outlined.

    python benchmarks/explanations.py [--heads HEAD …] [--train N] [--explain N] [--ct COVID_CT CT_SERIES]

Heads are fitted on N phantoms of each class (512), and explained on N others that are diseased (300), by
feature-map occlusion with EfficientNet-Lite0, as `icehouse explain` does. Counted is the share of pictures
whose peak lies within the lesion's circle: of all, of those that the head recognizes, with Grad-CAM where the
head has a gradient, and of heads fitted on permuted labels. Beside it stands chance: the circle's share of the
picture, and the same peaks with the lesion of another picture, as lesions lie in lungs and so do peaks.

With --ct, heads are fitted on the slices of COVID_CT (a manifest or class folders, one class called covid), and
those slices of CT_SERIES are explained that have an infection mask, cut to the lungs: a folder of series, each
with `dicom`, `lung_masks` and `infection_masks`. Such infections are smaller than a cell of the maps, so that
the share of peaks within 16 pixels of the mask (of 224, half a cell) is given, too.

The settings of `icehouse.explain` were chosen on other phantoms (seed 101) than those of this table (seed 202).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import icehouse
import numpy as np
from icehouse import explaining
from icehouse.bundle import images
from icehouse.bundle.scorers import DIFFERENTIABLE
from icehouse.explain.grad_cam import grad_cam
from icehouse.explain.heat import peak
from icehouse.explain.occlusion import occlusions
from icehouse.extract import phantoms
from PIL import Image
from scipy import ndimage
from side_by_side import machine, table

HEADS = ["mlp", "svm", "xgboost", "logistic", "mlp-bn", "lda", "forest", "knn", "pyramid", "dummy"]
BACKBONE = "efficientnetlite0"
TRAINED, EXPLAINED = 12, 202
"""Seeds of the phantoms that heads are fitted on, and of those that are explained."""
WINDOW = (2150, 3750)
"""Centre and width of the window that slices of grey values without Hounsfield units are shown in: the lung
window (-600, 1500), if air (1,150 there) is -1,000 and soft tissue (3,750) 40."""
SIDE, NEAR = 224, 16
"""Pixels of the network's input, and how many of them from an infection are near it."""
MARGIN = 0.04
"""Of the slice's side, around the lungs: slices in publications show little else."""


class Found(NamedTuple):
    """What a head says of pictures: which it recognizes, and its peaks, (n, 2), by occlusion and Grad-CAM."""

    right: np.ndarray
    occlusion: np.ndarray
    grad_cam: np.ndarray | None


def fitted(cache: Path, heads: list[str], folder: Path, labels: Path | None = None) -> dict[str, Any]:
    """Return the bundles of heads that were fitted on a cache."""
    name = f"{cache.stem}-{'permuted' if labels else 'fitted'}"
    return {
        head: icehouse.fit_head(
            cache, head, labels=labels, out=folder / f"{name}-{head}.head", note=lambda _: None
        ).bundle
        for head in heads
    }


def permuted(manifest: Path, out: Path) -> Path:
    """Write a manifest with its labels permuted."""
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    order = np.random.default_rng(0).permutation(len(rows))
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label"])
        writer.writerows([row["path"], rows[other]["label"]] for row, other in zip(rows, order, strict=True))
    return out


def explained(bundles: dict[str, Any], paths: list[Path], wanted: str) -> dict[str, Found]:
    """Return what each head says of pictures, in their order; the network runs once for all heads."""
    opened = images.images_for(next(iter(bundles.values())), paths, images.Choices(), lambda _: None)
    order: list[int] = []
    found: dict[str, list[tuple[Any, ...]]] = {name: [] for name in bundles}

    def take(frames: Any) -> None:
        order.extend(frames.sample.tolist())
        X = frames.vectors[explaining.LAYER]
        for name, bundle in bundles.items():
            target = bundle.classes.index(wanted)
            right = bundle.decide(bundle.scores(X)[0]) == target
            mean = bundle.contents.array("maps/mean", (None, None, None))
            weights = occlusions(frames.maps, mean, bundle.margins, [target] * len(X), frames.mirrored)
            cams = [(np.nan, np.nan)] * len(X)
            if bundle.provenance.head["kind"] in DIFFERENTIABLE:
                gradients = bundle.gradients(X, target)
                cams = [peak(grad_cam(*both)) for both in zip(frames.maps, gradients, strict=True)]
            found[name].extend(zip(right, map(peak, weights), cams, strict=True))

    explaining.maps_of(opened.source, opened.setup, take, held=opened.held)
    place = np.argsort(order)
    results = {}
    for name, rows in found.items():
        right, peaks, cams = (np.array(column)[place] for column in zip(*rows, strict=True))
        results[name] = Found(right, peaks, None if np.isnan(cams).any() else cams)
    return results


def share(hits: np.ndarray) -> str:
    """Return a share with its standard error."""
    if not len(hits):
        return "–"
    mean = hits.mean()
    return f"{mean:.3f} ± {np.sqrt(mean * (1 - mean) / len(hits)):.3f}"


def on_phantoms(options: argparse.Namespace, folder: Path) -> None:
    """Print the table of peaks within lesions."""
    trained = phantoms.write_data_set(folder / "trained", phantoms.HOME, options.train, options.train, TRAINED)
    others = phantoms.write_data_set(folder / "explained", phantoms.HOME, 0, options.explain, EXPLAINED)
    cache = folder / "trained.h5"
    icehouse.extract_features(trained, cache, backbone=BACKBONE).close()
    heads = fitted(cache, options.heads, folder)
    by_lot = fitted(cache, options.heads, folder, permuted(trained, folder / "trained" / "permuted.csv"))
    with others.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    lesions = np.array([[float(row[f"lesion_{part}"]) for part in ("y", "x", "radius")] for row in rows])
    lesions /= phantoms.HOME.size
    found = explained(
        {**{f"fitted {n}": b for n, b in heads.items()}, **{f"permuted {n}": b for n, b in by_lot.items()}},
        [others],
        phantoms.DISEASED,
    )

    def within(peaks: np.ndarray, circles: np.ndarray = lesions) -> np.ndarray:
        return np.hypot(*(peaks - circles[:, :2]).T) <= circles[:, 2]

    lines = []
    for name in options.heads:
        one, chance = found[f"fitted {name}"], found[f"permuted {name}"]
        lines.append(
            [
                name,
                f"{one.right.mean():.3f}",
                share(within(one.occlusion)),
                share(within(one.occlusion)[one.right]),
                "–" if one.grad_cam is None else share(within(one.grad_cam)),
                share(within(chance.occlusion)),
                share(within(one.occlusion, np.roll(lesions, 1, axis=0))),
            ]
        )
    print(f"{len(rows)} diseased phantoms; heads fitted on {2 * options.train} others\n")
    headings = ["head", "recognized", "peak in the lesion", "of recognized", "Grad-CAM", "labels permuted"]
    print(table([*headings, "another's lesion"], lines))
    random = np.random.default_rng(0).random((len(lesions), 2))
    area = (np.pi * lesions[:, 2] ** 2).mean()
    print(
        f"\nThe lesion's share of the picture: {area:.3f}; a random place lies in it: {share(within(random))}"
    )


def slices(series: Path, folder: Path) -> tuple[list[Path], list[np.ndarray], list[np.ndarray]]:
    """Write the lungs in slices with an infection mask as PNG files; return these and both masks of each."""
    import pydicom

    read = [pydicom.dcmread(path) for path in sorted((series / "dicom").iterdir())]
    read.sort(key=lambda slice_: int(slice_.InstanceNumber))
    volume = np.stack([slice_.pixel_array for slice_ in read]).astype(np.float32)
    stored = {
        name: np.stack([np.asarray(Image.open(path)) > 0 for path in sorted((series / name).glob("*.png"))])
        for name in ("lung_masks", "infection_masks")
    }
    # The masks lie otherwise than the slices: of eight ways to turn them, those of lungs are given the one in
    # which most of them is as dark as lungs are, and those of infections that in which most lies within lungs.
    low, high = WINDOW[0] - WINDOW[1] / 2, WINDOW[0] + WINDOW[1] / 2
    dark = (volume > low) & (volume < WINDOW[0])
    lungs = best(stored["lung_masks"], dark)
    infected = best(stored["infection_masks"], lungs)
    shown = np.clip((volume - low) / (high - low) * 255, 0, 255).round().astype(np.uint8)
    found: tuple[list[Path], list[np.ndarray], list[np.ndarray]] = ([], [], [])
    for number in np.flatnonzero(infected.any(axis=(1, 2))):
        margin = round(MARGIN * len(lungs[number]))
        around = tuple(
            slice(max(0, places.min() - margin), places.max() + 1 + margin)
            for places in np.nonzero(lungs[number])
        )
        path = folder / f"{series.name}-{number + 1:03}.png"
        Image.fromarray(shown[number][around]).save(path)
        for some, one in zip(found, (path, infected[number][around], lungs[number][around]), strict=True):
            some.append(one)
    return found


def best(masks: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return square masks turned so that most of them lies where they should."""
    ways = [np.rot90(each, turn, axes=(1, 2)) for each in (masks, masks[:, ::-1]) for turn in range(4)]
    return max(ways, key=lambda way: float((way & where).sum()))


def on_slices(options: argparse.Namespace, folder: Path) -> None:
    """Print the table of peaks within infections."""
    data, series = options.ct
    cache = folder / "slices.h5"
    icehouse.extract_features(data, cache, backbone=BACKBONE).close()
    heads = fitted(cache, options.heads, folder)
    pictures = folder / "slices"
    pictures.mkdir()
    found = [slices(each, pictures) for each in sorted(series.iterdir()) if (each / "infection_masks").is_dir()]
    paths = [path for each in found for path in each[0]]
    infected = [mask for each in found for mask in each[1]]
    lungs = [mask for each in found for mask in each[2]]
    results = explained(heads, paths, "covid")

    away = [
        ndimage.distance_transform_edt(~mask, sampling=[SIDE / side for side in mask.shape])
        for mask in infected
    ]

    def near(peaks: np.ndarray, distance: float) -> np.ndarray:
        return np.array([_at(one, place) <= distance for one, place in zip(away, peaks, strict=True)])

    lines = []
    for name, one in results.items():
        in_lungs = np.array([_at(mask, place) for mask, place in zip(lungs, one.occlusion, strict=True)])
        shares = [share(near(one.occlusion, distance)) for distance in (0, NEAR)]
        lines.append([name, f"{one.right.mean():.3f}", *shares, share(in_lungs)])
    print(f"\n{len(paths)} slices with infections; heads fitted on {data}\n")
    headings = ["head", "said covid", "peak in the infection", "within 16 pixels of it", "in the lungs"]
    print(table(headings, lines))
    wide = [one <= NEAR for one in away]
    print()
    for name, masks in (("infections", infected), ("within 16 pixels of them", wide), ("lungs", lungs)):
        of_picture = np.mean([mask.mean() for mask in masks])
        of_lungs = np.mean([mask[lung].mean() for mask, lung in zip(masks, lungs, strict=True)])
        print(f"Chance, {name}: {of_picture:.3f} of the picture, {of_lungs:.3f} of the lungs")


def _at(values: np.ndarray, place: np.ndarray) -> Any:
    """Return the value at a place in fractions of the picture."""
    y, x = (place * values.shape).astype(int)
    return values[y, x]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--heads", nargs="+", default=HEADS)
    parser.add_argument("--train", type=int, default=512)
    parser.add_argument("--explain", type=int, default=300)
    parser.add_argument("--ct", nargs=2, type=Path, metavar=("COVID_CT", "CT_SERIES"))
    options = parser.parse_args()
    print(f"{machine()}; {BACKBONE}\n")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        on_phantoms(options, folder)
        if options.ct:
            on_slices(options, folder)


if __name__ == "__main__":
    main()
