"""One extraction from beginning to end: what is known is reused, what is new is computed, and all of it merged.

It composes source, weights, pipeline and cache; none of them knows of the others.
"""

from __future__ import annotations

import platform
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import drift
from ..cache import recipe as recipes
from ..cache.anonymize import Pseudonyms
from ..cache.commit import commit
from ..cache.keys import key_of
from ..cache.samples import DONE, FAILED, PENDING, Failure, Samples, failure
from ..cache.staging import Staging
from ..cache.store import Cache
from ..cache.writing import Contents, provenance_entry
from . import backbones, canaries, engines, pipeline
from . import weights as weight_files
from .interrupt import stop_on_signal
from .knowledge import Knowledge, contents_by_path, learn
from .picture import Facts
from .settings import SELECTION, Settings, plan_of, preparation_of, recipe_of
from .sources import Sample, Source


@dataclass(frozen=True)
class Progress:
    """Where an extraction stands: samples looked at of how many, frames computed, failures, the clock."""

    done: int
    total: int
    computed: int
    failed: int
    clock: pipeline.Clock


@dataclass(frozen=True)
class Summary:
    """What an extraction did; `as_dict` is what `extract --json` prints."""

    cache: Path
    fingerprint: str
    samples: int
    images: int
    computed: int
    reused: int
    failed: int
    dimensions: dict[str, int]
    engine: str | None
    seconds: float
    images_per_second: float | None
    stages: dict[str, float]
    failures: list[Failure] = field(default_factory=list)
    not_8_bit: int = 0
    spare: int = 0

    def as_dict(self) -> dict[str, Any]:
        return {
            "cache": str(self.cache),
            **{name: getattr(self, name) for name in _PLAIN},
            "failures": [vars(failure) for failure in self.failures],
        }


_PLAIN = (
    "fingerprint",
    "samples",
    "images",
    "computed",
    "reused",
    "failed",
    "dimensions",
    "engine",
    "seconds",
    "images_per_second",
    "stages",
    "spare",
)


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
        self.samples = source.samples
        self.path = path
        self.settings = settings
        self.backbone = backbones.find(settings.backbone)
        self.weights = weight_files.resolve(settings.weights, self.backbone)
        self.recipe = recipe_of(self.backbone, self.weights)
        self.preparation = preparation_of(self.backbone)
        self.clock = pipeline.Clock()
        self.knowledge = Knowledge()
        self.outcomes: list[_Outcome] = []
        self.engine: engines.Engine | None = None
        self.assembly: pipeline.Assembly | None = None
        self.failed = 0

    @property
    def looked_at(self) -> int:
        return len(self.outcomes)

    def join(self, old: Cache | None, staging: Staging) -> None:
        """Learn what is known already, and refuse what does not belong together."""
        if old is not None and old.anonymized:
            staging.clear()  # it was made of them, and they name what it does not
        self.knowledge = learn(old, staging, self.recipe, accept_drift=self.settings.accept_drift)
        self._check_space(old)

    def _check_space(self, old: Cache | None) -> None:
        new = len({sample.path for sample in self.samples} - (set(old.samples.path) if old else set()))
        if not new:
            return
        need = 2 * new * self.backbone.bytes_per_image + (self.path.stat().st_size if old else 0)
        free = shutil.disk_usage(self.path.parent).free
        if need > free:
            raise errors.CacheError(
                f"{self.path.parent} has {free / 1e6:.0f} MB free, and {self.path.name} may need "
                f"{need / 1e6:.0f} MB. Make room, or write to another disk."
            )

    def compute(self, staging: Staging, stopped: threading.Event, progress: Callable[[Progress], None]) -> None:
        """Look at every sample; compute what is not known."""
        workers = self.settings.threads()
        ahead = 2 * self.settings.batch_size + workers

        def work(sample: Sample) -> pipeline.Decoded:
            return pipeline.read(sample.file, self.knowledge.files, self.preparation, self.clock)

        results = pipeline.in_order(work, self.samples, workers, ahead)
        try:
            for decoded in results:
                self._take(decoded, staging)
                computed = self.assembly.computed if self.assembly else 0
                self.failed += decoded.failure is not None
                progress(Progress(self.looked_at, len(self.samples), computed, self.failed, self.clock))
                if stopped.is_set():
                    break
        finally:
            results.close()  # type: ignore[attr-defined]  # a generator; its threads end here
            if self.assembly is not None:
                self.assembly.close()

    def _take(self, decoded: pipeline.Decoded, staging: Staging) -> None:
        content, facts = decoded.content, decoded.facts
        if content is not None and facts is not None and content not in self.knowledge.files:
            for number, frame in enumerate(decoded.frames):
                key = key_of(content, number, 0)
                if key not in self.knowledge.rows:
                    self._start(staging).add(content, facts, number, frame)
                    self.knowledge.rows.add(key)
            self.knowledge.files[content] = facts
        self.outcomes.append(_Outcome(content, decoded.failure))

    def _start(self, staging: Staging) -> pipeline.Assembly:
        """Load the network when the first image needs it, and see that it computes what is held."""
        if self.assembly is None:
            pixels = canaries.pixels(self.preparation)
            self.engine = engines.load(plan_of(self.backbone, self.weights), self.settings.batch_size, pixels)
            now = self.engine.run(pixels).vectors
            self.knowledge.compare(now, accept=self.settings.accept_drift)
            self.assembly = pipeline.Assembly(self.engine, now, staging, self.settings.batch_size, self.clock)
        return self.assembly

    def merge(
        self, old: Cache | None, staging: Staging, started: float, pseudonyms: Pseudonyms | None
    ) -> Summary:
        """Write the cache, unless it would only repeat what it is."""
        self._fail_what_was_not_finite()
        samples, failures = self._samples(old), self._failures()
        computed = self.assembly.computed if self.assembly else 0
        if old is None and not computed and not self.knowledge.staged:
            self._refuse_nothing(failures)
        changed = old is None or not old.samples.equals(samples) or old.failures != failures
        changed = changed or (old is not None and not old.header.complete)
        if computed or self.knowledge.staged or changed:
            contents = Contents(
                self.recipe, (engines.LAYER,), SELECTION, samples, failures, [self._provenance()]
            )
            commit(self.path, old, staging.blocks(), contents, pseudonyms)
            staging.clear()
        return self._summary(failures, computed, started)

    def _refuse_nothing(self, failures: list[Failure]) -> None:
        if self.looked_at < len(self.samples):
            raise errors.Interrupted("Interrupted before the first image was computed; nothing was written.")
        first = failures[0]
        raise errors.SourceError(
            f"None of the {len(failures)} images could be read; the first, {first.path}: {first.reason}. "
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
        skipped = [_Outcome(before.get(sample.path)) for sample in self.samples[self.looked_at :]]
        outcomes = self.outcomes + skipped  # what was not looked at stays as it was, or is pending
        nothing = Facts("", "", 0, 0, 0)
        facts = [self.knowledge.files.get(o.content or b"", nothing) for o in outcomes]
        content = [np.frombuffer(o.content or bytes(32), dtype=np.uint8) for o in outcomes]
        names = list(dict.fromkeys(name for sample in self.samples for name in sample.columns))
        return Samples(
            path=_texts(sample.path for sample in self.samples),
            label=_texts(sample.label for sample in self.samples),
            patient=_texts(sample.patient for sample in self.samples),
            split=_texts(sample.split for sample in self.samples),
            content=np.stack(content),
            state=_texts(o.state() for o in outcomes),
            format=_texts(fact.format for fact in facts),
            mode=_texts(fact.mode for fact in facts),
            width=np.array([fact.width for fact in facts], dtype=np.int32),
            height=np.array([fact.height for fact in facts], dtype=np.int32),
            bits=np.array([fact.bits for fact in facts], dtype=np.int32),
            columns={name: _texts(s.columns.get(name, "") for s in self.samples) for name in names},
        )

    def _failures(self) -> list[Failure]:
        pairs = zip(self.samples, self.outcomes, strict=False)  # what was not looked at has not failed
        return [
            failure(sample.path, outcome.failure.stage, outcome.failure.reason)
            for sample, outcome in pairs
            if outcome.failure is not None
        ]

    def _provenance(self) -> dict[str, Any]:
        entry = provenance_entry(python=platform.python_version())
        if self.knowledge.drifted > drift.TOLERANCE:
            entry["accepted_drift"] = self.knowledge.drifted
        return entry

    def _summary(self, failures: list[Failure], computed: int, started: float) -> Summary:
        contents = {o.content for o in self.outcomes if o.failure is None and o.content is not None}
        frames = sum(self.knowledge.files[content].frames for content in contents)
        failed = {o.content or s.path for s, o in zip(self.samples, self.outcomes, strict=False) if o.failure}
        reused = max(frames - computed, 0)
        seconds = time.perf_counter() - started
        rate = round(computed / self.clock.seconds, 2) if computed and self.clock.seconds else None
        return Summary(
            cache=self.path,
            fingerprint=recipes.fingerprint(self.recipe, engines.LAYER),
            samples=len(self.samples),
            images=computed + reused + len(failed),
            computed=computed,
            reused=reused,
            failed=len(failed),
            dimensions={engines.LAYER: self.backbone.dimensions},
            engine=self.engine.name if self.engine else None,
            seconds=round(seconds, 3),
            images_per_second=rate,
            stages=self.clock.stages(),
            failures=failures,
            not_8_bit=sum(self.knowledge.files[content].bits > 8 for content in contents),
            spare=len(self.knowledge.rows) - frames if self.looked_at == len(self.samples) else 0,
        )


@dataclass
class _Outcome:
    """What became of one sample; content is None if it could not be read."""

    content: bytes | None
    failure: errors.ImageError | None = None

    def state(self) -> str:
        if self.failure is not None:
            return FAILED
        return DONE if self.content is not None else PENDING


def _texts(values: Any) -> NDArray[np.str_]:
    return np.array(list(values), dtype=np.str_)
