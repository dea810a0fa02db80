"""Reading what a run left: its plan, its splits with what each row is, and the records of its rounds.

`runs` writes the folder; nothing here changes it.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .runs import FORMAT, FORMAT_VERSION, Record, read_record
from .sides import Splits

_FAULTS = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass(frozen=True)
class StoredRun:
    """A run on disk; arrays have one element (or row) per row of its problem.

    Parameters
    ----------
    path : Path
    plan : dict
        Everything that decides its numbers: classes, positive, heads, seed, ….
    finished : bool
    splits : Splits
    content : ndarray of uint8, shape (n, 32)
    frame : ndarray of int, shape (n,)
    file, patient, label : ndarray of str, shape (n,)
    """

    path: Path
    plan: dict[str, Any]
    finished: bool
    splits: Splits
    content: NDArray[np.uint8]
    frame: NDArray[np.int32]
    file: NDArray[np.str_]
    patient: NDArray[np.str_]
    label: NDArray[np.str_]

    def records(self) -> list[Record]:
        """Return the rounds that are finished, by head, then number.

        Raises
        ------
        RunError
            If one of them is damaged.
        """
        found = []
        for path in sorted((self.path / "rounds").glob("*.npz")):
            try:
                found.append(read_record(path))
            except _FAULTS:
                raise errors.RunError(
                    f"{path} is damaged. Repeat the run's command with --overwrite."
                ) from None
        order = {head: number for number, head in enumerate(self.plan["heads"])}
        return sorted(found, key=lambda record: (order[record.head], record.number))


def read_run(path: Path) -> StoredRun:
    """Return the run in a folder.

    Raises
    ------
    RunError
        If there is none, it is of another format, or its splits are damaged.
    """
    note = path / "run.json"
    if not note.is_file():
        raise errors.RunError(f"{path} is no run: it has no run.json. icehouse classify -o {path} makes one.")
    try:
        about = json.loads(note.read_text(encoding="utf-8"))
        version, finished, plan = about["format_version"], bool(about["finished"]), dict(about["plan"])
        known = about["format"] == FORMAT
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
    return StoredRun(path, plan, finished, splits, content, frame, files, patient, label)
