"""Vectors of new images without a cache: computed as `extract` does, handed on in batches, never held together.

What is done with them, such as scoring, is the taker's affair; nothing is written here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import drift
from ..cache.keys import CONTENT_BYTES, keys_of
from ..cache.store import Cache
from .clock import Clock
from .engines import Engine, Output
from .interrupt import stop_on_signal
from .job import Job
from .knowledge import Knowledge, of_cache
from .pipeline import Row
from .settings import Setup
from .sources import Source
from .summary import Progress

_ROWS_AT_ONCE = 1024
_REMEDY = "Fit a head on vectors computed here, or score them all the same with --accept-drift."


class Frames(NamedTuple):
    """Some frames and their vectors; k is bounded, whatever the number of images.

    Parameters
    ----------
    content : list of bytes
        SHA-256 of each frame's file, k of them.
    frame : ndarray of int32, shape (k,)
        Its number in the file.
    vectors : dict of str to ndarray of float32, shape (k, d)
        Of the unaltered view, one array per layer; all finite.
    seconds : ndarray of float64, shape (k,)
        What each took: decoding in its thread and an equal share of its batch in the network, or of reading the
        cache.
    maps : ndarray of float32, shape (k, h, w, c), or None
        The last feature maps; only where they were asked for, and so for the next four.
    mirrored : ndarray of float32, shape (k, h, w, c), or None
        Those of the same pictures turned left to right.
    pixels : ndarray of float32, shape (k, H, W, 3), or None
        What the network saw, 0–255.
    sample : ndarray of int, shape (k,), or None
        The first of the samples that each is of, by its place in the source.
    of_frames : ndarray of int, shape (k,), or None
        How many frames each one's file has.
    """

    content: list[bytes]
    frame: NDArray[np.int32]
    vectors: dict[str, NDArray[np.float32]]
    seconds: NDArray[np.float64]
    maps: NDArray[np.float32] | None = None
    mirrored: NDArray[np.float32] | None = None
    pixels: NDArray[np.float32] | None = None
    sample: NDArray[np.intp] | None = None
    of_frames: NDArray[np.intp] | None = None


class Looked(NamedTuple):
    """What became of one sample.

    Parameters
    ----------
    content : bytes or None
        SHA-256 of its file; None if that was not read.
    failure : ImageError or None
        Why it has no vectors; those that were handed on of its content before that was known mean nothing.
    selected : bool
        Whether the rule takes its slice.
    chosen : tuple of int
        The frames that are taken of it.
    frames : int
        How many its file has; 0 where that is not known.
    seconds : float
        What looking at it took that none of its frames accounts for: choosing slices, reading what is known.
    """

    content: bytes | None
    failure: errors.ImageError | None
    selected: bool
    chosen: tuple[int, ...]
    frames: int
    seconds: float


@dataclass(frozen=True)
class Streamed:
    """What `stream` did.

    Parameters
    ----------
    samples : list of Looked
        In the order of the source.
    computed, reused : int
        Frames of distinct files handed on.
    engine, device : str or None
        What computed; None if nothing was to be computed.
    drifted : float
        The largest distance between the canaries' vectors, as `cache.drift` measures it.
    """

    samples: list[Looked]
    computed: int
    reused: int
    engine: str | None
    device: str | None
    drifted: float


def stream(
    source: Source,
    setup: Setup,
    take: Callable[[Frames], None],
    *,
    layers: Sequence[str],
    held: Sequence[tuple[str, Mapping[str, NDArray[np.float32]]]] = (),
    reuse: Cache | None = None,
    with_maps: bool = False,
    accept_drift: bool = False,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Streamed:
    """Hand the vectors of every frame of a source on, each frame of each distinct file once.

    Parameters
    ----------
    source : Source
    setup : Setup
        As `matching.setup_for` returns it.
    take : callable
        Called with `Frames` in batches, in the order of the samples but for those of native size; what a cache
        holds comes last.
    layers : sequence of str
        The layers that are wanted, as a cache names them.
    held : sequence of (str, mapping)
        Where vectors are held that these must fit, and their canaries' vectors, shape (3, d) for each layer.
    reuse : Cache, optional
        Its vectors are not computed again; it is only read.
    with_maps : bool
        Hand on feature maps, pixels and the samples that they are of, too. No cache holds maps, so that
        everything is computed.
    accept_drift : bool
        Go on though the canaries' vectors differ.
    progress : callable
        Called with a `Progress` after each file.

    Raises
    ------
    UsageError
        If feature maps are wanted, and a cache to be reused.
    RecipeMismatch, CacheAnonymized
        If `reuse` holds vectors of another recipe or none of these layers, or names no images.
    CanaryDrift
        If this machine's network, or the cache's, is not the one of what is held; nothing was handed on then.
    Interrupted
        If the user stopped it.
    """
    if with_maps and reuse is not None:
        raise errors.UsageError(f"{reuse.path} holds vectors and no feature maps: leave it out.")
    setup = replace(setup, settings=replace(setup.settings, accept_drift=accept_drift))
    taking = _Taking(tuple(layers), take, with_maps=with_maps)
    knowledge = Knowledge(remedy=_REMEDY)
    if reuse is not None:
        _check_reuse(reuse, setup, taking.layers)
        knowledge = of_cache(reuse, setup.rule)
        knowledge.remedy = _REMEDY
        knowledge.forget_what_is_not_whole(setup.settings.views)
        knowledge.drifted = _compare(reuse, held, accept=accept_drift)
    knowledge.canaries += held
    with stop_on_signal() as stopped:
        job = Job(source.samples, setup, knowledge, taking, Clock())
        job.look(stopped, progress)
        if job.looked_at == len(source.samples):
            job.finish()
            reused = 0
            for frames in _reused(reuse, taking.layers, _chosen(job)) if reuse is not None else ():
                if stopped.is_set():
                    break
                take(frames)
                reused += len(frames.content)
            else:
                return _streamed(job, reused)
    raise errors.Interrupted(
        f"Interrupted: {job.looked_at} of {len(source.samples)} samples were looked at; nothing was written."
    )


class _Taking:
    """Hands on what the network yields of the layers that are wanted."""

    def __init__(self, layers: tuple[str, ...], take: Callable[[Frames], None], *, with_maps: bool) -> None:
        self.layers = layers
        self._take = take
        self._with_maps = with_maps

    def begin(self, engine: Engine, _canaries: dict[str, NDArray[np.float32]]) -> None:
        if lacking := [layer for layer in self.layers if layer not in engine.dimensions]:
            raise errors.RecipeMismatch(
                f"The network yields {', '.join(engine.dimensions)}, and not {', '.join(lacking)}, which is "
                "wanted."
            )
        self._engine = engine

    def take(self, rows: list[Row], pixels: NDArray[np.float32], output: Output) -> None:
        mirrored = None
        if self._with_maps:
            mirrored = self._engine.run(np.ascontiguousarray(pixels[:, :, ::-1])).maps
        self._take(
            Frames(
                [row.content for row in rows],
                np.array([row.number for row in rows], dtype=np.int32),
                {layer: output.vectors[layer] for layer in self.layers},
                np.array([row.seconds for row in rows]),
                output.maps if self._with_maps else None,
                mirrored,
                pixels if self._with_maps else None,
                np.array([row.sample for row in rows]) if self._with_maps else None,
                np.array([row.facts["frames"] for row in rows]) if self._with_maps else None,
            )
        )

    def finish(self) -> None:
        """Nothing is left: what was taken was handed on."""


def _check_reuse(cache: Cache, setup: Setup, layers: tuple[str, ...]) -> None:
    if cache.anonymized:
        raise errors.CacheAnonymized(
            f"{cache.path} is anonymized: its images cannot be told, so none of its vectors can be reused. "
            "Leave it out."
        )
    cache.check_holds(setup.recipe, layers, "Leave it out, and the vectors are computed.")


def _compare(
    cache: Cache, held: Sequence[tuple[str, Mapping[str, NDArray[np.float32]]]], *, accept: bool
) -> float:
    """Refuse a cache whose canaries' vectors are not those that are held; return how far apart they are."""
    found = 0.0
    for where, then in held:
        words = (
            f"The vectors in {cache.path} were computed by a network that is {{}} away from that of {where}. "
            "Leave it out, or reuse them all the same with --accept-drift."
        )
        found = max(found, drift.check(cache.canaries(), then, words, accept=accept))
    return found


def _chosen(job: Job) -> dict[bytes, tuple[int, ...]]:
    """Return the frames that are taken of each distinct file that did not fail."""
    contents = (outcome.content for outcome in job.outcomes if outcome.failure is None)
    return {content: job.knowledge.files[content].chosen for content in contents if content is not None}


def _reused(cache: Cache, layers: tuple[str, ...], chosen: dict[bytes, tuple[int, ...]]) -> Iterator[Frames]:
    """Yield what a cache holds of some frames, in the order of its rows, a block of them at a time."""
    counts = [len(frames) for frames in chosen.values()]
    content = np.frombuffer(b"".join(chosen), dtype=np.uint8).reshape(-1, CONTENT_BYTES).repeat(counts, axis=0)
    frame = np.array([number for frames in chosen.values() for number in frames], dtype=np.int32)
    wanted = np.unique(keys_of(content, frame, np.zeros(len(frame), dtype=np.int16)))
    rows = np.flatnonzero(np.isin(cache.image_keys, wanted))
    for start in range(0, cache.rows, _ROWS_AT_ONCE):
        first, after = np.searchsorted(rows, (start, start + _ROWS_AT_ONCE))
        if first == after:
            continue
        began = time.perf_counter()
        block, some = slice(start, start + _ROWS_AT_ONCE), rows[first:after] - start
        vectors = {layer: cache.read(f"vectors/{layer}", block)[some].astype(np.float32) for layer in layers}
        if not all(np.isfinite(values).all() for values in vectors.values()):
            raise errors.CacheDamaged(
                f"{cache.path}: a vector is infinite or not a number; refused. icehouse cache verify "
                f"{cache.path} lists every such row."
            )
        content, frame = cache.read("images/content", block)[some], cache.read("images/frame", block)[some]
        share = (time.perf_counter() - began) / len(some)
        yield Frames([row.tobytes() for row in content], frame, vectors, np.full(len(some), share))


def _streamed(job: Job, reused: int) -> Streamed:
    samples = []
    for outcome in job.outcomes:
        known = None if outcome.failure else job.knowledge.files.get(outcome.content or b"")
        frames = known.facts.frames if known else int(not outcome.selected)  # only single slices are left out
        chosen = known.chosen if known else ()
        samples.append(
            Looked(outcome.content, outcome.failure, outcome.selected, chosen, frames, outcome.seconds)
        )
    engine = job.engine
    return Streamed(
        samples=samples,
        computed=job.computed,
        reused=reused,
        engine=engine.name if engine else None,
        device=engine.device if engine else None,
        drifted=job.knowledge.drifted,
    )
