"""One extraction from beginning to end: what is known is reused, what is new is computed, and all of it merged.

It composes source, job and cache; none of them knows of the others.
"""

from __future__ import annotations

import platform
import shutil
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import joblib

from .. import errors
from ..cache import drift
from ..cache import recipe as recipes
from ..cache.anonymize import Pseudonyms
from ..cache.commit import commit
from ..cache.samples import Failure, Samples
from ..cache.staging import Staging
from ..cache.store import Cache
from ..cache.writing import Contents, provenance_entry
from .blocks import Blocks
from .clock import Clock
from .interrupt import stop_on_signal
from .job import Job
from .knowledge import Knowledge, contents_by_path, learn, refuse_other_recipe
from .outcomes import Outcome, failures_table, samples_table
from .settings import Settings, Setup, going_on, set_up
from .sources import Source
from .summary import Progress, Summary


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
    setup = set_up(settings)
    with stop_on_signal() as stopped, Staging(path) as staging, ExitStack() as stack:
        old = stack.enter_context(Cache(path)) if path.exists() else None
        setup, knowledge = _joined(setup, old, staging)
        _check_space(source, path, setup, old)
        if pseudonyms is not None and old is not None:
            raise errors.OutputExists(
                f"{path} exists already, and --anonymize makes a new cache. Choose another name, or make an "
                f"anonymous copy: icehouse cache merge {path} --anonymize -o NEW"
            )
        clock = Clock()
        blocks = Blocks(staging, clock, any_size=setup.plan.size is None)
        job = Job(source.samples, setup, knowledge, blocks, clock)
        try:
            job.look(stopped, progress)
        finally:
            job.finish()
        if pseudonyms is not None and job.looked_at < len(source.samples):
            raise errors.Interrupted(
                f"Interrupted: what was computed is safe in {staging.folder}. Run the same command again to go "
                "on."
            )
        summary = _Merge(source, path, job).merge(old, staging, started, pseudonyms)
    if left := summary.samples - job.looked_at:
        raise errors.Interrupted(
            f"Interrupted: {summary.computed} images computed now are safe in {path}; {left} samples were not "
            "looked at. Run the same command again to go on."
        )
    return summary


def _joined(setup: Setup, old: Cache | None, staging: Staging) -> tuple[Setup, Knowledge]:
    """Learn what is known already, and refuse what does not belong together."""
    if old is not None:
        if old.anonymized:
            staging.clear()  # it was made of them, and they name what it does not
        setup = going_on(setup, old)
        refuse_other_recipe(old, setup.recipe)
        _check_layers(setup, old)
    settings, blocks_recipe = setup.settings, {**setup.recipe, "layers": list(setup.plan.layers)}
    knowledge = learn(
        old, staging, blocks_recipe, setup.rule, settings.views, accept_drift=settings.accept_drift
    )
    return setup, knowledge


def _check_layers(setup: Setup, old: Cache) -> None:
    """Refuse layers that are not those of the cache."""
    held = tuple(old.header.selection.get("layers", old.layers))
    if set(setup.plan.layers) not in (set(held), set(old.layers)):
        raise errors.RecipeMismatch(
            f"{old.path} holds the layers {', '.join(held)}, not {', '.join(setup.plan.layers)}. Give "
            "those, or write to another file."
        )


def _check_space(source: Source, path: Path, setup: Setup, old: Cache | None) -> None:
    new = len({sample.path for sample in source.samples} - (set(old.samples.path) if old else set()))
    if not new:
        return
    need = 2 * new * setup.bytes_per_row * setup.settings.views + (path.stat().st_size if old else 0)
    free = shutil.disk_usage(path.parent).free
    if need > free:
        raise errors.CacheError(
            f"{path.parent} has {free / 1e6:.0f} MB free, and {path.name} may need "
            f"{need / 1e6:.0f} MB. Make room, or write to another disk."
        )


class _Merge:
    """What was found and computed, brought into the cache and into words."""

    def __init__(self, source: Source, path: Path, job: Job) -> None:
        self.source = source
        self.samples = source.samples
        self.path = path
        self.job = job
        self.setup = job.setup
        self.knowledge = job.knowledge
        self.outcomes = job.outcomes

    def merge(
        self, old: Cache | None, staging: Staging, started: float, pseudonyms: Pseudonyms | None
    ) -> Summary:
        """Write the cache, unless it would only repeat what it is."""
        samples, failures = self._samples(old), failures_table(self.samples, self.outcomes)
        if old is None and not self.job.computed and not self.knowledge.staged:
            self._refuse_nothing(failures)
        changed = old is None or not old.samples.equals(samples) or old.failures != failures
        changed = changed or (old is not None and not old.header.complete)
        changed = changed or (old is not None and dict(old.header.selection) != self.setup.selection)
        if self.job.computed or self.knowledge.staged or changed:
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
        if self.job.looked_at < len(self.samples):
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

    def _samples(self, old: Cache | None) -> Samples:
        before = contents_by_path(old) if old and self.job.looked_at < len(self.samples) else {}
        # What was not looked at stays as it was, or is pending, as where other frames or views are asked for.
        contents = [before.get(sample.path) for sample in self.samples[self.job.looked_at :]]
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
        images = self.setup.settings.views * sum(len(known.chosen) for known in files)
        failed = {o.content or s.path for s, o in zip(self.samples, self.outcomes, strict=False) if o.failure}
        job, layers = self.job, self.knowledge.layers
        clock, engine = job.clock, job.engine
        reused = max(images - job.computed, 0)
        rate = round(job.computed / clock.seconds, 2) if job.computed and clock.seconds else None
        policies = self.setup.preparation.intensity
        kinds = sorted({known.facts.kind for known in files})
        return Summary(
            cache=self.path,
            fingerprint=recipes.fingerprint(self.setup.recipe, next(iter(layers))),
            samples=len(self.samples),
            images=job.computed + reused + len(failed),
            computed=job.computed,
            reused=reused,
            failed=len(failed),
            not_selected=sum(not outcome.selected for outcome in self.outcomes),
            sequences=job.slices.sequences,
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
            stages=clock.stages(),
            advice=clock.advice(self.setup.settings.threads(), joblib.cpu_count(), engine.name, engine.device)
            if engine
            else None,
            spare=len(self.knowledge.rows) - images if job.looked_at == len(self.samples) else 0,
            failures=failures,
        )
