"""What a run left: its plan, its splits with what each row is, and the records of its rounds.

`runs` writes the folder, and nothing here changes it; a run without one is handed on in memory.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .problem import Problem
from .runs import FORMAT, FORMAT_VERSION, Record, read_record
from .sides import Splits

_FAULTS = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class StoredRun:
    """A run, on disk unless its records are kept; arrays have one element (or row) per row of its problem.

    Parameters
    ----------
    path : Path
        Where it is, or what it is called.
    plan : dict
        Everything that decides its numbers: classes, positive, heads, seed, ….
    made_with : dict
        What does not: cache, labels, recipe, library versions.
    finished : bool
    splits : Splits
    content : ndarray of uint8, shape (n, 32)
    frame : ndarray of int, shape (n,)
    file, patient, label : ndarray of str, shape (n,)
    kept : tuple of Record, or None
        The rounds of a run in memory.
    units : str or None
        Its table of units, as units.csv has it; None without --by.
    """

    path: Path
    plan: dict[str, Any]
    made_with: dict[str, Any]
    finished: bool
    splits: Splits
    content: NDArray[np.uint8]
    frame: NDArray[np.int32]
    file: NDArray[np.str_]
    patient: NDArray[np.str_]
    label: NDArray[np.str_]
    kept: tuple[Record, ...] | None = None
    units: str | None = None

    def records(self) -> list[Record]:
        """Return the rounds that are finished, by head, then number.

        Raises
        ------
        RunError
            If one of them is damaged.
        """
        order = {head: number for number, head in enumerate(self.plan["heads"])}
        found = self._read() if self.kept is None else self.kept
        return sorted(found, key=lambda record: (order[record.head], record.number))

    def table_of_units(self) -> list[dict[str, str]]:
        """Return the lines of units.csv: of each tested unit in each round, what its slices say.

        Raises
        ------
        RunError
            If it is missing or damaged.
        """
        try:
            text = self.units if self.kept is not None else (self.path / "units.csv").read_text("utf-8")
            lines = list(csv.DictReader(io.StringIO(text or "")))
            if not {"unit", "label", "predicted", "slices"} <= {*(lines[0] if lines else ())}:
                raise ValueError
        except (*_FAULTS, csv.Error):
            raise errors.RunError(f"{self.path / 'units.csv'} is missing or damaged.") from None
        return lines

    def results(self) -> dict[str, Any]:
        """Return the results that the run folder holds, as `icehouse classify --json` printed them.

        Raises
        ------
        RunError
            If the run has none yet, or they are damaged.
        """
        path = self.path / "results.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(document, dict) or not {"heads", "classes", "rounds"} <= document.keys():
                raise ValueError
        except FileNotFoundError:
            raise errors.RunError(
                f"{self.path} is not finished and has no results. The command that began it goes on with it."
            ) from None
        except _FAULTS:
            raise errors.RunError(f"{path} is damaged. Repeat the run's command with --overwrite.") from None
        return document

    def _read(self) -> Iterator[Record]:
        for path in sorted((self.path / "rounds").glob("*.npz")):
            try:
                yield read_record(path)
            except _FAULTS:
                raise errors.RunError(
                    f"{path} is damaged. Repeat the run's command with --overwrite."
                ) from None


def read_run(path: Path) -> StoredRun:
    """Return the run in a folder.

    Raises
    ------
    RunError
        If there is none, it is of another format, or its splits are damaged.
    """
    note = path / "run.json"
    if not path.exists():
        raise errors.RunError(f"There is no run {path}. icehouse classify -o {path} makes one.")
    if not note.is_file():
        raise errors.RunError(f"{path} is no run: it has no run.json. icehouse classify -o {path} makes one.")
    try:
        about = json.loads(note.read_text(encoding="utf-8"))
        version, finished, plan = about["format_version"], bool(about["finished"]), dict(about["plan"])
        made_with, known = dict(about["made_with"]), about["format"] == FORMAT
    except _FAULTS:
        raise errors.RunError(f"{note} is damaged or no run's. Repeat the run under another name.") from None
    if not known or version != FORMAT_VERSION:
        raise errors.RunError(
            f"{path} is a run of format {version}, and this icehouse reads {FORMAT_VERSION}. Repeat it here."
        )
    try:
        with (path / "splits.npz").open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            splits = Splits(
                str(file["kind"]), tuple(file["names"].tolist()), file["train"], file["test"], file["scored"]
            )
            names = ("content", "frame", "path", "patient", "label")
            content, frame, files, patient, label = (file[name] for name in names)
    except _FAULTS:
        raise errors.RunError(
            f"{path / 'splits.npz'} is missing or damaged. Repeat the run's command with --overwrite."
        ) from None
    return StoredRun(path, plan, made_with, finished, splits, content, frame, files, patient, label)


def kept_run(
    problem: Problem,
    splits: Splits,
    plan: dict[str, Any],
    made_with: dict[str, Any],
    records: Sequence[Record],
    units: str | None,
    path: Path,
    *,
    finished: bool,
) -> StoredRun:
    """Return a run as it is in memory."""
    return StoredRun(
        path=path,
        plan=plan,
        made_with=made_with,
        finished=finished,
        splits=splits,
        content=problem.content,
        frame=problem.frame,
        file=problem.path,
        patient=problem.patient,
        label=np.array(problem.classes)[problem.y],
        kept=tuple(records),
        units=units,
    )
