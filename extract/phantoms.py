"""Synthetic chest X-rays with known lesions, for `icehouse demo` and the tests.

They resemble frontal chest radiographs as far as a demonstration needs: body, lungs, heart, spine, ribs,
clavicles, vessels, diaphragm, noise. They are no anatomy and prove nothing about patients.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..cache import atomic

Picture = NDArray[Any]

NORMAL, DISEASED = "normal", "diseased"


@dataclass(frozen=True)
class Scanner:
    """How a machine renders what it sees.

    Parameters
    ----------
    name : str
    size : int
        Height and width in pixels.
    gamma : float
        Exponent of the tone curve.
    contrast : float
        Width of the tone range, 1 for all of it.
    noise : float
        Standard deviation of the noise, in shares of the tone range.
    """

    name: str
    size: int
    gamma: float
    contrast: float
    noise: float


HOME = Scanner("scanner A", size=384, gamma=1.0, contrast=0.95, noise=0.018)
ELSEWHERE = Scanner("scanner B", size=448, gamma=0.85, contrast=0.85, noise=0.026)


@dataclass(frozen=True)
class Lesion:
    """Where an opacity lies: centre and radius in pixels."""

    x: float
    y: float
    radius: float


def write_data_set(
    folder: Path,
    scanner: Scanner,
    normal: int,
    diseased: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Path:
    """Write phantoms as PNG files and return their manifest.

    Parameters
    ----------
    folder : Path
        Made anew; gets `images/`, `manifest.csv` with the columns path, label, patient and scanner, and
        `lesions.csv` with path, x, y and radius (pixels) of each lesion: what heads are to find, and so apart
        from what is told of the images.
    scanner : Scanner
    normal, diseased : int
        How many of each.
    seed : int
    progress : callable
        Called with the number of images written.
    """
    (folder / "images").mkdir(parents=True)
    rows, lesions = [], []
    labels = [NORMAL] * normal + [DISEASED] * diseased
    for number, label in enumerate(labels, start=1):
        generator = np.random.default_rng([seed, number])
        pixels, lesion = render(scanner, generator, diseased=label == DISEASED)
        path = f"images/{label}-{number:03d}.png"
        Image.fromarray(pixels).save(folder / path)
        patient = f"{scanner.name[-1]}{number:03d}"
        rows.append({"path": path, "label": label, "patient": patient, "scanner": scanner.name})
        if lesion:
            place = {name: f"{value:.1f}" for name, value in asdict(lesion).items()}
            lesions.append({"path": path, **place})
        progress(number)
    write_table(folder / "lesions.csv", ("path", *(place.name for place in fields(Lesion))), lesions)
    return write_table(folder / "manifest.csv", list(rows[0]), rows)


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, str]]) -> Path:
    """Write a CSV file, one line for each row, and return its path."""
    with atomic.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def render(
    scanner: Scanner, generator: np.random.Generator, *, diseased: bool
) -> tuple[NDArray[np.uint8], Lesion | None]:
    """Draw one phantom.

    Parameters
    ----------
    scanner : Scanner
    generator : numpy.random.Generator
    diseased : bool

    Returns
    -------
    pixels : ndarray of uint8, shape (size, size)
    lesion : Lesion or None
    """
    size = scanner.size
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    tilt, scale = float(generator.normal(0, 0.025)), float(generator.normal(1.0, 0.045))
    dx, dy = generator.normal(0, 0.03, 2).tolist()
    u, v = (axis / scale for axis in turned(x - dx, y - dy, tilt))
    anatomy = _Anatomy(u, v, generator)
    picture = anatomy.picture()
    lesion = None
    if diseased:
        opacity, lesion = _opacity(x, y, anatomy.lungs, generator)
        picture = picture + opacity
    picture = picture * (0.96 + 0.08 * _texture(size, 3, generator))
    toned = np.clip(picture, 0, 1) ** scanner.gamma
    toned = 0.5 + (toned - 0.5) * scanner.contrast
    grain = generator.standard_normal(picture.shape, dtype=np.float32)
    noise = scanner.noise * grain * np.sqrt(0.35 + toned)
    return (np.clip(toned + noise, 0, 1) * 255).round().astype(np.uint8), lesion


class _Anatomy:
    """The parts of one chest, in coordinates u (to the right) and v (downwards) from −1 to 1."""

    def __init__(self, u: Picture, v: Picture, generator: np.random.Generator) -> None:
        self.u, self.v, self.across, self.generator = u, v, np.abs(u), generator

        def about(mean: float, spread: float) -> float:
            return float(generator.normal(mean, spread))

        self.width = about(0.68, 0.03)
        self.aeration = about(0.42, 0.025)
        self.first_rib, self.rib_gap = about(-0.74, 0.015), about(0.142, 0.006)
        cx, cy, rx, ry = about(0.11, 0.02), about(0.24, 0.03), about(0.30, 0.035), about(0.25, 0.03)
        heart = step(1 - np.hypot((u - cx) / rx, (v - cy) / ry), 0.08)
        aorta = step(1 - np.hypot((u - 0.10) / 0.10, (v + 0.28) / 0.12), 0.15)
        self.heart = np.maximum(heart, 0.8 * aorta)
        lungs = np.maximum(self._lung(-1, about(0.40, 0.05)), self._lung(1, about(0.46, 0.05)))
        self.lungs = lungs * (1 - 0.92 * self.heart)

    def _lung(self, side: int, dome: float) -> Picture:
        """One lung between 0 and 1: rounded above, its base a dome."""
        across = side * self.u
        height = np.clip((self.v + 0.84) / (dome + 0.84), 1e-3, 1.0)
        outer = self.width * (1 - (1 - height) ** 2.3) ** 0.6
        inner = 0.12 + 0.05 * np.sin(np.pi * height)
        base = dome + 0.9 * (across - 0.30) ** 2 * np.where(across > 0.30, 1.6, 0.5)
        sides = step(across - inner, 0.02) * step(outer - across, 0.025)
        lung: Picture = sides * step(base - self.v, 0.025)
        return lung

    def picture(self) -> Picture:
        """Return the radiograph before the scanner's own rendering, about 0 (black) to 1 (white)."""
        u, v, g = self.u, self.v, self.generator
        half = 0.22 + 0.74 * smooth((v + 1.12) / 0.62)
        body = step(half - self.across, 0.03)
        tissue = 0.60 + 0.13 * smooth((v - 0.25) / 0.5) - 0.14 * self.across**2
        aeration = self.aeration * (0.92 + 0.12 * _texture(len(u), 4, g))
        picture = tissue - aeration * self.lungs + self._mediastinum()
        picture = picture + self._ribs() + self._clavicles() + self._vessels() * self.lungs
        picture = picture + 0.035 * (_texture(len(u), 24, g) - 0.5) * self.lungs
        shown: Picture = picture * body + 0.03
        return shown

    def _mediastinum(self) -> Picture:
        spine = step(0.085 - self.across, 0.025) * (0.05 + 0.02 * np.cos(2 * np.pi * (self.v + 1) / 0.125))
        band = 0.14 * step(0.13 - self.across, 0.05)
        trachea = 0.09 * step(0.04 - self.across, 0.02) * step(-0.40 - self.v, 0.08)
        return np.maximum(band, 0.15 * self.heart) + spine - trachea

    def _ribs(self) -> Picture:
        """Posterior ribs falling outwards and fainter anterior ones falling inwards, bright at their edges."""
        across, v = self.across, self.v
        outwards = 0.10 * np.sin(2.2 * across) + 0.50 * np.clip(across - 0.36, 0, 1) ** 2
        posterior, anterior = np.zeros_like(across), np.zeros_like(across)
        for number in range(9):
            start = self.first_rib + number * self.rib_gap
            posterior += _band(v - start - outwards, 0.026)
            anterior += _band(v - start - 0.34 + 0.42 * (across - 0.10), 0.030)
        ribs = 0.075 * posterior * step(across - 0.06, 0.03) + 0.030 * anterior * step(across - 0.24, 0.08)
        cage: Picture = ribs * step(self.width + 0.06 - across, 0.05) * step(0.62 - v, 0.1)
        return cage

    def _clavicles(self) -> Picture:
        line = self.v + 0.60 + 0.20 * (self.across - 0.06) - 0.10 * np.sin(5 * self.across)
        ends = step(self.across - 0.07, 0.03) * step(0.80 - self.across, 0.04)
        clavicles: Picture = 0.13 * _band(line, 0.030) * ends
        return clavicles

    def _vessels(self) -> Picture:
        """Branches that leave each hilum and thin out."""
        g, thinnest = self.generator, 2.0 / len(self.u)
        drawn = np.zeros_like(self.u)
        for side in (-1, 1):
            hilum = ((self.u - side * 0.20) / 0.08) ** 2 + ((self.v + 0.02) / 0.13) ** 2
            drawn = np.maximum(drawn, 0.10 * np.exp(-hilum))
            for _ in range(11):
                angle, bend, reach = g.uniform(-1.25, 1.25), g.normal(0, 0.5), g.uniform(0.35, 0.6)
                along, off = turned(side * self.u - 0.15, self.v + 0.02, float(angle))
                off = (off + float(bend) * along**2) / np.clip(0.018 * (1 - along / 0.62), thinnest, None)
                branch = (
                    np.clip(1 - off**2 / 2, 0, None) * step(along, 0.04) * smooth((float(reach) - along) / 0.3)
                )
                drawn = np.maximum(drawn, 0.09 * branch)
        return drawn


def _opacity(x: Picture, y: Picture, lungs: Picture, generator: np.random.Generator) -> tuple[Picture, Lesion]:
    """A patchy cloud inside a lung, and where it is."""
    size = len(x)
    inside = np.argwhere((lungs > 0.97) & (np.abs(x) > 0.22) & (np.abs(y) < 0.62))
    row, column = inside[generator.integers(len(inside))].tolist()
    radius, squashed, angle, density = generator.uniform(
        (0.19, 0.75, 0, 0.40), (0.29, 1.3, np.pi, 0.54)
    ).tolist()
    along, off = turned(x - x[row, column], y - y[row, column], angle)
    distance = (along**2 * squashed + off**2 / squashed) / radius**2
    patches = np.clip(0.35 + 1.1 * _texture(size, 14, generator), 0, 1.3)
    cloud = density * np.exp(-1.1 * distance) * patches * (0.15 + 0.85 * lungs)
    return cloud, Lesion(column, row, radius * size / 2)


def turned(x: Picture, y: Picture, angle: float) -> tuple[Picture, Picture]:
    """Return coordinates along and across a direction."""
    cosine, sine = float(np.cos(angle)), float(np.sin(angle))
    return x * cosine + y * sine, y * cosine - x * sine


def step(values: Picture, width: float) -> Picture:
    """0 below zero, 1 above, with a ramp as wide as `width` in between."""
    step: Picture = np.clip(values / np.float32(width) + np.float32(0.5), 0, 1)
    return step


def smooth(values: Picture) -> Picture:
    """From 0 at zero to 1 at one without a kink."""
    t = np.clip(values, 0, 1)
    smooth: Picture = t * t * (3 - 2 * t)
    return smooth


def _band(offset: Picture, half_width: float) -> Picture:
    """A stripe that is a little brighter at both edges, as the cortex of a bone is."""
    off = np.abs(offset) - np.float32(half_width)
    band: Picture = 0.75 * step(-off, 0.012) + 0.45 * np.clip(1 - (off / 0.012) ** 2, 0, None)
    return band


def _texture(size: int, cells: int, generator: np.random.Generator) -> Picture:
    """Smooth random values between 0 and 1 with features as wide as 1 / cells of the picture."""
    coarse = Image.fromarray(generator.random((cells, cells), dtype=np.float32))
    texture: Picture = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC)).clip(0, 1)
    return texture
