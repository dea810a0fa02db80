"""Several caches of one recipe become one: the same content is kept once, and no conflict is passed over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import drift, layout
from .anonymize import Pseudonyms
from .keys import contents_in, contents_of
from .naming import distinct
from .recipe import differences, sentence
from .rows import CacheRows, RowSource, arrange, without_spare
from .samples import DONE, NUMBERS, TEXTS, Failure, Samples, of_failed
from .staging import making
from .store import Cache
from .writing import Contents, MapSum, provenance_entry, write

MIXED = "mixed"
"""What is said of the frames that were asked for, where that is not the same for all samples."""

_MAY_CONFLICT = ("label", "patient", "split")
_LISTED = 20


def merge(
    paths: Sequence[Path],
    output: Path,
    *,
    prefer: Path | None = None,
    prefix: bool = False,
    accept_drift: bool = False,
    pseudonyms: Pseudonyms | None = None,
) -> dict[str, Any]:
    """Write one cache with the vectors and samples of several.

    Parameters
    ----------
    paths : sequence of Path
        Two caches or more, of one recipe; with `pseudonyms`, one will do.
    output : Path
        A new file.
    prefer : Path, optional
        The one of `paths` whose labels, patients and splits count where two say different things of one image.
    prefix : bool
        Put each cache's name before its paths, where two caches call different images the same.
    accept_drift : bool
        Merge although the canaries of two caches differ.
    pseudonyms : Pseudonyms, optional
        Leave out what names people.

    Returns
    -------
    dict
        `rows`, `samples`, `kept_once`: how many vectors stood in more than one cache, `resolved`: how many
        conflicts `prefer` decided, `unrecognized`: whether images and patients that stand in two of the caches
        could not be recognized, as one is anonymized, `selection`: that of the new cache, `notes`: a sentence
        for each way in which it is not that of all.

    Raises
    ------
    RecipeMismatch, CanaryDrift
        If the caches hold vectors of two kinds.
    MergeConflict
        If they say different things of one image, or call different images the same.
    OutputExists

    Notes
    -----
    Each sample keeps its own chosen frames. Caches of different numbers of views become one of the least
    number, as no sample may lack a view; the vectors of the further ones stay as spare rows, which an
    extraction with more views takes again.
    """
    least = 2 if pseudonyms is None else 1  # one alone can be anonymized
    if len(paths) < least or len({path.resolve() for path in paths}) < len(paths):
        raise errors.UsageError("Merging takes two caches or more, each named once; one with --anonymize.")
    if prefer is not None and prefer.resolve() not in [path.resolve() for path in paths]:
        raise errors.UsageError(f"--prefer {prefer} is none of the caches that are merged.")
    with ExitStack() as stack:
        stack.enter_context(making(output))
        caches = [stack.enter_context(Cache(path)) for path in paths]
        for cache in caches:
            cache.sample_of_row  # noqa: B018  (refuses a cache whose samples lack vectors)
        _check_kinds(caches, accept_drift)
        if pseudonyms is None and len({cache.anonymized for cache in caches}) > 1:
            raise errors.CacheAnonymized(
                "Some of these caches are anonymized and some are not. Merge them with --anonymize, so that "
                "the new one names nobody either."
            )
        preferred = next((i for i, path in enumerate(paths) if prefer and path.samefile(prefer)), None)
        table = _Table(caches, prefix)
        table.check_paths()
        resolved = table.settle_conflicts(preferred)
        samples = table.samples(preferred)
        selection, notes = _selection(caches)
        keys = [cache.image_keys for cache in caches]
        order, maps = arrange(keys, samples), _maps(caches)
        if pseudonyms is not None:  # what nobody names any more is nobody's to pass on
            every, order = order, without_spare(order, keys, samples, selection["views"])
            maps = maps if len(order) == len(every) else None
        contents = Contents(
            caches[0].header.recipe,
            caches[0].layers,
            selection,
            samples,
            table.failures(samples),
            _provenance(caches),
            next((cache.canaries() for cache in caches if cache.canaries()), {}),
            maps,
            anonymized=any(cache.anonymized for cache in caches),
            whole=all(cache.whole for cache in caches),
        )
        sources: list[RowSource] = [CacheRows(cache) for cache in caches]
        if pseudonyms is not None:
            contents = pseudonyms.contents(contents)
            sources = [pseudonyms.rows(source) for source in sources]
        write(output, contents, sources, order)
        return {
            "cache": str(output),
            "caches": [str(path) for path in paths],
            "rows": len(order),
            "samples": len(samples),
            "kept_once": sum(cache.rows for cache in caches) - len(order),
            "resolved": resolved,
            "anonymized": contents.anonymized,
            "unrecognized": len(caches) > 1 and any(cache.anonymized for cache in caches),
            "selection": selection,
            "notes": notes,
        }


def _selection(caches: list[Cache]) -> tuple[dict[str, Any], list[str]]:
    """Return the selection of the merged cache, and a sentence for each way in which the caches' differ."""
    selections = [cache.header.selection for cache in caches]
    merged, notes = {**selections[0], "views": min(cache.header.views for cache in caches)}, []
    if len({selection["frames"] for selection in selections}) > 1:
        merged["frames"] = MIXED
        notes.append("The caches were made with different --frames: each sample keeps the frames chosen of it.")
    if len(views := sorted({cache.header.views for cache in caches})) > 1:
        notes.append(
            f"The caches have {', '.join(map(str, views[:-1]))} and {views[-1]} views of a frame: {views[0]} "
            "of each count, and the vectors of the others are kept as spare ones."
        )
    if any(selection.get("layers") != selections[0].get("layers") for selection in selections):
        merged["layers"] = list(caches[0].layers)  # the same ones, typed otherwise
    return merged, notes


def _check_kinds(caches: list[Cache], accept_drift: bool) -> None:
    """Refuse caches whose vectors are not of one kind."""
    first = caches[0]
    for other in caches[1:]:
        fields = differences(first.header.recipe, other.header.recipe)
        fields += differences(_shapes(first), _shapes(other))
        if fields:
            raise errors.RecipeMismatch(f"{first.path} and {other.path} cannot be merged: {sentence(fields)}.")
    watched = [cache for cache in caches if cache.canaries()]
    for other in watched[1:]:
        drifted = (
            f"The network that made {other.path} computes vectors {{}} away from those in {watched[0].path}. "
            "Keep them apart, or mix both kinds with --accept-drift."
        )
        drift.check(other.canaries(), watched[0].canaries(), drifted, accept=accept_drift)


def _shapes(cache: Cache) -> dict[str, Any]:
    """Return what must be the same for rows to be put together."""
    kinds = {layer: str(cache.read(f"vectors/{layer}", slice(0, 0)).dtype) for layer in sorted(cache.layers)}
    return {"layers": sorted(cache.layers), "dimensions": cache.dimensions, "types": kinds}


class _Table:
    """The samples of several caches, one below the other, as object arrays that may be changed."""

    def __init__(self, caches: list[Cache], prefix: bool) -> None:
        self._caches = caches
        self._prefix = prefix
        tables = [cache.samples for cache in caches]
        self.cache = np.repeat(np.arange(len(caches)), [len(table) for table in tables])
        self.content = np.concatenate([table.content for table in tables])
        self.fields: dict[str, NDArray[Any]] = {
            name: np.concatenate([getattr(table, name).astype(object) for table in tables]) for name in TEXTS
        }
        self.numbers = {name: np.concatenate([getattr(table, name) for table in tables]) for name in NUMBERS}
        names = dict.fromkeys(name for table in tables for name in table.columns)
        self.columns: dict[str, NDArray[Any]] = {}
        for name in names:
            parts = [table.columns.get(name, np.full(len(table), "")).astype(object) for table in tables]
            self.columns[name] = np.concatenate(parts)
        if len(names) > layout.MAX_COLUMNS:
            raise errors.UsageError(
                f"The caches have {len(names)} columns together; a cache holds {layout.MAX_COLUMNS}."
            )
        if prefix:
            stems = distinct(cache.path.stem for cache in caches)
            paths = zip(self.cache, self.fields["path"], strict=True)
            self.fields["path"] = np.array([f"{stems[c]}/{path}" for c, path in paths], dtype=object)
        self.known = np.asarray(self.content.any(axis=1))
        self.by_path = _groups(self.fields["path"].astype(np.str_), np.ones(len(self.cache), dtype=bool))

    def check_paths(self) -> None:
        """Raise `MergeConflict` if one path means different images."""
        collisions = [
            self.fields["path"][members[0]]
            for members in self.by_path
            if len({self.content[index].tobytes() for index in members if self.known[index]}) > 1
        ]
        if collisions:
            raise errors.MergeConflict(
                f"The caches call {len(collisions)} different images the same, such as {collisions[0]}. Put "
                "each cache's name before its paths with --prefix."
            )

    def settle_conflicts(self, preferred: int | None) -> int:
        """Fill in what only one cache knows, and see to it that they agree; return how often that was decided.

        Raises
        ------
        MergeConflict
        """
        resolved = 0
        conflicts: dict[str, None] = {}
        texts = {name: self.fields[name] for name in _MAY_CONFLICT}
        by_content = _groups(contents_of(self.content), self.known)
        several = [(members, texts) for members in by_content]
        several += [(members, {**self.columns, **texts}) for members in self.by_path]
        for members, table in sorted(several, key=lambda group: int(group[0][0])):
            if len(set(self.cache[members])) == 1:
                continue  # what a cache says of itself is its own affair
            for name, values in table.items():
                found = self._agreement(values, members, preferred)
                if found is None:  # it may be found by content and by path: said once
                    conflicts[self._conflict(name, values, members)] = None
                else:
                    resolved += found
        if conflicts:
            more = f"; and {len(conflicts) - _LISTED} more" if len(conflicts) > _LISTED else ""
            remedy = (
                "Say with --prefer CACHE whose word counts."
                if preferred is None
                else f"{self._caches[preferred].path} says nothing of them, or contradicts itself: correct it."
            )
            raise errors.MergeConflict(
                f"The caches say different things of {len(conflicts)} images: "
                f"{'; '.join([*conflicts][:_LISTED])}{more}. {remedy}"
            )
        return resolved

    def samples(self, preferred: int | None) -> Samples:
        """Return the merged table: of samples with one path, the finished one, `preferred`'s before others'."""
        kept = np.ones(len(self.cache), dtype=bool)
        for members in self.by_path:
            members = members[np.argsort(self.cache[members] != preferred, kind="stable")]
            done = members[self.fields["state"][members] == DONE]
            kept[members] = False
            kept[done[0] if len(done) else members[0]] = True
        fields: dict[str, Any] = {name: values[kept].astype(np.str_) for name, values in self.fields.items()}
        return Samples(
            **fields,
            **{name: values[kept] for name, values in self.numbers.items()},
            content=self.content[kept],
            columns={name: values[kept].astype(np.str_) for name, values in self.columns.items()},
        )

    def failures(self, samples: Samples) -> list[Failure]:
        """Return the failures of samples that no cache has a vector for."""
        stems = distinct(cache.path.stem for cache in self._caches)
        found: dict[str, Failure] = {}
        for stem, cache in zip(stems, self._caches, strict=True):
            for failure in cache.failures:
                path = f"{stem}/{failure.path}" if self._prefix else failure.path
                found.setdefault(path, Failure(path, failure.stage, failure.reason))
        return of_failed(found.values(), samples)

    def _agreement(self, values: NDArray[Any], members: NDArray[np.intp], preferred: int | None) -> int | None:
        """Make all members say the same; return how many decisions that took, None if nobody may decide."""
        said = {c: {values[i] for i in members[self.cache[members] == c]} - {""} for c in self.cache[members]}
        opinions = {frozenset(opinion) for opinion in said.values() if opinion}
        if not opinions:
            return 0
        decided = next(iter(opinions)) if len(opinions) == 1 else frozenset(said.get(preferred or 0, ()))
        if len(opinions) > 1 and (preferred is None or len(decided) != 1):
            return None
        if len(decided) == 1:
            values[members] = next(iter(decided))
        return int(len(opinions) > 1)

    def _conflict(self, name: str, values: NDArray[Any], members: NDArray[np.intp]) -> str:
        said = [
            f"{values[index] or 'nothing'} ({self._caches[self.cache[index]].path.name})" for index in members
        ]
        return f"{self.fields['path'][members[0]]}: {name} {' ≠ '.join(said)}"


def _groups(keys: NDArray[Any], wanted: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return the indices of each key that occurs more than once among the wanted ones."""
    index = np.flatnonzero(wanted)
    order = index[np.argsort(keys[index], kind="stable")]
    first = np.flatnonzero(np.concatenate([[True], keys[order[1:]] != keys[order[:-1]]])[: len(order)])
    after = np.append(first[1:], len(order))
    several = np.flatnonzero(after - first > 1)
    return [order[first[group] : after[group]] for group in several]


def _maps(caches: list[Cache]) -> MapSum | None:
    """Return the sum of the caches' maps, no image twice: a cache counts whole or not at all."""
    total: MapSum | None = None
    seen: NDArray[np.bytes_] = np.empty(0, dtype="S32")
    for cache in caches:
        contents = contents_in(cache.image_keys)
        maps = MapSum.of(cache)
        fits = maps is not None and (total is None or maps.total.shape == total.total.shape)
        if maps is not None and fits and not np.isin(contents, seen).any():
            total = maps.plus(total)
            seen = np.concatenate([seen, contents])
    return total


def _provenance(caches: list[Cache]) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for cache in caches:
        entries += [entry for entry in cache.provenance() if entry not in entries]
    merged = provenance_entry(merged=[cache.path.name for cache in caches], rows=0)
    return [*sorted(entries, key=lambda entry: str(entry.get("time", ""))), merged]
