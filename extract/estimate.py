"""What an extraction would do, without doing it: how much is new, about how long it takes, how much disk."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import errors
from ..cache.keys import as_bytes, key_of
from ..cache.store import Cache
from . import canaries, engines, pipeline
from .clock import Clock
from .decode import open_image
from .knowledge import Knowledge, Known, files_of, refuse_other_recipe
from .reading import Reader, read_bytes
from .settings import Settings, Setup, going_on, set_up
from .sources import Source


@dataclass(frozen=True)
class Estimate:
    """What `extract --dry-run` says.

    Parameters
    ----------
    samples : int
    compute : int
        Views of frames of distinct files to be computed, at most: how many frames a rule that looks at pixels
        will take is not known before, and files of a sequence are all counted.
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
    setup = set_up(settings)
    known: dict[bytes, Known] = {}
    rows: set[bytes] = set()
    if path.exists():
        with Cache(path) as cache:
            setup = going_on(setup, cache)
            refuse_other_recipe(cache, setup.recipe)
            known, rows = files_of(cache, setup.rule), set(as_bytes(cache.image_keys))

    def look(file: Path) -> tuple[bytes | None, int]:
        """Return a file's content, and how many views of its frames may have to be computed."""
        content = None
        try:
            data = read_bytes(file)
            content = hashlib.sha256(data).digest()
            frames: Iterable[int]
            if content in known:
                frames = known[content].chosen
            else:
                frames = range(open_image(data).facts.frames)
                frames = frames if setup.rule.needs_pixels else setup.rule.choose(len(frames))
            keys = (key_of(content, frame, view) for frame in frames for view in range(settings.views))
            return content, sum(key not in rows for key in keys)
        except errors.ImageError:
            return content, 0

    files = [sample.file for sample in source.samples]
    looks = list(pipeline.in_order(look, files, settings.threads(), ahead=4 * settings.threads()))
    new = {content: (file, n) for (content, n), file in zip(looks, files, strict=True) if content and n}
    compute = sum(n for _, n in new.values())
    tried = [file for file, _ in new.values()]
    return Estimate(
        samples=len(files),
        compute=compute,
        reuse=len({content for content, n in looks if content in known and not n}),
        unreadable=sum(content is None for content, _ in looks),
        seconds=round(_seconds_per_image(tried, setup) * compute, 1) if new else 0.0,
        bytes=compute * setup.bytes_per_row,
    )


def _seconds_per_image(files: list[Path], setup: Setup) -> float:
    """Time decoding and network on the first files, after one batch that is not counted."""
    pixels = canaries.pixels(setup.canary_preparation)
    plan = replace(setup.plan, engine=engines.choose(setup.plan.engine))
    engine = engines.load(plan, setup.batch_size, pixels)
    engine.run(pixels)
    clock = Clock()
    reader = Reader(setup.preparation, setup.rule, setup.settings.views, Knowledge(), clock)
    decoded = 0
    for file in files[: engine.batch_size]:
        read = reader.read(file)
        prepared = read.ready or (reader.prepare(read, read.wanted[0]) if read.wanted else ())
        decoded += len(prepared)
    batch = pixels[:1].repeat(engine.batch_size, axis=0)
    started = time.perf_counter()
    engine.run(batch)
    network = (time.perf_counter() - started) / engine.batch_size
    return clock.decode / max(decoded, 1) / setup.settings.threads() + network
