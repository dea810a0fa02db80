"""What an extraction would do, without doing it: how much is new, about how long it takes, how much disk."""

from __future__ import annotations

import hashlib
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import errors
from ..cache.store import Cache
from . import backbones, canaries, engines, pipeline, weights
from .knowledge import facts_of, refuse_other_recipe
from .settings import Settings, plan_of, preparation_of, recipe_of
from .sources import Source


@dataclass(frozen=True)
class Estimate:
    """What `extract --dry-run` says.

    Parameters
    ----------
    samples : int
    compute : int
        Distinct files to be computed.
    reuse : int
        Distinct files whose vectors the cache holds.
    unreadable : int
        Files that are missing or cannot be read.
    seconds : float
        Decoding and network together, measured on a few of the files; loading the network is left out.
    bytes : int
        What the vectors will add to the cache.
    """

    samples: int
    compute: int
    reuse: int
    unreadable: int
    seconds: float
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(source: Source, path: Path, settings: Settings) -> Estimate:
    """Return what `extraction.extract` would do; nothing is written.

    Raises
    ------
    RecipeMismatch
        If the cache at `path` is of another recipe.
    """
    backbone = backbones.find(settings.backbone)
    found = weights.resolve(settings.weights, backbone)
    known: set[bytes] = set()
    if path.exists():
        with Cache(path) as cache:
            refuse_other_recipe(cache, recipe_of(backbone, found))
            known = set(facts_of(cache))

    def digest(file: Path) -> bytes | None:
        try:
            return hashlib.sha256(pipeline.read_bytes(file)).digest()
        except errors.ImageError:
            return None

    files = [sample.file for sample in source.samples]
    contents = list(pipeline.in_order(digest, files, settings.threads(), ahead=64))
    new = {c: file for c, file in zip(contents, files, strict=True) if c is not None and c not in known}
    seconds = _seconds_per_image(list(new.values()), backbone, found, settings) * len(new) if new else 0.0
    return Estimate(
        samples=len(files),
        compute=len(new),
        reuse=len(known.intersection(content for content in contents if content)),
        unreadable=contents.count(None),
        seconds=round(seconds, 1),
        bytes=len(new) * backbone.bytes_per_image,
    )


def _seconds_per_image(
    files: list[Path], backbone: backbones.Backbone, found: weights.Weights, settings: Settings
) -> float:
    """Time decoding and network on the first files, after one batch that is not counted."""
    preparation = preparation_of(backbone)
    pixels = canaries.pixels(preparation)
    engine = engines.load(plan_of(backbone, found), settings.batch_size, pixels)
    engine.run(pixels)
    clock = pipeline.Clock()
    tried = files[: engine.batch_size]
    for file in tried:
        pipeline.read(file, {}, preparation, clock)
    started = time.perf_counter()
    engine.run(pixels)  # filled up to a whole batch, as every one is
    network = (time.perf_counter() - started) / engine.batch_size
    return clock.decode / len(tried) / settings.threads() + network
