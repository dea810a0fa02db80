"""What the names of `icehouse` do: each composes the packages below for one job of the user's.

The command line calls these functions and nothing below them.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors
from .cache.store import Cache

if TYPE_CHECKING:
    from .extract.estimate import Estimate
    from .extract.settings import Settings
    from .extract.sources import Source
    from .extract.summary import Progress, Summary

StrPath = str | Path

DEFAULT_HEADS = ("mlp", "svm", "xgboost")


class ImagesFailed(UserWarning):
    """Some images did not become vectors; `cache.failures` lists them."""


def open_cache(path: StrPath) -> Cache:
    """Open a cache of transfer values for reading; TensorFlow is not needed.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Cache
        With `.X` (n, d), `.y`, `.groups` and `.samples`.

    Raises
    ------
    CacheNotFound, CacheDamaged
    """
    return Cache(path)


def extract_features(
    data: StrPath,
    cache: StrPath,
    *,
    backbone: str = "inceptionv3",
    weights: str = "imagenet",
    intensity: str | None = None,
    scaling: str = "backbone",
    frames: str = "all",
    resize: str = "stretch",
    size: int | str | None = None,
    views: int = 1,
    augment: str | None = None,
    layers: Sequence[str] | None = None,
    engine: str = "auto",
    precision: str = "float32",
    trust_model: bool = False,
    batch_size: int | None = None,
    workers: int | None = None,
    root: StrPath | None = None,
    limit: int | None = None,
    labels: StrPath | None = None,
    accept_drift: bool = False,
) -> Cache:
    """Compute the transfer values of images and keep them in a cache.

    What the cache holds already is not computed again. docs/images.md says what the choices mean.

    Parameters
    ----------
    data : str or Path
        A folder with one sub-folder per class, or a CSV manifest with a column `path`.
    cache : str or Path
        The cache to make or to bring up to date.
    backbone : str
        One of those that `icehouse backbones` lists, or `model:PATH` for a Keras model of your own.
    weights : str
        `imagenet`, the path of a weights file, or `random:SEED`.
    intensity : str, optional
        How a file's own numbers become grey values, such as `max`, `lung` or `window:40,400`; by the kind of
        file unless told.
    scaling : str
        How grey values are scaled for the network: `backbone` for its own way, or `unit`, `none`, ….
    frames : str
        Which frames of a volume are taken: `all`, `middle`, `every:N`, `open-lung` or `open-lung:T`.
    resize : str
        `stretch`, `pad` or `crop`.
    size : int or str, optional
        Height and width in pixels, or `native`; the backbone's own unless told.
    views : int
        How many variants of each frame there are; classifiers train on all and are tested on the first, which
        is the frame itself.
    augment : str, optional
        How the variants are drawn: as the cache's are, or `flips,rotate:360,zoom:0.05,shift:0.05` unless told.
    layers : sequence of str, optional
        `avg_pool` (unless told), names of layers, `pyramid`.
    engine : str
        `auto`, `keras` or `openvino`.
    precision : str
        `float32`, `bfloat16` or `float16`.
    trust_model : bool
        Run what a model file asks for, Lambda layers included.
    batch_size : int, optional
        Changes no vector.
    workers : int, optional
        Threads that decode; one per processor unless told.
    root : str or Path, optional
        What a manifest's paths are relative to.
    limit : int, optional
        Take the first so many samples of each class only.
    labels : str or Path, optional
        A CSV file with a column `path` whose other columns take the place of the data's labels, patients, ….
    accept_drift : bool
        Add vectors although the network's results have drifted from the cache's.

    Returns
    -------
    Cache
        Opened. An `ImagesFailed` warning says if some images could not be read.

    Raises
    ------
    IcehouseError
        With one clear sentence; see `icehouse.errors` for the tree.
    """
    options = {name: value for name, value in locals().items() if name not in ("data", "cache")}
    summary = extract(data, cache, **options)
    if summary.failed:
        warnings.warn(
            f"{summary.failed} of {summary.images} images failed; see the failures of {cache}.",
            ImagesFailed,
            stacklevel=2,
        )
    return Cache(cache)


def extract(
    data: StrPath,
    cache: StrPath,
    *,
    anonymize: bool = False,
    keep_columns: Sequence[str] = (),
    progress: Callable[[Progress], None] = lambda _: None,
    note: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Summary:
    """Do what `extract_features` does and return its summary.

    `progress` and `note` tell of it on the way; `anonymize` makes a cache that names nobody, with no columns of
    the user's own but `keep_columns`.
    """
    from .cache.anonymize import pseudonyms
    from .extract import extraction

    source, path, chosen = _understood(data, cache, note, **options)
    return extraction.extract(source, path, chosen, progress, pseudonyms(anonymize, keep_columns))


def estimate(
    data: StrPath,
    cache: StrPath,
    *,
    note: Callable[[str], None] = lambda _: None,
    **options: Any,
) -> Estimate:
    """Return what `extract` would compute, about how long it would take and how much disk; write nothing."""
    from .extract import estimate as estimates

    source, path, chosen = _understood(data, cache, note, keys=False, **options)
    return estimates.estimate(source, path, chosen)


def _understood(
    data: StrPath,
    cache: StrPath,
    note: Callable[[str], None],
    *,
    root: StrPath | None = None,
    limit: int | None = None,
    labels: StrPath | None = None,
    keys: bool = True,
    **settings: Any,
) -> tuple[Source, Path, Settings]:
    """Return what an extraction is about, everything the user typed having been checked."""
    from .extract.data import notes, read_data
    from .extract.patients import PatientKey
    from .extract.settings import Settings

    chosen = Settings(**settings)
    chosen.check()
    path = _cache_to_write(cache)
    patients = PatientKey(path.parent if keys else None)
    source = read_data(data, patients, chosen.threads(), root=root, limit=limit, labels=labels)
    for text in notes(source, labels):
        note(text)
    return source, path, chosen


def _cache_to_write(cache: StrPath) -> Path:
    """Return the file that `cache` names; through a link, the file that it leads to."""
    path = Path(cache)
    if not path.name or path.is_dir():
        raise errors.UsageError(f"{str(cache)!r} is a folder; name a file for the cache, such as features.h5.")
    return path.resolve() if path.is_symlink() else path


class Run:
    """The results of all rounds of all heads.

    Parameters
    ----------
    document : dict
        What `icehouse classify --json` prints.

    Attributes
    ----------
    document : dict
    path : Path or None
        The run folder, if one was written.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        self.path = Path(document["run"]) if document["run"] is not None else None

    def __repr__(self) -> str:
        heads = ", ".join(self.document["heads"])
        return f"<icehouse run of {heads}, {self.document['rounds']} rounds>"

    def table(self, head: str | None = None) -> str:
        """Return the summary of all heads, or the rounds of one, as text."""
        from .report import tables

        if head is None:
            return f"{tables.summary_table(self.document)}\n{tables.DISCLAIMER}"
        if head not in self.document["heads"]:
            raise errors.UsageError(f"No head {head!r} in this run: {', '.join(self.document['heads'])}.")
        return f"{tables.rounds_table(self.document, head)}\n{tables.DISCLAIMER}"


def run_rounds(
    cache: Cache | StrPath,
    heads: Sequence[str] = DEFAULT_HEADS,
    rounds: int = 10,
    *,
    test_size: float = 0.3,
    seed: int = 0,
    positive: str | None = None,
    layer: str | None = None,
    test_views: str = "first",
    labels: StrPath | None = None,
    jobs: int | None = None,
    partial: bool = False,
    out: StrPath | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] | None = None,
) -> Run:
    """Train and judge heads on a cache's vectors, on the same random splits; TensorFlow is not needed.

    Parameters
    ----------
    cache : Cache, str or Path
    heads : sequence of str
        Names, with parameters where wanted: `["mlp", "svm:C=10"]`.
    rounds : int
        Splits, stratified by class and grouped by patient where patients are known.
    test_size : float
        Share of the rows that is tested.
    seed : int
        The same seed gives the same numbers.
    positive : str, optional
        The positive class of two, where the names do not tell.
    layer : str, optional
        Whose vectors, of a cache with several layers; its first one unless told.
    test_views : str
        `first` tests each frame by its unaltered view, `mean` by the mean of the scores over all its views.
    labels : str or Path, optional
        A CSV file with a column `path` whose label, patient and split take the place of the cache's.
    jobs : int, optional
        Rounds that run at once; one per processor unless told.
    partial : bool
        Go on although samples of the cache are pending.
    out : str or Path, optional
        A run folder to write; an interrupted run goes on there.
    overwrite : bool
        Replace another run at `out`.
    progress, note : callable
        Told of rounds done, and of what was left out; without `note`, that is a warning.

    Returns
    -------
    Run

    Raises
    ------
    IcehouseError
        With one clear sentence; see `icehouse.errors` for the tree.
    """
    from .classify import heads as kinds
    from .classify import problem as problems
    from .classify import rounds as judging
    from .classify import runs

    specs = kinds.parse_all(list(heads))
    protocol = judging.Protocol(rounds=rounds, test_size=test_size, seed=seed, jobs=jobs, test_views=test_views)
    protocol.check()
    opened = cache if isinstance(cache, Cache) and labels is None else Cache(_path_of(cache))
    try:
        unnamed = opened.relabel(labels) if labels is not None else 0
        problem = problems.from_cache(opened, positive=positive, partial=partial, layer=layer)
    finally:
        if opened is not cache:
            opened.close()
    kept = [f"{labels} does not name {unnamed} of the samples: they keep their labels."] if unnamed else []
    for text in (*kept, *problem.notes):
        if note is not None:
            note(text)
        else:
            warnings.warn(text, stacklevel=2)
    document = judging.run(
        problem,
        specs,
        protocol,
        opened.header.fingerprints[problem.layer],
        made_with=runs.made_with(opened) if out is not None else None,
        out=Path(out) if out is not None else None,
        overwrite=overwrite,
        progress=progress,
    )
    return Run(document)


def _path_of(cache: Cache | StrPath) -> StrPath:
    return cache.path if isinstance(cache, Cache) else cache
