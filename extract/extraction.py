"""One extraction from beginning to end: what is known is reused, what is new is computed, and all of it merged.

It composes source, weights, pipeline and cache; none of them knows of the others.
"""

from __future__ import annotations

import os
import platform
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import joblib

from .. import errors
from ..cache import drift
from ..cache import recipe as recipes
from ..cache.anonymize import Pseudonyms
from ..cache.commit import commit
from ..cache.keys import key_of
from ..cache.samples import Failure, Samples
from ..cache.staging import Staging
from ..cache.store import Cache
from ..cache.writing import Contents, provenance_entry
from . import canaries, engines, pipeline, series
from .clock import Clock
from .interrupt import stop_on_signal
from .knowledge import Knowledge, Known, contents_by_path, learn, refuse_other_recipe
from .outcomes import Outcome, failures_table, samples_table
from .reading import VIEWS_AT_ONCE, Read, Reader, Ready
from .settings import Settings, going_on, set_up
from .sources import Sample, Source
from .summary import Progress, Summary

_READ_AHEAD_BYTES = 256e6


def extract(
    source: Source,
    path: Path,
    settings: Settings,
    progress: Callable[[Progress], None] = lambda _: None,
    pseudonyms: Pseudonyms | None = None,
) -> Summary:
    """Bring the cache at `path` up to date with `source`.

    Parameters
    ----------
    source : Source
    path : Path
        The cache to make or to bring up to date. Vectors of images that the source no longer names stay in it.
    settings : Settings
    progress : callable
        Called with a `Progress` after each file.
    pseudonyms : Pseudonyms, optional
        Leave out what names people. Nothing can be added to such a cache: it is written once all is done.

    Raises
    ------
    CacheAnonymized
        If the cache at `path` is such a one.
    RecipeMismatch, CanaryDrift, CacheLocked
        If vectors of two kinds or of two writers would be mixed.
    SourceError
        If not one image can be read.
    Interrupted
        If the user stopped it; what was computed is then in the cache.
    """
    started = time.perf_counter()
    if pseudonyms is not None:
        pseudonyms.check({name for sample in source.samples for name in sample.columns})
    job = _Job(source, path, settings)
    with stop_on_signal() as stopped, Staging(path) as staging, ExitStack() as stack:
        old = stack.enter_context(Cache(path)) if path.exists() else None
        job.join(old, staging)
        if pseudonyms is not None and old is not None:
            raise errors.OutputExists(
                f"{path} exists already, and --anonymize makes a new cache. Choose another name, or make an "
                f"anonymous copy: icehouse cache merge {path} --anonymize -o NEW"
            )
        job.compute(staging, stopped, progress)
        if pseudonyms is not None and job.looked_at < len(source.samples):
            raise errors.Interrupted(
                f"Interrupted: what was computed is safe in {staging.folder}. Run the same command again to go "
                "on."
            )
        summary = job.merge(old, staging, started, pseudonyms)
    if left := summary.samples - job.looked_at:
        raise errors.Interrupted(
            f"Interrupted: {summary.computed} images computed now are safe in {path}; {left} samples were not "
            "looked at. Run the same command again to go on."
        )
    return summary


class _Job:
    """The state of one extraction."""

    def __init__(self, source: Source, path: Path, settings: Settings) -> None:
        self.source = source
        self.samples = source.samples
        self.path = path
        self.settings = settings
        self.setup = set_up(settings)
        self.clock = Clock()
        self.knowledge = Knowledge()
        self.reader = self._reader()
        self.slices = series.Slices()
        self.outcomes: list[Outcome] = []
        self.engine: engines.Engine | None = None
        self.assembly: pipeline.Assembly | None = None
        self.failed = 0

    @property
    def looked_at(self) -> int:
        return len(self.outcomes)

    @property
    def computed(self) -> int:
        return self.assembly.computed if self.assembly is not None else 0

    def _reader(self) -> Reader:
        setup = self.setup
        return Reader(setup.preparation, setup.rule, self.settings.views, self.knowledge, self.clock)

    def join(self, old: Cache | None, staging: Staging) -> None:
        """Learn what is known already, and refuse what does not belong together."""
        if old is not None:
            if old.anonymized:
                staging.clear()  # it was made of them, and they name what it does not
            self.setup = going_on(self.setup, old)
            refuse_other_recipe(old, self.setup.recipe)
            self._check_layers(old)
        setup = self.setup
        blocks_recipe = {**setup.recipe, "layers": list(setup.plan.layers)}
        accept = self.settings.accept_drift
        self.knowledge = learn(
            old, staging, blocks_recipe, setup.rule, self.settings.views, accept_drift=accept
        )
        self.reader = self._reader()
        self._check_space(old)

    def _check_layers(self, old: Cache) -> None:
        """Refuse layers that are not those of the cache."""
        held = tuple(old.header.selection.get("layers", old.layers))
        if set(self.setup.plan.layers) not in (set(held), set(old.layers)):
            raise errors.RecipeMismatch(
                f"{old.path} holds the layers {', '.join(held)}, not {', '.join(self.setup.plan.layers)}. Give "
                "those, or write to another file."
            )

    def _check_space(self, old: Cache | None) -> None:
        new = len({sample.path for sample in self.samples} - (set(old.samples.path) if old else set()))
        if not new:
            return
        row = self.setup.bytes_per_row * self.settings.views
        need = 2 * new * row + (self.path.stat().st_size if old else 0)
        free = shutil.disk_usage(self.path.parent).free
        if need > free:
            raise errors.CacheError(
                f"{self.path.parent} has {free / 1e6:.0f} MB free, and {self.path.name} may need "
                f"{need / 1e6:.0f} MB. Make room, or write to another disk."
            )

    def compute(self, staging: Staging, stopped: threading.Event, progress: Callable[[Progress], None]) -> None:
        """Look at every sample; compute what is not known."""
        workers = self.settings.threads()

        def tell(done: int) -> None:
            progress(Progress(done, len(self.samples), self.computed, self.failed, self.clock))

        self.slices = series.select(self.samples, self.setup.rule, workers, tell, stopped.is_set)
        wanted = [
            (index, sample)
            for index, sample in enumerate(self.samples)
            if index not in self.slices.not_selected and index not in self.slices.failures
        ]
        results = pipeline.in_order(
            lambda item: self.reader.read(item[1].file),
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
                if not self._take(self._next(results), staging, stopped, tell):
                    break
                tell(self.looked_at)
        finally:
            results.close()  # type: ignore[attr-defined]  # a generator; its threads end here
            if self.assembly is not None:
                self.assembly.close()

    def _ahead(self) -> int:
        """Return how many frames are prepared ahead of the network."""
        workers = self.settings.threads()
        if self.setup.preparation.size is None:
            return 2 * workers  # they may be large
        return max(2 * self.setup.batch_size // min(self.settings.views, VIEWS_AT_ONCE), 1) + workers

    def _next(self, results: Iterator[Any]) -> Any:
        started = time.perf_counter()
        result = next(results)
        if self.assembly is not None:
            self.clock.add("waiting", started)
        return result

    def _pass_over(self, index: int) -> None:
        """Note what became of the samples before this one that need no reading."""
        while self.looked_at < index:
            failure = self.slices.failures.get(self.looked_at)
            self.failed += failure is not None
            self.outcomes.append(Outcome(None, failure, selected=failure is not None))

    def _take(
        self, read: Read, staging: Staging, stopped: threading.Event, tell: Callable[[int], None]
    ) -> bool:
        """Compute what a file needs; tell whether it was not broken off."""
        failure = read.failure
        content, facts = read.content, read.facts
        if content is not None and facts is not None and content not in self.knowledge.files:
            known = Known(facts, read.chosen)
            try:
                kept = known.as_dict(self.setup.rule)
                for ready in chain(read.ready, self._prepared(read)):
                    key = key_of(content, ready.number, ready.view)
                    if key not in self.knowledge.rows:
                        self._start(staging).add(content, kept, ready)
                        self.knowledge.rows.add(key)
                    if stopped.is_set() and read.wanted:
                        return False
                    tell(self.looked_at)
                self.knowledge.files[content] = known
            except errors.ImageError as error:
                failure = error
        self.failed += failure is not None
        self.outcomes.append(Outcome(content, failure))
        return True

    def _prepared(self, read: Read) -> Iterator[Ready]:
        """Yield the frames of a volume that are wanted, prepared in threads."""
        if not read.wanted:
            return
        prepare = partial(self.reader.prepare, read)
        groups = pipeline.in_order(prepare, read.wanted, self.settings.threads(), self._ahead())
        try:
            for _ in read.wanted:
                yield from self._next(groups)
        finally:
            groups.close()  # type: ignore[attr-defined]  # likewise

    def _start(self, staging: Staging) -> pipeline.Assembly:
        """Load the network when the first image needs it, and see that it computes what is held."""
        if self.assembly is None:
            began = time.perf_counter()
            setup = self.setup
            pixels = canaries.pixels(setup.canary_preparation)
            plan = replace(setup.plan, engine=engines.choose(setup.plan.engine))
            self.engine = engines.load(plan, setup.batch_size, pixels)
            now = self.engine.run(pixels).vectors
            self.knowledge.compare(now, accept=self.settings.accept_drift)
            self.knowledge.layers = self.engine.dimensions
            self.clock.add("loading", began)
            self.assembly = pipeline.Assembly(self.engine, now, staging, self.clock, any_size=plan.size is None)
        return self.assembly

    def merge(
        self, old: Cache | None, staging: Staging, started: float, pseudonyms: Pseudonyms | None
    ) -> Summary:
        """Write the cache, unless it would only repeat what it is."""
        self._fail_what_was_not_finite()
        samples, failures = self._samples(old), failures_table(self.samples, self.outcomes)
        if old is None and not self.computed and not self.knowledge.staged:
            self._refuse_nothing(failures)
        changed = old is None or not old.samples.equals(samples) or old.failures != failures
        changed = changed or (old is not None and not old.header.complete)
        changed = changed or (old is not None and dict(old.header.selection) != self.setup.selection)
        if self.computed or self.knowledge.staged or changed:
            contents = Contents(
                self.setup.recipe,
                tuple(self.knowledge.layers),
                self.setup.selection,
                samples,
                failures,
                [self._provenance()],
            )
            commit(self.path, old, staging.blocks(), contents, pseudonyms)
            staging.clear()
        return self._summary(failures, started)

    def _refuse_nothing(self, failures: list[Failure]) -> None:
        if self.looked_at < len(self.samples):
            raise errors.Interrupted("Interrupted before the first image was computed; nothing was written.")
        if not failures:
            raise errors.SourceError(
                f"--frames {self.setup.rule.text} takes none of the {len(self.samples)} files. No cache was "
                "written."
            )
        first = failures[0]
        raise errors.SourceError(
            f"None of the {len(failures)} images became a vector; the first, {first.path}: {first.reason}. "
            "No cache was written."
        )

    def _fail_what_was_not_finite(self) -> None:
        bad = self.assembly.not_finite if self.assembly else set()
        for outcome in self.outcomes if bad else ():
            if outcome.content in bad:
                outcome.failure = errors.ImageError("network", "its vector is infinite or not a number")
                self.knowledge.files.pop(outcome.content, None)

    def _samples(self, old: Cache | None) -> Samples:
        before = contents_by_path(old) if old and self.looked_at < len(self.samples) else {}
        # What was not looked at stays as it was, or is pending, as where other frames or views are asked for.
        contents = [before.get(sample.path) for sample in self.samples[self.looked_at :]]
        skipped = [Outcome(content if content in self.knowledge.files else None) for content in contents]
        return samples_table(self.samples, self.outcomes + skipped, self.knowledge.files)

    def _provenance(self) -> dict[str, Any]:
        entry = provenance_entry(python=platform.python_version())
        if self.knowledge.drifted > drift.TOLERANCE:
            entry["accepted_drift"] = self.knowledge.drifted
        return entry

    def _summary(self, failures: list[Failure], started: float) -> Summary:
        contents = {o.content for o in self.outcomes if o.failure is None and o.content is not None}
        files = [self.knowledge.files[content] for content in contents]
        images = self.settings.views * sum(len(known.chosen) for known in files)
        failed = {o.content or s.path for s, o in zip(self.samples, self.outcomes, strict=False) if o.failure}
        reused = max(images - self.computed, 0)
        layers = self.knowledge.layers
        engine = self.engine
        rate = round(self.computed / self.clock.seconds, 2) if self.computed and self.clock.seconds else None
        policies = self.setup.preparation.intensity
        kinds = sorted({known.facts.kind for known in files})
        return Summary(
            cache=self.path,
            fingerprint=recipes.fingerprint(self.setup.recipe, next(iter(layers))),
            samples=len(self.samples),
            images=self.computed + reused + len(failed),
            computed=self.computed,
            reused=reused,
            failed=len(failed),
            not_selected=sum(not outcome.selected for outcome in self.outcomes),
            sequences=self.slices.sequences,
            passed_over={reason: len(paths) for reason, paths in self.source.passed_over.items()},
            dimensions=layers,
            intensity={
                kind: {"files": sum(known.facts.kind == kind for known in files), "policy": policies[kind]}
                for kind in kinds
            },
            engine=engine.name if engine else None,
            device=engine.device if engine else None,
            precision=engine.precision if engine else None,
            seconds=round(time.perf_counter() - started, 3),
            images_per_second=rate,
            stages=self.clock.stages(),
            advice=self.clock.advice(self.settings.threads(), joblib.cpu_count(), engine.name, engine.device)
            if engine
            else None,
            spare=len(self.knowledge.rows) - images if self.looked_at == len(self.samples) else 0,
            failures=failures,
        )


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
