"""Every sample looked at in order, and what is not known computed: the work that `extract` and `predict` share.

What is known before, and what is done with the rows, is said by those who start it (`extraction`, `streaming`).
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from .. import errors
from ..cache.keys import key_of
from . import canaries, engines, pipeline, series
from .clock import Clock
from .knowledge import Knowledge, Known
from .outcomes import Outcome
from .reading import VIEWS_AT_ONCE, Read, Reader, Ready
from .settings import Setup
from .sources import Sample
from .summary import Progress

_READ_AHEAD_BYTES = 256e6


class Job:
    """The state of one walk over samples.

    Parameters
    ----------
    samples : list of Sample
    setup : Setup
    knowledge : Knowledge
        What needs no computing; what is computed is added to it.
    taker : pipeline.Taker
        What is done with the rows.
    clock : Clock

    Attributes
    ----------
    outcomes : list of Outcome
        What became of the samples looked at so far.
    slices : series.Slices
    engine : Engine or None
        What computed; None while nothing had to be.
    """

    def __init__(
        self,
        samples: list[Sample],
        setup: Setup,
        knowledge: Knowledge,
        taker: pipeline.Taker,
        clock: Clock,
    ) -> None:
        self.samples = samples
        self.setup = setup
        self.knowledge = knowledge
        self.clock = clock
        self.slices = series.Slices()
        self.outcomes: list[Outcome] = []
        self.engine: engines.Engine | None = None
        self._taker = taker
        self._views = setup.settings.views
        self._reader = Reader(setup.preparation, setup.rule, self._views, knowledge, clock)
        self._batches: pipeline.Batches | None = None
        self._failed = 0

    @property
    def looked_at(self) -> int:
        return len(self.outcomes)

    @property
    def computed(self) -> int:
        return self._batches.computed if self._batches is not None else 0

    def look(self, stopped: threading.Event, progress: Callable[[Progress], None]) -> None:
        """Look at every sample, and compute what is not known; less than a batch of each size is left waiting.

        Parameters
        ----------
        stopped : Event
            Ends it after the sample at hand, or the frame of a volume.
        progress : callable
            Called with a `Progress` after each file.
        """
        workers = self.setup.settings.threads()

        def tell(done: int) -> None:
            progress(Progress(done, len(self.samples), self.computed, self._failed, self.clock))

        self.slices = series.select(self.samples, self.setup.rule, workers, tell, stopped.is_set)
        wanted = [
            (index, sample)
            for index, sample in enumerate(self.samples)
            if index not in self.slices.not_selected and index not in self.slices.failures
        ]
        results = pipeline.in_order(
            lambda item: self._reader.read(item[1].file),
            wanted,
            workers,
            self._ahead(),
            _size_of,
            _READ_AHEAD_BYTES,
        )
        try:
            for index, _ in [*wanted, (len(self.samples), None)]:
                self._pass_over(index)
                if index == len(self.samples) or stopped.is_set():
                    break
                if not self._take(self._next(results), stopped, tell):
                    break
                tell(self.looked_at)
        finally:
            results.close()  # type: ignore[attr-defined]  # a generator; its threads end here

    def finish(self) -> None:
        """Compute what still waits, and give those images up of which a vector was not finite."""
        try:
            if self._batches is not None:
                self._batches.finish()
        finally:
            self._taker.finish()
        bad = self._batches.not_finite if self._batches is not None else set()
        for outcome in self.outcomes if bad else ():
            if outcome.content in bad:
                outcome.failure = errors.ImageError("network", "its vector is infinite or not a number")
                self.knowledge.files.pop(outcome.content, None)

    def _ahead(self) -> int:
        """Return how many frames are prepared ahead of the network."""
        workers = self.setup.settings.threads()
        if self.setup.preparation.size is None:
            return 2 * workers  # they may be large
        return max(2 * self.setup.batch_size // min(self._views, VIEWS_AT_ONCE), 1) + workers

    def _next(self, results: Iterator[Any]) -> Any:
        started = time.perf_counter()
        result = next(results)
        if self._batches is not None:
            self.clock.add("waiting", started)
        return result

    def _pass_over(self, index: int) -> None:
        """Note what became of the samples before this one that need no reading."""
        while self.looked_at < index:
            failure = self.slices.failures.get(self.looked_at)
            self._failed += failure is not None
            self._note(Outcome(None, failure, selected=failure is not None))

    def _note(self, outcome: Outcome) -> None:
        if self.slices.seconds:
            outcome.seconds += self.slices.seconds[self.looked_at]
        self.outcomes.append(outcome)

    def _take(self, read: Read, stopped: threading.Event, tell: Callable[[int], None]) -> bool:
        """Compute what a file needs; tell whether it was not broken off."""
        failure = read.failure
        content, facts = read.content, read.facts
        seconds = read.seconds
        if content is not None and facts is not None and content not in self.knowledge.files:
            known = Known(facts, read.chosen)
            share = read.seconds / max(len(read.ready) + sum(len(piece.views) for piece in read.wanted), 1)
            try:
                kept = known.as_dict(self.setup.rule)
                for ready in chain(read.ready, self._prepared(read)):
                    key = key_of(content, ready.number, ready.view)
                    if key not in self.knowledge.rows:
                        self._start().add(content, kept, ready, share + ready.seconds, self.looked_at)
                        self.knowledge.rows.add(key)
                        seconds -= share
                    if stopped.is_set() and read.wanted:
                        return False
                    tell(self.looked_at)
                self.knowledge.files[content] = known
            except errors.ImageError as error:
                failure = error
        self._failed += failure is not None
        self._note(Outcome(content, failure, seconds=max(seconds, 0.0)))
        return True

    def _prepared(self, read: Read) -> Iterator[Ready]:
        """Yield the frames of a volume that are wanted, prepared in threads."""
        if not read.wanted:
            return
        prepare = partial(self._reader.prepare, read)
        groups = pipeline.in_order(prepare, read.wanted, self.setup.settings.threads(), self._ahead())
        try:
            for _ in read.wanted:
                yield from self._next(groups)
        finally:
            groups.close()  # type: ignore[attr-defined]  # likewise

    def _start(self) -> pipeline.Batches:
        """Load the network when the first image needs it, and see that it computes what is held."""
        if self._batches is None:
            began = time.perf_counter()
            setup = self.setup
            pixels = canaries.pixels(setup.canary_preparation)
            plan = replace(setup.plan, engine=engines.choose(setup.plan.engine))
            self.engine = engines.load(plan, setup.batch_size, pixels)
            now = self.engine.run(pixels).vectors
            self.knowledge.compare(now, accept=setup.settings.accept_drift)
            self.knowledge.layers = self.engine.dimensions
            self._taker.begin(self.engine, now)
            self.clock.add("loading", began)
            self._batches = pipeline.Batches(self.engine, self._taker, self.clock)
        return self._batches


def _size_of(item: tuple[int, Sample]) -> float:
    """Return about how many bytes a file takes once it is read; a compressed one says so at its end."""
    file = item[1].file
    try:
        if file.suffix.lower() != ".gz":
            return file.stat().st_size
        with file.open("rb") as opened:
            opened.seek(-4, os.SEEK_END)
            return int.from_bytes(opened.read(), "little")
    except OSError:
        return 0.0
