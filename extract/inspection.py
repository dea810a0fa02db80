"""Look before you compute: every file is read as an extraction would, up to the network, and noted down.

Pixels are let go file by file, but for a few small tiles of the contact sheet. What the notes amount to is
`findings`; saying it is `report.inspection`.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import errors
from . import pipeline, reading
from .decode import Frame, Preparation, open_image
from .guard import guarded
from .picture import Facts, Picture, Pixels
from .sources import Sample, Source

FLAT = 4.0
"""A frame is flat if 98 % of what the network sees lies within so many of 255 grey levels."""

WHITE, BLACK = 0.10, 0.60
"""A frame is saturated if more than this share of its pixels has the largest or the least value of its bits.

On 1,124 chest X-rays as many black pixels as 45 %, and white ones above 1 % in one image of a hundred, are
usual: collimation and background are black, and nothing should be white.
"""

NOT_READ, CONSTANT, IS_FLAT, IS_WHITE, IS_BLACK = MARKS = (
    "not read",
    "constant",
    "nearly constant",
    "saturated white",
    "saturated black",
)
"""What can be doubtful about a file, the worst first."""

TILE_PIXELS = 168
TILES_A_CLASS = 8
CLASSES_SHOWN = 12
DOUBTFUL_SHOWN = 16


class Told(NamedTuple):
    """What the header of a DICOM file says; texts are empty, and `burned_in` None, where it says nothing."""

    modality: str = ""
    view: str = ""
    burned_in: bool | None = None


@dataclass(frozen=True, slots=True)
class Look:
    """What one file turned out to be.

    Parameters
    ----------
    sample : Sample
    content : bytes or None
        SHA-256 of its bytes; None if it could not be read.
    pixels : bytes or None
        SHA-256 of its frames' numbers; None if it was not decoded.
    facts : Facts or None
    failure : ImageError or None
        Why it cannot become a vector.
    told : Told or None
        What its DICOM header says.
    faults : dict of str to int
        How many of its frames are constant, nearly constant, saturated white or black.
    """

    sample: Sample
    content: bytes | None = None
    pixels: bytes | None = None
    facts: Facts | None = None
    failure: errors.ImageError | None = None
    told: Told | None = None
    faults: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_read(self) -> bool:
        """Whether it can become vectors."""
        return self.pixels is not None

    @property
    def marks(self) -> list[str]:
        """What is doubtful about it: some of `MARKS`, the worst first."""
        return [NOT_READ] if self.failure is not None else [mark for mark in MARKS if mark in self.faults]


@dataclass(frozen=True)
class Tile:
    """One frame of the contact sheet.

    Parameters
    ----------
    look : Look
    frame : int
    pixels : ndarray of uint8, shape (h, w, 3), or None
        What the network will see, at most `TILE_PIXELS` high and wide; None if it cannot be read.
    """

    look: Look
    frame: int
    pixels: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Inspection:
    """What there is to see.

    Parameters
    ----------
    looks : list of Look
        One for each sample, in their order.
    classes : dict of str to list of Tile
        Some of each class, spread over its files.
    doubtful : list of Tile
        Of other files, some with something doubtful about them, the worst first.
    """

    looks: list[Look]
    classes: dict[str, list[Tile]]
    doubtful: list[Tile]


def inspect(
    source: Source,
    preparation: Preparation,
    *,
    tiles: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Inspection:
    """Read every file of `source` in threads, as an extraction would, and note what it is.

    Parameters
    ----------
    source : Source
    preparation : Preparation
        How pixels will be prepared for the network.
    tiles : bool
        Keep what a contact sheet shows.
    progress : callable
        Told how many files were read, and of how many.

    Raises
    ------
    MissingDependency
        If the library that reads one of the files is not installed.
    """
    shown = _shown(source.samples) if tiles else {}

    def work(item: tuple[int, Sample]) -> tuple[Look, list[Tile]]:
        number, sample = item
        look, frames = look_at(sample, preparation, shown.get(number, 1 if tiles else 0))
        wanted = number in shown or (tiles and bool(look.marks))
        return look, _tiles(look, frames) if wanted else []

    workers = int(joblib.cpu_count())
    looks: list[Look] = []
    classes: dict[str, list[Tile]] = defaultdict(list)
    doubtful: dict[str, list[Tile]] = {mark: [] for mark in MARKS}
    items = enumerate(source.samples)
    for number, (look, its_tiles) in enumerate(pipeline.in_order(work, items, workers, ahead=4 * workers)):
        looks.append(look)
        if number in shown:
            classes[look.sample.label].extend(its_tiles)
        elif look.marks and len(doubtful[look.marks[0]]) < DOUBTFUL_SHOWN:
            doubtful[look.marks[0]].extend(its_tiles)
        progress(number + 1, len(source.samples))
    worst = [tile for tiles_of_mark in doubtful.values() for tile in tiles_of_mark]
    return Inspection(looks, dict(sorted(classes.items())), worst[:DOUBTFUL_SHOWN])


def _shown(samples: list[Sample]) -> dict[int, int]:
    """Return which samples the sheet shows, and how many frames of each: spread evenly over every class."""
    of_class: dict[str, list[int]] = defaultdict(list)
    for number, sample in enumerate(samples):
        of_class[sample.label].append(number)
    shown = {}
    for label in sorted(of_class)[:CLASSES_SHOWN]:
        members = of_class[label]
        frames = max(1, TILES_A_CLASS // len(members))
        shown.update(dict.fromkeys((members[index] for index in _spread(TILES_A_CLASS, len(members))), frames))
    return shown


def _spread(wanted: int, count: int) -> list[int]:
    """Return up to `wanted` of the numbers below `count`, evenly spread; of one, the middle."""
    wanted = min(wanted, count)
    return [(2 * place + 1) * count // (2 * wanted) for place in range(wanted)]


def look_at(sample: Sample, preparation: Preparation, keep: int = 0) -> tuple[Look, dict[int, Frame]]:
    """Read one file and return what it is, and up to `keep` of its frames by number, evenly spread.

    Parameters
    ----------
    sample : Sample
    preparation : Preparation
    keep : int
    """
    header = sample.header
    told = Told(header.modality, header.view, header.burned_in) if header is not None else None
    content, facts = None, None
    kept: dict[int, Frame] = {}
    faults: dict[str, int] = {}
    try:
        data = reading.read_bytes(sample.file)
        content = hashlib.sha256(data).digest()
        opened = open_image(data)
        facts = opened.facts
        wanted = set(_spread(keep, facts.frames))
        digest = hashlib.sha256()
        for number in range(facts.frames):
            picture = opened.frame(number)
            digest.update(_identity(picture))
            frame = guarded(preparation.frame, picture)
            for fault in faults_of(picture, frame):
                faults[fault] = faults.get(fault, 0) + 1
            if number in wanted:
                kept[number] = frame
    except errors.ImageError as failure:
        return Look(sample, content, None, facts, failure, told), {}
    return Look(sample, content, digest.digest(), facts, None, told, faults), kept


def _identity(picture: Picture) -> bytes:
    """Return bytes that are equal for equal pictures, whatever files they came from."""
    pixels = _grey_if_grey(picture.pixels)
    pixels = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False))
    header = f"{picture.kind} {picture.inverted} {pixels.dtype.str} {pixels.shape}"
    return hashlib.sha256(header.encode() + pixels.tobytes()).digest()


def _grey_if_grey(pixels: Pixels) -> Pixels:
    if pixels.ndim == 3 and (pixels[..., :1] == pixels[..., 1:]).all():
        return pixels[..., 0]
    return pixels


def faults_of(picture: Picture, frame: Frame) -> Iterator[str]:
    """Yield what is doubtful about one frame.

    Parameters
    ----------
    picture : Picture
        In the file's own numbers: whether it is constant, or saturated (see `WHITE` and `BLACK`).
    frame : Frame
        As the network sees it: whether it is flat (see `FLAT`).
    """
    pixels = picture.pixels
    if pixels.min() == pixels.max():
        yield CONSTANT
        return
    low, high = np.percentile(frame.pixels[::2, ::2, 1], [1, 99])
    if high - low < FLAT:
        yield IS_FLAT
    if picture.stored is not None:
        least, most = picture.stored
        if np.count_nonzero(pixels == least) > BLACK * pixels.size:
            yield IS_WHITE if picture.inverted else IS_BLACK
        if np.count_nonzero(pixels == most) > WHITE * pixels.size:
            yield IS_BLACK if picture.inverted else IS_WHITE


def _tiles(look: Look, frames: dict[int, Frame]) -> list[Tile]:
    """Return frames as small as the tiles of the contact sheet; of a file that failed, one without pixels."""
    if look.failure is not None:
        return [Tile(look, 0, None)]
    return [Tile(look, number, _reduced(frame)) for number, frame in frames.items()]


def _reduced(frame: Frame) -> NDArray[np.uint8]:
    picture = Image.fromarray(np.rint(frame.pixels).clip(0, 255).astype(np.uint8))
    picture.thumbnail((TILE_PIXELS, TILE_PIXELS), Image.Resampling.LANCZOS)
    return np.asarray(picture)
