"""The one way from what a user names as data to its samples, and what is to be said about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .. import errors
from ..cache.patient_key import PatientKey
from . import series, sources
from .sources import Source


def read_data(
    data: str | Path | Sequence[str | Path],
    patients: PatientKey,
    workers: int,
    *,
    root: str | Path | None = None,
    limit: int | None = None,
    labels: str | Path | None = None,
    mixed: bool = False,
) -> Source:
    """Return the samples of a folder, a manifest or images by name, DICOM files looked at and sorted.

    Parameters
    ----------
    data : str, Path or sequence of them
        See `sources.read_source`; so for `root`, `labels` and `mixed`.
    patients : PatientKey
        Makes the pseudonyms of patients that DICOM files name.
    workers : int
        Threads that read.
    limit : int, optional
        Take the first so many samples of each label only.

    Raises
    ------
    UsageError
        If `limit` is less than 1.
    SourceError
        If there is nothing there, or a manifest is faulty.
    """
    if limit is not None and limit < 1:
        raise errors.UsageError(f"limit must be 1 or more, not {limit}.")
    source = sources.read_source(
        Path(data) if isinstance(data, str | Path) else [Path(each) for each in data],
        root=Path(root) if root is not None else None,
        labels=Path(labels) if labels is not None else None,
        mixed=mixed,
    )
    source = series.sort_out(source, patients, workers)
    return source if limit is None else replace(source, samples=sources.first_of_each(source.samples, limit))


def notes(source: Source, labels: str | Path | None = None) -> list[str]:
    """Return what a user should know of a source: files passed over, samples that `labels` does not name."""
    found = [
        f"{_files(paths)} of unknown type {suffix} passed over, such as {paths[0]}"
        for suffix, paths in source.unknown.items()
    ]
    found += [
        f"{_files(paths)} passed over, such as {paths[0]}: {reason}"
        for reason, paths in source.passed_over.items()
    ]
    if source.unnamed:
        found.append(f"{labels} does not name {source.unnamed} of the images: they keep their labels")
    return found


def _files(paths: list[str]) -> str:
    return "1 file" if len(paths) == 1 else f"{len(paths)} files"
