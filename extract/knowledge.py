"""What needs no computing: the vectors that a cache and the blocks of an interrupted run hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..cache import drift
from ..cache.keys import as_bytes, contents_in, key_of
from ..cache.recipe import Recipe, differences, sentence
from ..cache.samples import DONE
from ..cache.staging import Staging
from ..cache.store import Cache
from .picture import Facts


@dataclass
class Knowledge:
    """What is known before, and learned during, an extraction.

    Parameters
    ----------
    files : dict of bytes to Facts
        The contents of which every frame has its vector.
    rows : set of bytes
        The keys (see `cache.keys`) of every vector there is, those of files that are not whole among them.
    canaries : list of (str, dict)
        Where vectors are held, and the canaries' vectors that came with them.
    staged : bool
        Whether blocks wait to be merged.
    drifted : float
        The largest distance between their canaries.
    """

    files: dict[bytes, Facts] = field(default_factory=dict)
    rows: set[bytes] = field(default_factory=set)
    canaries: list[tuple[str, Mapping[str, NDArray[np.float32]]]] = field(default_factory=list)
    staged: bool = False
    drifted: float = 0.0

    def compare(self, now: drift.Vectors, *, accept: bool) -> None:
        """Refuse to go on if the canaries' vectors are not those that vectors are held with.

        Raises
        ------
        CanaryDrift
        """
        for where, then in self.canaries:
            sentence = (
                f"This machine's network computes vectors {{}} away from those in {where}: a library, a driver "
                "or the weights changed. Write to another file, or mix both kinds with --accept-drift."
            )
            self.drifted = max(self.drifted, drift.check(now, then, sentence, accept=accept))


def learn(old: Cache | None, staging: Staging, recipe: Recipe, *, accept_drift: bool) -> Knowledge:
    """Return what a cache and its staging folder hold.

    Raises
    ------
    RecipeMismatch
        If either holds vectors of another recipe.
    CanaryDrift
        If their vectors are of two kinds.
    """
    knowledge = Knowledge()
    if old is not None:
        refuse_other_recipe(old, recipe)
        knowledge.rows.update(as_bytes(old.image_keys))
        knowledge.files.update(facts_of(old))
        if kept := old.canaries():  # a repaired cache may have lost them
            knowledge.canaries.append((str(old.path), kept))
    staging.begin(recipe)
    staged: set[bytes] = set()
    for block in staging.blocks():  # each read on its own: they may be many
        knowledge.staged = True
        knowledge.rows.update(as_bytes(block.keys))
        if knowledge.canaries:
            knowledge.compare(block.canaries, accept=accept_drift)
        else:
            knowledge.canaries.append((str(staging.folder), block.canaries))
        for digits, facts in block.facts.items():
            staged.add(bytes.fromhex(digits))
            knowledge.files.setdefault(bytes.fromhex(digits), Facts(**facts))
    for content in staged:  # a file whose frames are not all there yet is decoded again
        frames = range(knowledge.files[content].frames)
        if any(key_of(content, frame, 0) not in knowledge.rows for frame in frames):
            del knowledge.files[content]
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


def facts_of(cache: Cache) -> dict[bytes, Facts]:
    """Return the contents whose vectors a cache holds whole, with what its samples say of their files."""
    unaltered = cache.image_keys[cache.read("images/view") == 0]
    frames = Counter(as_bytes(contents_in(unaltered)))
    samples = cache.samples
    known = {}
    for index in np.flatnonzero(samples.state == DONE):
        content = samples.content[index].tobytes()
        known[content] = Facts(
            str(samples.format[index]),
            str(samples.mode[index]),
            int(samples.width[index]),
            int(samples.height[index]),
            int(samples.bits[index]),
            frames[content],
        )
    return {content: facts for content, facts in known.items() if facts.frames}


def contents_by_path(cache: Cache) -> dict[str, bytes]:
    """Return the content of each finished sample of a cache."""
    done = np.flatnonzero(cache.samples.state == DONE)
    return {str(cache.samples.path[index]): cache.samples.content[index].tobytes() for index in done}
