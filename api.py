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
    from .extract.extraction import Progress, Summary
    from .extract.settings import Settings
    from .extract.sources import Source

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
    batch_size: int = 32,
    workers: int | None = None,
    root: StrPath | None = None,
    limit: int | None = None,
    labels: StrPath | None = None,
    accept_drift: bool = False,
) -> Cache:
    """Compute the transfer values of images and keep them in a cache.

    What the cache holds already is not computed again.

    Parameters
    ----------
    data : str or Path
        A folder with one sub-folder per class, or a CSV manifest with a column `path`.
    cache : str or Path
        The cache to make or to bring up to date.
    backbone : str
        One of those that `icehouse backbones` lists.
    weights : str
        `imagenet`, the path of a weights file, or `random:SEED`.
    batch_size : int
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
    summary = extract(
        data,
        cache,
        backbone=backbone,
        weights=weights,
        batch_size=batch_size,
        workers=workers,
        root=root,
        limit=limit,
        labels=labels,
        accept_drift=accept_drift,
    )
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

    source, path, chosen = _understood(data, cache, note, **options)
    return estimates.estimate(source, path, chosen)


def _understood(
    data: StrPath,
    cache: StrPath,
    note: Callable[[str], None],
    *,
    root: StrPath | None = None,
    limit: int | None = None,
    labels: StrPath | None = None,
    **settings: Any,
) -> tuple[Source, Path, Settings]:
    """Return what an extraction is about, everything the user typed having been checked."""
    from .extract import sources
    from .extract.settings import Settings

    chosen = Settings(**settings)
    chosen.check()
    path = _cache_to_write(cache)
    if limit is not None and limit < 1:
        raise errors.UsageError(f"limit must be 1 or more, not {limit}.")
    source = sources.read_source(
        Path(data),
        root=Path(root) if root is not None else None,
        limit=limit,
        labels=Path(labels) if labels is not None else None,
    )
    for suffix, paths in source.unknown.items():
        files = "1 file" if len(paths) == 1 else f"{len(paths)} files"
        note(f"{files} of unknown type {suffix} passed over, such as {paths[0]}")
    if source.unnamed:
        note(f"{labels} does not name {source.unnamed} of the images: they keep their labels")
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
    protocol = judging.Protocol(rounds=rounds, test_size=test_size, seed=seed, jobs=jobs)
    protocol.check()
    opened = cache if isinstance(cache, Cache) and labels is None else Cache(_path_of(cache))
    try:
        unnamed = opened.relabel(labels) if labels is not None else 0
        problem = problems.from_cache(opened, positive=positive, partial=partial)
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
        opened.fingerprint,
        made_with=runs.made_with(opened) if out is not None else None,
        out=Path(out) if out is not None else None,
        overwrite=overwrite,
        progress=progress,
    )
    return Run(document)


def _path_of(cache: Cache | StrPath) -> StrPath:
    return cache.path if isinstance(cache, Cache) else cache


def list_backbones() -> list[dict[str, Any]]:
    """Return each backbone's name, input size, vector length d, parameters and where its ImageNet weights are.

    `weights` is the file's path, or None if this machine has none; `wanted` is the file's name.
    """
    from .extract import backbones, weights

    return [
        {
            "name": backbone.name,
            "size": backbone.size,
            "dimensions": backbone.dimensions,
            "parameters": backbone.parameters,
            "weights": str(found) if (found := weights.imagenet_present(backbone)) else None,
            "wanted": Path(backbone.weights_file).name,
        }
        for backbone in backbones.BACKBONES.values()
    ]


def list_heads() -> list[dict[str, Any]]:
    """Return each head's name, description and parameters with their defaults."""
    from .classify import heads

    return [
        {"name": head.name, "description": head.description, "parameters": heads.defaults(head)}
        for head in heads.HEADS.values()
    ]


def demo(
    folder: StrPath,
    *,
    drawing: Callable[[int, int], None] = lambda done, total: None,
    extracting: Callable[[Progress], None] = lambda _: None,
    judging: Callable[[int, int], None] = lambda done, total: None,
    note: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Make synthetic chest X-rays and go the whole way with them: extract, then ten rounds of three heads.

    Parameters
    ----------
    folder : str or Path
        Made anew; it gets the images of two scanners, a cache for each, and the run.
    drawing, extracting, judging, note : callable
        Told of the progress of each part.

    Returns
    -------
    dict
        `run` (a `Run`), and the paths of `images`, `external_images`, `features` and `external_features`.

    Raises
    ------
    OutputExists
        If the folder exists and is not empty.
    """
    from .extract import backbones, engines, phantoms, weights

    engines.check_installed()
    weights.resolve("imagenet", backbones.find("efficientnetlite0"))
    target = Path(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise errors.OutputExists(f"{target} exists already. Give another folder: icehouse demo DIR")
    note("Drawing 256 synthetic chest X-rays, half of them with a lesion, and 51 of another scanner")
    home = phantoms.write_data_set(
        target / "images", phantoms.HOME, 128, 128, seed=1, progress=lambda done: drawing(done, 307)
    )
    away = phantoms.write_data_set(
        target / "external", phantoms.ELSEWHERE, 25, 26, seed=2, progress=lambda done: drawing(256 + done, 307)
    )
    paths = {"images": home, "external_images": away}
    for name, manifest in (("features", home), ("external_features", away)):
        paths[name] = target / f"{name}.h5"
        note(f"icehouse extract {manifest} -o {paths[name]} --backbone efficientnetlite0")
        extract(manifest, paths[name], backbone="efficientnetlite0", progress=extracting)
    note(f"icehouse classify {paths['features']} -o {target / 'run'}")
    run = run_rounds(paths["features"], out=target / "run", progress=judging)
    return {"run": run, **paths}
