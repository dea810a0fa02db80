"""What needs no computing: the vectors that a cache and the blocks of an interrupted run hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import drift
from ..cache.chosen import frames_of, text_of
from ..cache.keys import as_bytes, key_of
from ..cache.recipe import Recipe, differences, sentence
from ..cache.samples import DONE
from ..cache.staging import Staging
from ..cache.store import Cache
from .frames import Rule
from .picture import Facts


@dataclass(frozen=True)
class Known:
    """What a file is, and which of its frames are taken."""

    facts: Facts
    chosen: tuple[int, ...]

    def as_dict(self, rule: Rule) -> dict[str, Any]:
        """Return what a block keeps of a file: enough to know it again after a kill."""
        return {**self.facts.as_dict(), "chosen": self.text(), "rule": rule.text}

    def text(self) -> str:
        """Return the frames that are taken as a cache notes them.

        Raises
        ------
        ImageError
            If they are too irregular for that.
        """
        if not self.facts.frames:
            return ""
        try:
            return text_of(self.chosen, self.facts.frames)
        except ValueError as error:
            raise errors.ImageError("frames", str(error)) from None


def _from_block(kept: Mapping[str, Any], rule: Rule) -> Known | None:
    """Return what a block says of a file, or None if its frames were chosen by another rule."""
    facts = Facts(**{name: value for name, value in kept.items() if name not in ("chosen", "rule")})
    return _chosen_by(rule, facts, kept["chosen"], kept["rule"])


def _chosen_by(rule: Rule, facts: Facts, chosen: str, by: str) -> Known | None:
    """Return a file with the frames that `rule` takes of it; None if its pixels would have to be looked at."""
    if facts.frames == 1:
        return Known(facts, (0,))
    if by == rule.text:
        return Known(facts, tuple(frames_of(chosen, facts.frames).tolist()))
    return None if rule.needs_pixels else Known(facts, rule.choose(facts.frames))


@dataclass
class Knowledge:
    """What is known before, and learned during, an extraction.

    Parameters
    ----------
    files : dict of bytes to Known
        The contents of which every frame and view that is wanted has its vector.
    rows : set of bytes
        The keys (see `cache.keys`) of every vector there is, those of files that are not whole among them.
    canaries : list of (str, dict)
        Where vectors are held, and the canaries' vectors that came with them.
    layers : dict of str to int
        The layers that vectors are held of, and the vectors' lengths; empty if there are none.
    staged : bool
        Whether blocks wait to be merged.
    drifted : float
        The largest distance between their canaries.
    remedy : str
        What to do where the canaries' vectors differ, for the error that says so.
    """

    files: dict[bytes, Known] = field(default_factory=dict)
    rows: set[bytes] = field(default_factory=set)
    canaries: list[tuple[str, Mapping[str, NDArray[np.float32]]]] = field(default_factory=list)
    layers: dict[str, int] = field(default_factory=dict)
    staged: bool = False
    drifted: float = 0.0
    remedy: str = "Write to another file, or mix both kinds with --accept-drift."

    def compare(self, now: drift.Vectors, *, accept: bool) -> None:
        """Refuse to go on if the canaries' vectors are not those that vectors are held with.

        Raises
        ------
        CanaryDrift
        """
        for where, then in self.canaries:
            sentence = (
                f"This machine's network computes vectors {{}} away from those in {where}: a library, a driver "
                f"or the weights changed. {self.remedy}"
            )
            self.drifted = max(self.drifted, drift.check(now, then, sentence, accept=accept))

    def forget_what_is_not_whole(self, views: int) -> None:
        """Leave out files that lack the vector of a frame or view that is wanted: they are decoded again."""
        for content, known in list(self.files.items()):
            keys = (key_of(content, frame, view) for frame in known.chosen for view in range(views))
            if not self.rows.issuperset(keys):
                del self.files[content]


def of_cache(cache: Cache, rule: Rule) -> Knowledge:
    """Return what a cache holds, and which frames `rule` takes of its files, whether they are there or not."""
    kept = cache.canaries()  # a repaired cache may have lost them
    return Knowledge(
        files=files_of(cache, rule),
        rows=set(as_bytes(cache.image_keys)),
        canaries=[(str(cache.path), kept)] if kept else [],
        layers=cache.dimensions,
    )


def learn(
    old: Cache | None, staging: Staging, recipe: Recipe, rule: Rule, views: int, *, accept_drift: bool
) -> Knowledge:
    """Return what a cache and its staging folder hold of what is wanted.

    Raises
    ------
    RecipeMismatch
        If either holds vectors of another recipe.
    CanaryDrift
        If their vectors are of two kinds.
    """
    knowledge = Knowledge() if old is None else of_cache(old, rule)
    staging.begin(recipe)
    for block in staging.blocks():  # each read on its own: they may be many
        knowledge.staged = True
        knowledge.rows.update(as_bytes(block.keys))
        knowledge.layers = {layer: int(vectors.shape[1]) for layer, vectors in block.vectors.items()}
        if knowledge.canaries:
            knowledge.compare(block.canaries, accept=accept_drift)
        else:
            knowledge.canaries.append((str(staging.folder), block.canaries))
        for digits, kept in block.facts.items():
            if known := _from_block(kept, rule):
                knowledge.files.setdefault(bytes.fromhex(digits), known)
    knowledge.forget_what_is_not_whole(views)
    return knowledge


def refuse_other_recipe(cache: Cache, recipe: Recipe) -> None:
    """Raise `RecipeMismatch`, naming the fields, if `cache` was not made by `recipe`, or is anonymized."""
    if cache.anonymized:
        raise errors.CacheAnonymized(
            f"{cache.path} is anonymized: its images cannot be told, so nothing can be added. Write to another "
            "file."
        )
    if differing := differences(cache.header.recipe, recipe):
        raise errors.RecipeMismatch(
            f"{cache.path} holds vectors of another recipe: {sentence(differing)}. "
            "Give the options that it was made with, or write to another file."
        )


def files_of(cache: Cache, rule: Rule) -> dict[bytes, Known]:
    """Return the files of a cache's finished samples, with the frames that `rule` takes of them."""
    samples = cache.samples
    by = str(cache.header.selection.get("frames", ""))
    files = {}
    for index in np.flatnonzero(samples.state == DONE):
        facts = Facts(
            format=str(samples.format[index]),
            mode=str(samples.mode[index]),
            width=int(samples.width[index]),
            height=int(samples.height[index]),
            bits=int(samples.bits[index]),
            frames=int(samples.frames[index]),
            kind=str(samples.kind[index]),
        )
        if known := _chosen_by(rule, facts, str(samples.chosen[index]), by):
            files[samples.content[index].tobytes()] = known
    return files


def contents_by_path(cache: Cache) -> dict[str, bytes]:
    """Return the content of each finished sample of a cache."""
    done = np.flatnonzero(cache.samples.state == DONE)
    return {str(cache.samples.path[index]): cache.samples.content[index].tobytes() for index in done}
