"""One cache becomes several: by a column such as the split, by a class, or by a list of patients."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import atomic
from .alignment import Claims, Rows
from .anonymize import Pseudonyms
from .csv_table import read_table
from .keys import contents_of
from .naming import distinct, for_file
from .rows import CacheRows, RowSource, arrange
from .samples import Samples, of_failed
from .staging import making
from .store import Cache
from .writing import Contents, MapSum, provenance_entry, write

_MAX_PARTS = 1000


def split(
    path: Path,
    folder: Path,
    *,
    by: str | None = None,
    label: str | None = None,
    patients: Path | None = None,
    pseudonyms: Pseudonyms | None = None,
) -> dict[str, Any]:
    """Write the parts of a cache as caches of their own; together they hold every sample.

    Parameters
    ----------
    path : Path
    folder : Path
        Where the parts go, named after the cache and what they hold; made if it is not there.
    by : str, optional
        A column: "split", "label", "patient" or one of the user's own. One part for each of its values.
    label : str, optional
        A class: one part with it, one with the rest.
    patients : Path, optional
        A text file with a patient a line, or a CSV with a column `patient`: one part with them, one with the
        rest.
    pseudonyms : Pseudonyms, optional
        Leave out what names people.

    Returns
    -------
    dict
        `parts`, each with `cache`, `value`, `samples` and `rows`; how many images and patients stand in more
        than one part (`shared_images`, `shared_patients`); `spare_left_out`.

    Raises
    ------
    UsageError
        If not exactly one of `by`, `label` and `patients` is given, or there is no such column, class or
        patient; or if files were to be named after patients who are to be anonymous.
    OutputExists

    Notes
    -----
    A part has no mean feature map unless it holds every vector: with the others' vectors, the map would reveal
    those that were left out.
    """
    if sum(option is not None for option in (by, label, patients)) != 1:
        raise errors.UsageError("Say how to split: one of --by COLUMN, --class NAME and --patients FILE.")
    if pseudonyms is not None and by is not None and by not in ("label", "split", *pseudonyms.keep):
        raise errors.UsageError(
            f"--by {by} would name the files after what --anonymize drops. Keep it with --keep-column, or "
            "split by another column."
        )
    with Cache(path) as cache:
        spare = int(cache.spare.sum())
        part_of, values = _parts(cache, by, label, patients)
        targets = _files(path, folder, values)
        _make(folder)
        parts: list[dict[str, Any]] = []
        try:
            for number, (value, target) in enumerate(zip(values, targets, strict=True)):
                samples, rows = _write_part(cache, target, part_of == number, value, pseudonyms)
                parts.append({"cache": str(target), "value": value, "samples": samples, "rows": rows})
        except BaseException:  # all parts or none
            for part in parts:
                Path(part["cache"]).unlink()
            raise
        contents = contents_of(cache.samples.content)
        known = np.asarray(cache.samples.content.any(axis=1))
        return {
            "parts": parts,
            "shared_images": _in_several(contents[known], part_of[known]),
            "shared_patients": _in_several(
                cache.samples.patient[cache.samples.patient != ""], part_of[cache.samples.patient != ""]
            ),
            "spare_left_out": spare,
            "anonymized": cache.anonymized or pseudonyms is not None,
        }


def _parts(
    cache: Cache, by: str | None, label: str | None, patients: Path | None
) -> tuple[NDArray[np.intp], list[str]]:
    """Return for each sample the number of the part that it belongs to, and what the parts are called."""
    samples = cache.samples
    if by is not None:
        columns = {
            **samples.columns,
            "split": samples.split,
            "label": samples.label,
            "patient": samples.patient,
        }
        if by not in columns:
            raise errors.UsageError(f"{cache.path} has no column {by!r}; it has {', '.join(sorted(columns))}.")
        if not np.any(columns[by] != ""):
            raise errors.UsageError(
                f"The column {by!r} of {cache.path} is empty: there is nothing to split by."
            )
        values, part_of = np.unique(columns[by], return_inverse=True)
        return part_of, [value or "unknown" for value in values.tolist()]
    if label is not None:
        if label not in samples.label:
            classes = ", ".join(sorted(set(samples.label.tolist()) - {""})) or "none"
            raise errors.UsageError(f"{cache.path} has no class {label!r}; its classes are: {classes}.")
        return _in_or_out(samples.label == label, label)
    assert patients is not None
    listed = _read_patients(patients)
    if unknown := [name for name in listed if name not in set(samples.patient.tolist())]:
        raise errors.UsageError(
            f"{len(unknown)} of the {len(listed)} patients in {patients} are not in {cache.path}, such as "
            f"{unknown[0]!r}."
        )
    return _in_or_out(np.isin(samples.patient, listed), "listed")


def _in_or_out(members: NDArray[np.bool_], name: str) -> tuple[NDArray[np.intp], list[str]]:
    """Return two parts, the second one for the rest if there is any."""
    part_of = np.where(members, 0, 1)
    return part_of, [name] if members.all() else [name, "rest"]


def _read_patients(path: Path) -> list[str]:
    table = read_table(path)
    if "patient" in table.header:
        names = [row["patient"] for row in table.rows]
    elif len(table.header) > 1:
        raise errors.SourceError(f"{path} has no column 'patient'; its columns are: {', '.join(table.header)}.")
    else:  # a patient a line, without a header
        names = [*table.header, *(text for row in table.rows for text in row.values())]
    names = list(dict.fromkeys(name for name in names if name))
    if not names:
        raise errors.SourceError(f"{path} names no patients.")
    return names


def _files(path: Path, folder: Path, values: list[str]) -> list[Path]:
    """Return the file of each part."""
    if len(values) > _MAX_PARTS:
        raise errors.UsageError(f"That would make {len(values)} files; {_MAX_PARTS} at most.")
    targets = [folder / f"{path.stem}-{name}.h5" for name in distinct(map(for_file, values))]
    for target in targets:
        if target.exists():
            raise errors.OutputExists(f"{target} exists already. Choose another folder.")
    return targets


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise errors.UsageError(f"{folder} is a file; name a folder for the parts.") from None
    except OSError as error:
        raise atomic.refusal(error, folder) from None


def _write_part(
    cache: Cache, target: Path, members: NDArray[np.bool_], value: str, pseudonyms: Pseudonyms | None
) -> tuple[int, int]:
    """Write one part; return how many samples and rows it has."""
    samples = _some(cache.samples, members)
    rows = np.flatnonzero(Claims.of(samples, cache.header.views).taken(Rows(cache.image_keys)))
    order = arrange([cache.image_keys[rows]], samples)
    order = replace(order, row=rows[order.row])
    entry = provenance_entry(split={"of": cache.path.name, "part": value}, rows=0)
    contents = Contents(
        cache.header.recipe,
        cache.layers,
        cache.header.selection,
        samples,
        of_failed(cache.failures, samples),
        [*cache.provenance(), entry],
        cache.canaries(),
        MapSum.of(cache) if len(rows) == cache.rows else None,  # else it would tell of the others
        cache.anonymized,
        cache.whole,
    )
    source: RowSource = CacheRows(cache)
    if pseudonyms is not None:
        contents, source = pseudonyms.contents(contents), pseudonyms.rows(source)
    with making(target):
        write(target, contents, [source], order)
    return len(samples), len(rows)


def _some(samples: Samples, members: NDArray[np.bool_]) -> Samples:
    fields = {name: value[members] for name, value in vars(samples).items() if name != "columns"}
    columns = {name: values[members] for name, values in samples.columns.items()}
    return Samples(**fields, columns=columns)


def _in_several(keys: NDArray[Any], part_of: NDArray[np.intp]) -> int:
    """Return how many keys stand in more than one part."""
    pairs = {(key, part) for key, part in zip(keys.tolist(), part_of.tolist(), strict=True)}
    return sum(count > 1 for count in Counter(key for key, _ in pairs).values())
