"""Where the images of a cache are now, and what they look like.

A cache knows what each image's path is below the folder, or beside the manifest, that it was made of, and the
SHA-256 of its bytes, but not where that was. So a place is only taken if files are there whose bytes are those,
and each image is compared again when it is read: another one is never shown in its place.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray

from . import errors
from .cache.samples import DONE
from .cache.store import Cache
from .extract import intensity, pipeline, reading, resize
from .extract.decode import Preparation, open_image
from .extract.guard import guarded
from .report import audit_pictures, thumbnails
from .report.thumbnails import Tile

_PROBES = 8
"""Images that are looked for in each place."""
_FOLDERS = 100
"""Sub-folders of a folder that are looked into, so that nothing walks over a disk."""

Told = Callable[[int, int, str], None]
"""Is told of progress: how much is done, of how much, and what."""


def silent(_done: int, _total: int, _words: str) -> None:
    """Tell nobody of progress."""


class Wanted(NamedTuple):
    """One frame of one sample of a cache."""

    sample: int
    frame: int


@dataclass(frozen=True)
class Found:
    """The images of a cache, as far as they were found.

    Parameters
    ----------
    cache : Cache
    places : tuple of Path
        The folders that samples' paths are relative to: where most of those looked for are first.
    why : str
        Why there are none, and what to do about it; empty where there are.
    """

    cache: Cache
    places: tuple[Path, ...]
    why: str = ""

    def __bool__(self) -> bool:
        return bool(self.places)

    def file(self, sample: int) -> Path | None:
        """Return the file of a sample, by its number in `cache.samples`; None unless its bytes are the same."""
        return next((file for file, _ in self._files(sample)), None)

    def read(self, sample: int) -> bytes | None:
        """Return the bytes of a sample's file, which are those that its vector was computed of, or None."""
        return next((data for _, data in self._files(sample)), None)

    def _files(self, sample: int) -> Iterator[tuple[Path, bytes]]:
        samples = self.cache.samples
        path, content = str(samples.path[sample]), samples.content[sample].tobytes()
        for place in self.places:
            if (file := _inside(place, path)) is not None and (data := _bytes_of(file, content)) is not None:
                yield file, data

    def tile(self, wanted: Wanted, pixels: int) -> Tile | None:
        """Return one frame as the network sees it, `pixels` high and wide, or None if it cannot be had.

        Pixels are prepared by the cache's recipe (intensity, what becomes of the shape), so that DICOM, NIfTI
        and 16 bits are shown as they were judged.
        """
        data = self.read(wanted.sample)
        if data is None:
            return None
        try:
            opened = open_image(data)
            if not 0 <= wanted.frame < opened.facts.frames:
                return None
            frame = guarded(self._preparation(pixels).frame, opened.frame(wanted.frame))
        except (errors.ImageError, errors.MissingDependency):
            return None
        return np.rint(frame.pixels).clip(0, 255).astype(np.uint8)

    def tiles(
        self,
        wanted: Sequence[Wanted],
        pixels: int,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[Tile | None]:
        """Return several frames, read in threads; see `tile`."""
        workers = int(joblib.cpu_count())
        self._policies  # read once, and not by each thread  # noqa: B018
        self.cache.samples  # noqa: B018
        tiles = []
        for tile in pipeline.in_order(lambda one: self.tile(one, pixels), wanted, workers, 4 * workers):
            tiles.append(tile)
            progress(len(tiles), len(wanted))
        return tiles

    @cached_property
    def _policies(self) -> tuple[str, dict[str, str]]:
        """What becomes of a picture's shape, and of its numbers; as usual where the recipe does not say."""
        recipe = self.cache.header.recipe
        shape, numbers = recipe.get("resize"), recipe.get("intensity")
        policy = shape if shape in resize.POLICIES else resize.STRETCH
        try:
            return str(policy), intensity.parse(numbers if isinstance(numbers, str) else None)
        except errors.UsageError:
            return str(policy), intensity.parse(None)

    def _preparation(self, pixels: int) -> Preparation:
        policy, policies = self._policies
        return Preparation(pixels, policy, policies)


def find_images(cache: Cache, images: Path | None = None) -> Found:
    """Look for the images of a cache: where the user says, beside the cache, and in the current folder.

    Each of these folders counts, and each folder in it; no deeper. A place is taken if at least one of a few
    samples, spread over all of them, is a file there with the very bytes that its vector was computed of.

    Parameters
    ----------
    cache : Cache
    images : Path, optional
        A folder, or a manifest, whose folder it is then.

    Raises
    ------
    SourceError
        If there is no such folder or manifest.
    """
    if images is not None and not images.exists():
        raise errors.SourceError(f"There is no file or folder {images} to find the images in.")
    if cache.anonymized:
        return Found(cache, (), f"{cache.path.name} is anonymized: nobody can tell which images it is of.")
    probes = _probes(cache)
    if not probes:
        return Found(cache, (), f"{cache.path.name} holds no finished image.")
    counts: dict[Path, int] = {}
    for place in _places(cache.path, images):
        if place not in counts:
            counts[place] = sum(_is_there(place, path, content) for path, content in probes)
            if counts[place] == len(probes):
                break
    places = tuple(
        sorted((place for place, count in counts.items() if count), key=lambda place: -counts[place])
    )
    return Found(cache, places, "" if places else _why(cache, images, probes))


def _why(cache: Cache, images: Path | None, probes: list[tuple[str, bytes]]) -> str:
    """Say where the images were looked for in vain."""
    looked = "beside the cache or in the current folder" if images is None else f"in {images}"
    remedy = (
        "Say where they are with --images DIR."
        if images is None
        else "Give the folder, or the manifest, that the cache was made of."
    )
    return f"The images of {cache.path.name}, such as {probes[0][0]}, were not found {looked}. {remedy}"


def _probes(cache: Cache) -> list[tuple[str, bytes]]:
    """Return path and content of a few finished samples, spread over all of them."""
    samples = cache.samples
    done = np.flatnonzero(samples.state == DONE)
    chosen = done[np.unique(np.linspace(0, len(done) - 1, _PROBES).astype(int))] if len(done) else done
    return [(str(samples.path[index]), samples.content[index].tobytes()) for index in chosen.tolist()]


def _places(cache: Path, images: Path | None) -> Iterator[Path]:
    """Yield the folders to look in, the likeliest first."""
    if images is not None:
        named = images if images.is_dir() else images.parent
        yield from _with_folders(named)
        yield _whole(named).parent  # as where the folder of images was named, and not the manifest's
    yield from _with_folders(cache.parent)
    yield from _with_folders(Path())


def _with_folders(folder: Path) -> Iterator[Path]:
    """Yield a folder and some of those in it."""
    whole = _whole(folder)
    yield whole
    try:
        with os.scandir(whole) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return
    yield from (whole / name for name in names[:_FOLDERS])


def _whole(folder: Path) -> Path:
    return Path(os.path.normpath(folder.absolute()))


def _is_there(place: Path, path: str, content: bytes) -> bool:
    file = _inside(place, path)
    return file is not None and _bytes_of(file, content) is not None


def _inside(place: Path, path: str) -> Path | None:
    """Return the file that a sample's path means below a folder; None if it would lie elsewhere.

    Caches are passed between people, and what one names must not be what makes other files be read.
    """
    file = Path(os.path.normpath(place / path))
    return file if file.is_relative_to(place) else None


def _bytes_of(file: Path, content: bytes) -> bytes | None:
    """Return a file's bytes, if they are those of this SHA-256."""
    try:
        data = reading.read_bytes(file) if file.is_file() else None
    except (errors.ImageError, OSError, ValueError):
        return None
    return data if data is not None and hashlib.sha256(data).digest() == content else None


def pictures(
    cache: Cache, found: Found | None, rows: NDArray[np.intp], pixels: int, progress: Told = silent
) -> tuple[list[Tile], int]:
    """Return a picture of each of some rows of a cache, and how many of the images are gone.

    Parameters
    ----------
    cache : Cache
    found : Found or None
    rows : ndarray of int
        Of `cache.X`; −1 for what it does not hold. Where the image is not to be had, the picture is what the
        cache keeps of it, 16×16 grey values, and where it keeps none, a crossed-out square.
    pixels : int
        Height and width.
    progress : callable
    """
    tiles: dict[int, Tile] = {}
    wanted = np.unique(rows[rows >= 0])
    if found:
        frames = [Wanted(int(cache.sample_of_row[row]), int(cache.frame_of_row[row])) for row in wanted]
        had = found.tiles(frames, pixels, lambda done, total: progress(done, total, "pictures"))
        tiles = {row: tile for row, tile in zip(wanted.tolist(), had, strict=True) if tile is not None}
    failed = len(wanted) - len(tiles) if found else 0
    lacking = [row for row in wanted.tolist() if row not in tiles]
    kept = cache.pixels() if lacking else None
    if kept is not None:
        tiles |= {row: thumbnails.of_sixteen(kept[row], pixels) for row in lacking}
    nothing = thumbnails.missing(pixels)
    return [tiles.get(row, nothing) for row in rows.tolist()], failed


def names(cache: Cache, rows: NDArray[np.intp], label: Sequence[str] | NDArray[np.str_] = ()) -> list[str]:
    """Return what is written under the picture of each of some rows of a cache."""
    samples, sample, frame = cache.samples, cache.sample_of_row[rows], cache.frame_of_row[rows]
    words = [[str(text)] for text in label] or [[]] * len(rows)
    return [
        thumbnails.name_of(str(samples.path[one]), int(number), int(samples.frames[one]), more)
        for one, number, more in zip(sample.tolist(), frame.tolist(), words, strict=True)
    ]


def remarks(found: Found | None, failed: int) -> list[str]:
    """Say where pictures are not the images themselves."""
    if found is None or not found:
        why = found.why if found is not None else "The images were not looked for."
        return [f"{why} Pictures are the 16×16 grey values that the cache keeps of each frame."]
    return [f"{failed} of the images are no longer where they were, or are others now."] if failed else []


def audit_thumbnails(
    caches: Mapping[bool, Cache], images: Path | None
) -> tuple[audit_pictures.Thumbnails, list[str]]:
    """Return what shows the frames of an audit, and what to say where images are not found.

    Parameters
    ----------
    caches : mapping of bool to Cache
        The audited one under False, the one that it was held against under True.
    images : Path, optional
        Where the images of the audited one are.
    """
    found = {other: find_images(opened, None if other else images) for other, opened in caches.items()}
    lacking = [f"{places.why} {audit_pictures.FALL_BACK}" for places in found.values() if not places]
    row = {
        audit_pictures.Shown(other, path, frame): number
        for other, opened in caches.items()
        for number, (path, frame) in enumerate(
            zip(opened.samples.path[opened.sample_of_row].tolist(), opened.frame_of_row.tolist(), strict=True)
        )
    }

    def of(wanted: Sequence[audit_pictures.Shown]) -> dict[audit_pictures.Shown, Tile]:
        made: dict[audit_pictures.Shown, Tile] = {}
        for other, opened in caches.items():
            here = [one for one in wanted if one.against == other and one in row]
            rows = np.array([row[one] for one in here], dtype=np.intp)
            tiles, _ = pictures(opened, found[other], rows, audit_pictures.PIXELS)
            made |= dict(zip(here, tiles, strict=True))
        return made

    return of, lacking
