"""Which files are the data: a folder of classes, a CSV manifest or files by name become a list of samples.

Nothing here opens an image, but for a look at whether a file of unknown suffix is DICOM.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .. import errors
from ..cache import layout
from ..cache.csv_table import Table, check_label, read_table
from .dicom_header import Header, looks_like_dicom

_RASTER_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".jpe", ".bmp", ".webp", ".tif", ".tiff"})
_VOLUME_SUFFIXES = frozenset({".dcm", ".dicom", ".ima", ".nii", ".nii.gz"})
IMAGE_SUFFIXES = _RASTER_SUFFIXES | _VOLUME_SUFFIXES
_TABLES = frozenset({".csv", ".tsv"})
SPLIT_FOLDERS = frozenset({"train", "val", "valid", "validation", "test"})
_PASSED_OVER = frozenset({"Thumbs.db", "desktop.ini", "__MACOSX"})
_RESERVED = ("path", "label", "patient", "split")


@dataclass(frozen=True)
class Sample:
    """One image file and what is said about it; texts are empty where nothing is said."""

    path: str
    file: Path
    label: str = ""
    patient: str = ""
    split: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    header: Header | None = None
    """What a DICOM file says of itself, once `series.sort_out` has looked."""


@dataclass(frozen=True)
class Source:
    """What `read_source` found.

    Parameters
    ----------
    samples : list of Sample
        In the order of the manifest, or sorted by path.
    unknown : dict of str to list of str
        Files of a folder that are no images, by suffix.
    unnamed : int
        How many samples the file of labels does not name, if there is one.
    is_folder : bool
        Whether the order is that of a folder's files, not a manifest's.
    passed_over : dict of str to list of str
        DICOM files that are nothing to learn from, by the reason.
    """

    samples: list[Sample]
    unknown: dict[str, list[str]]
    unnamed: int = 0
    is_folder: bool = False
    passed_over: dict[str, list[str]] = field(default_factory=dict)


def read_source(
    data: Path | Sequence[Path],
    *,
    root: Path | None = None,
    labels: Path | None = None,
    mixed: bool = False,
) -> Source:
    """Return the samples of a folder, of a CSV manifest or of files by name.

    Parameters
    ----------
    data : Path or sequence of Path
        A folder with one sub-folder per class; a folder of `train`, `val` and `test` folders that hold class
        folders, which then become the split; a folder of images alone (unlabelled); or a CSV file with a
        column `path` and optionally `label`, `patient`, `split`, all further columns kept. Or an image, or
        several images and folders: their samples in the order given, with paths as typed, and labels where a
        folder has classes.
    root : Path, optional
        What a manifest's paths are relative to; its own folder unless told.
    labels : Path, optional
        A CSV file with a column `path` whose other columns (label, patient, split, others) take the place of
        what `data` says of the samples that it names.
    mixed : bool
        Let images stand beside class folders, unlabelled, as where nothing is to be learned.

    Raises
    ------
    SourceError
        If there is nothing there, a file is named twice, or a manifest is faulty; the message names the file
        and line.
    UsageError
        If nothing is named, or a manifest beside others.
    """
    named = [data] if isinstance(data, Path) else list(data)
    if not named:
        raise errors.UsageError("Name images, a folder or a CSV manifest.")
    for path in named:
        if not path.exists():
            raise errors.SourceError(f"There is no file or folder {path}.")
    if len(named) > 1 or _is_image(named[0]):
        source = _read_named(named, mixed=mixed)
    elif named[0].is_dir():
        source = _read_folder(named[0], mixed=mixed)
    else:
        source = Source(_read_manifest(named[0], root if root is not None else named[0].parent), {})
        root = None
    if root is not None:
        raise errors.UsageError("--root goes with a CSV manifest, and DATA is none.")
    for sample in source.samples:
        _check_text(sample, named[0])
    samples, unnamed = source.samples, 0
    if labels is not None:
        samples, unnamed = _relabelled(samples, read_table(labels))
    return replace(source, samples=samples, unnamed=unnamed)


def _relabelled(samples: list[Sample], table: Table) -> tuple[list[Sample], int]:
    """Return samples with what `table` says of them, and how many of them it does not name."""
    given = table.by_path()
    if not given.keys() & {sample.path for sample in samples}:
        raise errors.SourceError(
            f"{table.path} names none of the {len(samples)} images, such as {samples[0].path}."
        )
    said = [name for name in ("label", "patient", "split") if name in table.header]
    own = [name for name in table.header if name not in _RESERVED]
    relabelled = []
    for sample in samples:
        row = given.get(sample.path)
        if row is not None:
            fields: dict[str, Any] = {name: row[name] for name in said}
            columns = {**sample.columns, **{name: row[name] for name in own}}
            sample = replace(sample, columns=columns, **fields)
        relabelled.append(sample)
    return relabelled, sum(sample.path not in given for sample in samples)


def first_of_each(samples: list[Sample], limit: int) -> list[Sample]:
    """Return the first so many samples of each label."""
    taken: Counter[str] = Counter()
    kept = []
    for sample in samples:
        taken[sample.label] += 1
        if taken[sample.label] <= limit:
            kept.append(sample)
    return kept


def _is_image(path: Path) -> bool:
    return path.is_file() and (_suffix_of(path) in IMAGE_SUFFIXES or _is_dicom(path))


def _read_named(named: list[Path], *, mixed: bool) -> Source:
    """Return the samples of images and folders; what is named is taken for an image, whatever its suffix."""
    samples: list[Sample] = []
    unknown: dict[str, list[str]] = {}
    for path in named:
        if path.is_dir():
            source = _read_folder(path, mixed=mixed)
            samples += [replace(each, path=(path / each.path).as_posix()) for each in source.samples]
            for suffix, found in source.unknown.items():
                unknown.setdefault(suffix, []).extend((path / each).as_posix() for each in found)
        elif _suffix_of(path) in _TABLES:
            raise errors.UsageError(f"{path} is a manifest and not an image: name it alone.")
        else:
            samples.append(Sample(path.as_posix(), path))
    seen: dict[str, str] = {}
    for sample in samples:
        place = os.path.abspath(sample.file)  # noqa: PTH100  (which, unlike resolve(), follows no links)
        if place in seen:
            also = f", as {seen[place]} and as {sample.path}" if seen[place] != sample.path else ""
            raise errors.SourceError(f"{sample.path} is named twice{also}. Name each file once.")
        seen[place] = sample.path
    return Source(samples, unknown, is_folder=all(path.is_dir() for path in named))


def _read_folder(folder: Path, *, mixed: bool) -> Source:
    samples: list[Sample] = []
    unknown: dict[str, list[str]] = {}
    depth = 2 if _is_split_folder(folder) else 1
    for file in _files_below(folder):
        relative = file.relative_to(folder)
        suffix = _suffix_of(file)
        if suffix not in IMAGE_SUFFIXES and not _is_dicom(file):
            unknown.setdefault(suffix or "(no suffix)", []).append(relative.as_posix())
            continue
        parts = relative.parts[:-1]
        label = parts[depth - 1] if len(parts) >= depth else ""
        split = parts[0] if depth == 2 and parts else ""
        samples.append(Sample(relative.as_posix(), file, label=label, split=split))
    if not samples:
        found = f" ({_listed(unknown)})" if unknown else ""
        raise errors.SourceError(
            f"{folder} holds no images{found}. Known suffixes: {' '.join(sorted(IMAGE_SUFFIXES))}"
        )
    loose = [sample.path for sample in samples if not sample.label]
    if loose and len(loose) < len(samples) and not mixed:
        raise errors.SourceError(
            f"{folder} holds {len(loose)} images beside its class folders, such as {loose[0]}. "
            "Move them into a class folder or out of the way."
        )
    return Source(samples, unknown, is_folder=True)


def _suffix_of(file: Path) -> str:
    name = file.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else Path(name).suffix


def _is_dicom(file: Path) -> bool:
    """Tell whether a file has the mark of DICOM, whose files often have no suffix, or a number for one."""
    try:
        with file.open("rb") as opened:
            return looks_like_dicom(opened.read(132))
    except OSError:
        return False


def _is_split_folder(folder: Path) -> bool:
    """Tell whether every sub-folder is called train, val or test, so that the classes are one level down."""
    names = [item.name.lower() for item in folder.iterdir() if item.is_dir() and not _passed_over(item.name)]
    return bool(names) and "train" in names and all(name in SPLIT_FOLDERS for name in names)


def _files_below(folder: Path) -> Iterator[Path]:
    """Yield every visible file, in order of its path, following links to folders once."""
    seen: set[str] = set()

    def refuse(error: OSError) -> None:
        raise errors.SourceError(f"No permission to read the folder {error.filename}.")

    for here, folders, files in os.walk(folder, followlinks=True, onerror=refuse):
        real = os.path.realpath(here)
        if real in seen:
            folders[:] = []
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not _passed_over(name))
        for name in sorted(files):
            if not _passed_over(name):
                yield Path(here, name)


def _passed_over(name: str) -> bool:
    return name.startswith(".") or name in _PASSED_OVER


def _listed(unknown: dict[str, list[str]]) -> str:
    return ", ".join(f"{len(paths)} {suffix}, such as {paths[0]}" for suffix, paths in unknown.items())


def _read_manifest(manifest: Path, root: Path) -> list[Sample]:
    table = read_table(manifest)
    if "path" not in table.header:
        found = ", ".join(table.header)
        raise errors.SourceError(f"{manifest} has no column 'path' (in lower case); its columns are: {found}.")
    samples = []
    seen: dict[str, int] = {}
    for row, line in zip(table.rows, table.lines, strict=True):
        where = f"{manifest}, line {line}"
        sample = _sample_of(row, root, where)
        key = os.path.normpath(sample.path)
        if key in seen:
            raise errors.SourceError(f"{where}: {sample.path} stands already in line {seen[key]}.")
        seen[key] = line
        samples.append(sample)
    if not samples:
        raise errors.SourceError(f"{manifest} names no images: it has a header and no rows.")
    if not any(sample.file.exists() for sample in samples):
        raise errors.SourceError(
            f"None of the {len(samples)} files that {manifest} names exists; the first would be "
            f"{samples[0].file}. Say with --root what the paths are relative to."
        )
    return samples


def _sample_of(row: dict[str, str], root: Path, where: str) -> Sample:
    path = row["path"]
    if not path:
        raise errors.SourceError(f"{where}: the path is empty.")
    label = row.get("label", "")
    check_label(label, where)
    return Sample(
        path=PurePosixPath(path).as_posix(),
        file=_inside(root, path, where),
        label=label,
        patient=row.get("patient", ""),
        split=row.get("split", ""),
        columns={name: value for name, value in row.items() if name not in _RESERVED},
    )


def _inside(root: Path, path: str, where: str) -> Path:
    """Return the file that `path` names, which must lie below `root`."""
    base = Path(os.path.normpath(root.absolute()))
    file = Path(os.path.normpath(base / path))
    if not file.is_relative_to(base):
        raise errors.SourceError(
            f"{where}: {path} lies outside {base}. Say with --root what the paths are "
            "relative to; --root / for absolute ones."
        )
    return file


def _check_text(sample: Sample, data: Path) -> None:
    """Refuse what the cache could not hold or a terminal should not be shown."""
    fields = {
        "path": sample.path,
        "label": sample.label,
        "patient": sample.patient,
        "split": sample.split,
        **sample.columns,
    }
    for name, text in fields.items():
        if fault := layout.fault_of(text):
            raise errors.SourceError(f"{data}: the {name} of {sample.path!r} {fault}.")
