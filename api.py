"""What the names of `icehouse` do with images and caches: each composes the packages below for one job.

The command line calls these functions and nothing below them; what is done with vectors is in `judging`.
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

    What the cache holds already is not computed again. docs/start.md says what the choices mean.

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
    from .cache.patient_key import PatientKey
    from .extract.data import notes, read_data
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
